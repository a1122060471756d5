// The browser's microphone and camera, and why they may not be had.

/** Whether this browser would lend its microphone here at all: only over HTTPS, or on the machine itself. */
export const mayAsk = () => Boolean(navigator.mediaDevices?.getUserMedia);

const sound = { echoCancellation: true, noiseSuppression: true, autoGainControl: true };
const picture = { width: { ideal: 640 }, height: { ideal: 480 }, frameRate: { ideal: 15 }, facingMode: "user" };

/**
 * Opens the microphone, and the camera if wanted. It always succeeds: what is not to be had is missing in
 * `stream` (null: there is nothing), and `why` is then a sentence about it.
 */
export async function open({ camera }) {
    if (!mayAsk()) {
        const why = window.isSecureContext
            ? "This browser has no microphone to offer, so you can watch and listen only."
            : "You can watch and listen. To talk as well, open this page over HTTPS: browsers lend the microphone to secure pages only.";
        return { stream: null, why };
    }
    let refusal;
    for (const video of camera ? [picture, false] : [false]) {
        try {
            const stream = await navigator.mediaDevices.getUserMedia({ audio: sound, video });
            return { stream, why: camera && !video ? "Your camera cannot be used, so only your voice is sent." : "" };
        } catch (error) {
            refusal = error;
        }
    }
    return { stream: null, why: reason(refusal) };
}

/** Opens the camera alone; it throws an Error with a sentence. */
export async function openCamera() {
    try {
        const stream = await navigator.mediaDevices.getUserMedia({ video: picture });
        return stream.getVideoTracks()[0];
    } catch (error) {
        throw new Error(error?.name === "NotAllowedError" ? "This browser was told not to lend its camera to this page." : "No camera can be used right now.");
    }
}

function reason(error) {
    switch (error?.name) {
        case "NotAllowedError":
            return "You can watch and listen. To talk as well, allow this page to use the microphone (in the browser's address bar).";
        case "NotFoundError":
            return "No microphone was found, so you can watch and listen only.";
        case "NotReadableError":
            return "Another program holds the microphone, so you can watch and listen only.";
        default:
            return "The microphone cannot be used, so you can watch and listen only.";
    }
}
