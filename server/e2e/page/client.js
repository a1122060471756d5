// A Matrix client in a page, made of matrix-js-sdk and nothing else. The tests drive it through window.porch; each
// function there takes and returns plain data, so that it can be called across page.evaluate.
import * as sdk from "matrix-js-sdk";
import { CallErrorCode, CallEvent, CallState } from "matrix-js-sdk/lib/webrtc/call.js";
import { CallEventHandlerEvent } from "matrix-js-sdk/lib/webrtc/callEventHandler.js";
import * as cryptoApi from "matrix-js-sdk/lib/crypto-api/index.js";
import { RoomHierarchy } from "matrix-js-sdk/lib/room-hierarchy.js";
import { logger } from "matrix-js-sdk/lib/logger.js";
import * as media from "./media.js";

logger.setLevel("warn");

let client = null; // set by login
let call = null; // the call of the moment, either way

/** Waits until probe() gives something true, and gives that; fails after `seconds`, naming what was waited for. */
async function until(what, probe, seconds = 15) {
    const end = performance.now() + seconds * 1000;
    for (;;) {
        const result = await probe();
        if (result) return result;
        if (performance.now() > end) throw new Error(`waited ${seconds} s for ${what}`);
        await new Promise((resolve) => setTimeout(resolve, 50));
    }
}

/**
 * Logs in and syncs. With crypto, the device can talk end-to-end encrypted; with refresh, its access token is renewed. With
 * forceTURN, calls go through the relay alone; transport ("udp" or "tcp") then says how it is reached.
 */
async function login({ server, user, password, crypto = false, refresh = false, filter, start = {}, forceTURN = false, transport = "" }) {
    if (transport) media.onlyRelaysBy(transport);
    const anonymous = sdk.createClient({ baseUrl: server });
    const session = await anonymous.loginRequest({
        type: "m.login.password",
        identifier: { type: "m.id.user", user },
        password,
        initial_device_display_name: "end-to-end test",
        ...(refresh && { refresh_token: true }),
    });
    client = sdk.createClient({
        baseUrl: server,
        userId: session.user_id,
        deviceId: session.device_id,
        accessToken: session.access_token,
        forceTURN,
        refreshToken: session.refresh_token,
        timelineSupport: true,
        cryptoCallbacks: secrets.callbacks,
    });
    if (crypto) await client.initRustCrypto({ useIndexedDB: false });
    client.on(CallEventHandlerEvent.Incoming, (incoming) => watch(incoming));
    if (filter) start.filter = sdk.Filter.fromJson(session.user_id, undefined, filter);
    await client.startClient({ initialSyncLimit: 20, ...start });
    await until("the first sync", () => client.getSyncState() === "PREPARED" || client.getSyncState() === "SYNCING");
    return { userId: session.user_id, deviceId: session.device_id };
}

/** The key to the secrets that the user keeps on the server: made here, or typed in by the user as bytes. */
const secrets = {
    key: null,
    callbacks: {
        getSecretStorageKey: async ({ keys }) => secrets.key && [Object.keys(keys)[0], secrets.key],
        cacheSecretStorageKey: (id, info, key) => {
            secrets.key = key;
        },
    },
};

/** Comes in as a guest, without any account. */
async function comeAsGuest({ server }) {
    const session = await sdk.createClient({ baseUrl: server }).registerGuest();
    client = sdk.createClient({
        baseUrl: server, userId: session.user_id, deviceId: session.device_id, accessToken: session.access_token,
    });
    client.setGuest(true);
    await client.startClient({ initialSyncLimit: 20 });
    await until("the first sync", () => client.getSyncState() === "PREPARED" || client.getSyncState() === "SYNCING");
    return session.user_id;
}

/** Starts the crypto library without any server: proof that the bundle carries it. */
async function cryptoStarts() {
    const lonely = sdk.createClient({
        baseUrl: location.origin,
        userId: "@nobody:example.org",
        deviceId: "NOBODY",
        accessToken: "none",
    });
    await lonely.initRustCrypto({ useIndexedDB: false });
    return lonely.getCrypto().getVersion();
}

async function stop() {
    client?.stopClient();
    await client?.logout(true);
    client = null;
}

async function createRoom(options) {
    const { room_id } = await client.createRoom(options);
    await until(`room ${room_id} to come down sync`, () => client.getRoom(room_id));
    return room_id;
}

