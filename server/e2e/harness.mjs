// The harness itself, without any server: the page loads, the crypto library starts, the fake camera moves and beeps.
import assert from "node:assert/strict";
import { eventually, openClient, say, scenario } from "./browser.mjs";

await scenario(async (browser) => {
    const client = await openClient(browser, "alone");
    say(`crypto: ${await client.cryptoStarts()}`);

    say(`devices: ${(await client.fakeDevices()).join(", ")}`);
    await eventually(async () => assert.ok((await client.movement()) > 0.001, "the fake camera's picture stands still"));
    say(`picture: ${JSON.stringify(await client.picture())}`);
    await eventually(async () => assert.ok((await client.tone()).level > 0.01, "the fake microphone is silent"));
    say(`sound: ${JSON.stringify(await client.tone())}`);
});
