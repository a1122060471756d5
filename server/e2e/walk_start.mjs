// How a client starts and ends: a first sync that is short and loads members late, a filter of its own, guests, sessions
// that are ended from elsewhere, and access tokens that expire and are renewed.
import assert from "node:assert/strict";
import { given, logIn, openClient, say, scenario } from "./browser.mjs";

const [aliceId, bobId, carolId] = ["alice", "bob", "carol"].map((name) => given.users[name].id);

await scenario(async (browser) => {
    const [alice, bob, carol] = await Promise.all(["alice", "bob", "carol"].map((name) => logIn(browser, name)));
    const room = await alice.createRoom({ name: "Archive", preset: "private_chat", invite: [bobId, carolId] });
    for (const client of [bob, carol]) await client.acceptInvite(room);
    await carol.sendText(room, "I was here first");
    await bob.waitForText(room, "I was here first");
    for (let i = 1; i <= 30; i++) await bob.sendText(room, `Entry ${i}`);
    await alice.waitForText(room, "Entry 30");

    await lazily(browser, room);
    await filtered(browser, room, alice);
    await slidingOrNot(alice);
    await guests(browser, alice);
    await endedFromElsewhere(browser, alice);
    await renewed(browser, room, alice);
});

/** The newest messages, and of the members those who wrote them; the rest when it is asked for. */
async function lazily(browser, room) {
    const fresh = await logIn(browser, "alice", { start: { initialSyncLimit: 8, lazyLoadMembers: true } });
    const seen = await fresh.step(async ({ client }, roomId, bob, carol) => {
        const room = client.getRoom(roomId);
        const known = () => [bob, carol].map((id) => room.getMember(id)?.membership ?? null);
        const bodies = () => room.getLiveTimeline().getEvents().map((e) => e.getContent().body);
        const first = { bodies: bodies(), known: known(), count: room.getJoinedMemberCount(), name: room.name };
        await client.scrollback(room, 10);
        const scrolled = bodies().length;
        await room.loadMembersIfNeeded();
        while (room.oldState.paginationToken) await client.scrollback(room, 30);
        return { first, scrolled, later: known(), types: room.getLiveTimeline().getEvents().slice(0, 2).map((e) => e.getType()) };
    }, room, bobId, carolId);
    assert.deepEqual(seen.first, {
        bodies: Array.from({ length: 8 }, (_, i) => `Entry ${23 + i}`), known: ["join", null], count: 3, name: "Archive",
    });
    assert.equal(seen.scrolled, 18);
    assert.deepEqual(seen.later, ["join", "join"]);
    assert.deepEqual(seen.types, ["m.room.create", "m.room.member"], "scrolled back to the very beginning");
    await fresh.stop();
    say(`the first sync brought ${seen.first.bodies.length} messages and who wrote them; all else was loaded when asked for`);
}

async function filtered(browser, room, alice) {
    const filter = { room: { timeline: { limit: 50, types: ["m.room.message"], not_senders: [bobId] } } };
    const fresh = await logIn(browser, "alice", { filter });
    const messages = () => fresh.step(({ client }, room) => {
        return client.getRoom(room).getLiveTimeline().getEvents().map((e) => [e.getSender(), e.getContent().body]);
    }, room);
    assert.deepEqual(await messages(), [[carolId, "I was here first"]]);
    await alice.step(({ client }, room) => client.setRoomTopic(room, "Old papers"), room);
    await alice.sendText(room, "Alice was here, too");
    await fresh.waitForText(room, "Alice was here, too");
    assert.deepEqual(await messages(), [[carolId, "I was here first"], [aliceId, "Alice was here, too"]]);
    await fresh.stop();
    say("a client with a filter gets what it wants and nothing else, at first and later");
}

/** What the server says of sliding sync is so: clients choose by it how they sync. */
async function slidingOrNot(alice) {
    const { told, status, code } = await alice.step(async ({ client }) => {
        const prefix = "/_matrix/client/unstable/org.matrix.simplified_msc3575";
        const answer = await client.http.authedRequest("POST", "/sync", { timeout: 0 }, {}, { prefix })
            .then(() => ({ status: 200 }), (error) => ({ status: error.httpStatus, code: error.errcode }));
        return { told: await client.doesServerSupportUnstableFeature("org.matrix.simplified_msc3575"), ...answer };
    });
    if (told) assert.equal(status, 200);
    else assert.deepEqual([status, code], [404, "M_UNRECOGNIZED"]);
    say(`sliding sync: ${told ? "offered" : "not offered, and refused as unknown"}`);
}

