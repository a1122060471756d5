// A bridge made with matrix-bot-sdk's Appservice: it writes into a journal what it is told, its ghosts come when they are
// invited, and answer who greets them. It says "ready" when it listens, and runs until it is killed.
const Module = require("node:module");
const { appendFileSync } = require("node:fs");

// The library's encryption is a native one that its package fetches from a release page when it is installed; no script of a
// package runs here, so it is not there. Nothing below needs it.
const load = Module._load;
Module._load = (name, ...rest) => (name === "@matrix-org/matrix-sdk-crypto-nodejs" ? {} : load(name, ...rest));
const { Appservice, LogService, SimpleFsStorageProvider } = require("matrix-bot-sdk");

const given = JSON.parse(process.env.PORCHLIGHT_E2E);
LogService.setLogger({ trace() {}, debug() {}, info() {}, warn: console.warn, error: console.error });

const bridge = new Appservice({
    bindAddress: "127.0.0.1",
    port: given.port,
    homeserverName: given.serverName,
    homeserverUrl: given.server,
    registration: given.registration,
    // On disk, so that a transaction that was taken is known after the bridge was killed.
    storage: new SimpleFsStorageProvider(given.storage, false),
});

// Ghosts are made when somebody invites them.
bridge.on("query.user", (user, make) => make(user.includes("nobody") ? false : { display_name: "A ghost" }));

const quietly = (what) => (err) => console.error(what, err?.body ?? err);

bridge.on("room.invite", (room, event) => {
    bridge.getIntentForUserId(event.state_key).joinRoom(room).catch(quietly("join"));
});

bridge.on("room.message", (room, event) => {
    const text = event.content?.body;
    if (bridge.isNamespacedUser(event.sender) || !text) return;
    appendFileSync(given.journal, JSON.stringify([event.event_id, text]) + "\n");
    if (text.startsWith("hello")) {
        bridge.getIntentForUserId(given.ghost).sendText(room, "hello yourself").catch(quietly("answer"));
    }
});

bridge.on("ephemeral.event", (event) => {
    if (event.type === "m.typing") appendFileSync(given.journal, JSON.stringify(["typing", ...event.content.user_ids]) + "\n");
});

bridge.begin().then(() => console.log("ready"));
