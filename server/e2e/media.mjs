// Media as a browser shows them: what is uploaded goes into <img>, <video> and <audio> on a page of another origin, a long
// recording is sought in by ranges, and a page that somebody uploads does not run.
import assert from "node:assert/strict";
import { given, openPage, say, scenario } from "./browser.mjs";

const { server } = given;
const { alice } = given.users;

await scenario(async (browser) => {
    const page = await openPage(browser, "media", given.page);
    const parts = []; // answers to requests for a range
    page.on("response", (response) => {
        const range = response.request().headers().range;
        if (range) parts.push({ range, status: response.status(), answer: response.headers()["content-range"] });
    });
    const token = await logIn(page);
    const media = (kind, uri, query = "") =>
        `${server}/_matrix/client/v1/media/${kind}/${uri.slice("mxc://".length)}?access_token=${encodeURIComponent(token)}${query}`;

    const picture = await page.evaluate(drawn, [server, token]);
    assert.deepEqual(await page.evaluate(shown, media("download", picture)), [400, 300]);
    assert.deepEqual(await page.evaluate(shown, media("thumbnail", picture, "&width=96&height=96&method=crop")), [96, 96]);
    say("a picture and its thumbnail are shown");

    const later = await page.evaluate(comesLater, [server, token]);
    assert.deepEqual(later, [400, 300]);
    say("a picture is shown that was asked for before it was uploaded");

    const film = await page.evaluate(filmed, [server, token]);
    const seen = await page.evaluate(played, media("download", film));
    assert.equal(seen.width, 320);
    assert.ok(seen.time > 0.2, `the film stands at ${seen.time}`);
    say("a film plays");

    const seconds = 200;
    const recording = await page.evaluate(recorded, [server, token, seconds]);
    parts.length = 0;
    const at = await page.evaluate(sought, [media("download", recording), seconds - 10]);
    assert.ok(Math.abs(at.duration - seconds) < 0.1, `it lasts ${at.duration} s`);
    assert.ok(at.time > seconds - 10, `it stands at ${at.time} s`);
    const inside = parts.find((part) => part.status === 206 && !part.range.startsWith("bytes=0-"));
    assert.ok(inside, `no range from the middle was asked for: ${JSON.stringify(parts)}`);
    say(`sought to ${at.time.toFixed(1)} s with ${inside.range}, answered ${inside.answer}`);

    const trap = await page.evaluate(upload, [server, token, "text/html", "<script>document.title = 'ran'</script>"]);
    const frame = await page.evaluate(framed, media("download", trap));
    assert.equal(frame, "empty", "a page that somebody uploaded is shown");
    say("an uploaded page is for saving, not for showing");
});

async function logIn(page) {
    return page.evaluate(async ([server, id, password]) => {
        const answer = await fetch(`${server}/_matrix/client/v3/login`, {
            method: "POST",
            body: JSON.stringify({ type: "m.login.password", identifier: { type: "m.id.user", user: id }, password }),
        });
        return (await answer.json()).access_token;
    }, [server, alice.id, alice.password]);
}

// What follows runs in the page.

async function upload([server, token, type, body]) {
    const answer = await fetch(`${server}/_matrix/media/v3/upload`, {
        method: "POST", headers: { Authorization: `Bearer ${token}`, "Content-Type": type }, body,
    });
    return (await answer.json()).content_uri;
}

async function drawn([server, token]) {
    const canvas = new OffscreenCanvas(400, 300);
    canvas.getContext("2d").fillRect(10, 10, 50, 50);
    const answer = await fetch(`${server}/_matrix/media/v3/upload`, {
        method: "POST", headers: { Authorization: `Bearer ${token}`, "Content-Type": "image/png" }, body: await canvas.convertToBlob(),
    });
    return (await answer.json()).content_uri;
}

async function shown(address) {
    const image = new Image();
    image.crossOrigin = "anonymous";
    image.src = address;
    await image.decode();
    return [image.naturalWidth, image.naturalHeight];
}

