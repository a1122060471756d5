// Our own page, as its people use it: the owner claims the house by the printed link, calls the porch with camera and
// microphone, hangs up and is hung up on; a guest is turned away; and over plain HTTP one watches and listens.
import assert from "node:assert/strict";
import path from "node:path";
import { boardCall, boardIsIdle } from "./board.mjs";
import { eventually, given, openPage, say, scenario } from "./browser.mjs";

const { server, claimLink, shots } = given;
const { alice } = given.users;

// The same server under a name that browsers take for a stranger's: plain HTTP without microphone.
const plain = new URL(server);
plain.hostname = "porch.test";

const phone = { viewport: { width: 390, height: 844 }, deviceScaleFactor: 2, hasTouch: true, isMobile: true };
const desktop = { viewport: { width: 1280, height: 800 } };

await scenario(async (browser) => {
    const page = await openPage(browser, "owner", claimLink, { ...phone, colorScheme: "light" });
    const context = page.context();
    await context.grantPermissions(["camera", "microphone"], { origin: server });
    await refusesBadClaims(page);
    await claims(page);
    await showsHome(page);

    await calls(page, "call");
    await sees(page);
    await hears(page);
    await eventually(async () => {
        const { media } = await boardCall();
        assert.ok(media.heard_level_dbfs > -50, `the board hears ${JSON.stringify(media)}, not Chromium's beep`);
        assert.ok(media.video_received > 0, "the board gets no picture of the caller");
    });
    say("the board hears the caller");
    await shoot(page, "call-phone-light");
    await mutes(page);
    await page.getByRole("button", { name: "Hang up" }).click();
    await page.locator("#call").waitFor();
    await eventually(boardIsIdle);
    say("hung up");

    await calls(page, "watch");
    await sees(page);
    assert.equal(await page.getByRole("button", { name: "Mute" }).count(), 0, "there is nothing to mute when watching");
    await page.goto("about:blank"); // closing the page hangs up
    await eventually(boardIsIdle);
    say("watched, and left");

    await page.goto(server); // still signed in
    await findsAnotherPath(page);
    await showsItselfLater(page);
    await page.getByRole("button", { name: "Sign out" }).click();
    await page.getByRole("button", { name: "Sign in" }).waitFor();
    await shoot(page, "signin-phone-light");
    say("signed out");

    await inTheDark(browser);
    await strangers(browser);
    await overPlainHttp(browser);
    await signedOutElsewhere(browser);
}, `--host-resolver-rules=MAP porch.test 127.0.0.1`);

async function refusesBadClaims(page) {
    await page.getByLabel("Your user name").waitFor();
    assert.equal(new URL(page.url()).hash, "", "the code stays in the address bar");
    const fill = async (name, password, again) => {
        await page.getByLabel("Your user name").fill(name);
        await page.getByLabel("Password", { exact: true }).fill(password);
        await page.getByLabel("Password, once more").fill(again);
        await page.getByRole("button", { name: "Make this house mine" }).click();
    };
    for (const [name, password, again, why] of [
        ["alice", alice.password, "another one", /not the same/],
        ["no spaces", alice.password, alice.password, /user name/],
        ["porch", alice.password, alice.password, /taken|in use/i],
    ]) {
        await fill(name, password, again);
        await eventually(async () => assert.match(await page.getByRole("alert").textContent(), why));
    }
    await shoot(page, "claim-phone-light");
}

async function claims(page) {
    await page.getByLabel("Your user name").fill("Alice");
    await page.getByLabel("Your name, as others see it").fill("Alice of the house");
    await page.getByLabel("Password", { exact: true }).fill(alice.password);
    await page.getByLabel("Password, once more").fill(alice.password);
    await page.getByRole("button", { name: "Make this house mine" }).click();
    await page.locator("#call").waitFor();
    say("claimed the house");
}

async function showsHome(page) {
    assert.equal(await page.getByLabel("The server's address", { exact: true }).inputValue(), server);
    assert.equal(await page.getByLabel("Your user ID", { exact: true }).inputValue(), alice.id);
    await page.getByText("The house", { exact: true }).waitFor();
    await shoot(page, "home-phone-light");
}

async function calls(page, button) {
    const began = Date.now();
    await page.locator(`#${button}`).click();
    await page.locator('.stage[data-state="connected"]').waitFor({ timeout: 15_000 });
    say(`${button}: connected after ${Date.now() - began} ms`);
}

