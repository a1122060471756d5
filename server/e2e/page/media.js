// What a caller sees and hears, as numbers.

let listener = null; // {context, analyser} of the stream that is attached

/** Shows the stream in the page's video element and listens to its sound. */
export function attach(stream) {
    const video = document.getElementById("remote");
    if (video.srcObject !== stream) {
        video.srcObject = stream;
        video.play().catch(() => {}); // a later stream took its place
    }
    if (stream.getAudioTracks().length === 0 || listener?.stream === stream) return;
    listener?.context.close();
    const context = new AudioContext();
    const analyser = context.createAnalyser();
    analyser.fftSize = 4096;
    context.createMediaStreamSource(stream).connect(analyser);
    listener = { stream, context, analyser };
}

/** Waits until the video element shows a new picture. */
export function nextFrame() {
    return new Promise((resolve) => document.getElementById("remote").requestVideoFrameCallback(resolve));
}

/** How many pictures the video element has shown, of all streams so far. */
function framesShown() {
    return document.getElementById("remote").getVideoPlaybackQuality().totalVideoFrames;
}

/** The ages in milliseconds of so many pictures, each read as it is shown: {lags, unread}. */
async function lags(count) {
    const found = [];
    let unread = 0;
    let last = 0;
    while (found.length < count && unread < count) {
        await nextFrame();
        const bar = timeBar();
        if (!bar) unread++;
        else if (bar.shown !== last) found.push(bar.now - bar.shown);
        last = bar?.shown ?? last;
    }
    return { lags: found, unread };
}

/** From now on peer connections hear only of relays that are reached by "udp" or "tcp". */
export function onlyRelaysBy(transport) {
    const Ordinary = window.RTCPeerConnection;
    window.RTCPeerConnection = class extends Ordinary {
        constructor(configuration) {
            const iceServers = (configuration.iceServers ?? []).map((server) => ({
                ...server,
                urls: [server.urls].flat().filter((url) => url.includes(`transport=${transport}`)),
            })).filter((server) => server.urls.length > 0);
            super({ ...configuration, iceServers });
        }
    };
}

let click = null; // {context, gain} of the microphone that the test plays

/** Puts a microphone that is silent until click() in the place of Chromium's, which beeps. */
async function quietMicrophone() {
    const context = new AudioContext();
    const oscillator = context.createOscillator();
    oscillator.frequency.value = 1000;
    const gain = context.createGain();
    gain.gain.value = 0;
    const out = context.createMediaStreamDestination();
    oscillator.connect(gain).connect(out);
    oscillator.start();
    click = { context, gain };
    const ordinary = navigator.mediaDevices.getUserMedia.bind(navigator.mediaDevices);
    navigator.mediaDevices.getUserMedia = async (constraints) => {
        const stream = await ordinary({ ...constraints, audio: false, video: constraints.video || true });
        if (!constraints.video) stream.getVideoTracks().forEach((track) => { track.stop(); stream.removeTrack(track); });
        if (constraints.audio) stream.addTrack(out.stream.getAudioTracks()[0].clone());
        return stream;
    };
}

/** The microphone of quietMicrophone sounds for so long; gives when it began (milliseconds since 1970). */
function clickNow(ms = 200) {
    const { context, gain } = click;
    const now = context.currentTime;
    gain.gain.setValueAtTime(0.8, now);
    gain.gain.setValueAtTime(0, now + ms / 1000);
    return Date.now();
}

/** The current picture, as {width, height, data}; null before the first. */
function grab() {
    const video = document.getElementById("remote");
    if (!video.videoWidth) return null;
    const canvas = new OffscreenCanvas(video.videoWidth, video.videoHeight);
    const context = canvas.getContext("2d");
    context.drawImage(video, 0, 0);
    return context.getImageData(0, 0, canvas.width, canvas.height);
}

/** Size and mean brightness (0 to 255) of the current picture; null before the first. */
function picture() {
    const image = grab();
    if (!image) return null;
    let sum = 0;
    for (let i = 0; i < image.data.length; i += 4) sum += luma(image, i);
    return { width: image.width, height: image.height, brightness: sum / (image.data.length / 4) };
}

function luma({ data }, i) {
    return 0.299 * data[i] + 0.587 * data[i + 1] + 0.114 * data[i + 2];
}

/** The share of pixels (0 to 1) that changed visibly within `ms`. */
async function movement(ms = 500) {
    const before = grab();
    await new Promise((resolve) => setTimeout(resolve, ms));
    const after = grab();
    if (!before || !after || before.width !== after.width) return 0;
    let changed = 0;
    for (let i = 0; i < before.data.length; i += 4) {
        if (Math.abs(luma(before, i) - luma(after, i)) > 24) changed++;
    }
    return changed / (before.data.length / 4);
}

/** The strongest tone heard now: {hz, db, level}; db of that one frequency, level 0 to 1 of all sound. */
function tone() {
    if (!listener) return null;
    const { analyser, context } = listener;
    const spectrum = new Float32Array(analyser.frequencyBinCount);
    analyser.getFloatFrequencyData(spectrum);
    let best = 1;
    for (let i = 2; i < spectrum.length; i++) if (spectrum[i] > spectrum[best]) best = i;
    const samples = new Float32Array(analyser.fftSize);
    analyser.getFloatTimeDomainData(samples);
    const level = Math.sqrt(samples.reduce((sum, x) => sum + x * x, 0) / samples.length);
    return { hz: (best * context.sampleRate) / analyser.fftSize, db: spectrum[best], level };
}

/**
 * Reads the time bar of the board's test picture: 48 blocks along the top, white for 1. Two are the start (1, 0), 42 are
 * milliseconds since 1970, four the number of ones among those, modulo 16. (The layout is that of voip/device/timebar.go.)
 * Gives {shown, now} in milliseconds, or null if there is no bar to be read.
 */
function timeBar() {
    const image = grab();
    const now = Date.now();
    if (!image) return null;
    const level = (block) => {
        const x = Math.floor(((2 * block + 1) * image.width) / 96);
        const y = Math.floor(image.height / 32);
        let sum = 0;
        for (let dy = -1; dy <= 1; dy++) {
            for (let dx = -1; dx <= 1; dx++) sum += luma(image, 4 * ((y + dy) * image.width + x + dx));
        }
        return sum / 9;
    };
    const [white, black] = [level(0), level(1)];
    if (white - black < 64) return null;
    const bits = Array.from({ length: 48 }, (_, i) => (level(i) > (white + black) / 2 ? 1 : 0));
    const number = (from, to) => bits.slice(from, to).reduce((n, bit) => n * 2 + bit, 0); // 42 bits fit a double
    const ones = bits.slice(2, 44).reduce((n, bit) => n + bit, 0);
    return number(44, 48) === ones % 16 ? { shown: number(2, 44), now } : null;
}

/** What Chromium's own fake camera and microphone give: proof that the browser was started rightly. */
async function fakeDevices() {
    const stream = await navigator.mediaDevices.getUserMedia({ audio: true, video: true });
    attach(stream);
    return stream.getTracks().map((track) => `${track.kind}: ${track.label}`);
}

export const forTests = { picture, timeBar, movement, tone, fakeDevices, framesShown, lags, quietMicrophone, clickNow };
