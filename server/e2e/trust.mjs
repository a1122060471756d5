// What the walks through end-to-end encryption share.
import assert from "node:assert/strict";
import { given } from "./browser.mjs";

/** Makes cross-signing keys, secret storage and, if wanted, a key backup; gives the recovery key as it is shown to the user. */
export async function setUpTrust(client, name, { backup = true } = {}) {
    const made = await client.step(async ({ client, secrets }, user, password, backup) => {
        const crypto = client.getCrypto();
        let asked = 0;
        await crypto.bootstrapCrossSigning({
            authUploadDeviceSigningKeys: async (upload) => {
                asked++;
                await upload({ type: "m.login.password", identifier: { type: "m.id.user", user }, password });
            },
        });
        const key = await crypto.createRecoveryKeyFromPassphrase();
        secrets.key = key.privateKey;
        await crypto.bootstrapSecretStorage({ createSecretStorageKey: async () => key, setupNewKeyBackup: backup });
        return {
            asked,
            recovery: key.encodedPrivateKey,
            crossSigning: await crypto.isCrossSigningReady(),
            storage: await crypto.isSecretStorageReady(),
            backup: await crypto.getActiveSessionBackupVersion(),
        };
    }, given.users[name].id, given.users[name].password, backup);
    assert.equal(made.asked, 1);
    assert.equal(made.crossSigning, true, "cross-signing is not ready");
    assert.equal(made.storage, true, "secret storage is not ready");
    assert.equal(made.backup !== null, backup, "there is a key backup if it was wanted");
    return made.recovery;
}

/** Waits until the server's backup holds at least so many keys; clients let up to ten seconds pass before they upload. */
export async function backUp(client, count) {
    await client.step(async ({ client, until }, count) => {
        const stored = () => client.http.authedRequest("GET", "/room_keys/version", undefined, undefined, { prefix: "/_matrix/client/v3" });
        await until(`${count} keys in the backup`, async () => (await stored()).count >= count, 40);
    }, count);
}

/** Makes an encrypted room of the client with others, who join. */
export async function encryptedRoom(client, [other, otherId], visibility = "shared") {
    const room = await client.createRoom({
        preset: "private_chat",
        invite: [otherId],
        initial_state: [
            { type: "m.room.encryption", state_key: "", content: { algorithm: "m.megolm.v1.aes-sha2" } },
            { type: "m.room.history_visibility", state_key: "", content: { history_visibility: visibility } },
        ],
    });
    await other.acceptInvite(room);
    await client.waitForMember(room, otherId);
    return room;
}

/** One asks, the other accepts, both compare emoji and confirm; gives the emoji. Between own devices, or in a room. */
export async function verify(asker, asked, { own = false, room, other }) {
    const watch = asked.step(({ client, cryptoApi }) => new Promise((resolve) => {
        client.once(cryptoApi.CryptoEvent.VerificationRequestReceived, (request) => {
            window.request = request;
            resolve();
        });
    }));
    await asker.step(async ({ client }, own, room, other) => {
        const crypto = client.getCrypto();
        window.request = own ? await crypto.requestOwnUserVerification() : await crypto.requestVerificationDM(other, room);
    }, own, room, other);
    await watch;
    await asked.step(() => window.request.accept());
    const begun = asker.step(async ({ cryptoApi, until }) => {
        await until("the request to be accepted", () => window.request.phase === cryptoApi.VerificationPhase.Ready);
        window.verifier = await window.request.startVerification("m.sas.v1");
    });
    await begun;
    await asked.step(async ({ until }) => {
        await until("the verification to start", () => window.request.verifier);
        window.verifier = window.request.verifier;
    });
    const both = [asker, asked];
    const shown = await Promise.all(both.map((client) => client.step(async ({ cryptoApi, until }) => {
        window.verifier.once(cryptoApi.VerifierEvent.ShowSas, (sas) => (window.sas = sas));
        window.verified = window.verifier.verify();
        window.sas ??= window.verifier.getShowSasCallbacks();
        await until("the emoji", () => window.sas);
        return window.sas.sas.emoji.map(([sign]) => sign).join(" ");
    })));
    assert.equal(shown[0], shown[1], "both see the same emoji");
    await Promise.all(both.map((client) => client.step(async ({ cryptoApi, until }) => {
        await window.sas.confirm();
        await window.verified;
        await until("the request to be done", () => window.request.phase === cryptoApi.VerificationPhase.Done);
        window.sas = window.verifier = window.request = undefined;
    })));
    return shown[0];
}
