// Rings, made of two tones: no file is needed.

let context = null;
let ringing = 0; // timer

/** Browsers let a page make sounds only after it was touched; this is called then. */
export function unlock() {
    context ??= new AudioContext();
    if (context.state === "suspended") context.resume().catch(() => {});
}

function tone(hertz, after, seconds, volume) {
    const at = context.currentTime + after;
    const oscillator = context.createOscillator();
    const gain = context.createGain();
    oscillator.frequency.value = hertz;
    gain.gain.setValueAtTime(0, at);
    gain.gain.linearRampToValueAtTime(volume, at + 0.02);
    gain.gain.exponentialRampToValueAtTime(0.001, at + seconds);
    oscillator.connect(gain).connect(context.destination);
    oscillator.start(at);
    oscillator.stop(at + seconds);
}

/** Rings like a door bell until stopRinging. */
export function ring() {
    stopRinging();
    const once = () => {
        if (context?.state === "running") {
            tone(659, 0, 0.9, 0.25);
            tone(523, 0.45, 1.2, 0.25);
        }
        navigator.vibrate?.([300, 150, 300]);
    };
    once();
    ringing = setInterval(once, 2500);
}

/** The soft tone a caller hears while it rings on the other side. */
export function ringBack() {
    stopRinging();
    const once = () => context?.state === "running" && tone(425, 0, 0.9, 0.04);
    once();
    ringing = setInterval(once, 3000);
}

export function stopRinging() {
    clearInterval(ringing);
    if (ringing) navigator.vibrate?.(0);
    ringing = 0;
}
