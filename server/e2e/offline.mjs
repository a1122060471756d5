// A browser in the house, without the internet: it does not trust the board, is told to as the page /trust says, opens
// the house over HTTPS by its name in the network, and calls with its microphone; then the same by the relay alone.
import assert from "node:assert/strict";
import { createHash } from "node:crypto";
import { execFileSync } from "node:child_process";
import { mkdirSync, writeFileSync } from "node:fs";
import path from "node:path";
import { boardCall, boardIsIdle } from "./board.mjs";
import { eventually, given, openPage, say, scenario } from "./browser.mjs";

const { server, name, address, fingerprint, shots } = given;
const { alice } = given.users;
const secure = `https://${name}:8443`;
const flags = [`--host-resolver-rules=MAP ${name} ${address}`]; // Debian's resolver does not ask multicast DNS

await assert.rejects(fetch("http://192.0.2.1/", { signal: AbortSignal.timeout(3000) }), "there is a way out");

await scenario(async (browser) => {
    const page = await openPage(browser, "guest", `${server}/trust`);
    assert.ok((await page.locator("#fingerprint").textContent()).includes(fingerprint), "the page shows another fingerprint than the start");
    await eventually(() => page.waitForFunction(() => document.querySelector(".code").naturalWidth > 100));
    if (shots) await page.screenshot({ path: path.join(shots, "trust.png"), fullPage: true });
    await assert.rejects(openPage(browser, "guest", secure), /ERR_CERT_AUTHORITY_INVALID/);
    say("not trusted yet");
}, ...flags);

const certificate = Buffer.from(await (await fetch(`${server}/ca.crt`)).arrayBuffer());
const print = createHash("sha256").update(certificate).digest("hex").toUpperCase().match(/../g).join(":");
assert.equal(print, fingerprint, "the file has another fingerprint");
const store = path.join(process.env.HOME, ".pki/nssdb");
const file = path.join(process.env.HOME, "porchlight.crt");
mkdirSync(store, { recursive: true });
writeFileSync(file, certificate);
execFileSync("certutil", ["-d", `sql:${store}`, "-N", "--empty-password"]);
execFileSync("certutil", ["-d", `sql:${store}`, "-A", "-n", "porchlight", "-t", "C,,", "-i", file]);

for (const policy of ["all", "relay"]) {
    await scenario(async (browser) => {
        const page = await openPage(browser, "owner", secure);
        await page.context().grantPermissions(["camera", "microphone"], { origin: secure });
        assert.ok(await page.evaluate(() => window.isSecureContext && Boolean(navigator.mediaDevices?.getUserMedia)), "no microphone to be had");
        await page.addInitScript((iceTransportPolicy) => {
            const Ordinary = window.RTCPeerConnection;
            window.RTCPeerConnection = class extends Ordinary {
                constructor(configuration) {
                    super({ ...configuration, iceTransportPolicy });
                }
            };
        }, policy);
        await page.reload();
        await page.getByLabel("User name").fill("alice");
        await page.getByLabel("Password").fill(alice.password);
        await page.getByRole("button", { name: "Sign in" }).click();
        const began = Date.now();
        await page.locator("#call").click();
        await page.locator('.stage[data-state="connected"]').waitFor({ timeout: 20_000 });
        say(`${policy}: connected after ${Date.now() - began} ms`);
        await eventually(async () => {
            const { media } = await boardCall();
            assert.ok(media.heard_level_dbfs > -50, `the board hears ${JSON.stringify(media)}, not Chromium's beep`);
        });
        await eventually(() => page.waitForFunction(() => document.querySelector(".screen video").videoWidth > 0));
        say(`${policy}: both hear and see`);
        await page.getByRole("button", { name: "Hang up" }).click();
        await eventually(boardIsIdle);
    }, ...flags);
}
