// Two people, two matrix-js-sdk clients: log in, meet in a room, write to each other.
import assert from "node:assert/strict";
import { logIn, given, say, scenario } from "./browser.mjs";

await scenario(async (browser) => {
    const alice = await logIn(browser, "alice");
    const bob = await logIn(browser, "bob");
    const [aliceId, bobId] = [given.users.alice.id, given.users.bob.id];

    const room = await alice.createRoom({ preset: "private_chat", name: "Kitchen", invite: [bobId] });
    await bob.acceptInvite(room);
    await alice.waitForMember(room, bobId);
    say(`met in ${room}`);

    for (const [from, to, sender, text] of [
        [alice, bob, aliceId, "Is the door open?"],
        [bob, alice, bobId, "It is, come in – 🐈 included"],
    ]) {
        const id = await from.sendText(room, text);
        const heard = await to.waitForText(room, text);
        assert.equal(heard.id, id);
        assert.equal(heard.sender, sender);
        assert.equal((await from.waitForText(room, text)).id, id, "the sender's own copy has the same id");
        say(`${sender}: ${text}`);
    }
    await alice.stop();
    await bob.stop();
});
