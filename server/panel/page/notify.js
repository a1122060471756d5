// Being told while the page is not open: notifications of this browser, and secrets for phones with the ntfy app.

import { complain, complaint, el, field, say, sentence } from "./dom.js";
import { deviceName, inWords } from "./matrix.js";

const api = "/_matrix/client/v3";
const appId = "local.porchlight.page";

/** The card; it fills itself once the server has answered. */
export function notifyCard(client) {
    const element = el("section", { class: "card", hidden: true }, el("h2", {}, "When this page is closed"));
    client.ask("GET", "/_porchlight/push").then(async (told) => {
        element.append(await browserPart(client, told), ...(told.topics === "secret" ? [phonePart(client, told)] : []));
        element.hidden = false;
    }).catch(() => {}); // the line about the server that cannot be reached says it all
    return element;
}

/** Ends this browser's notifications, as when its session ends. */
export async function stopNotifying() {
    const worker = await navigator.serviceWorker?.getRegistration("/").catch(() => undefined);
    const subscription = await worker?.pushManager?.getSubscription();
    await subscription?.unsubscribe();
    await note(null);
}

/** Notes for the service worker what it needs when the browser's subscription changes; nothing if there is none. */
async function note(subscription, house) {
    const { endpoint, keys } = subscription?.toJSON() ?? {};
    if (!subscription) await caches.delete("push");
    else await (await caches.open("push")).put("/subscription", Response.json({ house, subscription: { endpoint, p256dh: keys.p256dh, auth: keys.auth } }));
}

/** What was noted last. */
async function noted() {
    return (await (await caches.open("push")).match("/subscription"))?.json();
}

async function browserPart(client, told) {
    const line = el("p", { id: "notify-state" });
    const button = el("button", { id: "notify", hidden: true });
    const problem = complaint();
    const part = el("div", {}, line, button, problem);
    const why = whyNot();
    if (why) {
        line.textContent = why;
        return part;
    }
    let worker;
    try {
        worker = await navigator.serviceWorker.register("/worker.js", { scope: "/" });
    } catch (error) {
        line.textContent = `This browser does not let the page run while it is closed. Does it trust the house's certificate? (${error.message})`;
        return part;
    }
    let subscription = await worker.pushManager.getSubscription();
    const state = () => {
        line.textContent = subscription
            ? "This browser tells you of messages and calls, also when this page is closed. That needs the internet; what it is told only it can read."
            : "This browser can tell you of messages and calls, also when this page is closed.";
        button.textContent = subscription ? "Tell me no more" : "Tell me";
        button.hidden = false;
    };
    button.addEventListener("click", async () => {
        button.disabled = true;
        complain(problem, "");
        try {
            if (subscription) {
                await removePusher(client, subscription.toJSON().keys.p256dh);
                await subscription.unsubscribe();
                await note(null);
                subscription = null;
            } else {
                subscription = await subscribe(client, worker, told);
            }
            say(subscription ? "Notifications are on." : "Notifications are off.");
        } catch (error) {
            complain(problem, sentence(inWords(error)));
        }
        button.disabled = false;
        state();
    });
    // The push service may have moved the subscription, or dropped it, without the service worker hearing of it.
    try {
        const before = (await noted())?.subscription.p256dh;
        if (!subscription && before && Notification.permission === "granted") subscription = await subscribe(client, worker, told);
        else if (subscription) await setPusher(client, told, subscription);
        if (subscription && before && before !== subscription.toJSON().keys.p256dh) await removePusher(client, before);
    } catch (error) {
        complain(problem, sentence(inWords(error)));
    }
    state();
    return part;
}

/** Why this browser cannot be written to; empty if it can. */
function whyNot() {
    if (!window.isSecureContext) return "To be told of calls and messages while this page is closed, open it over HTTPS: browsers allow that to secure pages only.";
    if (!("serviceWorker" in navigator) || !("PushManager" in window)) {
        return /iPhone|iPad/.test(navigator.userAgent)
            ? "To be told of calls and messages, add this page to the home screen (Share, then “Add to Home Screen”) and open it from there."
            : "This browser cannot be told of anything while this page is closed.";
    }
    return "";
}

async function subscribe(client, worker, told) {
    if ((await Notification.requestPermission()) !== "granted") throw new Error("The browser does not allow it. Its settings for this page can change that.");
    let subscription;
    try {
        subscription = await worker.pushManager.subscribe({ userVisibleOnly: true, applicationServerKey: told.web_push_key });
    } catch (error) {
        throw new Error(`The browser's push service did not answer; it is on the internet. (${error.message})`);
    }
    try {
        await setPusher(client, told, subscription);
    } catch (error) {
        await subscription.unsubscribe();
        throw error;
    }
    return subscription;
}

/** Has the house write to this browser. */
async function setPusher(client, told, subscription) {
    const { endpoint, keys } = subscription.toJSON();
    await client.ask("POST", `${api}/pushers/set`, {
        kind: "http", app_id: appId, pushkey: keys.p256dh, app_display_name: "Porchlight's page", device_display_name: deviceName(),
        lang: navigator.language || "en", data: { url: told.gateway, endpoint, auth: keys.auth },
    });
    await note(subscription, told.web_push_key);
}

function removePusher(client, pushkey) {
    return client.ask("POST", `${api}/pushers/set`, { kind: null, app_id: appId, pushkey });
}

/** The secrets of phones. */
function phonePart(client, told) {
    const list = el("ul", { class: "plain" });
    const problem = complaint();
    const [nameField, nameInput] = field("What the phone is called", { name: "phone", required: true, maxlength: 100, autocomplete: "off" });
    const made = el("p", { class: "note", role: "status", hidden: true });
    const shown = ({ id, name }) => {
        const row = el("li", {}, name, " ", el("button", {
            class: "plain", onclick: async () => {
                try {
                    await client.ask("DELETE", `/_porchlight/push/secrets/${encodeURIComponent(id)}`);
                    row.remove();
                } catch (error) {
                    complain(problem, sentence(inWords(error)));
                }
            },
        }, "Remove"));
        list.append(row);
    };
    told.secrets.forEach(shown);
    const submit = async (event) => {
        event.preventDefault();
        complain(problem, "");
        try {
            const secret = await client.ask("POST", "/_porchlight/push/secrets", { name: nameInput.value });
            made.replaceChildren("In the ntfy app, under “Manage users”, add this house with any user name and this password, which is shown only now: ", el("code", { id: "phone-secret" }, secret.secret));
            made.hidden = false;
            nameInput.value = "";
            shown(secret);
        } catch (error) {
            complain(problem, sentence(inWords(error)));
        }
    };
    return el("details", { id: "phones" }, el("summary", {}, "A phone in the house, without the internet"),
        el("p", {}, "On Android, the app ntfy listens to this house and wakes Element, FluffyChat and others. Set the house's address as ntfy's default server, and add a user there with a password that you get here. " +
            "The password ends when you sign out of this page, on this device:"),
        el("form", { onsubmit: submit }, nameField, el("button", {}, "Get a password")), made, problem, list);
}
