// Rooms and how one comes into them: spaces with their hierarchy, joining by membership in a space, knocking, upgrades;
// and finding old messages, and not hearing from whom one ignores.
import assert from "node:assert/strict";
import { given, logIn, say, scenario } from "./browser.mjs";

const [aliceId, bobId, carolId] = ["alice", "bob", "carol"].map((name) => given.users[name].id);

await scenario(async (browser) => {
    const [alice, bob, carol] = await Promise.all(["alice", "bob", "carol"].map((name) => logIn(browser, name)));
    await spaces(alice, bob, carol);
    await knocks(alice, bob, carol);
    await upgrade(alice, bob);
    await search(alice, bob);
    await ignoring(alice, carol);
});

/** What the server refuses to do for the client, as the error's code and its sentence. */
async function refusal(client, what, ...args) {
    return client.step(`async (tools, ...args) => {
        try {
            await (${what})(tools, ...args);
        } catch (error) {
            return { code: error.errcode, status: error.httpStatus, says: error.data?.error };
        }
    }`, ...args);
}

/** A step: joins a room without being asked. */
async function join({ client, until }, room) {
    await client.joinRoom(room);
    await until(`${room} to be joined`, () => client.getRoom(room)?.getMyMembership() === "join");
}

/** A house with a garden in it; the rooms are open to whoever is in the space. */
async function spaces(alice, bob, carol) {
    const make = (name, options = {}) => alice.createRoom({ name, preset: "private_chat", ...options });
    const space = { creation_content: { type: "m.space" } };
    const house = await make("House", { ...space, invite: [bobId] });
    const restricted = [{
        type: "m.room.join_rules", state_key: "",
        content: { join_rule: "restricted", allow: [{ type: "m.room_membership", room_id: house }] },
    }];
    const garden = await make("Garden", { ...space, initial_state: restricted });
    const kitchen = await make("Kitchen", { initial_state: restricted });
    const cellar = await make("Cellar"); // by invitation only
    const shed = await make("Shed", { initial_state: restricted });
    const children = [[house, kitchen, "2", true], [house, garden, "1"], [house, cellar, "3"], [garden, shed]];
    for (const [parent, child, order, suggested] of children) {
        await alice.step(({ client }, parent, child, content) => client.sendStateEvent(parent, "m.space.child", content, child),
            parent, child, { via: [aliceId.split(":")[1]], ...(order && { order }), ...(suggested && { suggested }) });
    }
    await bob.acceptInvite(house);

    // Two rooms a page, so that there are pages.
    const tree = await bob.step(async ({ client, RoomHierarchy }, house) => {
        const hierarchy = new RoomHierarchy(client.getRoom(house), 2);
        let pages = 0;
        do {
            await hierarchy.load();
            pages++;
        } while (hierarchy.canLoadMore);
        return {
            pages, refused: hierarchy.noSupport,
            rooms: hierarchy.rooms.map((room) => `${room.name}: ${room.room_type ?? "room"}, ${room.num_joined_members}, ${room.join_rule}`),
            suggested: hierarchy.rooms.filter((room) => hierarchy.isSuggested(house, room.room_id)).map((room) => room.name),
            shed: hierarchy.backRefs.get(hierarchy.rooms.find((room) => room.name === "Shed").room_id),
        };
    }, house);
    assert.deepEqual(tree, {
        pages: 2, refused: false, suggested: ["Kitchen"], shed: [garden],
        // Depth first, children in their order; what Bob could not join is not shown.
        rooms: ["House: m.space, 2, invite", "Garden: m.space, 1, restricted", "Shed: room, 1, restricted", "Kitchen: room, 1, restricted"],
    });
    say(`the hierarchy in ${tree.pages} pages: ${tree.rooms.join("; ")}`);

    await bob.step(join, kitchen);
    await alice.waitForMember(kitchen, bobId);
    const member = await alice.step(({ client }, room, whom) => client.getStateEvent(room, "m.room.member", whom), kitchen, bobId);
    assert.equal(member.join_authorised_via_users_server, aliceId, "somebody in the room vouches for the join");
    const shut = await refusal(carol, ({ client }, room) => client.joinRoom(room), kitchen);
    assert.deepEqual([shut.code, shut.status], ["M_FORBIDDEN", 403]);
    assert.equal((await refusal(bob, ({ client }, room) => client.joinRoom(room), cellar)).code, "M_FORBIDDEN");
    say(`Bob comes into the kitchen by being in the house; Carol: ${shut.says}`);
}

