// A small Matrix client: signs in, sends events, and listens for those that a call needs.

const api = "/_matrix/client/v3";
const stored = "porchlight.session";

/** How long the server may hold back an answer of /sync that has no news, in milliseconds. */
const syncWait = 30_000;
/** How long any other answer may take, in milliseconds. */
const answerWait = 20_000;
/** The longest pause between two attempts to reach the server, in milliseconds. */
const longestPause = 10_000;

/** All that this page wants to hear of. */
const filter = JSON.stringify({
    presence: { types: [] },
    account_data: { types: ["m.direct"] },
    room: {
        timeline: { types: ["m.call.*", "m.room.member", "m.room.encryption"], limit: 50 },
        state: { types: ["m.room.member", "m.room.encryption"] },
        ephemeral: { types: [] },
        account_data: { types: [] },
    },
});

/** What the server refused; its message is the server's sentence. */
export class Refused extends Error {
    constructor(status, body) {
        super(body?.error || `The server answered with status ${status}.`);
        this.status = status;
        this.code = body?.errcode ?? "";
        this.retryAfter = body?.retry_after_ms ?? 0;
        this.softLogout = body?.soft_logout === true;
    }
}

/** What a person is told of an error, whatever it is. */
export function inWords(error) {
    if (error instanceof Refused) {
        if (error.code === "M_LIMIT_EXCEEDED") {
            const seconds = Math.max(1, Math.ceil(error.retryAfter / 1000));
            return `That was too often. Please wait ${seconds === 1 ? "a second" : `${seconds} seconds`} and try again.`;
        }
        return error.message;
    }
    if (error?.name === "TimeoutError") return "The server does not answer. Is it still switched on?";
    if (error instanceof TypeError) return "The server cannot be reached. Are you still in its network?";
    return error?.message || String(error);
}

/** Asks the server and gives what it answers; refusals are thrown as Refused. */
export async function ask(method, path, body, { token, signal, keepalive = false, wait = answerWait } = {}) {
    const ended = new AbortController();
    const tooLate = setTimeout(() => ended.abort(new DOMException("no answer in time", "TimeoutError")), wait);
    const stop = () => ended.abort(signal.reason);
    signal?.addEventListener("abort", stop);
    try {
        const response = await fetch(path, {
            method,
            headers: {
                ...(body !== undefined && { "Content-Type": "application/json" }),
                ...(token && { Authorization: `Bearer ${token}` }),
            },
            body: body === undefined ? undefined : JSON.stringify(body),
            signal: ended.signal,
            keepalive,
            cache: "no-store",
        });
        const answer = await response.json().catch(() => null);
        if (!response.ok) throw new Refused(response.status, answer);
        return answer;
    } finally {
        clearTimeout(tooLate);
        signal?.removeEventListener("abort", stop);
    }
}

export const pause = (milliseconds) => new Promise((resolve) => setTimeout(resolve, milliseconds));

/** Waits until the browser says that it has a network again. */
const backOnline = () => new Promise((resolve) => addEventListener("online", resolve, { once: true }));

/** Random letters for ids, of the alphabet that the standard recommends. crypto.randomUUID needs HTTPS; this does not. */
export function randomId(length = 16) {
    const letters = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789";
    let id = "";
    while (id.length < length) {
        const [byte] = crypto.getRandomValues(new Uint8Array(1));
        if (byte < 248) id += letters[byte % 62]; // 248 = 4 × 62: all letters are equally likely
    }
    return id;
}

/** What is kept between visits: {userId, deviceId, token}. The device outlives a session that the server ended. */
function remembered() {
    try {
        return JSON.parse(localStorage.getItem(stored)) ?? {};
    } catch {
        return {};
    }
}

function remember(session) {
    try {
        if (session) localStorage.setItem(stored, JSON.stringify(session));
        else localStorage.removeItem(stored);
    } catch {
        // A browser that keeps nothing: the session lasts as long as the page.
    }
}