/** Waits for an invitation to the room and accepts it. */
async function acceptInvite(roomId) {
    await until(`an invitation to ${roomId}`, () => client.getRoom(roomId)?.getMyMembership() === "invite");
    await client.joinRoom(roomId);
    await until(`${roomId} to be joined`, () => client.getRoom(roomId)?.getMyMembership() === "join");
}

/** The direct room with the other user, made if there is none. */
async function directRoom(other) {
    const direct = client.getAccountData("m.direct")?.getContent()?.[other] ?? [];
    const known = direct.find((id) => client.getRoom(id)?.getMyMembership() === "join");
    if (known) return known;
    const invited = client.getRooms().find((room) => room.getMyMembership() === "invite" && room.getMember(other));
    if (invited) {
        await acceptInvite(invited.roomId);
        return invited.roomId;
    }
    return createRoom({ preset: "trusted_private_chat", is_direct: true, invite: [other] });
}

async function waitForMember(roomId, userId, membership = "join") {
    await until(`${userId} to be "${membership}" in ${roomId}`, () => {
        return client.getRoom(roomId)?.getMember(userId)?.membership === membership;
    });
}

async function sendText(roomId, body) {
    const { event_id } = await client.sendTextMessage(roomId, body);
    return event_id;
}

async function sendState(roomId, type, content, key) {
    await client.sendStateEvent(roomId, type, content, key);
}

/** Waits for a message with this text and tells how it arrived. */
async function waitForText(roomId, body, seconds = 20) {
    return until(`"${body}" in ${roomId}`, () => {
        const events = client.getRoom(roomId)?.getLiveTimeline().getEvents() ?? [];
        // A sent message is there before it has been sent; with an id of the server's it counts.
        const event = events.find((e) => e.getContent().body === body && e.getId()?.startsWith("$"));
        return event && {
            id: event.getId(),
            sender: event.getSender(),
            encrypted: event.isEncrypted(),
            wireType: event.getWireType(),
            failure: event.isDecryptionFailure(),
        };
    }, seconds);
}

/** Waits for the next picture from somebody else after an event, and gives its size as the message says it. */
async function waitForPicture(roomId, after) {
    return until(`a picture in ${roomId}`, () => {
        const events = client.getRoom(roomId)?.getLiveTimeline().getEvents() ?? [];
        const from = events.findIndex((e) => e.getId() === after);
        const event = from >= 0 && events.slice(from).find((e) => e.getContent().msgtype === "m.image" && e.getSender() !== client.getUserId());
        return event && event.getContent().info;
    });
}

/** Follows a call: its states, and its picture and sound as soon as they come. */
function watch(newCall) {
    call = newCall;
    newCall.states = [];
    newCall.problems = [];
    newCall.began = performance.now();
    newCall.on(CallEvent.State, (state) => {
        newCall.states.push({ state, ms: Math.round(performance.now() - newCall.began) });
    });
    newCall.on(CallEvent.Error, (error) => newCall.problems.push(`${error.code}: ${error.message}`));
    newCall.on(CallEvent.Replaced, (successor) => watch(successor));
    const show = (feeds) => {
        const remote = feeds.find((feed) => !feed.isLocal());
        if (!remote) return;
        media.attach(remote.stream);
        if (newCall.awaited) return;
        newCall.awaited = true;
        media.nextFrame().then(() => (newCall.firstFrame = Math.round(performance.now() - newCall.began)));
    };
    newCall.on(CallEvent.FeedsChanged, show);
    show(newCall.getRemoteFeeds()); // of a call that came in they are known already
}

/** Takes hold of the server's turn servers, which calls that are placed at once would miss. */
async function relaysAreKnown() {
    await until("the relay", () => client.getTurnServers().length > 0);
}

/**
 * Places a call and returns at once; the camera and microphone are Chromium's fakes. An idPrefix puts letters before the
 * call's ID, which decides who wins when two calls cross. js-sdk sees that they do only in calls that name the invitee.
 */
async function placeCall(roomId, { video = true, invitee = undefined, idPrefix = "" } = {}) {
    const made = sdk.createNewMatrixCall(client, roomId, { invitee });
    made.callId = idPrefix + made.callId;
    watch(made);
    await (video ? made.placeVideoCall() : made.placeVoiceCall());
    return made.callId;
}

