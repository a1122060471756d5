// Two libraries that have nothing in common but the standard: matrix-js-sdk with its Rust crypto writes end-to-end encrypted
// with matrix-nio and its Olm (nio_encrypted.py), in both directions.
import assert from "node:assert/strict";
import { spawn } from "node:child_process";
import { eventually, given, logIn, say, scenario } from "./browser.mjs";
import { encryptedRoom } from "./trust.mjs";

const bobId = given.users.bob.id;

await scenario(async (browser) => {
    const nio = startNio();
    try {
        const { ready } = await nio.told("ready");
        const alice = await logIn(browser, "alice", { crypto: true });
        const inviting = { acceptInvite: () => undefined }; // nio accepts by itself
        const room = await encryptedRoom(alice, [inviting, bobId]);
        const texts = ["Hello nio", "The second of the same session – 🐈", "And one of a new session"];
        for (const [i, text] of texts.entries()) {
            if (i === 2) await alice.step(({ client }, room) => client.getCrypto().forceDiscardSession(room), room);
            await alice.sendText(room, text);
            const { decrypted, by } = await nio.told("read", text);
            assert.deepEqual([decrypted, by], [true, given.users.alice.id]);
            const answer = await alice.waitForText(room, `nio read: ${text}`, 30);
            assert.equal(answer.sender, bobId);
            assert.equal(answer.wireType, "m.room.encrypted");
            assert.equal(answer.failure, false);
            say(`both ways: ${text}`);
        }
        assert.deepEqual(nio.lines.filter((line) => line.unreadable), []);
        const devices = await alice.step(async ({ client }, whom) => {
            return [...(await client.getCrypto().getUserDeviceInfo([whom])).get(whom).keys()];
        }, bobId);
        assert.deepEqual(devices, [ready]);
    } finally {
        nio.end();
    }
});

/** Starts nio and collects what it tells, a line of JSON each. */
function startNio() {
    const nio = spawn("/usr/bin/python3", ["nio_encrypted.py"], { stdio: ["ignore", "pipe", "inherit"] });
    const lines = [];
    let rest = "";
    nio.stdout.setEncoding("utf8").on("data", (chunk) => {
        const whole = (rest + chunk).split("\n");
        rest = whole.pop();
        lines.push(...whole.map((line) => JSON.parse(line)));
    });
    return {
        lines,
        end: () => nio.kill(),
        /** Waits for a line that has this key, and this value if one is given. */
        told: (key, value) => eventually(() => {
            const line = lines.find((line) => key in line && (value === undefined || line[key] === value));
            assert.ok(line, `nio has not told ${key} ${value ?? ""}: ${JSON.stringify(lines)}`);
            return line;
        }, 30),
    };
}