/** What this browser is called among a user's devices. */
export function deviceName() {
    const agent = navigator.userAgent;
    const find = (names) => names.find(([pattern]) => pattern.test(agent))?.[1];
    const browser = find([[/Firefox/, "Firefox"], [/Edg\//, "Edge"], [/Chrome|CriOS/, "Chrome"], [/Safari/, "Safari"]]) ?? "a browser";
    const system = find([[/iPhone|iPad/, "iOS"], [/Android/, "Android"], [/Windows/, "Windows"], [/Mac OS/, "macOS"], [/Linux/, "Linux"]]);
    return `Porchlight's page in ${browser}${system ? ` on ${system}` : ""}`;
}

/**
 * A signed-in session. It tells of events on itself:
 *   "call" {room, event, age}: an m.call.* event, in order, and how many milliseconds ago it was sent
 *   "caught-up": all that a sync had to tell was told
 *   "online" {online}: whether the server answers
 *   "signed-out" {sentence}: the server ended the session
 */
export class Client extends EventTarget {
    rooms = new Map(); // by id: {joined, encrypted, members: Map of user → membership}
    direct = {}; // m.direct: user → room ids
    online = true;
    #session;
    #stop = new AbortController();
    #synced;
    #firstSync = new Promise((resolve) => (this.#synced = resolve));

    constructor(session) {
        super();
        this.#session = session;
    }

    get userId() {
        return this.#session.userId;
    }

    /** The session of an earlier visit, if there is one. */
    static resume() {
        const session = remembered();
        return session.token ? new Client(session) : null;
    }

    static async signIn(user, password) {
        const before = remembered();
        const answer = await ask("POST", `${api}/login`, {
            type: "m.login.password",
            identifier: { type: "m.id.user", user: user.includes(":") ? user : user.replace(/^@/, "") },
            password,
            device_id: before.deviceId && samePerson(user, before.userId) ? before.deviceId : undefined,
            initial_device_display_name: deviceName(),
        });
        const session = { userId: answer.user_id, deviceId: answer.device_id, token: answer.access_token };
        remember(session);
        return new Client(session);
    }

    async signOut() {
        this.#stop.abort();
        const { token } = this.#session;
        remember(null);
        await ask("POST", `${api}/logout`, {}, { token }).catch(() => {}); // gone here in any case
    }

    /** Asks as this user. A token that no longer holds ends the session. */
    async ask(method, path, body, options = {}) {
        try {
            return await ask(method, path, body, { ...options, token: this.#session.token });
        } catch (error) {
            if (error instanceof Refused && error.status === 401 && error.code === "M_UNKNOWN_TOKEN") this.#ended(error);
            throw error;
        }
    }

    #ended({ softLogout }) {
        if (this.#stop.signal.aborted) return;
        this.#stop.abort();
        const { userId, deviceId } = this.#session;
        remember(softLogout ? { userId, deviceId } : null);
        this.#tell("signed-out", { sentence: "You were signed out. Please sign in again." });
    }

    #tell(type, detail) {
        this.dispatchEvent(new CustomEvent(type, { detail }));
    }

    /** Sends an event, trying again while the server cannot be reached or asks to wait. `last` ones outlive the page. */
    async send(room, type, content, { last = false, tries = 5 } = {}) {
        const path = `${api}/rooms/${encodeURIComponent(room)}/send/${encodeURIComponent(type)}/${randomId()}`;
        for (let attempt = 1; ; attempt++) {
            try {
                return await this.ask("PUT", path, content, { keepalive: last }); // the transaction id makes repeating harmless
            } catch (error) {
                const again = !(error instanceof Refused) || error.status === 429 || error.status >= 500;
                if (!again || attempt >= tries) throw error;
                await pause(error.retryAfter || attempt * 500);
            }
        }
    }

    /** TURN servers for calls; none is as good as any answer. */
    async iceServers() {
        try {
            const { uris, username, password } = await this.ask("GET", `${api}/voip/turnServer`);
            return uris?.length ? [{ urls: uris, username, credential: password }] : [];
        } catch {
            return [];
        }
    }

    /** Finds the direct room with a user, or makes one; it waits until the user has come in. */
    async directRoom(user) {
        await this.#firstSync;
        const id = this.#findDirect(user) ?? (await this.#makeDirect(user));
        for (let waited = 0; this.rooms.get(id)?.members.get(user) !== "join"; waited += 200) {
            if (waited > 15_000) throw new Error("The porch did not join the chat. Only people on its list can call it; or its part of the server is switched off.");
            await pause(200);
        }
        return id;
    }

    /** Rooms that others share are no place for it, and encrypted ones this page cannot read. */
    #findDirect(user) {
        const listed = Array.isArray(this.direct[user]) ? this.direct[user] : [];
        const usable = (id) => {
            const room = this.rooms.get(id);
            const there = [...(room?.members ?? [])].filter(([, membership]) => ["join", "invite"].includes(membership));
            return room?.joined && !room.encrypted && there.length === 2 && there.some(([member]) => member === user);
        };
        const good = listed.filter(usable);
        return good.find((id) => this.rooms.get(id).members.get(user) === "join") ?? good[0];
    }

    async #makeDirect(user) {
        const { room_id: id } = await this.ask("POST", `${api}/createRoom`, { preset: "trusted_private_chat", is_direct: true, invite: [user] });
        const direct = { ...this.direct, [user]: [...(this.direct[user] ?? []), id] };
        await this.ask("PUT", `${api}/user/${encodeURIComponent(this.userId)}/account_data/m.direct`, direct);
        this.direct = direct;
        return id;
    }

    /** Listens until the session ends. */
    async listen() {
        let since = "";
        let failures = 0;
        while (!this.#stop.signal.aborted) {
            const query = new URLSearchParams({ filter, timeout: since && this.online ? syncWait : 0 });
            if (since) query.set("since", since);
            const poll = this.#poll();
            try {
                const answer = await this.ask("GET", `${api}/sync?${query}`, undefined, { signal: poll.signal, wait: syncWait + answerWait });
                since = answer.next_batch;
                failures = 0;
                this.#reachable(true);
                this.#take(answer);
            } catch (error) {
                if (this.#stop.signal.aborted) return;
                failures++;
                if (failures > 1 || !navigator.onLine) this.#reachable(false);
                const wait = error.retryAfter || Math.min(longestPause, 500 * 2 ** failures);
                await Promise.race([pause(wait), backOnline()]);
            } finally {
                poll.done();
            }
        }
    }

    /** The signal of one long poll: it is cut when the session ends, the network goes, or the device wakes up too late for it. */
    #poll() {
        const began = Date.now();
        const cut = new AbortController();
        const over = new AbortController();
        const stop = () => cut.abort();
        const woken = () => document.visibilityState === "visible" && Date.now() - began > syncWait + 2000 && stop();
        this.#stop.signal.addEventListener("abort", stop, { signal: over.signal });
        addEventListener("offline", stop, { signal: over.signal });
        document.addEventListener("visibilitychange", woken, { signal: over.signal });
        return { signal: cut.signal, done: () => over.abort() };
    }

    #reachable(online) {
        if (this.online === online) return;
        this.online = online;
        this.#tell("online", { online });
    }

    #take(answer) {
        for (const event of answer.account_data?.events ?? []) if (event.type === "m.direct") this.direct = event.content ?? {};
        for (const id of Object.keys(answer.rooms?.leave ?? {})) this.rooms.delete(id);
        const calls = [];
        for (const [id, joined] of Object.entries(answer.rooms?.join ?? {})) {
            const room = this.rooms.get(id) ?? { encrypted: false, members: new Map() };
            room.joined = true;
            this.rooms.set(id, room);
            for (const event of [...(joined.state?.events ?? []), ...(joined.timeline?.events ?? [])]) {
                if (event.type === "m.room.member") room.members.set(event.state_key, event.content?.membership);
                else if (event.type === "m.room.encryption") room.encrypted = true;
                else if (event.type.startsWith("m.call.")) calls.push({ room: id, event, age: event.unsigned?.age ?? 0 });
            }
        }
        this.#synced();
        for (const call of calls) this.#tell("call", call);
        this.#tell("caught-up", {});
    }
}

/** Whether what somebody typed as their name is this user. */
function samePerson(typed, userId) {
    const small = typed.toLowerCase();
    return small === userId || `@${small.replace(/^@/, "")}` === userId?.split(":")[0];
}
