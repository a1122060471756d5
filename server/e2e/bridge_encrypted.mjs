// A bridge whose ghost writes in an encrypted room: it has no /sync, so all that its crypto library (matrix-rust-sdk's) needs
// to know comes with the transactions (MSC3202, MSC4203), and its device is made by PUT /devices (MSC4190). Alice is the
// same library, fed by /sync.
import assert from "node:assert/strict";
import { createServer } from "node:http";
import {
    DecryptionSettings, DeviceId, DeviceLists, EncryptionSettings, initAsync, OlmMachine, RequestType, RoomId, TrustRequirement, UserId,
} from "@matrix-org/matrix-sdk-crypto-wasm";

const given = JSON.parse(process.env.PORCHLIGHT_E2E);
const trust = () => new DecryptionSettings(TrustRequirement.Untrusted);

async function ask(token, method, path, body, query = {}) {
    const url = new URL("/_matrix/client/v3/" + path, given.server);
    for (const [name, value] of Object.entries(query)) url.searchParams.set(name, value);
    const answer = await fetch(url, { method, headers: { Authorization: "Bearer " + token }, body: body === undefined ? undefined : JSON.stringify(body) });
    const text = await answer.text();
    assert.ok(answer.ok, `${method} ${path}: ${answer.status} ${text}`);
    return JSON.parse(text);
}

/** Device is a device with its keys; token and query say who it is. */
class Device {
    constructor(user, token, query) {
        Object.assign(this, { user, token, query, txn: 0 });
    }

    async open(device) {
        this.machine = await OlmMachine.initialize(new UserId(this.user), new DeviceId(device));
        await this.flush();
        return this;
    }

    ask(method, path, body) {
        return ask(this.token, method, path, body, this.query);
    }

    /** perform sends one request of the library. */
    async perform(request) {
        const body = request.body === undefined ? undefined : JSON.parse(request.body);
        const paths = {
            [RequestType.KeysUpload]: "keys/upload", [RequestType.KeysQuery]: "keys/query",
            [RequestType.KeysClaim]: "keys/claim", [RequestType.SignatureUpload]: "keys/signatures/upload",
        };
        const answer = request.type === RequestType.ToDevice
            ? await this.ask("PUT", `sendToDevice/${encodeURIComponent(request.event_type)}/${encodeURIComponent(request.txn_id)}`, body)
            : await this.ask("POST", paths[request.type], body);
        await this.machine.markRequestAsSent(request.id, request.type, JSON.stringify(answer));
    }

    async flush() {
        for (const request of await this.machine.outgoingRequests()) await this.perform(request);
    }

    async hear({ toDevice = [], changed = [], left = [], counts = {}, unused }) {
        await this.machine.receiveSyncChanges(
            JSON.stringify(toDevice), new DeviceLists(changed.map((u) => new UserId(u)), left.map((u) => new UserId(u))),
            new Map(Object.entries(counts)), unused && new Set(unused), trust(),
        );
        await this.flush();
    }

    async send(room, members, text) {
        const users = () => members.map((u) => new UserId(u));
        await this.machine.updateTrackedUsers(users());
        await this.flush();
        const claim = await this.machine.getMissingSessions(users());
        if (claim) await this.perform(claim);
        for (const request of await this.machine.shareRoomKey(new RoomId(room), users(), new EncryptionSettings())) await this.perform(request);
        const content = await this.machine.encryptRoomEvent(new RoomId(room), "m.room.message", JSON.stringify({ msgtype: "m.text", body: text }));
        return this.ask("PUT", `rooms/${encodeURIComponent(room)}/send/m.room.encrypted/${this.user.length}.${this.txn++}`, JSON.parse(content));
    }

    /** read is the text of an event, undefined if there is no key for it yet. */
    async read(event) {
        try {
            const plain = await this.machine.decryptRoomEvent(JSON.stringify(event), new RoomId(event.room_id), trust());
            return JSON.parse(plain.event).content.body;
        } catch {
            return undefined;
        }
    }
}

await initAsync();
const told = { counts: 0, fallback: 0, lists: 0, toDevice: 0 };
const texts = [];
const unread = [];

// The ghost: made without a login, its device by its name.
await ask(given.asToken, "POST", "register", { type: "m.login.application_service", username: "_ghost", inhibit_login: true });
await ask(given.asToken, "PUT", "devices/BRIDGE", { display_name: "The bridge" }, { user_id: given.ghost });
const ghost = await new Device(given.ghost, given.asToken, { user_id: given.ghost, device_id: "BRIDGE" }).open("BRIDGE");