/** The porch's picture moves. */
async function sees(page) {
    const frame = () => page.evaluate(() => {
        const video = document.querySelector(".screen video");
        if (!video.videoWidth) return null;
        const canvas = new OffscreenCanvas(video.videoWidth, video.videoHeight);
        const context = canvas.getContext("2d");
        context.drawImage(video, 0, 0);
        const { data } = context.getImageData(0, 0, canvas.width, canvas.height);
        let sum = 0;
        for (let i = 0; i < data.length; i += 4) sum = (sum * 31 + data[i]) % 1_000_003;
        return { width: video.videoWidth, height: video.videoHeight, sum };
    });
    const first = await eventually(async () => {
        const seen = await frame();
        assert.ok(seen, "no picture");
        return seen;
    });
    await eventually(async () => assert.notEqual((await frame()).sum, first.sum, "the picture stands still"));
    say(`picture: ${first.width} × ${first.height}, moving`);
}

/** The porch's test tone comes out of the page's video element, loud enough and at its pitch. */
async function hears(page) {
    await eventually(async () => {
        const tone = await page.evaluate(async () => {
            const { audio } = (window.listening ??= await (async () => {
                const audio = new AudioContext();
                const analyser = audio.createAnalyser();
                analyser.fftSize = 8192;
                audio.createMediaStreamSource(document.querySelector(".screen video").srcObject).connect(analyser);
                return { audio: { analyser, rate: audio.sampleRate } };
            })());
            const bins = new Float32Array(audio.analyser.frequencyBinCount);
            audio.analyser.getFloatFrequencyData(bins);
            const loudest = bins.indexOf(Math.max(...bins));
            return { hertz: (loudest * audio.rate) / audio.analyser.fftSize, level: bins[loudest] };
        });
        assert.ok(Math.abs(tone.hertz - given.board.toneHz) < 20 && tone.level > -60, `heard ${JSON.stringify(tone)}`);
    });
    const { paused, muted } = await page.evaluate(() => document.querySelector(".screen video"));
    assert.ok(!paused && !muted);
    say("the porch's tone is heard");
}

/** Microphone and camera go off and on without another offer. */
async function mutes(page) {
    await page.getByRole("button", { name: "Mute", exact: true }).click();
    await eventually(async () => assert.ok((await boardCall()).media.heard_level_dbfs < -50, "the board still hears a muted caller"));
    await page.getByRole("button", { name: "Unmute" }).click();
    await eventually(async () => assert.ok((await boardCall()).media.heard_level_dbfs > -50, "the board does not hear the caller again"));
    await page.getByRole("button", { name: "Camera off" }).click();
    await page.getByRole("button", { name: "Camera on" }).click();
    await page.getByRole("button", { name: "Camera off" }).waitFor();
    say("muted and unmuted; camera off and on");
}

/** A broken connection is mended by an offer in the midst of the call. */
async function findsAnotherPath(page) {
    await page.evaluate(() => {
        const Real = RTCPeerConnection;
        window.RTCPeerConnection = function (...args) {
            return (window.connection = new Real(...args));
        };
    });
    await calls(page, "call");
    await sees(page);
    const user = () => page.evaluate(() => /a=ice-ufrag:(.*)/.exec(window.connection.currentRemoteDescription.sdp)[1]);
    const before = await user();
    await page.evaluate(() => {
        Object.defineProperty(window.connection, "connectionState", { value: "failed", configurable: true });
        window.connection.dispatchEvent(new Event("connectionstatechange"));
    });
    await said(page, "The connection is shaky");
    await eventually(async () => assert.notEqual(await user(), before, "the porch did not answer the offer"));
    await page.evaluate(() => {
        delete window.connection.connectionState;
        window.connection.dispatchEvent(new Event("connectionstatechange"));
    });
    await page.locator('.stage[data-state="connected"]').waitFor();
    await sees(page);
    await page.goBack(); // as good as hanging up
    await page.locator("#call").waitFor();
    await eventually(boardIsIdle);
    say("found another path in the midst of a call; the back button hangs up");
}

/** A call begun without the camera can get it later, without another offer. */
async function showsItselfLater(page) {
    await page.getByLabel("Show my camera when I call").uncheck();
    await calls(page, "call");
    await eventually(async () => assert.ok((await boardCall()).media.audio_received > 0));
    assert.equal((await boardCall()).media.video_received, 0);
    await page.getByRole("button", { name: "Camera on" }).click();
    await eventually(async () => assert.ok((await boardCall()).media.video_received > 0, "the board gets no picture of the caller"));
    await page.getByRole("button", { name: "Hang up" }).click();
    await page.locator("#call").waitFor();
    await eventually(boardIsIdle);
    say("showed the camera later");
}