async function guests(browser, alice) {
    const open = await alice.createRoom({
        name: "Lobby", preset: "public_chat",
        initial_state: [
            { type: "m.room.guest_access", state_key: "", content: { guest_access: "can_join" } },
            { type: "m.room.history_visibility", state_key: "", content: { history_visibility: "world_readable" } },
        ],
    });
    const shut = await alice.createRoom({ name: "Club", preset: "public_chat" });
    await alice.sendText(open, "Welcome, stranger");
    const guest = await openClient(browser, "guest");
    const id = await guest.comeAsGuest({ server: given.server });
    const seen = await guest.step(async ({ client, until }, open, shut) => {
        const peeked = await client.peekInRoom(open);
        const bodies = peeked.getLiveTimeline().getEvents().map((e) => e.getContent().body);
        client.stopPeeking();
        await client.joinRoom(open);
        await until("the lobby", () => client.getRoom(open)?.getMyMembership() === "join");
        await client.sendTextMessage(open, "Hello from outside");
        const refused = (promise) => promise.then(() => "let through", (error) => error.errcode);
        return {
            peeked: bodies.includes("Welcome, stranger"),
            join: await refused(client.joinRoom(shut)), create: await refused(client.createRoom({ name: "Mine" })),
        };
    }, open, shut);
    assert.deepEqual(seen, { peeked: true, join: "M_GUEST_ACCESS_FORBIDDEN", create: "M_GUEST_ACCESS_FORBIDDEN" });
    assert.equal((await alice.waitForText(open, "Hello from outside")).sender, id);
    await guest.page.close();
    say(`a guest looked into the lobby, came in and spoke as ${id}; the rest of the house is shut`);
}

/** One device logs another out; that one is told that it is for good. */
async function endedFromElsewhere(browser, alice) {
    const second = await logIn(browser, "alice");
    const device = await second.step(({ client }) => {
        client.on("Session.logged_out", (error) => (window.ended = error.data));
        return client.getDeviceId();
    });
    const flow = await alice.step(async ({ client }, device, user, password) => {
        const { data } = await client.deleteDevice(device).catch((error) => error);
        await client.deleteDevice(device, { type: "m.login.password", identifier: { type: "m.id.user", user }, password, session: data.session });
        return { flows: data.flows.map((f) => f.stages.join("+")), devices: (await client.getDevices()).devices.map((d) => d.device_id) };
    }, device, aliceId, given.users.alice.password);
    assert.ok(flow.flows.includes("m.login.password"), JSON.stringify(flow.flows));
    assert.ok(!flow.devices.includes(device));
    const ended = await second.step(({ until }) => until("the end of the session", () => window.ended));
    assert.deepEqual([ended.errcode, ended.soft_logout ?? false], ["M_UNKNOWN_TOKEN", false]);
    await second.page.close();
    say(`logged out from another device after asking for ${flow.flows.join(" or ")}`);
}

/** An access token expires: the client keeps its device and what it knows, renews the token and misses nothing. */
async function renewed(browser, room, alice) {
    const brief = await logIn(browser, "bob", { refresh: true });
    const before = await brief.step(({ client }) => {
        client.on("Session.logged_out", (error) => (window.ended = error.data));
        return { device: client.getDeviceId(), access: client.getAccessToken(), refresh: client.getRefreshToken() };
    });
    assert.ok(before.refresh, "no refresh token was given");
    await alice.sendText(room, "Still there?");
    await brief.waitForText(room, "Still there?");
    const ended = await brief.step(({ client, until }) => until("the token to expire", async () => {
        await client.whoami().catch(() => undefined);
        return window.ended;
    }, 20));
    assert.deepEqual([ended.errcode, ended.soft_logout], ["M_UNKNOWN_TOKEN", true]);
    await alice.sendText(room, "Gone, it seems");
    const after = await brief.step(async ({ client, until }, refresh) => {
        client.stopClient();
        const answer = await client.refreshToken(refresh);
        client.setAccessToken(answer.access_token);
        await client.startClient({ initialSyncLimit: 20 });
        await until("the sync to go on", () => client.getSyncState() === "SYNCING");
        return {
            device: (await client.whoami()).device_id, life: answer.expires_in_ms, renewable: answer.refresh_token !== refresh,
            again: await client.refreshToken(refresh).then(() => "let through", (error) => error.errcode),
        };
    }, before.refresh);
    await brief.waitForText(room, "Gone, it seems");
    assert.deepEqual(after, { device: before.device, life: given.tokenLife, renewable: true, again: "M_UNKNOWN_TOKEN" });
    say(`an access token of ${after.life} ms expired softly; the device went on with a new one, and the used-up refresh token is void`);
}