async function comesLater([server, token]) {
    const headers = { Authorization: `Bearer ${token}` };
    const made = await (await fetch(`${server}/_matrix/media/v1/create`, { method: "POST", headers, body: "{}" })).json();
    const path = made.content_uri.slice("mxc://".length);
    const image = new Image();
    image.src = `${server}/_matrix/client/v1/media/download/${path}?access_token=${encodeURIComponent(token)}`;
    const decoded = image.decode();
    const canvas = new OffscreenCanvas(400, 300);
    canvas.getContext("2d").fillRect(0, 0, 9, 9);
    await fetch(`${server}/_matrix/media/v3/upload/${path}`, {
        method: "PUT", headers: { ...headers, "Content-Type": "image/png" }, body: await canvas.convertToBlob(),
    });
    await decoded;
    return [image.naturalWidth, image.naturalHeight];
}

async function filmed([server, token]) {
    const canvas = document.createElement("canvas");
    [canvas.width, canvas.height] = [320, 240];
    const context = canvas.getContext("2d");
    const recorder = new MediaRecorder(canvas.captureStream(15), { mimeType: "video/webm" });
    const pieces = [];
    recorder.ondataavailable = (event) => pieces.push(event.data);
    const stopped = new Promise((resolve) => { recorder.onstop = resolve; });
    recorder.start();
    for (let n = 0; n < 20; n++) {
        context.fillStyle = `hsl(${n * 18} 90% 50%)`;
        context.fillRect(0, 0, 320, 240);
        await new Promise((resolve) => setTimeout(resolve, 66));
    }
    recorder.stop();
    await stopped;
    const answer = await fetch(`${server}/_matrix/media/v3/upload`, {
        method: "POST", headers: { Authorization: `Bearer ${token}`, "Content-Type": "video/webm" }, body: new Blob(pieces),
    });
    return (await answer.json()).content_uri;
}

async function played(address) {
    const video = document.createElement("video");
    video.muted = true;
    video.src = address;
    document.body.append(video);
    await video.play();
    while (video.currentTime < 0.3 && !video.ended && !video.error) await new Promise((resolve) => setTimeout(resolve, 50));
    return { width: video.videoWidth, time: video.currentTime };
}

// A recording of noise: 16 bits, 48 kHz, one channel.
async function recorded([server, token, seconds]) {
    const rate = 48000;
    const bytes = new ArrayBuffer(44 + 2 * rate * seconds);
    const view = new DataView(bytes);
    const text = (at, s) => [...s].forEach((c, i) => view.setUint8(at + i, c.charCodeAt(0)));
    text(0, "RIFF");
    view.setUint32(4, bytes.byteLength - 8, true);
    text(8, "WAVEfmt ");
    view.setUint32(16, 16, true);
    view.setUint16(20, 1, true);
    view.setUint16(22, 1, true);
    view.setUint32(24, rate, true);
    view.setUint32(28, 2 * rate, true);
    view.setUint16(32, 2, true);
    view.setUint16(34, 16, true);
    text(36, "data");
    view.setUint32(40, bytes.byteLength - 44, true);
    for (let at = 44; at < bytes.byteLength; at += 2) view.setInt16(at, (at * 7919) % 2000 - 1000, true);
    const answer = await fetch(`${server}/_matrix/media/v3/upload`, {
        method: "POST", headers: { Authorization: `Bearer ${token}`, "Content-Type": "audio/wav" }, body: bytes,
    });
    return (await answer.json()).content_uri;
}

async function sought([address, to]) {
    const video = document.createElement("video");
    video.preload = "metadata";
    video.muted = true;
    const happens = (what) => new Promise((resolve, reject) => {
        video.addEventListener(what, resolve, { once: true });
        video.addEventListener("error", () => reject(new Error(video.error?.message)), { once: true });
    });
    const known = happens("loadedmetadata");
    video.src = address;
    await known;
    const there = happens("seeked");
    video.currentTime = to;
    await there;
    await video.play();
    while (video.currentTime < to + 0.2) await new Promise((resolve) => setTimeout(resolve, 50));
    return { duration: video.duration, time: video.currentTime };
}

async function framed(address) {
    const frame = document.createElement("iframe");
    frame.src = address;
    document.body.append(frame);
    await new Promise((resolve) => setTimeout(resolve, 1000));
    // Still the empty page of our own origin if nothing was shown in it.
    return frame.contentDocument && frame.contentDocument.body.childElementCount === 0 ? "empty" : "shown";
}
