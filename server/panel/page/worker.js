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

function pages() {
    return clients.matchAll({ type: "window", includeUncontrolled: true });
}
