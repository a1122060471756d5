// One call, either way: m.call.* events (Matrix specification, Voice over IP) on one side, the browser's
// RTCPeerConnection on the other. It shows nothing; views listen to its events.

import { randomId } from "./matrix.js";

/** How long an invitation holds, in milliseconds. */
export const lifetime = 60_000;
/** How long candidates may gather before the offer or answer leaves, in milliseconds. */
const gatherWait = 200;
/** How long later candidates are collected after an invite or an answer, in milliseconds. */
const batchWait = { invite: 2000, answer: 500 };
/** How long a connection may take to come up after the answer, in milliseconds. */
const connectWait = 30_000;
/**
 * How long a broken connection may mend itself, in milliseconds, before a new path is looked for, before that is done once
 * more, and before it is given up.
 */
const mendWait = { restart: 3000, again: 5000, giveUp: 25_000 };

const stableMetadata = "sdp_stream_metadata";
const olderMetadata = "org.matrix.msc3077.sdp_stream_metadata"; // what matrix-js-sdk before version 42 reads

/**
 * Events on itself: "change" whenever something that is seen changed. `state` goes
 *   outgoing: preparing → calling → connecting → connected ⇄ mending → ended
 *   incoming: ringing → connecting → connected ⇄ mending → ended
 */
export class Call extends EventTarget {
    state;
    since = 0; // when it was connected, as Date.now()
    ending = ""; // why it ended, as a sentence; empty if we wanted it so
    why = ""; // why we send less than we might, as a sentence
    remote = new MediaStream();
    local = null; // MediaStream of microphone and camera; null: we only watch and listen
    remoteMuted = { audio: false, video: false };
    callId;
    partyId = randomId();

    #client;
    #peer; // user id of the other side
    #theirParty; // party id of the other side, once known
    #pc;
    #unsent = []; // our candidates that wait for their batch
    #mayTrickle = false;
    #batch = 0; // timer
    #early = new Map(); // candidates that came before their party's description: party → list
    #deadline = 0; // timer
    #restart = 0; // timer
    #invite; // the content of an incoming invite
    #offering = false;
    #sending = Promise.resolve(); // the last event; the next one waits for it, so that they arrive in order

    constructor(client, { room, peer, invite, age = 0 }) {
        super();
        this.#client = client;
        this.room = room;
        this.#peer = peer;
        this.incoming = Boolean(invite);
        this.callId = invite?.call_id ?? randomId();
        this.state = this.incoming ? "ringing" : "preparing";
        if (invite) {
            this.#invite = invite;
            this.#theirParty = invite.party_id;
            this.#setRemoteMetadata(invite);
            this.#limit(invite.lifetime - age, () => this.#end("You missed a call."));
        }
    }

    get over() {
        return this.state === "ended";
    }

    /** Whether the other side has not answered yet. */
    get waiting() {
        return ["preparing", "calling"].includes(this.state);
    }

