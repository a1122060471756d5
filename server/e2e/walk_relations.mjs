// Messages about messages: threads with their list, their receipts and unread counts; reactions; edits; redactions.
// What is said of them is true on the sender's client, on the other's, and on one that starts afresh.
import assert from "node:assert/strict";
import { given, logIn, say, scenario } from "./browser.mjs";

const [aliceId, bobId] = [given.users.alice.id, given.users.bob.id];
// As Element starts: what is being sent stands beside the timelines until it comes back from the server.
const start = { threadSupport: true, pendingEventOrdering: "detached" };

await scenario(async (browser) => {
    const alice = await logIn(browser, "alice", { start });
    const bob = await logIn(browser, "bob", { start });
    const room = await alice.createRoom({ preset: "private_chat", name: "Hall", invite: [bobId] });
    await bob.acceptInvite(room);
    await alice.waitForMember(room, bobId);
    await threads(browser, room, alice, bob);
    await reactions(room, alice, bob);
    await edits(browser, room, alice, bob);
    await redactions(browser, room, alice, bob);
});

/** Two threads: one that both wrote in, one that only Alice did. */
async function threads(browser, room, alice, bob) {
    const root = await alice.sendText(room, "Who feeds the cat?");
    await bob.waitForText(room, "Who feeds the cat?");
    await unread(bob, room, root, { room: 1, thread: 0 }, "an unread message");
    const first = await reply(bob, room, root, "I do on Monday");
    const second = await reply(alice, room, root, "And I on Tuesday");
    for (const client of [alice, bob]) {
        const thread = await client.step(async ({ client, until }, room, root, last) => {
            const thread = await until("the thread with both replies", () => {
                const thread = client.getRoom(room).getThread(root);
                return thread?.length === 2 && thread.replyToEvent?.getId() === last && thread;
            });
            await until("the replies themselves", () => thread.events.length === 3);
            const inRoom = client.getRoom(room).getLiveTimeline().getEvents().map((e) => e.getId());
            return { bodies: thread.events.map((e) => e.getContent().body), inRoom, mine: thread.hasCurrentUserParticipated };
        }, room, root, second);
        assert.deepEqual(thread.bodies, ["Who feeds the cat?", "I do on Monday", "And I on Tuesday"]);
        assert.ok(thread.inRoom.includes(root) && !thread.inRoom.includes(first), "replies are not in the room's own timeline");
        assert.equal(thread.mine, true);
    }
    say("a thread of two replies stands on both clients");

    await unread(bob, room, root, { room: 1, thread: 1 }, "the room's message and the thread's reply");
    await read(bob, room, root, second);
    await unread(bob, room, root, { room: 1, thread: 0 }, "the thread was read, the room was not");
    await alice.step(async ({ client, until }, room, root, reply, whom) => {
        const found = client.getRoom(room);
        await until("the receipt in the thread", () => found.getThread(root).getReadReceiptForUserId(whom, true)?.eventId === reply);
        if (found.getReadReceiptForUserId(whom, true)?.eventId === reply) throw new Error("it counts in the room, too");
    }, room, root, second, bobId);
    await read(bob, room, null, root);
    await unread(bob, room, root, { room: 0, thread: 0 }, "all was read");
    say("receipts and unread counts are kept for the thread and the room apart");

    const other = await alice.sendText(room, "Who waters the flowers?");
    await reply(alice, room, other, "Nobody, as ever");
    const fresh = await logIn(browser, "bob", { start });
    const lists = await fresh.step(async ({ client, until }, roomId, wanted) => {
        const room = client.getRoom(roomId);
        await room.createThreadsTimelineSets();
        await room.fetchRoomThreads();
        await until(`${wanted} threads`, () => room.getThreads().length === wanted);
        return {
            all: room.threadsTimelineSets[0].getLiveTimeline().getEvents().map((e) => e.getContent().body),
            mine: room.threadsTimelineSets[1].getLiveTimeline().getEvents().map((e) => e.getContent().body),
            counts: Object.fromEntries(room.getThreads().map((t) => [t.rootEvent.getContent().body, t.length])),
            unread: room.getThreads().map((t) => room.getThreadUnreadNotificationCount(t.id)).toSorted(),
        };
    }, room, 2);
    assert.deepEqual(lists.all, ["Who feeds the cat?", "Who waters the flowers?"]);
    assert.deepEqual(lists.mine, ["Who feeds the cat?"]);
    assert.deepEqual(lists.counts, { "Who feeds the cat?": 2, "Who waters the flowers?": 1 });
    assert.deepEqual(lists.unread, [0, 1], "a fresh client knows which thread was read");
    await fresh.stop();
    say(`threads listed by a fresh client: ${lists.all.join(", ")}; with replies of its own: ${lists.mine.join(", ")}`);

    // A reply that is taken back counts no more.
    await alice.step(({ client }, room, root, id) => client.redactEvent(room, root, id), room, root, second);
    const count = await bob.step(({ client, until }, room, root) => until("the thread to be shorter", async () => {
        const event = await client.fetchRoomEvent(room, root);
        return event.unsigned["m.relations"]["m.thread"].count === 1 && client.getRoom(room).getThread(root).length === 1;
    }), room, root);
    assert.equal(count, true);
    say("a reply that was redacted does not count");
}

