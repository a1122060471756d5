// What you see when you are at home: the porch, the server's address for Matrix apps, and how the house does.

import { storeChoice, storedChoice } from "./choices.js";
import { el, icon, say, sentence } from "./dom.js";
import { mayAsk } from "./media.js";
import { notifyCard } from "./notify.js";

/** How often the state of the house is asked for, in milliseconds; soon again after a call, whose end may not be in yet. */
const statusPauses = { first: 1000, later: 5000 };

export function homeView({ house, client, phone, note }) {
    const about = statusCard();
    const porch = porchCard({ house, phone, note });
    const offline = el("p", { class: "note bad", role: "status", hidden: client.online }, "The server cannot be reached right now. This page keeps trying.");
    const online = ({ detail }) => (offline.hidden = detail.online);
    client.addEventListener("online", online);
    const stop = keepAsking(client, (status) => {
        porch.state(status);
        about.state(status);
    });
    return {
        elements: [offline, porch.element, notifyCard(client), appsCard({ house, client }), about.element],
        close() {
            stop();
            client.removeEventListener("online", online);
        },
    };
}

/** Asks for the status while the page is seen. Only the owner is told. */
function keepAsking(client, tell) {
    let timer = 0;
    let stopped = false;
    let owner; // not known yet
    let pause = statusPauses.first;
    const next = async () => {
        if (document.visibilityState === "visible") {
            try {
                owner ??= (await client.ask("GET", "/_porchlight/info")).owner === true;
                if (!owner) return;
                const status = await client.ask("GET", "/_porchlight/status");
                if (!stopped) tell(status);
            } catch {
                // The line about the server that cannot be reached says it all.
            }
        }
        if (!stopped) timer = setTimeout(next, pause);
        pause = statusPauses.later;
    };
    next();
    return () => {
        stopped = true;
        clearTimeout(timer);
    };
}

function porchCard({ house, phone, note }) {
    if (!phone) {
        const element = el("section", { class: "card" }, el("h1", {}, "No porch here"),
            el("p", {}, "This server runs without a board, so there is nobody at the door to call. Messages and everything else of Matrix work."));
        return { element, state() {} };
    }
    const talking = mayAsk();
    const showMe = el("input", { type: "checkbox", id: "show-me" });
    showMe.checked = storedChoice("camera", true);
    showMe.addEventListener("change", () => storeChoice("camera", showMe.checked));
    const call = (talk) => () => phone.callBoard({ talk, camera: showMe.checked });
    const line = el("p", { class: "state" }, el("span", { class: "dot" }), el("span", {}, "The porch can be called."));
    const element = el("section", { class: "card porch" },
        el("h1", {}, "The porch"),
        line,
        note && el("p", { class: "note", role: "status" }, note),
        el("div", { class: "actions" },
            talking && el("button", { class: "main big", id: "call", onclick: call(true) }, icon("call"), "Call the porch"),
            el("button", { class: talking ? "big" : "main big", id: "watch", onclick: call(false) }, icon("eye"), "Watch and listen")),
        talking && el("label", { class: "check" }, showMe, "Show my camera when I call"),
        !talking && el("p", { class: "note" }, window.isSecureContext
            ? "This browser has no microphone to offer, so you can watch and listen only."
            : ["To talk as well, open this page over HTTPS: browsers lend the microphone to secure pages only. Watching and listening works here. ",
                house.trust && el("a", { href: "/trust", id: "trust" }, "How to set that up")]));
    return {
        element,
        state({ calls }) {
            const busy = calls?.length ?? 0;
            line.lastChild.textContent = busy ? (busy === 1 ? "Somebody is talking with the porch." : `${busy} people are talking with the porch.`) : "The porch can be called.";
            line.classList.toggle("busy", busy > 0);
        },
    };
}

function appsCard({ house, client }) {
    // This machine's name for itself means nothing to others.
    const here = ["localhost", "127.0.0.1", "[::1]"].includes(location.hostname);
    const address = house.public_url || (here && house.address) || location.origin;
    const secure = address.startsWith("https:");
    return el("section", { class: "card" },
        el("h2", {}, "In a Matrix app"),
        el("p", {}, "Messages, rooms and calls work in Matrix apps, too. Where an app asks for the homeserver, give it this address:"),
        copyLine("The server's address", address),
        copyLine("Your user ID", client.userId),
        el("details", {}, el("summary", {}, "How to, step by step"),
            el("ol", {},
                el("li", {}, "Get an app. For calls with the porch: Element Web or Desktop, Element Classic on a phone, or Nheko. They place the kind of call that the porch understands."),
                el("li", {}, "Choose “Sign in”. Where the app shows “matrix.org”, choose “Edit” or “Other homeserver” and paste the address above."),
                el("li", {}, "Sign in with your user name and your password."),
                el("li", {}, house.board ? "Open the chat with the porch and press the telephone or the camera." : "Start a chat.")),
            el("p", { class: "quiet" }, "Element X and a few other new apps can write messages here, but cannot call the porch: they use another kind of call that needs a server of its own."),
            !secure && el("p", { class: "quiet" }, "This address has no encryption on the way (http). Some apps insist on https, and phones may refuse it; on this network it is fine for a start.")));
}

/** A text with a button that copies it. */
function copyLine(label, text) {
    const input = el("input", { readonly: true, value: text, "aria-label": label });
    const button = el("button", { class: "icon", "aria-label": `Copy: ${label}`, title: "Copy" }, icon("copy"));
    button.addEventListener("click", async () => {
        try {
            await navigator.clipboard.writeText(text);
        } catch {
            // Browsers keep the clipboard from pages without HTTPS; the old way works there.
            input.select();
            document.execCommand("copy");
        }
        say(`${label}: copied`);
        button.classList.add("done");
        setTimeout(() => button.classList.remove("done"), 1500);
    });
    return el("div", { class: "copy" }, el("span", { class: "label", "aria-hidden": "true" }, label), input, button);
}

function statusCard() {
    const list = el("dl", {});
    const sentences = el("ul", { class: "plain" });
    const element = el("section", { class: "card", hidden: true }, el("h2", {}, "The house"), sentences, list,
        el("p", { class: "quiet below" }, "To make an account for somebody, run “porchlight user add NAME” on the box."));
    return {
        element,
        state(status) {
            element.hidden = false;
            const calls = (status.calls ?? []).map(({ peer, phase }) => `Call with ${peer}: ${phase}`);
            sentences.replaceChildren(...[...calls, ...status.about].map((line) => el("li", {}, sentence(line))));
            const rows = {
                "Running for": duration(status.uptime_s),
                "People": String(status.users),
                "Database": bytes(status.database_bytes),
                "Version": status.version,
            };
            list.replaceChildren(...Object.entries(rows).flatMap(([name, value]) => [el("dt", {}, name), el("dd", {}, value)]));
        },
    };
}

function duration(seconds) {
    const days = Math.floor(seconds / 86400);
    if (days) return `${days} ${days === 1 ? "day" : "days"}`;
    const hours = Math.floor(seconds / 3600);
    if (hours) return `${hours} ${hours === 1 ? "hour" : "hours"}`;
    const minutes = Math.floor(seconds / 60);
    return minutes ? `${minutes} ${minutes === 1 ? "minute" : "minutes"}` : "less than a minute";
}

function bytes(count) {
    return count < 1 << 20 ? `${Math.ceil(count / 1024)} KiB` : `${(count / (1 << 20)).toFixed(1)} MiB`;
}