    #become(state) {
        if (this.over) return;
        this.state = state;
        this.dispatchEvent(new Event("change"));
    }

    #limit(milliseconds, then) {
        clearTimeout(this.#deadline);
        this.#deadline = setTimeout(then, Math.max(0, milliseconds));
    }

    #send(type, content) {
        const whole = { call_id: this.callId, party_id: this.partyId, version: "1", ...content };
        const sent = this.#sending.then(() => this.#client.send(this.room, type, whole, { last: type === "m.call.hangup" }));
        this.#sending = sent.catch(() => {}); // whoever called hears of it
        return sent;
    }

    // Placing and answering.

    /** Gives the call the microphone's and the camera's stream, null to watch and listen only, and a sentence on why it is so. */
    lend(stream, why) {
        this.local = stream;
        this.why = why;
        if (this.over) this.#giveBack();
        this.dispatchEvent(new Event("change"));
    }

    #giveBack() {
        for (const track of this.local?.getTracks() ?? []) track.stop();
    }

    /** Places the call. */
    async place() {
        if (this.over) return;
        const local = this.local;
        await this.#open();
        if (this.over) return;
        const audio = local?.getAudioTracks()[0];
        // The video part goes both ways if we may ever show ourselves, so that the camera can be
        // switched on later without another offer.
        this.#pc.addTransceiver(audio ?? "audio", { direction: audio ? "sendrecv" : "recvonly", streams: audio ? [local] : [] });
        this.#pc.addTransceiver(local?.getVideoTracks()[0] ?? "video", { direction: local ? "sendrecv" : "recvonly", streams: local ? [local] : [] });
        await this.#pc.setLocalDescription(await this.#pc.createOffer());
        const offer = await this.#described();
        if (this.over) return;
        const sent = this.#send("m.call.invite", { lifetime, invitee: this.#peer, offer, ...this.#metadata() });
        this.#become("calling");
        this.#limit(lifetime, () => this.hangUp("invite_timeout", "Nobody answered."));
        await sent;
        this.#trickle(batchWait.invite);
    }

    /** Answers an incoming call. */
    async answer() {
        if (this.state !== "ringing") return;
        const local = this.local;
        this.#become("connecting");
        await this.#open();
        if (this.over) return;
        await this.#pc.setRemoteDescription(this.#invite.offer);
        for (const transceiver of this.#pc.getTransceivers()) {
            const kind = transceiver.receiver.track.kind;
            const track = local?.getTracks().find((track) => track.kind === kind);
            if (!local) {
                transceiver.direction = "recvonly";
                continue;
            }
            transceiver.direction = "sendrecv";
            transceiver.sender.setStreams?.(local);
            if (track) await transceiver.sender.replaceTrack(track);
        }
        await this.#addEarly();
        await this.#pc.setLocalDescription(await this.#pc.createAnswer());
        const answer = await this.#described();
        if (this.over) return;
        this.#limit(connectWait, () => this.hangUp("ice_failed", "No connection came about."));
        await this.#send("m.call.answer", { answer, ...this.#metadata() });
        this.#trickle(batchWait.answer);
    }

    async #open() {
        const iceServers = await this.#client.iceServers();
        if (this.over) return;
        const pc = new RTCPeerConnection({ iceServers });
        this.#pc = pc;
        pc.addEventListener("icecandidate", ({ candidate }) => candidate?.candidate && this.#unsent.push(forEvent(candidate)));
        pc.addEventListener("icegatheringstatechange", () => pc.iceGatheringState === "complete" && this.#mayTrickle && this.#flush());
        pc.addEventListener("connectionstatechange", () => this.#connection(pc.connectionState));
        pc.addEventListener("track", ({ track }) => {
            if (!this.remote.getTrackById(track.id)) this.remote.addTrack(track);
            this.dispatchEvent(new Event("change"));
        });
    }

    /** Our description with the candidates that come at once; those are not sent a second time. */
    async #described() {
        const pc = this.#pc;
        await new Promise((resolve) => {
            if (pc.iceGatheringState === "complete") return resolve();
            setTimeout(resolve, gatherWait);
            pc.addEventListener("icegatheringstatechange", () => pc.iceGatheringState === "complete" && resolve());
        });
        this.#unsent = [];
        const { type, sdp } = pc.localDescription;
        return { type, sdp };
    }

    #trickle(after) {
        this.#mayTrickle = true;
        if (this.#pc.iceGatheringState === "complete") this.#flush();
        else this.#batch = setTimeout(() => this.#flush(after), after);
    }

    /** Sends what candidates there are, the empty one last of all; `again` goes on until then. */
    #flush(again = 0) {
        if (this.over) return;
        clearTimeout(this.#batch);
        const candidates = this.#unsent.splice(0);
        if (this.#pc.iceGatheringState === "complete") candidates.push({ candidate: "", sdpMid: "0", sdpMLineIndex: 0 });
        else this.#batch = setTimeout(() => this.#flush(again), again || batchWait.answer);
        if (candidates.length) this.#send("m.call.candidates", { candidates }).catch(() => {}); // the connection tells whether it mattered
    }

    // Events of the other side and of our other devices.

    /** Takes an m.call.* event of this call. */
    async take({ sender, type, content }) {
        if (this.over || (sender === this.#client.userId && content.party_id === this.partyId)) return;
        if (sender === this.#client.userId) return this.#elsewhere(type);
        if (sender !== this.#peer) return;
        try {
            await this.#heard(type, content);
        } catch (error) {
            console.warn(`${type} could not be used:`, error);
            if (type === "m.call.answer") this.hangUp("unknown_error", "The porch and this browser do not understand each other.");
        }
    }

    /** One of our other devices has done something about a call that rings here. */
    #elsewhere(type) {
        if (this.state !== "ringing") return;
        if (type === "m.call.answer") this.#end("You answered on another device.");
        if (type === "m.call.reject") this.#end("You declined on another device.");
    }

    async #heard(type, content) {
        const others = this.#theirParty !== undefined && content.party_id !== this.#theirParty;
        switch (type) {
            case "m.call.answer":
                return this.incoming || others || this.state !== "calling" ? undefined : this.#answered(content);
            case "m.call.candidates":
                return this.#candidates(content);
            case "m.call.select_answer":
                if (this.incoming && content.selected_party_id !== this.partyId) this.#end("The call was answered on another device.");
                return;
            case "m.call.reject":
                if (!this.incoming && this.waiting) this.#end("The porch did not take the call. Only people on its list can call it.");
                return;
            case "m.call.hangup":
                if (!others || this.waiting) this.#end(hangupInWords(content.reason, this.since > 0));
                return;
            case "m.call.negotiate":
                return others ? undefined : this.#negotiated(content);
            case "m.call.sdp_stream_metadata_changed":
            case "org.matrix.call.sdp_stream_metadata_changed":
                if (!others) this.#setRemoteMetadata(content);
        }
    }

    async #answered(content) {
        this.#theirParty = content.party_id;
        this.#become("connecting");
        this.#limit(connectWait, () => this.hangUp("ice_failed", "No connection came about. Are you in the same network as the porch?"));
        this.#setRemoteMetadata(content);
        this.#send("m.call.select_answer", { selected_party_id: content.party_id }).catch(() => {});
        await this.#pc.setRemoteDescription(content.answer);
        await this.#addEarly();
    }

    async #candidates({ party_id: party, candidates }) {
        if (!Array.isArray(candidates)) return;
        const ready = this.#pc?.remoteDescription && party === this.#theirParty;
        if (ready) return this.#add(candidates);
        this.#early.set(party, [...(this.#early.get(party) ?? []), ...candidates]);
    }

    #addEarly() {
        const candidates = this.#early.get(this.#theirParty) ?? [];
        this.#early.clear();
        return this.#add(candidates);
    }

    async #add(candidates) {
        for (const candidate of candidates) {
            if (!candidate?.candidate) continue; // no more will come; nothing waits for that
            await this.#pc.addIceCandidate(candidate).catch((error) => console.warn("a candidate is no good:", error));
        }
    }

    #setRemoteMetadata(content) {
        const [stream] = Object.values(content[stableMetadata] ?? content[olderMetadata] ?? {});
        this.remoteMuted = { audio: stream?.audio_muted === true, video: stream?.video_muted === true };
        this.dispatchEvent(new Event("change"));
    }

    // Keeping the connection.

    #connection(state) {
        if (state === "connected") {
            clearTimeout(this.#deadline);
            clearTimeout(this.#restart);
            this.since ||= Date.now();
            this.#become("connected");
        } else if ((state === "disconnected" || state === "failed") && this.since) {
            if (this.state !== "mending") {
                this.#become("mending");
                this.#limit(mendWait.giveUp, () => this.hangUp("ice_timeout", "The connection was lost."));
            }
            clearTimeout(this.#restart);
            this.#restart = setTimeout(() => this.#restartIce(), state === "failed" ? 0 : mendWait.restart);
        } else if (state === "failed") {
            this.hangUp("ice_failed", "No connection came about. Are you in the same network as the porch?");
        }
    }

    /** Looks for a new path, as after a change from Wi-Fi to a cable. Only the caller does, so that offers do not collide. */
    async #restartIce() {
        if (this.over || this.incoming || this.#offering) return;
        this.#offering = true;
        try {
            await this.#pc.setLocalDescription(await this.#pc.createOffer({ iceRestart: true }));
            const description = await this.#described();
            await this.#send("m.call.negotiate", { lifetime, description, ...this.#metadata() });
            this.#trickle(batchWait.answer);
        } catch (error) {
            console.warn("no new path can be looked for:", error);
        }
        this.#offering = false;
        // The network may have changed once more in the meantime, and the browser says nothing of a path that never came up.
        clearTimeout(this.#restart);
        if (this.state === "mending") this.#restart = setTimeout(() => this.#restartIce(), mendWait.again);
    }

    async #negotiated(content) {
        const description = content.description;
        const collides = description.type === "offer" && (this.#offering || this.#pc.signalingState !== "stable");
        if (collides && !this.incoming) return; // the caller is the impolite one
        this.#setRemoteMetadata(content);
        await this.#pc.setRemoteDescription(description);
        if (description.type !== "offer") return;
        await this.#pc.setLocalDescription(await this.#pc.createAnswer());
        const answer = await this.#described();
        await this.#send("m.call.negotiate", { lifetime, description: answer, ...this.#metadata() });
        this.#trickle(batchWait.answer);
    }

    // Microphone and camera.

    get muted() {
        return !this.local?.getAudioTracks().some((track) => track.enabled);
    }

    get camera() {
        return this.local?.getVideoTracks().some((track) => track.enabled) ?? false;
    }

    /** Whether the camera can be switched on: we must have offered to send. */
    get mayShow() {
        return Boolean(this.local);
    }

    mute(muted) {
        for (const track of this.local?.getAudioTracks() ?? []) track.enabled = !muted;
        this.#metadataChanged();
    }

    /** Shows the picture of a camera's track; null stops it and gives the camera back. */
    async showCamera(track) {
        for (const old of this.local.getVideoTracks()) {
            old.stop();
            this.local.removeTrack(old);
        }
        if (track) this.local.addTrack(track);
        const transceiver = this.#pc?.getTransceivers().find(({ receiver }) => receiver.track.kind === "video");
        await transceiver?.sender.replaceTrack(track);
        this.#metadataChanged();
    }

    #metadata() {
        const streams = {};
        if (this.local) streams[this.local.id] = { purpose: "m.usermedia", audio_muted: this.muted, video_muted: !this.camera };
        return { [stableMetadata]: streams, [olderMetadata]: streams };
    }

    #metadataChanged() {
        this.dispatchEvent(new Event("change"));
        if (this.over || this.waiting) return;
        const metadata = this.#metadata();
        for (const type of ["m.call.sdp_stream_metadata_changed", "org.matrix.call.sdp_stream_metadata_changed"]) {
            this.#send(type, metadata).catch(() => {}); // a hint to the other side, no more
        }
    }

    /** What is being received: {width, height, fps, bytes (so far), rtt (seconds)}; null before anything is. */
    async quality() {
        if (!this.#pc || this.over) return null;
        let found = null;
        for (const report of (await this.#pc.getStats()).values()) {
            if (report.type === "inbound-rtp" && report.kind === "video" && report.frameWidth) {
                found = { ...found, width: report.frameWidth, height: report.frameHeight, fps: report.framesPerSecond, bytes: report.bytesReceived };
            } else if (report.type === "candidate-pair" && report.nominated && report.state === "succeeded") {
                found = { ...found, rtt: report.currentRoundTripTime };
            }
        }
        return found;
    }

    // Ending.

    /** Ends the call and tells the other side. */
    hangUp(reason = "user_hangup", sentence = "") {
        if (this.over) return;
        const invited = this.state !== "preparing";
        const type = this.state === "ringing" ? "m.call.reject" : "m.call.hangup";
        this.#end(sentence);
        if (invited) this.#send(type, type === "m.call.hangup" ? { reason } : {}).catch(() => {}); // its timers will tell it
    }

    /** Ends the call as when the page is closed: what only rings here goes on ringing elsewhere. */
    leave() {
        if (this.state === "ringing") this.#end("");
        else this.hangUp();
    }

    #end(sentence) {
        if (this.over) return;
        this.ending = sentence;
        this.#become("ended");
        for (const timer of [this.#deadline, this.#restart, this.#batch]) clearTimeout(timer);
        this.#giveBack();
        this.#pc?.close();
    }
}

/** A candidate as m.call.candidates has it; nheko refuses null. */
function forEvent(candidate) {
    const { candidate: line, sdpMid, sdpMLineIndex } = candidate;
    return { candidate: line, ...(sdpMid !== null && { sdpMid }), ...(sdpMLineIndex !== null && { sdpMLineIndex }) };
}

function hangupInWords(reason, talked) {
    switch (reason) {
        case "user_busy":
            return "The porch is busy with another call. Please try again in a moment.";
        case "invite_timeout":
            return "Nobody answered.";
        case "user_media_failed":
            return "The porch's camera and microphone cannot be used right now.";
        case "ice_failed":
            return "No connection came about. Are you in the same network as the porch?";
        case "ice_timeout":
            return "The connection was lost.";
        case "unknown_error":
            return "The porch ended the call because something went wrong there.";
        default:
            return talked ? "The porch hung up." : "The porch ended the call.";
    }
}