async function reply(client, room, root, body) {
    return client.step(async ({ client, until }, roomId, root, body) => {
        const room = client.getRoom(roomId);
        const event = await until("the thread's root", () => room.findEventById(root));
        room.createThread(root, event, [event], true); // as a client does when the thread is opened to be written in
        const { event_id } = await client.sendTextMessage(roomId, root, body);
        return event_id;
    }, room, root, body);
}

/** Reads up to an event, in the thread if one is named. */
async function read(client, room, root, id) {
    await client.step(async ({ client, until }, roomId, root, id) => {
        const room = client.getRoom(roomId);
        const event = await until("what is read", () => (root ? room.getThread(root).findEventById(id) : room.findEventById(id)));
        await client.sendReadReceipt(event);
    }, room, root, id);
}

/** Waits for the unread counts that the server tells the client. */
async function unread(client, room, root, wanted, what) {
    await client.step(({ client, until }, roomId, root, wanted, what) => {
        const room = client.getRoom(roomId);
        return until(`${what}: unread ${JSON.stringify(wanted)}`, () => {
            return room.getRoomUnreadNotificationCount() === wanted.room && room.getThreadUnreadNotificationCount(root) === wanted.thread;
        });
    }, room, root, wanted, what);
}

async function reactions(room, alice, bob) {
    const text = "Cake is ready";
    const id = await alice.sendText(room, text);
    await bob.waitForText(room, text);
    const react = (client, key) => client.step(async ({ client }, room, id, key) => {
        try {
            const content = { "m.relates_to": { rel_type: "m.annotation", event_id: id, key } };
            return (await client.sendEvent(room, "m.reaction", content)).event_id;
        } catch (error) {
            client.cancelPendingEvent(client.getRoom(room).getPendingEvents()[0]); // else it holds up the next
            return error.errcode;
        }
    }, room, id, key);
    const counts = (client, wanted) => client.step(({ client, until }, room, id, wanted) => until(`reactions ${wanted}`, () => {
        const relations = client.getRoom(room).relations.getChildEventsForEvent(id, "m.annotation", "m.reaction");
        const groups = (relations?.getSortedAnnotationsByKey() ?? []).filter(([, events]) => events.size > 0);
        return groups.map(([key, events]) => `${key}${events.size}`).toSorted().join(" ") === wanted;
    }), room, id, wanted);

    await react(alice, "🍰");
    await react(bob, "🍰");
    const party = await react(bob, "🎉");
    for (const client of [alice, bob]) await counts(client, "🍰2 🎉1");
    assert.equal(await react(bob, "🍰"), "M_DUPLICATE_ANNOTATION");
    await bob.step(({ client }, room, id) => client.redactEvent(room, id), room, party);
    for (const client of [alice, bob]) await counts(client, "🍰2");
    const relations = await alice.step(async ({ client }, room, id) => {
        const { events } = await client.relations(room, id, "m.annotation", "m.reaction");
        return events.map((e) => e.getSender()).toSorted();
    }, room, id);
    assert.deepEqual(relations, [aliceId, bobId]);
    say("reactions are counted, not twice from one person, and taken back");
}

