// Calls between matrix-js-sdk and the board, both ways: what each side sends, the other gets, and what MSC2746 lets them do
// in a call. The scenario is the same for every version of the library and for every codec of the board's camera.
import assert from "node:assert/strict";
import { boardCall, boardIsIdle, boardRings } from "./board.mjs";
import { eventually, given, logIn, note, say, scenario } from "./browser.mjs";

const { board, videoCodec, seconds } = given;
const SETTING = "local.porchlight.board";
let alice, room; // the owner's client, and her room with the board

await scenario(async (browser) => {
    alice = await logIn(browser, "alice");
    room = await alice.directRoom(board.id);
    await alice.waitForMember(room, board.id);
    await alice.sendState(room, SETTING, { value: "0s" }, "ring_pause");

    await videoCallOut();
    await voiceCallOut();
    await videoCallIn();
    if (!given.short) {
        await voiceAnswer();
        await rejected();
        await missed();
        await givenUp();
    }
    await figures();
    await mouthToEar(); // the microphone beeps no more from here on
    if (!given.short) await left();
    say(`${videoCodec}, times in ms; the references were measured on a quiet machine`);
});

/** The browser calls with pictures; hold, mute, digits and an ICE restart; it hangs up. */
async function videoCallOut() {
    await alice.placeCall(room);
    await stands("out");
    await holds();
    await mutes();

    const { w, h } = await alice.waitForPicture(room, await alice.sendText(room, "snapshot"));
    assert.ok(w > 100 && h > 100, `a picture of ${w}×${h}`);
    say(`asked for a picture during the call: ${w}×${h}`);

    await alice.dial("42#");
    await eventually(async () => assert.equal((await boardCall()).media.digits, 3));
    say("three digits were dialled and heard");

    await alice.restartICE();
    await eventually(async () => {
        const events = await alice.callEvents(room, (await alice.callInfo()).id);
        const offers = events.filter((e) => e.type === "m.call.negotiate" && e.content.description.type === "offer");
        const answers = events.filter((e) => e.type === "m.call.negotiate" && e.content.description.type === "answer");
        assert.ok(offers.length >= 3 && answers.length === offers.length, `${offers.length} offers, ${answers.length} answers`); // two for the hold
        const [before, after] = [events.find((e) => e.type === "m.call.answer").content.answer, answers.at(-1).content.description];
        const ufrag = ({ sdp }) => sdp.match(/a=ice-ufrag:(\S+)/)[1];
        assert.notEqual(ufrag(after), ufrag(before), "ICE was not restarted");
        assert.match(after.sdp, /a=candidate:/, "no candidates anew");
    });
    await pictureMoves();
    say("ICE was restarted: the board's candidates were replaced, and the picture goes on");

    await alice.hangUp();
    await over({ by: "local", reason: "user_hangup" });
}

/** The browser calls without pictures, adds its camera, sees the board's; the board hangs up. */
async function voiceCallOut() {
    await alice.placeCall(room, { video: false });
    await connected("out, voice only");
    await hearEachOther();
    const { media } = await boardCall();
    assert.equal(media.video_codec ?? "", "", "the board sends pictures nobody asked for");

    await alice.mute({ video: false });
    await pictureMoves();
    await eventually(async () => assert.ok((await boardCall()).media.video_received > 10, "the board gets no pictures"));
    assert.equal((await alice.path()).in.video, `video/${videoCodec}`);
    say("a voice call became a video call");

    await alice.sendText(room, "hang up");
    await over({ by: "remote", reason: "user_hangup" });
}

/** The board rings, the browser answers with pictures, and hangs up. */
async function videoCallIn() {
    await alice.forgetCall();
    await boardRings();
    await alice.answerCall();
    await stands("in");
    const info = await alice.callInfo();
    assert.equal(info.direction, "inbound");
    assert.equal(info.peer, board.id);
    await holds();
    await alice.restartICE();
    await pictureMoves();
    await alice.hangUp();
    await over({ by: "local", reason: "user_hangup" });
}

/** The board rings and is answered without a camera; the board hangs up. */
async function voiceAnswer() {
    await alice.forgetCall();
    await boardRings();
    await alice.answerCall({ video: false });
    await connected("in, answered without a camera");
    await pictureMoves();
    await hearEachOther();
    await alice.sendText(room, "hang up");
    await over({ by: "remote", reason: "user_hangup" });
}