async function signsIn(page, user, password) {
    await page.getByLabel("User name").fill(user);
    await page.getByLabel("Password").fill(password);
    await page.getByRole("button", { name: "Sign in" }).click();
}

/** The same on a desktop in the dark, by keyboard only. */
async function inTheDark(browser) {
    const page = await openPage(browser, "desktop", server, { ...desktop, colorScheme: "dark" });
    await page.getByLabel("User name").waitFor();
    await shoot(page, "signin-desktop-dark");
    await signsIn(page, alice.id, "not the password");
    await eventually(async () => assert.match(await page.getByRole("alert").textContent(), /wrong/));
    await signsIn(page, alice.id, alice.password);
    await page.getByText("The house", { exact: true }).waitFor();
    await shoot(page, "home-desktop-dark");
    await page.locator("#call").focus();
    await page.keyboard.press("Enter");
    await page.locator('.stage[data-state="connected"]').waitFor();
    await sees(page);
    await page.waitForTimeout(1500); // for the screenshot: the picture fades in
    await shoot(page, "call-desktop-dark");
    await page.getByRole("button", { name: "Hang up" }).focus();
    await page.keyboard.press("Enter");
    await page.locator("#call").waitFor();
    await eventually(boardIsIdle);
    await page.context().close();
}

/** Somebody who is not on the board's list is told so. */
async function strangers(browser) {
    const page = await openPage(browser, "guest", server, { ...phone, colorScheme: "dark" });
    await signsIn(page, "bob", given.users.bob.password);
    await page.locator("#watch").click();
    await said(page, "Only people on its list");
    await shoot(page, "declined-phone-dark");
    await page.getByRole("button", { name: "Back", exact: true }).click();
    await page.locator("#watch").waitFor();
    assert.equal(await page.getByText("The house", { exact: true }).isVisible(), false, "the house's state is the owner's affair");
    say("a stranger is told that the porch does not take the call");
    await page.context().close();
}

/** Without HTTPS browsers have no microphone: one watches and listens, and is told why. */
async function overPlainHttp(browser) {
    const page = await openPage(browser, "plain", plain.href, { ...phone, colorScheme: "dark" });
    assert.equal(await page.evaluate(() => window.isSecureContext), false);
    await signsIn(page, "alice", alice.password);
    await page.getByText("open this page over HTTPS").waitFor();
    assert.equal(await page.locator("#call").count(), 0);
    await shoot(page, "home-plain-phone-dark");
    await calls(page, "watch");
    await sees(page);
    await hears(page);
    await shoot(page, "watch-plain-phone-dark");
    await page.getByRole("button", { name: "Hang up" }).click();
    await eventually(boardIsIdle);
    say("watched and listened over plain HTTP");
    await page.context().close();
}

/** A session that was ended elsewhere leads back to the door, also in the midst of a call. */
async function signedOutElsewhere(browser) {
    const page = await openPage(browser, "ended", server, { ...phone, colorScheme: "light" });
    await signsIn(page, "@Alice", alice.password);
    await page.locator("#watch").waitFor();

    await page.context().setOffline(true);
    await page.getByText("The server cannot be reached right now.").waitFor();
    await page.context().setOffline(false);
    await page.getByText("The server cannot be reached right now.").waitFor({ state: "hidden" });
    say("lost the server and found it again");

    await calls(page, "watch");
    await page.evaluate(async () => {
        const { token } = JSON.parse(localStorage.getItem("porchlight.session"));
        await fetch("/_matrix/client/v3/logout", { method: "POST", headers: { Authorization: `Bearer ${token}` }, body: "{}" });
    });
    await page.getByText("You were signed out").waitFor();
    assert.equal(await page.evaluate(() => localStorage.getItem("porchlight.session")), null);
    say("was signed out elsewhere");
    await page.context().close();
}

/** Takes a screenshot if somebody wants to look at them. */
async function shoot(page, name) {
    if (shots) await page.screenshot({ path: path.join(shots, `${name}.png`), fullPage: true });
}

/** Waits until the line above the picture says this. */
function said(page, words) {
    return page.locator(".line", { hasText: words }).waitFor();
}