async function edits(browser, room, alice, bob) {
    const id = await alice.sendText(room, "Dinner at six");
    await bob.waitForText(room, "Dinner at six");
    const edit = (client, body) => client.step(async ({ client }, room, id, body) => {
        const { event_id } = await client.sendMessage(room, {
            msgtype: "m.text", body: `* ${body}`,
            "m.new_content": { msgtype: "m.text", body },
            "m.relates_to": { rel_type: "m.replace", event_id: id },
        });
        return event_id;
    }, room, id, body);
    await edit(alice, "Dinner at seven");
    const last = await edit(alice, "Dinner at eight");
    await edit(bob, "No dinner at all"); // somebody else's message cannot be edited
    await bob.step(({ client, until }, room, id) => until("the last edit", () => {
        return client.getRoom(room).findEventById(id).getContent().body === "Dinner at eight";
    }), room, id);
    for (let i = 0; i < 4; i++) await bob.sendText(room, `and then ${i}`);

    // The fresh client's first sync ends before the edits: it knows them from what the server says with the message.
    const fresh = await logIn(browser, "bob", { start: { ...start, initialSyncLimit: 2 } });
    const seen = await fresh.step(async ({ client, sdk }, roomId, id) => {
        const room = client.getRoom(roomId);
        const known = Boolean(room.findEventById(id));
        const timeline = await client.getEventTimeline(room.getUnfilteredTimelineSet(), id);
        const event = timeline.getEvents().find((e) => e.getId() === id);
        const raw = await client.fetchRoomEvent(roomId, id);
        return {
            known, body: event.getContent().body, original: raw.content.body, by: event.replacingEvent()?.getSender(),
            latest: raw.unsigned["m.relations"]["m.replace"].event_id,
        };
    }, room, id);
    // spec: the original content stays, the newest edit by the same sender comes along whole.
    assert.deepEqual(seen, { known: false, body: "Dinner at eight", original: "Dinner at six", by: aliceId, latest: last });
    await fresh.stop();
    say(`edited twice, a fresh client reads: ${seen.body}`);
}

async function redactions(browser, room, alice, bob) {
    const id = await alice.sendText(room, "My password is swordfish");
    await bob.waitForText(room, "My password is swordfish");
    const refused = await bob.step(async ({ client }, room, id) => {
        try {
            await client.redactEvent(room, id);
        } catch (error) {
            return error.errcode;
        }
    }, room, id);
    assert.equal(refused, "M_FORBIDDEN", "another's message is not for Bob to take back");
    await alice.step(({ client }, room, id) => client.redactEvent(room, id, undefined, { reason: "Slip of the pen" }), room, id);
    const look = ({ client, until }, room, id) => until("the redaction", () => {
        const event = client.getRoom(room)?.findEventById(id);
        return event?.isRedacted() && {
            content: event.getContent(),
            reason: event.getUnsigned().redacted_because.content.reason,
            by: event.getUnsigned().redacted_because.sender,
        };
    });
    const fresh = await logIn(browser, "bob", { start });
    for (const client of [alice, bob, fresh]) {
        assert.deepEqual(await client.step(look, room, id), { content: {}, reason: "Slip of the pen", by: aliceId });
    }
    await fresh.stop();
    say("a message is taken back, for a fresh client, too");
}