/** Two knock: one is let in, the other is not. */
async function knocks(alice, bob, carol) {
    const study = await alice.createRoom({
        name: "Study", preset: "private_chat",
        initial_state: [{ type: "m.room.join_rules", state_key: "", content: { join_rule: "knock" } }],
    });
    for (const [client, id, reason] of [[bob, bobId, "I have a question"], [carol, carolId, "Buy my carpets"]]) {
        await client.step(async ({ client, until }, room, reason) => {
            await client.knockRoom(room, { reason });
            await until("the knock to come back", () => client.getRoom(room)?.getMyMembership() === "knock");
        }, study, reason);
        await alice.waitForMember(study, id, "knock");
        const told = await alice.step(({ client }, room, id) => {
            return client.getRoom(room).getMember(id).events.member.getContent().reason;
        }, study, id);
        assert.equal(told, reason);
    }
    const name = await bob.step(({ client }, room) => client.getRoom(room).name, study);
    assert.equal(name, "Study", "who knocks is told which room it is");
    await alice.step(({ client }, room, bob, carol) => Promise.all([client.invite(room, bob), client.kick(room, carol, "No carpets")]), study, bobId, carolId);
    await bob.acceptInvite(study);
    const answer = await carol.step(({ client, until }, room) => until("the refusal", () => {
        const me = client.getRoom(room).getMember(client.getUserId());
        return me.membership === "leave" && me.events.member.getContent().reason;
    }), study);
    assert.equal(answer, "No carpets");
    assert.equal((await refusal(carol, ({ client }, room) => client.joinRoom(room), study)).code, "M_FORBIDDEN");
    say(`two knocked: one is in, the other was told "${answer}"`);
}

/** A room of version 10 becomes one of the newest; clients follow in both directions. */
async function upgrade(alice, bob) {
    const old = await alice.createRoom({
        name: "Parlour", preset: "private_chat", room_version: "10", invite: [bobId], topic: "Tea at five",
    });
    await bob.acceptInvite(old);
    await bob.step(({ client }, room) => client.setRoomTag(room, "m.favourite", { order: 0.5 }), old);
    const next = await alice.step(async ({ client }, room) => {
        const { replacement_room } = await client.upgradeRoom(room, "12");
        return replacement_room;
    }, old);
    const found = await bob.step(({ client, until }, old) => until("the tombstone", () => {
        return client.getRoom(old).currentState.getStateEvents("m.room.tombstone", "")?.getContent().replacement_room;
    }), old);
    assert.equal(found, next);
    // The room is by invitation; inviting who was there is the upgrading client's part.
    await alice.step(({ client }, room, whom) => client.invite(room, whom), next, bobId);
    await bob.acceptInvite(next);
    const history = await bob.step(async ({ client, until }, old, next) => {
        const room = client.getRoom(next);
        await until("the state of the new room", () => room.currentState.getStateEvents("m.room.topic", ""));
        await until("the tag to come along", () => room.tags["m.favourite"]);
        return {
            chain: client.getRoomUpgradeHistory(old, true).map((r) => r.roomId),
            back: client.getRoomUpgradeHistory(next, true).map((r) => r.roomId),
            visible: client.getVisibleRooms().map((r) => r.roomId).filter((id) => id === old || id === next),
            predecessor: room.findPredecessor().roomId, version: room.getVersion(), name: room.name,
            topic: room.currentState.getStateEvents("m.room.topic", "").getContent().topic, order: room.tags["m.favourite"].order,
        };
    }, old, next);
    assert.deepEqual(history, {
        chain: [old, next], back: [old, next], visible: [next],
        predecessor: old, version: "12", name: "Parlour", topic: "Tea at five", order: 0.5,
    });
    assert.equal((await refusal(bob, ({ client }, room) => client.sendTextMessage(room, "Anybody there?"), old)).code, "M_FORBIDDEN");
    await bob.sendText(next, "We are here now");
    await alice.waitForText(next, "We are here now");
    say(`upgraded from 10 to ${history.version}: both rooms know of each other, tag, name and topic came along`);
}

