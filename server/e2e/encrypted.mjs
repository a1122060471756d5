// Two matrix-js-sdk clients with the Rust crypto library write to each other end-to-end encrypted.
import assert from "node:assert/strict";
import { logIn, given, say, scenario } from "./browser.mjs";

await scenario(async (browser) => {
    const alice = await logIn(browser, "alice", { crypto: true });
    const bob = await logIn(browser, "bob", { crypto: true });

    const room = await alice.createRoom({
        preset: "private_chat",
        invite: [given.users.bob.id],
        initial_state: [{ type: "m.room.encryption", state_key: "", content: { algorithm: "m.megolm.v1.aes-sha2" } }],
    });
    await bob.acceptInvite(room);
    await alice.waitForMember(room, given.users.bob.id);
    await bob.waitForMember(room, given.users.alice.id);

    for (const [from, to, text] of [
        [alice, bob, "Only you can read this"],
        [bob, alice, "And only you this"],
        [alice, bob, "The second of the same session"],
    ]) {
        const id = await from.sendText(room, text);
        const heard = await to.waitForText(room, text, 30);
        assert.equal(heard.id, id);
        assert.equal(heard.wireType, "m.room.encrypted", "it went over the wire encrypted");
        assert.equal(heard.encrypted, true);
        assert.equal(heard.failure, false);
        say(`read by its receiver alone: ${text}`);
    }
    await alice.stop();
    await bob.stop();
});
