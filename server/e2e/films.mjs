// A clip that the owner asks the board for, as a browser plays it.
import assert from "node:assert/strict";
import { given, openPage, say, scenario } from "./browser.mjs";

const { server, want } = given;
const { alice } = given.users;

await scenario(async (browser) => {
    const page = await openPage(browser, "clips", given.page);
    const event = await page.evaluate(asked, [server, alice, "clip 3s"]);
    const { msgtype, info, url } = event.content;
    assert.equal(msgtype, "m.video", JSON.stringify(event));
    assert.equal(info.mimetype, want.type);
    assert.deepEqual([info.w, info.h], [want.width, want.height]);
    assert.ok(info.duration > 2500 && info.duration < 6000, `it says that it lasts ${info.duration} ms`);

    const film = await page.evaluate(played, [server, event.token, url]);
    say(JSON.stringify(film));
    assert.equal(film.error, null);
    assert.deepEqual([film.width, film.height], [want.width, want.height]);
    assert.ok(Math.abs(film.duration - info.duration / 1000) < 0.1, `it lasts ${film.duration} s`);
    assert.ok(film.at.length > 5 && film.at.at(-1) > film.at[0] + 0.3, `it does not move on: ${film.at}`);
    assert.ok(film.sound > 0, "no sound was decoded");
    assert.ok(film.sought > 1.9, `sought to 2 s it stands at ${film.sought}`);
    assert.ok(film.colours > 10, `the picture has ${film.colours} colours`);

    if (info.thumbnail_url) {
        const size = await page.evaluate(shown, [server, event.token, info.thumbnail_url]);
        assert.deepEqual(size, [info.thumbnail_info.w, info.thumbnail_info.h]);
        say("the thumbnail is shown");
    }
});

// What follows runs in the page.

async function asked([server, user, text]) {
    const call = async (method, path, body, token) => (await fetch(`${server}/_matrix/client/v3/${path}`, {
        method, headers: token ? { Authorization: `Bearer ${token}` } : {}, body: body && JSON.stringify(body),
    })).json();
    const token = (await call("POST", "login", {
        type: "m.login.password", identifier: { type: "m.id.user", user: user.id }, password: user.password,
    })).access_token;
    const [room] = (await call("GET", "joined_rooms", null, token)).joined_rooms;
    let { next_batch: since } = await call("GET", "sync", null, token);
    await call("PUT", `rooms/${encodeURIComponent(room)}/send/m.room.message/1`, { msgtype: "m.text", body: text }, token);
    for (const end = Date.now() + 60_000; Date.now() < end;) {
        const news = await call("GET", `sync?timeout=5000&since=${since}`, null, token);
        since = news.next_batch;
        for (const event of news.rooms?.join?.[room]?.timeline?.events ?? []) {
            if (event.content.url || event.content.body?.startsWith("I could not")) return { ...event, token };
        }
    }
    return { content: {} };
}

async function played([server, token, uri]) {
    const answer = await fetch(`${server}/_matrix/client/v1/media/download/${uri.slice("mxc://".length)}`, { headers: { Authorization: `Bearer ${token}` } });
    const video = document.createElement("video");
    const failed = new Promise((resolve) => video.addEventListener("error", resolve));
    const pause = (ms) => new Promise((resolve) => setTimeout(resolve, ms));
    video.src = URL.createObjectURL(await answer.blob());
    document.body.append(video);
    const at = [];
    await Promise.race([video.play(), failed]);
    while (at.length < 100 && video.currentTime < 1 && !video.error) {
        at.push(video.currentTime);
        await pause(50);
    }
    const sound = video.webkitAudioDecodedByteCount;
    const canvas = new OffscreenCanvas(video.videoWidth || 1, video.videoHeight || 1);
    canvas.getContext("2d").drawImage(video, 0, 0);
    const pixels = new Uint32Array(canvas.getContext("2d").getImageData(0, 0, canvas.width, canvas.height).data.buffer);
    const sought = new Promise((resolve) => video.addEventListener("seeked", resolve));
    video.pause();
    video.currentTime = 2;
    await Promise.race([sought, failed, pause(5000)]);
    return {
        error: video.error?.message ?? null, width: video.videoWidth, height: video.videoHeight, duration: video.duration,
        at, sound, sought: video.currentTime, colours: new Set(pixels).size,
    };
}

async function shown([server, token, uri]) {
    const answer = await fetch(`${server}/_matrix/client/v1/media/download/${uri.slice("mxc://".length)}`, { headers: { Authorization: `Bearer ${token}` } });
    const image = new Image();
    image.src = URL.createObjectURL(await answer.blob());
    await image.decode();
    return [image.naturalWidth, image.naturalHeight];
}
