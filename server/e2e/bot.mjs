// A bot on matrix-bot-sdk, as its documentation shows one: accepts every invitation and answers "!hello" and "!members".
// Runs until it is ended; what it remembers between runs stands in the file given.
import { createRequire } from "node:module";
const require = createRequire(import.meta.url);

// The framework's crypto library is a binary that its package downloads from elsewhere when it is installed. We do without,
// and so without encrypted rooms; but the framework wants to load it even so.
require.cache[require.resolve("@matrix-org/matrix-sdk-crypto-nodejs")] = { exports: {} };
const { AutojoinRoomsMixin, LogLevel, LogService, MatrixClient, SimpleFsStorageProvider } = require("matrix-bot-sdk");

const { server, token, memory } = JSON.parse(process.env.PORCHLIGHT_E2E);

LogService.setLevel(LogLevel.WARN);
const client = new MatrixClient(server, token, new SimpleFsStorageProvider(memory));
AutojoinRoomsMixin.setupOnClient(client);
const self = await client.getUserId();

client.on("room.message", async (room, event) => {
    if (event.sender === self || event.content?.msgtype !== "m.text") return;
    const [command, ...words] = event.content.body.split(" ");
    if (command === "!hello") await client.replyText(room, event, `Hello ${words.join(" ")}`);
    if (command === "!members") await client.sendNotice(room, (await client.getJoinedRoomMembers(room)).sort().join(", "));
});
client.on("room.join", (room) => console.log(`joined ${room}`));

await client.start();
console.log(`${self} listens`);
