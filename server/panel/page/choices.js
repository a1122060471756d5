// Small choices that this browser remembers: the volume, whether to show the camera.

export function storedChoice(name, fallback) {
    try {
        return JSON.parse(localStorage.getItem(`porchlight.${name}`)) ?? fallback;
    } catch {
        return fallback;
    }
}

export function storeChoice(name, value) {
    try {
        localStorage.setItem(`porchlight.${name}`, JSON.stringify(value));
    } catch {
        // A browser that keeps nothing: the choice lasts as long as the page.
    }
}