async function answerCall({ video = true } = {}) {
    await until("a call to come in", () => call?.state === CallState.Ringing);
    call.began = performance.now();
    await call.answer(true, video);
}

/** Waits for one of the states and returns what was seen on the way: {state, states, problems, reason, by}. */
async function waitForCall(states, seconds = 20) {
    await until(`a call to be ${states}, not ${call?.state}`, () => call && states.includes(call.state), seconds);
    return callInfo();
}

/** Forgets the call, so that one that ended is not taken for the next. */
function forgetCall() {
    call = null;
}

/** How the call stands. */
function callInfo() {
    if (!call) return null;
    return {
        id: call.callId, state: call.state, states: call.states, problems: call.problems, direction: call.direction,
        reason: call.hangupReason, by: call.hangupParty, peer: call.getOpponentMember()?.userId,
        firstFrame: call.firstFrame, weAreOnHold: call.isLocalOnHold(), theyAreOnHold: call.isRemoteOnHold(),
        canDial: call.opponentSupportsDTMF(),
        feeds: call.getRemoteFeeds().map((feed) => ({
            purpose: feed.purpose, audioMuted: feed.isAudioMuted(), videoMuted: feed.isVideoMuted(),
        })),
    };
}

function hangUp() {
    call.hangup(CallErrorCode.UserHangup, false);
}

async function rejectCall() {
    await until("a call to come in", () => call?.state === CallState.Ringing);
    call.reject();
}

function holdThem(on) {
    call.setRemoteOnHold(on);
}

async function mute({ audio, video }) {
    if (audio !== undefined) await call.setMicrophoneMuted(audio);
    if (video !== undefined) await call.setLocalVideoMuted(video); // false in a voice call makes it a video call
}

/** Dials, with the pauses of a finger: a digit that is sent takes the place of one that still sounds. */
async function dial(digits) {
    for (const digit of digits) {
        call.sendDtmfDigit(digit);
        await new Promise((resolve) => setTimeout(resolve, 300));
    }
}

/** Does what js-sdk does when the connection is lost. */
function restartICE() {
    call.candidatesEnded = false;
    call.peerConn.restartIce();
}

async function leaveRoom(roomId) {
    await client.leave(roomId);
}

/** The events of a call in the room, as {type, sender, content}. */
function callEvents(roomId, callId) {
    const events = client.getRoom(roomId)?.getLiveTimeline().getEvents() ?? [];
    return events.filter((e) => e.getContent().call_id === callId)
        .map((e) => ({ type: e.getType(), sender: e.getSender(), content: e.getContent() }));
}

/** What the peer connection itself counts, for the report of a failure. */
async function callStats() {
    const report = await call.peerConn.getStats();
    const wanted = ["inbound-rtp", "outbound-rtp", "candidate-pair"];
    return [...report.values()].filter((s) => wanted.includes(s.type) && (s.type !== "candidate-pair" || s.nominated));
}

/** Which codecs go which way, and the way that the packets take: {in, out, local, remote}. */
async function path() {
    const report = await call.peerConn.getStats();
    const all = [...report.values()];
    const codecs = (type) => {
        const streams = all.filter((s) => s.type === type && s.codecId);
        return Object.fromEntries(streams.map((s) => [s.kind, report.get(s.codecId).mimeType]));
    };
    const transport = all.find((s) => s.type === "transport");
    const pair = report.get(transport?.selectedCandidatePairId);
    const end = (id) => {
        const c = report.get(id);
        return c && { type: c.candidateType, protocol: c.protocol, relayProtocol: c.relayProtocol, address: c.address };
    };
    return { in: codecs("inbound-rtp"), out: codecs("outbound-rtp"), local: end(pair?.localCandidateId), remote: end(pair?.remoteCandidateId) };
}
/** What a scenario's own steps find in the page (`client.step` in browser.mjs). */
const tools = {
    sdk, cryptoApi, RoomHierarchy, until, secrets,
    get client() {
        return client;
    },
};

window.porch = {
    tools,
    login, comeAsGuest, stop, cryptoStarts,
    createRoom, acceptInvite, directRoom, waitForMember,
    sendText, sendState, waitForText, waitForPicture,
    placeCall, answerCall, waitForCall, forgetCall, callInfo, callEvents, hangUp, rejectCall, holdThem, mute, dial,
    restartICE, leaveRoom, relaysAreKnown, callStats, path,
    ...media.forTests,
};