// Transactions are handled one after the other, and answered when they are.
let before = Promise.resolve();
const server = createServer((request, response) => {
    let body = "";
    request.on("data", (part) => (body += part));
    request.on("end", () => {
        before = before.then(async () => {
            const t = JSON.parse(body || "{}");
            const of = (all) => all?.[given.ghost]?.BRIDGE;
            const counts = of(t["org.matrix.msc3202.device_one_time_keys_count"]);
            const unused = of(t["org.matrix.msc3202.device_unused_fallback_key_types"]);
            const lists = t["org.matrix.msc3202.device_lists"];
            const toDevice = t["de.sorunome.msc2409.to_device"] ?? [];
            for (const m of toDevice) assert.deepEqual([m.to_user_id, m.to_device_id], [given.ghost, "BRIDGE"]);
            told.counts += counts ? 1 : 0;
            told.fallback += unused ? 1 : 0;
            told.lists += lists?.changed.includes(given.alice.id) ? 1 : 0;
            told.toDevice += toDevice.length;
            await ghost.hear({ toDevice, changed: lists?.changed, left: lists?.left, counts, unused });
            for (const event of (t.events ?? []).filter((e) => e.type === "m.room.encrypted" && e.sender !== given.ghost)) unread.push(event);
            for (const event of unread.splice(0)) {
                const text = await ghost.read(event);
                if (text === undefined) unread.push(event);
                else texts.push(text);
            }
        }).then(() => response.end("{}"), (err) => {
            console.error(err);
            response.writeHead(500).end("{}");
        });
    });
});
await new Promise((resolve) => server.listen(given.port, "127.0.0.1", resolve));

// Alice.
const login = await fetch(new URL("/_matrix/client/v3/login", given.server), {
    method: "POST", body: JSON.stringify({ type: "m.login.password", identifier: { type: "m.id.user", user: given.alice.id }, password: given.alice.password }),
}).then((answer) => answer.json());
const alice = await new Device(given.alice.id, login.access_token, {}).open(login.device_id);
let since = "";
const heard = [];
async function sync(timeout = 0) {
    const page = await ask(alice.token, "GET", "sync", undefined, { timeout, ...(since && { since }) });
    since = page.next_batch;
    await alice.hear({
        toDevice: page.to_device?.events, changed: page.device_lists?.changed, left: page.device_lists?.left,
        counts: page.device_one_time_keys_count, unused: page.device_unused_fallback_key_types,
    });
    for (const [room, joined] of Object.entries(page.rooms?.join ?? {})) {
        for (const event of joined.timeline.events.filter((e) => e.type === "m.room.encrypted" && e.sender === given.ghost)) {
            heard.push(await alice.read({ ...event, room_id: room }));
        }
    }
}

async function until(what, is) {
    for (const end = Date.now() + 60_000; !(await is()); await new Promise((resolve) => setTimeout(resolve, 50))) {
        assert.ok(Date.now() < end, `in vain: ${what}; told ${JSON.stringify(told)}, read ${JSON.stringify(texts)}, ${unread.length} unread`);
    }
}

const { room_id: room } = await alice.ask("POST", "createRoom", {
    preset: "public_chat", initial_state: [{ type: "m.room.encryption", state_key: "", content: { algorithm: "m.megolm.v1.aes-sha2" } }],
});
await ghost.ask("POST", `join/${encodeURIComponent(room)}`, {});
await sync();
const members = [given.alice.id, given.ghost];
for (const text of ["only the bridge can read this", "and this"]) await alice.send(room, members, text);
await until("the bridge reads", () => texts.length === 2);
assert.deepEqual(texts, ["only the bridge can read this", "and this"]);
await until("the claimed key is told of", () => told.counts > 0 && told.fallback > 0);

await ghost.send(room, members, "only alice can read this");
await until("alice reads", async () => (await sync(100), heard.length === 1));
assert.deepEqual(heard, ["only alice can read this"]);

// A second device of alice's: the bridge hears of it, and writes to it, too.
const lists = told.lists;
const second = await fetch(new URL("/_matrix/client/v3/login", given.server), {
    method: "POST", body: JSON.stringify({ type: "m.login.password", identifier: { type: "m.id.user", user: given.alice.id }, password: given.alice.password }),
}).then((answer) => answer.json());
const phone = await new Device(given.alice.id, second.access_token, {}).open(second.device_id);
await until("the bridge hears of the phone", () => told.lists > lists);
await ghost.send(room, members, "for both");
await until("the phone reads", async () => {
    const page = await ask(phone.token, "GET", "sync", undefined, {});
    await phone.hear({ toDevice: page.to_device?.events, counts: page.device_one_time_keys_count, unused: page.device_unused_fallback_key_types });
    const events = page.rooms.join[room].timeline.events.filter((e) => e.type === "m.room.encrypted" && e.sender === given.ghost);
    return (await phone.read({ ...events.at(-1), room_id: room })) === "for both";
});
assert.ok(told.toDevice > 0);
console.log(`the bridge was told ${told.toDevice} messages to its device, ${told.counts} counts, ${told.lists} lists with alice`);
process.exit(0);