/** The board rings and is rejected. */
async function rejected() {
    await alice.forgetCall();
    await boardRings();
    await alice.rejectCall();
    await over({ by: "local" });
    const events = await alice.callEvents(room, (await alice.callInfo()).id);
    await eventually(async () => {
        const select = (await alice.callEvents(room, (await alice.callInfo()).id)).find((e) => e.type === "m.call.select_answer");
        const reject = events.find((e) => e.type === "m.call.reject");
        assert.equal(select?.content.selected_party_id, reject?.content.party_id ?? "no reject", "the rejection was not selected");
    });
    say("the board's call was rejected, and the board selected the rejection");
}

/** The board rings until nobody has answered. */
async function missed() {
    await alice.forgetCall();
    await boardRings({ timeout: 5000 });
    await alice.waitForCall(["ringing"]);
    await over({ by: "remote" }); // without a reason: js-sdk looks at the lifetime itself
    const { id } = await alice.callInfo();
    await eventually(async () => {
        const hangup = (await alice.callEvents(room, id)).find((e) => e.type === "m.call.hangup");
        assert.deepEqual([hangup?.sender, hangup?.content.reason], [board.id, "invite_timeout"]);
    });
    say("the board gave up after its time, and said so");
}

/** The board does not answer, so the browser's time runs out; and once more, with the caller giving up. */
async function givenUp() {
    await alice.sendState(room, SETTING, { value: "*=never" }, "auto_answer");
    await alice.page.evaluate(() => {
        const ordinary = window.setTimeout;
        window.setTimeout = (fn, ms, ...more) => ordinary(fn, ms === 60_000 ? 2000 : ms, ...more); // js-sdk's invites last a minute
    });
    await alice.placeCall(room);
    await eventually(async () => assert.equal((await boardCall()).phase, "ringing"));
    await over({ by: "local", reason: "invite_timeout" });

    await alice.placeCall(room);
    await eventually(async () => assert.equal((await boardCall()).phase, "ringing"));
    await alice.hangUp();
    await over({ by: "local", reason: "user_hangup" });
    await alice.sendState(room, SETTING, {}, "auto_answer");
    say("the board was not answering: the call timed out, and the next one was given up");
}

/** Leaving the room is hanging up. */
async function left() {
    await alice.placeCall(room);
    await connected("out");
    await alice.leaveRoom(room);
    await eventually(boardIsIdle, 5);
    say("the browser left the room, and the board took it for hanging up");
}

async function connected(what) {
    const { state, states, problems } = await alice.waitForCall(["connected", "ended"]);
    assert.equal(state, "connected", JSON.stringify({ states, problems }));
    const { ms } = states.find((s) => s.state === "connected");
    say(`${what}: connected after ${ms} ms`);
    note(what.startsWith("out") ? "invite placed → connected" : "answered → connected", ms, "42–175");
    await eventually(async () => assert.equal((await boardCall()).phase, "active"));
}

/** Everything of a call with pictures that stands. */
async function stands(what) {
    await connected(what);
    await pictureMoves();
    const { firstFrame, feeds, canDial } = await alice.callInfo();
    say(`${what}: the first picture after ${firstFrame} ms`);
    note(`${what === "out" ? "invite placed" : "answered"} → first picture`, firstFrame, videoCodec === "VP8" ? "84–491" : "250–950");
    assert.deepEqual(feeds, [{ purpose: "m.usermedia", audioMuted: false, videoMuted: false }], "the board's stream is not described");
    assert.ok(canDial, "the board does not say that it hears digits");
    const path = await alice.path();
    assert.deepEqual(path.in, { audio: "audio/opus", video: `video/${videoCodec}` });
    await hearEachOther();
    const { media } = await boardCall();
    assert.equal(media.video_codec, videoCodec);
    assert.equal(media.audio_codec, "opus");
    await eventually(async () => assert.ok((await boardCall()).media.video_received > 10, "the board gets no pictures"));
}

async function pictureMoves() {
    const before = await alice.framesShown();
    await eventually(async () => assert.ok((await alice.framesShown()) > before + 5, "the picture stands still"));
    await eventually(async () => assert.ok((await alice.timeBar())?.shown > Date.now() - 2000, "the picture is old, or there is none"));
}

async function hearEachOther() {
    await eventually(async () => {
        const tone = await alice.tone();
        assert.ok(tone && Math.abs(tone.hz - board.toneHz) < 20, `the browser hears ${JSON.stringify(tone)}, not ${board.toneHz} Hz`);
    });
    await boardHears();
}

