// A call as one sees it: the porch's picture and sound, and what one can do about it.

import { storeChoice, storedChoice } from "./choices.js";
import { el, icon, say, sentence } from "./dom.js";
import { inWords } from "./matrix.js";
import { openCamera } from "./media.js";
import { ring, ringBack, stopRinging } from "./sound.js";

/** What a state is called. */
const inPlainWords = {
    preparing: "Getting ready…",
    calling: "Calling the porch…",
    ringing: "The porch is calling",
    connecting: "Connecting…",
    connected: "Connected",
    mending: "The connection is shaky. One moment…",
    ended: "The call has ended",
};

/** `done(note)` is called when it is time to go home. */
export function callView({ phone, call, done }) {
    const parts = makeParts({ phone, call, done });
    const { video, self, line, clock, stage, why } = parts;
    let shown = "";

    function update() {
        if (call.over && !call.ending) return done();
        if (shown !== call.state) {
            shown = call.state;
            say(call.over ? sentence(call.ending) : inPlainWords[call.state]);
            sounds(call);
            parts.actions.replaceChildren(...actions(call, parts));
            stage.dataset.state = call.state;
            if (call.state === "connected" || call.over) document.title = call.over ? "Porchlight" : "● Porch";
            if (call.state === "ringing") document.title = "The porch is calling";
            if (call.state === "connected") stayAwake();
        }
        line.textContent = call.over ? sentence(call.ending) : inPlainWords[call.state];
        if (call.remote.getTracks().length && video.paused && !call.over) play();
        stage.classList.toggle("dark", call.remoteMuted.video);
        self.hidden = !call.camera || call.over;
        if (self.srcObject !== call.local) self.srcObject = call.local;
        parts.refresh();
        if (call.over) parts.stage.classList.add("card");
        why.textContent = call.why ?? "";
        why.hidden = !call.why || call.over;
    }

    /** Browsers may hold sound back until the page is touched; then there is a button for it. */
    function play() {
        video.play().then(() => (parts.unmute.hidden = true), (error) => {
            if (error.name === "NotAllowedError") parts.unmute.hidden = false;
        });
    }

    let lock = null;
    async function stayAwake() {
        lock ??= await navigator.wakeLock?.request("screen").catch(() => null);
    }

    const tick = setInterval(async () => {
        if (call.since && !call.over) clock.textContent = elapsed(Date.now() - call.since);
        const quality = parts.details.open ? await call.quality() : null;
        if (quality) parts.details.lastChild.textContent = describe(quality);
    }, 500);
    call.addEventListener("change", update);
    video.srcObject = call.remote;
    play(); // while the press of the button still counts as a touch of the page
    parts.unmute.addEventListener("click", play);
    video.addEventListener("resize", () => { // of the picture that comes in
        if (video.videoWidth) parts.screen.style.aspectRatio = `${video.videoWidth} / ${video.videoHeight}`;
    });
    update();
    return {
        elements: stage,
        close() {
            clearInterval(tick);
            stopRinging();
            lock?.release();
            call.removeEventListener("change", update);
            video.srcObject = self.srcObject = null;
            document.title = "Porchlight";
        },
    };
}

