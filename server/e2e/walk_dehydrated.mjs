// Somebody logs out everywhere, and is written to: the keys go to a dehydrated device that the server keeps (MSC3814). With
// the next login it is brought back to life, and what was written meanwhile is read. There is no key backup to help.
import assert from "node:assert/strict";
import { given, logIn, say, scenario } from "./browser.mjs";
import { encryptedRoom, setUpTrust } from "./trust.mjs";

const [aliceId, bobId] = [given.users.alice.id, given.users.bob.id];

await scenario(async (browser) => {
    const alice = await logIn(browser, "alice", { crypto: true });
    const bob = await logIn(browser, "bob", { crypto: true });
    const recovery = await setUpTrust(alice, "alice", { backup: false });
    const room = await encryptedRoom(alice, [bob, bobId]);
    await bob.sendText(room, "See you");
    await alice.waitForText(room, "See you", 30);

    assert.equal(await alice.step(({ client }) => client.getCrypto().isDehydrationSupported()), true);
    await alice.step(({ client }) => client.getCrypto().startDehydration());
    const first = await asleep(bob);
    const own = await alice.step(({ client }) => client.getDeviceId());
    assert.ok(first.device && first.device !== own);
    assert.equal(first.signed, true, "its owner has signed the sleeping device");

    await alice.stop(); // logs out
    await bob.step(({ client, until }, whom, device) => until("only the sleeping device to be left", async () => {
        const devices = (await client.getCrypto().getUserDeviceInfo([whom])).get(whom);
        return devices.size === 1 && devices.has(device);
    }), aliceId, first.device);
    say(`Alice has no device but ${first.device}, which sleeps`);

    const missed = ["You forgot your umbrella", "It rains"];
    for (const text of missed) await bob.sendText(room, text);
    await bob.step(({ client }, room) => client.getCrypto().forceDiscardSession(room), room);
    missed.push("It still does");
    await bob.sendText(room, missed[2]); // with another key

    const back = await logIn(browser, "alice", { crypto: true });
    const seen = await back.step(async ({ client, cryptoApi, secrets }, recovery) => {
        const told = { errors: [] };
        client.on(cryptoApi.CryptoEvent.RehydrationProgress, (keys, events) => Object.assign(told, { keys, events }));
        client.on(cryptoApi.CryptoEvent.RehydrationError, (message) => told.errors.push(message));
        client.on(cryptoApi.CryptoEvent.RehydrationCompleted, () => (told.completed = true));
        secrets.key = cryptoApi.decodeRecoveryKey(recovery);
        const crypto = client.getCrypto();
        await crypto.userHasCrossSigningKeys(client.getUserId(), true);
        await crypto.bootstrapCrossSigning({});
        await crypto.startDehydration();
        return told;
    }, recovery);
    assert.deepEqual(seen, { errors: [], keys: 2, events: 2, completed: true });
    for (const text of missed) {
        const heard = await back.waitForText(room, text, 30);
        assert.deepEqual([heard.wireType, heard.failure], ["m.room.encrypted", false]);
    }
    // What was said before she left had other keys, which nobody kept for her.
    const lost = await back.step(({ client, until }, room) => until("the rest of the room to be undecipherable", () => {
        return client.getRoom(room).getLiveTimeline().getEvents().filter((e) => e.isDecryptionFailure()).length;
    }), room);
    assert.equal(lost, 1);
    const next = await asleep(bob, first.device);
    assert.notEqual(next.device, first.device, "a device is woken only once");
    say(`woken with ${seen.keys} keys of ${seen.events} messages, Alice reads: ${missed.join(", ")}; now ${next.device} sleeps`);
});

/** The dehydrated device of Alice as Bob knows it, once it is another than `not`. */
async function asleep(bob, not) {
    return bob.step(({ client, until }, whom, not) => until("a dehydrated device", async () => {
        const devices = (await client.getCrypto().getUserDeviceInfo([whom])).get(whom);
        const device = [...(devices?.values() ?? [])].find((d) => d.dehydrated && d.deviceId !== not);
        const status = device && await client.getCrypto().getDeviceVerificationStatus(whom, device.deviceId);
        return device && { device: device.deviceId, signed: status.signedByOwner };
    }), aliceId, not);
}