/** More than a page of results, newest first, each with the message before and after. */
async function search(alice, bob) {
    const room = await alice.createRoom({ name: "Orchard", preset: "private_chat", invite: [bobId] });
    await bob.acceptInvite(room);
    const total = 13;
    for (let i = 1; i <= total; i++) {
        await alice.sendText(room, `Apple number ${i} of the basket`);
        await alice.sendText(room, `Pear number ${i}`);
    }
    const elsewhere = await alice.createRoom({ name: "Secret orchard", preset: "private_chat" });
    await alice.sendText(elsewhere, "Apple that Bob is not to see");
    const found = await bob.step(async ({ client, until }, room, total) => {
        let results;
        await until("the index to have caught up", async () => {
            results = await client.searchRoomEvents({ term: "apple", filter: { rooms: [room] } });
            return results.count === total;
        });
        const pages = [results.results.length];
        while (results.next_batch) {
            await client.backPaginateRoomEventsSearch(results);
            pages.push(results.results.length - pages.reduce((a, b) => a + b));
        }
        const bodies = (events) => events.map((e) => e.getContent().body);
        const everywhere = await client.searchRoomEvents({ term: "apple" });
        return {
            pages, highlights: results.highlights, everywhere: everywhere.count,
            bodies: bodies(results.results.map((r) => r.context.getEvent())),
            around: bodies(results.results[1].context.getTimeline()),
        };
    }, room, total);
    assert.equal(found.bodies.length, total);
    assert.deepEqual(found.bodies, Array.from({ length: total }, (_, i) => `Apple number ${total - i} of the basket`), "newest first");
    assert.deepEqual(found.around, ["Pear number 11", "Apple number 12 of the basket", "Pear number 12"]);
    assert.ok(found.pages.length > 1, `one page of ${found.pages}`);
    assert.deepEqual(found.highlights, ["apple"]);
    assert.equal(found.everywhere, total, "what Bob may not see is not found");
    say(`searched: ${total} found in pages of ${found.pages.join(" and ")}, context: ${found.around.join(" | ")}`);
}

/** Whom one ignores is not heard any more, nor are their invitations. */
async function ignoring(alice, carol) {
    const room = await alice.createRoom({ name: "Market", preset: "private_chat", invite: [carolId] });
    await carol.acceptInvite(room);
    await carol.sendText(room, "Fresh fish");
    await alice.waitForText(room, "Fresh fish");
    await alice.step(async ({ client, until }, whom) => {
        await client.setIgnoredUsers([whom]);
        await until("the list to come back", () => client.isUserIgnored(whom));
    }, carolId);
    await carol.sendText(room, "Fresh carpets");
    const stall = await carol.createRoom({ name: "Stall", preset: "private_chat", invite: [aliceId] });
    await alice.sendText(room, "Peace at last");
    await alice.waitForText(room, "Peace at last");
    // The answer to a request of one's own comes after what was there before it.
    const heard = await alice.step(async ({ client }, room, stall) => ({
        bodies: client.getRoom(room).getLiveTimeline().getEvents().map((e) => e.getContent().body).filter(Boolean),
        invited: client.getRoom(stall)?.getMyMembership() ?? null,
    }), room, stall);
    assert.deepEqual(heard, { bodies: ["Fresh fish", "Peace at last"], invited: null });
    await alice.step(async ({ client, until }) => {
        await client.setIgnoredUsers([]);
        await until("the list to be empty", () => client.getIgnoredUsers().length === 0);
    });
    await carol.sendText(room, "Sorry");
    await alice.waitForText(room, "Sorry");
    say("whom Alice ignores she does not hear, until she listens again");
}
