// Who is who: cross-signing, secrets kept on the server, key backup, emoji verification of one's own second device and of
// another person, a third device that gets everything back with the recovery key, and somebody who comes late to a room.
import assert from "node:assert/strict";
import { given, logIn, say, scenario } from "./browser.mjs";
import { backUp, encryptedRoom, setUpTrust, verify } from "./trust.mjs";

const [aliceId, bobId, carolId] = ["alice", "bob", "carol"].map((name) => given.users[name].id);

await scenario(async (browser) => {
    const [alice, bob, carol] = await Promise.all(["alice", "bob", "carol"].map((name) => logIn(browser, name, { crypto: true })));
    const recovery = await setUpTrust(alice, "alice");
    await setUpTrust(bob, "bob");
    await setUpTrust(carol, "carol");
    say("three people have cross-signing, secret storage and a key backup");

    // A second device of the same person.
    const second = await logIn(browser, "alice", { crypto: true });
    assert.equal(await trusted(alice, second, false), false, "a new device is not trusted yet");
    const emoji = await verify(second, alice, { own: true });
    assert.equal(await trusted(alice, second), true, "the first device trusts the second");
    assert.equal(await trusted(second, alice), true, "and the second the first");
    say(`two devices of one person show each other ${emoji}`);

    // The second device now has the secrets from the first, without any recovery key typed in.
    const secrets = await second.step(async ({ client, until }) => {
        const crypto = client.getCrypto();
        await until("the backup key to be sent by the first device", () => crypto.getSessionBackupPrivateKey(), 30);
        const { privateKeysCachedLocally } = await crypto.getCrossSigningStatus();
        return privateKeysCachedLocally;
    });
    assert.deepEqual(secrets, { masterKey: true, selfSigningKey: true, userSigningKey: true });
    say("the first device gave its secrets to the second");

    // Another person, in the room they share.
    const room = await encryptedRoom(alice, [bob, bobId]);
    const shown = await verify(alice, bob, { room, other: bobId });
    for (const [who, whom] of [[alice, bobId], [bob, aliceId]]) {
        const status = await who.step(async ({ client, until }, whom) => {
            return until(`${whom} to be verified`, async () => {
                return (await client.getCrypto().getUserVerificationStatus(whom)).isCrossSigningVerified();
            });
        }, whom);
        assert.equal(status, true);
    }
    // What one device signs, the other learns from the server.
    assert.equal(await second.step(async ({ client, until }, whom) => {
        return until(`${whom} to be verified here, too`, async () => {
            return (await client.getCrypto().getUserVerificationStatus(whom)).isCrossSigningVerified();
        });
    }, bobId), true);
    say(`two people show each other ${shown}`);

    // Old messages on a device that was not there when they were written.
    const texts = ["The key is under the mat", "It is not there any more"];
    await alice.sendText(room, texts[0]);
    await bob.sendText(room, texts[1]);
    for (const text of texts) await alice.waitForText(room, text);
    await backUp(alice, 2);
    const restored = await logIn(browser, "alice", { crypto: true });
    const blind = await restored.step(async ({ client, until }, room) => {
        const events = await until("the old messages", () => {
            const found = client.getRoom(room)?.getLiveTimeline().getEvents().filter((e) => e.getWireType() === "m.room.encrypted");
            return found?.length >= 2 && found.every((e) => e.isDecryptionFailure()) && found;
        });
        return events.length;
    }, room);
    const counts = await restored.step(async ({ client, secrets, cryptoApi, until }, recovery) => {
        secrets.key = cryptoApi.decodeRecoveryKey(recovery);
        const crypto = client.getCrypto();
        await crypto.userHasCrossSigningKeys(client.getUserId(), true);
        await crypto.bootstrapCrossSigning({});
        await crypto.loadSessionBackupPrivateKeyFromSecretStorage();
        await crypto.checkKeyBackupAndEnable();
        const result = await crypto.restoreKeyBackup();
        return { imported: result.imported, total: result.total };
    }, recovery);
    assert.ok(counts.imported >= 2 && counts.imported === counts.total, JSON.stringify(counts));
    for (const text of texts) {
        const heard = await restored.waitForText(room, text);
        assert.equal(heard.wireType, "m.room.encrypted");
        assert.equal(heard.failure, false);
    }
    assert.equal(await trusted(alice, restored), true, "the recovery key made the third device a trusted one");
    say(`a third device could not read ${blind} messages, restored ${counts.imported} keys and reads them`);

    // Late: the keys of a room with shared history come with the invitation; what was written while only others were there is read.
    await late(alice, bob, carol);
    for (const client of [second, restored, alice, bob, carol]) await client.stop();
});

/** Whether one client trusts the other's device by cross-signing, or comes to. */
async function trusted(who, whom, wanted = true) {
    const [user, device] = await whom.step(({ client }) => [client.getUserId(), client.getDeviceId()]);
    return who.step(async ({ client, until }, user, device, wanted) => {
        const status = await until(`${device} to be known, and trusted: ${wanted}`, async () => {
            const status = await client.getCrypto().getDeviceVerificationStatus(user, device);
            return status?.crossSigningVerified === wanted && status;
        });
        return status.crossSigningVerified;
    }, user, device, wanted);
}

/** Carol comes to two rooms late; in one of them history is shared, in the other it begins with whoever joins. */
async function late(alice, bob, carol) {
    const text = "Written before Carol came";
    for (const [visibility, readable] of [["shared", true], ["joined", false]]) {
        const room = await encryptedRoom(alice, [bob, bobId], visibility);
        const before = await alice.sendText(room, text);
        await bob.waitForText(room, text);
        await alice.step(({ client }, room, whom) => client.invite(room, whom), room, carolId);
        await carol.acceptInvite(room);
        await alice.waitForMember(room, carolId);
        const after = await alice.sendText(room, "Written after");
        assert.equal((await carol.waitForText(room, "Written after")).failure, false);
        const seen = await carol.step(async ({ client, until }, roomId, before, readable) => {
            const room = client.getRoom(roomId);
            while (await client.scrollback(room, 30), room.oldState.paginationToken);
            const event = room.findEventById(before);
            if (readable) await until("the key of what was written before", () => event?.getClearContent());
            return event ? event.getContent().body : "not there";
        }, room, before, readable);
        assert.equal(seen, readable ? text : "not there");
        say(`to who comes late, with history ${visibility}, the message before is: ${seen}; ${after} is read`);
    }
}