async function boardHears() {
    await eventually(async () => {
        const { media } = await boardCall();
        assert.ok(media.heard_level_dbfs > -40, `the board does not hear Chromium's beep: ${JSON.stringify(media)}`);
    });
}

/** The browser holds the board, which then sends nothing, and lets it go on. */
async function holds() {
    await alice.holdThem(true);
    let before;
    await eventually(async () => {
        before = (await boardCall()).media;
        await new Promise((resolve) => setTimeout(resolve, 300));
        const { media } = await boardCall();
        assert.deepEqual([media.audio_sent, media.video_sent], [before.audio_sent, before.video_sent], "the board sends on hold");
    });
    const held = await alice.callInfo();
    assert.deepEqual([held.state, held.theyAreOnHold, held.weAreOnHold], ["connected", true, false], JSON.stringify(held));
    await alice.holdThem(false);
    await pictureMoves();
    await eventually(async () => assert.ok((await boardCall()).media.audio_sent > before.audio_sent + 10));
    assert.equal((await alice.callInfo()).theyAreOnHold, false);
    say("held, and resumed");
}

/** The browser mutes its microphone and its camera, and says so. */
async function mutes() {
    const { id } = await alice.callInfo();
    const told = async () => {
        const events = (await alice.callEvents(room, id)).filter((e) => e.type.endsWith(".call.sdp_stream_metadata_changed"));
        const { content } = events.at(-1) ?? {};
        const streams = content?.sdp_stream_metadata ?? content?.["org.matrix.msc3077.sdp_stream_metadata"];
        return streams && Object.values(streams)[0];
    };
    await alice.mute({ audio: true });
    await eventually(async () => assert.ok((await told())?.audio_muted));
    await eventually(async () => {
        const { media } = await boardCall();
        assert.ok(media.heard_level_dbfs < -60, `the board hears a muted microphone: ${media.heard_level_dbfs} dBFS`);
    });
    await alice.mute({ audio: false, video: true });
    await eventually(async () => assert.deepEqual([(await told()).audio_muted, (await told()).video_muted], [false, true]));
    await boardHears();
    await alice.mute({ video: false });
    await eventually(async () => assert.equal((await told()).video_muted, false));
    say("muted, said so, and was heard again");
}

async function over({ by, reason }) {
    const end = await alice.waitForCall(["ended"]);
    assert.equal(end.by, by, JSON.stringify(end));
    if (reason) assert.equal(end.reason, reason, JSON.stringify(end));
    await eventually(boardIsIdle);
    say(`over: ${by === "local" ? "by the browser" : "by the board"}${reason ? `, ${reason}` : ""}`);
}

/** How long a sound takes from Chromium's microphone to what the board's loudspeaker is given. */
async function mouthToEar() {
    await alice.quietMicrophone();
    await alice.placeCall(room, { video: false });
    await connected("out, voice only");
    const heard = async () => (await boardCall()).media.heard_level_dbfs;
    const took = [];
    for (let i = 0; i < 5; i++) {
        await eventually(async () => assert.ok((await heard()) < -60, "the board hears something though nobody clicks"));
        const began = await alice.clickNow();
        while ((await heard()) < -35) assert.ok(Date.now() < began + 2000, "the click was not heard");
        took.push(Date.now() - began);
    }
    took.sort((a, b) => a - b);
    note("click in the browser → the board's loudspeaker", `${took[2]} (${took[0]}–${took[4]})`);
    await alice.hangUp();
    await over({ by: "local", reason: "user_hangup" });
}

/** How old pictures are when they are shown. */
async function figures() {
    await alice.placeCall(room);
    await connected("out");
    await pictureMoves();
    const { lags, unread } = await alice.lags(seconds * 15);
    lags.sort((a, b) => a - b);
    const at = (share) => lags[Math.floor(share * (lags.length - 1))];
    assert.ok(lags.length > seconds, `only ${lags.length} pictures could be read, ${unread} could not`);
    assert.ok(at(0.5) > -50 && at(0.5) < 2000, `pictures are ${at(0.5)} ms old`);
    note("picture → canvas, p50 / p95", `${at(0.5)} / ${at(0.95)} (${lags.length} pictures)`, videoCodec === "VP8" ? "27" : "46");
    await alice.hangUp();
    await over({ by: "local", reason: "user_hangup" });
}
