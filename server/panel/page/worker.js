// The service worker: shows what the house tells while the page is not open. The house encrypts it for this browser; the
// browser's push service cannot read it.

addEventListener("install", () => skipWaiting());
addEventListener("activate", (event) => event.waitUntil(clients.claim()));

addEventListener("push", (event) => {
    let told = {};
    try {
        told = event.data?.json() ?? {};
    } catch {
        // Nothing that this release understands: that there is something is news as well.
    }
    event.waitUntil(show(told));
});

async function show(told) {
    // Whoever looks at the page hears and sees a call there.
    const looking = (await pages()).some((page) => page.visibilityState === "visible");
    if (looking && told.type === "m.call.invite") return;
    const who = told.sender_display_name || told.sender || "";
    const where = told.room_name && told.room_name !== who ? told.room_name : "";
    const call = told.type === "m.call.invite";
    const [title, body] = call ? [who ? `${who} rings` : "Somebody rings", where] : [who || where || "Porchlight", text(told, who && where)];
    await registration.showNotification(title, {
        body,
        icon: "/icon.svg",
        lang: "en",
        tag: `${call ? "call" : "message"} ${told.room_id ?? ""}`, // the newest of a room replaces the one before
        renotify: true,
        requireInteraction: call,
        timestamp: Date.now(),
        data: { room: told.room_id ?? "" },
    });
}

/** What is said of a message. */
function text({ content, type, counts }, where) {
    const said = typeof content?.body === "string" ? content.body : type === "m.room.member" ? "You are invited." : "A message";
    const more = counts?.unread > 1 ? ` (${counts.unread} unread)` : "";
    return `${where ? `${where}: ` : ""}${said}${more}`;
}

addEventListener("notificationclick", (event) => {
    event.notification.close();
    event.waitUntil((async () => {
        const [page] = await pages();
        await (page ? page.focus() : clients.openWindow("/"));
    })());
});

// The browser has another subscription, or none any more. Nobody is signed in here: what the page has noted of the old one
// shows the house whose pusher it is (see notify.js). If this fails, the page sees to it when it is opened next.
addEventListener("pushsubscriptionchange", (event) => event.waitUntil(renew(event.newSubscription)));

async function renew(given) {
    const notes = await caches.open("push");
    const noted = await (await notes.match("/subscription"))?.json();
    if (!noted) return;
    const subscription = given ?? (await registration.pushManager.subscribe({ userVisibleOnly: true, applicationServerKey: noted.house }));
    const { endpoint, keys } = subscription.toJSON();
    const now = { endpoint, p256dh: keys.p256dh, auth: keys.auth };
    const response = await fetch("/_porchlight/push/renew", {
        method: "POST", headers: { "Content-Type": "application/json" }, body: JSON.stringify({ old: noted.subscription, new: now }),
    });
    if (!response.ok) throw new Error(`the house does not take the new subscription: ${response.status}`);
    await notes.put("/subscription", Response.json({ house: noted.house, subscription: now }));
}

function pages() {
    return clients.matchAll({ type: "window", includeUncontrolled: true });
}
