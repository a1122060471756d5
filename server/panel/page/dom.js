// Makes elements. Texts become text nodes and never HTML, wherever they come from.

/** Makes an element: el("button", {class: "main", onclick: f}, "Call", icon). False children are left out. */
export function el(name, attributes = {}, ...children) {
    const element = document.createElement(name);
    for (const [key, value] of Object.entries(attributes)) {
        if (value === undefined || value === null || value === false) continue;
        if (key.startsWith("on")) element.addEventListener(key.slice(2), value);
        else if (key === "value") element.value = value;
        else element.setAttribute(key, value === true ? "" : value);
    }
    element.append(...children.flat().filter((child) => child || child === 0));
    return element;
}

const svgNamespace = "http://www.w3.org/2000/svg";

// Outlines in a box of 24 by 24.
const icons = {
    call: "M6.5 3.5h3l1.5 4-2 1.5a11 11 0 0 0 6 6l1.5-2 4 1.5v3a2 2 0 0 1-2 2A16 16 0 0 1 4.5 5.5a2 2 0 0 1 2-2z",
    hangUp: "M3 13c5-5.5 13-5.5 18 0l-2 3-4-1.5v-2.5a11 11 0 0 0-6 0v2.5L5 16z",
    microphone: "M12 3a3 3 0 0 1 3 3v5a3 3 0 0 1-6 0V6a3 3 0 0 1 3-3z M6 11a6 6 0 0 0 12 0 M12 17v4",
    camera: "M3 7h12v10H3z M15 11l6-3.5v9L15 13z",
    eye: "M2 12c3-5 6.5-7 10-7s7 2 10 7c-3 5-6.5 7-10 7s-7-2-10-7z M12 9a3 3 0 1 1 0 6 3 3 0 0 1 0-6z",
    sound: "M4 10v4h3l5 4V6L7 10z M15.5 9a4 4 0 0 1 0 6 M18 6.5a8 8 0 0 1 0 11",
    copy: "M9 9h11v11H9z M15 9V4H4v11h5",
    full: "M4 9V4h5 M15 4h5v5 M20 15v5h-5 M9 20H4v-5",
    off: "M4 4l16 16",
};

/** An icon; it says nothing to screen readers, so the button needs a text or a label. `off` strikes it through. */
export function icon(name, off = false) {
    const svg = document.createElementNS(svgNamespace, "svg");
    svg.setAttribute("viewBox", "0 0 24 24");
    svg.setAttribute("aria-hidden", "true");
    for (const d of [icons[name], off && icons.off]) {
        if (!d) continue;
        const path = document.createElementNS(svgNamespace, "path");
        path.setAttribute("d", d);
        svg.append(path);
    }
    return svg;
}

/** Shows this and only this, and moves the keyboard's focus to it. */
export function show(...children) {
    const app = document.getElementById("app");
    app.replaceChildren(...children.flat().filter(Boolean));
    (app.querySelector("[autofocus]") ?? app).focus({ preventScroll: true });
}

/** Tells screen readers something that has happened. */
export function say(sentence) {
    document.getElementById("said").textContent = sentence;
}

/** A line below a form that says what went wrong; empty it is not seen. */
export function complaint() {
    return el("p", { class: "note bad", role: "alert", hidden: true });
}

/** Writes into a complaint; nothing hides it. */
export function complain(line, sentence) {
    line.textContent = sentence ?? "";
    line.hidden = !sentence;
}

/** A sentence as sentences are: a capital first, a full stop last. */
export function sentence(text) {
    const trimmed = String(text ?? "").trim();
    if (!trimmed) return "";
    const whole = trimmed[0].toUpperCase() + trimmed.slice(1);
    return /[.!?…]$/.test(whole) ? whole : whole + ".";
}

/** A form field with its label: [the whole, the input]. */
export function field(label, attributes, hint) {
    const id = `field-${attributes.name}`;
    const input = el("input", { ...attributes, id, "aria-describedby": hint && `${id}-hint` });
    const whole = el("div", { class: "field" }, el("label", { for: id }, label), input, hint && el("small", { id: `${id}-hint` }, hint));
    return [whole, input];
}