function makeParts({ phone, call, done }) {
    const video = el("video", { autoplay: true, playsinline: true, "aria-label": "What the porch sees" });
    video.volume = storedChoice("volume", 1);
    const self = el("video", { class: "self", autoplay: true, playsinline: true, "aria-label": "Your own picture", hidden: true });
    self.muted = true;
    const parts = {
        phone, call, done, video, self,
        line: el("p", { class: "line" }),
        clock: el("span", { class: "clock" }),
        why: el("p", { class: "note", hidden: true }),
        unmute: el("button", { class: "main", hidden: true }, icon("sound"), "Tap to see and hear"),
        actions: el("div", { class: "controls", role: "group", "aria-label": "Call" }),
        details: el("details", { class: "quality" }, el("summary", {}, "Picture and connection"), el("p", {}, "One moment…")),
        refresh() {},
    };
    const volume = el("input", { type: "range", min: "0", max: "1", step: "0.05", "aria-label": "Volume", value: String(video.volume) });
    volume.addEventListener("input", () => storeChoice("volume", (video.volume = Number(volume.value))));
    parts.volume = el("label", { class: "volume" }, icon("sound"), volume);
    const full = el("button", { "aria-label": "Full screen", title: "Full screen" }, icon("full"));
    full.addEventListener("click", () => (document.fullscreenElement ? document.exitFullscreen() : parts.screen.requestFullscreen()).catch(() => {}));
    full.className = "icon full";
    full.hidden = !document.fullscreenEnabled; // iPhones show films in full, and nothing else
    parts.screen = el("div", { class: "screen" }, video, self, el("div", { class: "lamp", "aria-hidden": "true" }), parts.unmute);
    parts.stage = el("section", { class: "stage", "aria-label": "Call with the porch" },
        el("div", { class: "bar" }, parts.line, parts.clock, full), parts.screen, parts.why, parts.actions, parts.details);
    return parts;
}

/** The buttons of a state; parts.refresh keeps their looks true. */
function actions(call, parts) {
    parts.refresh = () => {};
    parts.details.hidden = call.state !== "connected" && call.state !== "mending";
    if (call.over) {
        const back = el("button", { class: "main", onclick: () => parts.done() }, "Back");
        setTimeout(() => back.focus());
        return [back, el("button", { onclick: () => parts.phone.again() }, icon("call"), call.incoming ? "Call back" : "Call again")];
    }
    if (call.state === "ringing") return [
        round("call", "Answer", "good", () => parts.phone.answer({ camera: storedChoice("camera", true) })),
        round("hangUp", "Decline", "bad", () => call.hangUp()),
    ];
    const hangUp = round("hangUp", "Hang up", "bad", () => call.hangUp());
    if (!["connected", "mending"].includes(call.state)) return [hangUp];

    const microphone = round("microphone", "Microphone", "toggle", () => call.mute(!call.muted));
    const camera = round("camera", "Camera", "toggle", () => attempt(parts, toggleCamera(call)));
    parts.refresh = () => {
        toggle(microphone, "microphone", !call.muted, call.muted ? "Unmute" : "Mute");
        toggle(camera, "camera", call.camera, call.camera ? "Camera off" : "Camera on");
    };
    return [call.mayShow && microphone, call.mayShow && camera, hangUp, parts.volume].filter(Boolean);
}

async function toggleCamera(call) {
    const on = !call.camera;
    await call.showCamera(on ? await openCamera() : null);
    storeChoice("camera", on);
}

function round(name, label, kind, act) {
    return el("button", { class: `round ${kind}`, onclick: act }, el("span", { class: "disc" }, icon(name)), el("span", { class: "label" }, label));
}

function toggle(button, name, on, label) {
    button.querySelector(".disc").replaceChildren(icon(name, !on));
    button.querySelector(".label").textContent = label;
    button.classList.toggle("off", !on);
}

/** What goes wrong is said below the picture. */
async function attempt(parts, promise) {
    try {
        await promise;
    } catch (error) {
        parts.call.why = parts.why.textContent = sentence(inWords(error));
        parts.why.hidden = false;
    }
}

function sounds(call) {
    if (call.state === "ringing") ring();
    else if (call.state === "calling") ringBack();
    else stopRinging();
}

function elapsed(milliseconds) {
    const seconds = Math.floor(milliseconds / 1000);
    return `${Math.floor(seconds / 60)}:${String(seconds % 60).padStart(2, "0")}`;
}

function describe({ width, height, fps, rtt }) {
    const picture = width ? `${width} × ${height} pixels, ${Math.round(fps ?? 0)} pictures a second` : "no picture";
    return `${picture}${rtt === undefined ? "" : `; ${Math.max(1, Math.round(rtt * 1000))} ms to the porch and back`}.`;
}
