// What people see of each other: presence, typing, receipts, profiles, the directories of users and rooms; a device's own
// memory (account data, tags, marked as unread) on the second device; and being shown the door.
import assert from "node:assert/strict";
import { given, logIn, say, scenario } from "./browser.mjs";

const [aliceId, bobId, carolId] = ["alice", "bob", "carol"].map((name) => given.users[name].id);

await scenario(async (browser) => {
    const [alice, bob, carol] = await Promise.all(["alice", "bob", "carol"].map((name) => logIn(browser, name)));
    const room = await alice.createRoom({ name: "Terrace", preset: "private_chat", invite: [bobId, carolId] });
    for (const client of [bob, carol]) await client.acceptInvite(room);
    for (const id of [bobId, carolId]) await alice.waitForMember(room, id);
    await signs(room, alice, bob);
    await profiles(room, alice, bob);
    await memory(browser, room, alice);
    await directories(alice, carol);
    await shownOut(room, alice, bob, carol);
});

/** Presence, typing and receipts, each seen by the other. */
async function signs(room, alice, bob) {
    for (const wanted of [{ presence: "unavailable", status_msg: "At lunch" }, { presence: "online", status_msg: "Back" }]) {
        await bob.step(({ client }, wanted) => client.setPresence(wanted), wanted);
        await alice.step(({ client, until }, whom, wanted) => until(`${whom} to be ${wanted.presence}`, () => {
            const user = client.getUser(whom);
            return user?.presence === wanted.presence && user.presenceStatusMsg === wanted.status_msg;
        }), bobId, wanted);
    }
    say("presence and what is said with it are seen");

    const typing = (wanted) => alice.step(({ client, until }, room, whom, wanted) => until(`typing: ${wanted}`, () => {
        return client.getRoom(room).getMember(whom).typing === wanted;
    }), room, bobId, wanted);
    const type = (on, ms) => bob.step(({ client }, room, on, ms) => client.sendTyping(room, on, ms), room, on, ms);
    await type(true, 20_000);
    await typing(true);
    await type(false, 0);
    await typing(false);
    await type(true, 300); // nobody says that it is over
    await typing(true);
    await typing(false);
    say("typing is seen, ends when it is told, and by itself");

    const id = await alice.sendText(room, "Read this");
    await bob.waitForText(room, "Read this");
    const count = (wanted) => bob.step(({ client, until }, room, wanted) => until(`${wanted} unread`, () => {
        return client.getRoom(room).getUnreadNotificationCount() === wanted;
    }), room, wanted);
    await count(1);
    await bob.step(({ client }, room, id) => client.sendReadReceipt(client.getRoom(room).findEventById(id)), room, id);
    await alice.step(({ client, until }, room, id, whom) => until("the receipt", () => {
        const found = client.getRoom(room);
        return found.getUsersReadUpTo(found.findEventById(id)).includes(whom);
    }), room, id, bobId);
    await count(0);
    const secret = await alice.sendText(room, "And this, secretly");
    await bob.waitForText(room, "And this, secretly");
    await count(1);
    await bob.step(({ client }, room, id) => {
        return client.sendReadReceipt(client.getRoom(room).findEventById(id), "m.read.private");
    }, room, secret);
    await count(0);
    await bob.sendText(room, "I have seen nothing");
    await alice.waitForText(room, "I have seen nothing");
    const betrayed = await alice.step(({ client }, room, id, whom) => {
        const receipt = client.getRoom(room).getReadReceiptForUserId(whom, true);
        return receipt?.eventId === id;
    }, room, secret, bobId);
    assert.equal(betrayed, false, "a private receipt is nobody else's");
    say("receipts are seen, private ones are not, and the counts follow both");
}

/** A new name and picture reach the other, in the room and as a user. */
async function profiles(room, alice, bob) {
    const picture = await bob.step(async ({ client }) => {
        const { content_uri } = await client.uploadContent(new Blob(["<svg/>"], { type: "image/svg+xml" }), { name: "bob.svg" });
        await client.setDisplayName("Bob the Builder");
        await client.setAvatarUrl(content_uri);
        return content_uri;
    });
    await alice.step(({ client, until }, room, whom, picture) => until("the new name and picture", () => {
        const member = client.getRoom(room).getMember(whom);
        return member.rawDisplayName === "Bob the Builder" && member.getMxcAvatarUrl() === picture;
    }), room, bobId, picture);
    const profile = await alice.step(({ client }, whom) => client.getProfileInfo(whom), bobId);
    assert.deepEqual({ name: profile.displayname, picture: profile.avatar_url }, { name: "Bob the Builder", picture });
    await bob.step(async ({ client }) => {
        if (!(await client.doesServerSupportExtendedProfiles())) throw new Error("the server does not offer profiles with more in them");
        await client.setExtendedProfileProperty("m.tz", "Europe/Vienna");
    });
    const extended = await alice.step(({ client }, whom) => client.getExtendedProfileProperty(whom, "m.tz"), bobId);
    assert.equal(extended, "Europe/Vienna");
    say(`Bob is called ${profile.displayname} now, and lives in ${extended}`);
}

/** What one device remembers, the other of the same user knows. */
async function memory(browser, room, alice) {
    const second = await logIn(browser, "alice");
    await alice.step(async ({ client }, room) => {
        await client.setAccountData("test.porchlight.colour", { lamp: "green" });
        await client.setRoomTag(room, "m.favourite", { order: 0.25 });
        await client.setRoomAccountData(room, "m.marked_unread", { unread: true });
        await client.setRoomAccountData(room, "test.porchlight.note", { text: "outside" });
    }, room);
    await second.step(({ client, until }, roomId) => until("all of it on the second device", () => {
        const room = client.getRoom(roomId);
        return client.getAccountData("test.porchlight.colour")?.getContent().lamp === "green" &&
            room.tags["m.favourite"]?.order === 0.25 &&
            room.getAccountData("m.marked_unread")?.getContent().unread === true &&
            room.getAccountData("test.porchlight.note")?.getContent().text === "outside";
    }), room);
    await second.step(async ({ client }, room) => {
        await client.deleteRoomTag(room, "m.favourite");
        await client.setRoomAccountData(room, "m.marked_unread", { unread: false });
    }, room);
    await alice.step(({ client, until }, room) => until("both to be taken back", () => {
        const found = client.getRoom(room);
        return !("m.favourite" in found.tags) && found.getAccountData("m.marked_unread").getContent().unread === false;
    }), room);
    await second.stop();
    say("account data, tags and the mark as unread go from device to device, both ways");
}

/** Finding people by what they are called, and rooms by what they are about. */
async function directories(alice, carol) {
    const people = await carol.step(async ({ client }) => {
        const { results, limited } = await client.searchUserDirectory({ term: "builder" });
        return { limited, found: results.map((r) => [r.user_id, r.display_name]) };
    });
    assert.deepEqual(people, { limited: false, found: [[bobId, "Bob the Builder"]] });

    const server = aliceId.split(":")[1];
    const garden = await alice.createRoom({
        name: "Rose garden", topic: "Pruning in March", preset: "public_chat", visibility: "public", room_alias_name: "roses",
    });
    await alice.createRoom({ name: "Vegetable garden", preset: "public_chat", visibility: "public" });
    await alice.createRoom({ name: "Hidden garden", preset: "public_chat" });
    const rooms = await carol.step(async ({ client }) => {
        const term = (generic_search_term) => client.publicRooms({ filter: { generic_search_term } });
        const first = await client.publicRooms({ limit: 1 });
        const second = await client.publicRooms({ limit: 1, since: first.next_batch });
        return {
            gardens: (await term("garden")).chunk.map((r) => r.name).toSorted(),
            pruning: (await term("pruning")).chunk.map((r) => [r.canonical_alias, r.num_joined_members, r.join_rule ?? "public"]),
            pages: [...first.chunk, ...second.chunk].map((r) => r.name).toSorted(), more: second.next_batch ?? null,
        };
    });
    const gardens = ["Rose garden", "Vegetable garden"];
    assert.deepEqual(rooms, { gardens, pruning: [[`#roses:${server}`, 1, "public"]], pages: gardens, more: null });
    const joined = await carol.step(async ({ client, until }, alias) => {
        const { roomId } = await client.joinRoom(alias);
        await until("the room", () => client.getRoom(roomId)?.getMyMembership() === "join");
        return roomId;
    }, `#roses:${server}`);
    assert.equal(joined, garden);
    await alice.waitForMember(garden, carolId);
    say(`found: ${people.found[0][1]}; ${rooms.gardens.join(", ")}; and Carol came in by #roses`);
}

/** Out, back by invitation, out for good, and forgiven. */
async function shownOut(room, alice, bob, carol) {
    const fate = (client, membership) => client.step(({ client, until }, room, membership) => until(membership, () => {
        const me = client.getRoom(room).getMember(client.getUserId());
        return client.getRoom(room).getMyMembership() === membership && me.membership === membership && {
            reason: me.events.member.getContent().reason, by: me.events.member.getSender(),
        };
    }), room, membership);
    await alice.step(({ client }, room, whom) => client.kick(room, whom, "Mud on the carpet"), room, carolId);
    assert.deepEqual(await fate(carol, "leave"), { reason: "Mud on the carpet", by: aliceId });
    await bob.waitForMember(room, carolId, "leave");
    await alice.step(({ client }, room, whom) => client.invite(room, whom), room, carolId);
    await carol.acceptInvite(room);
    await alice.step(({ client }, room, whom) => client.ban(room, whom, "More mud"), room, carolId);
    assert.deepEqual(await fate(carol, "ban"), { reason: "More mud", by: aliceId });
    await bob.waitForMember(room, carolId, "ban");
    const refused = await carol.step(async ({ client }, room) => {
        const codes = [];
        for (const attempt of [() => client.joinRoom(room), () => client.http.authedRequest("PUT",
            `/rooms/${encodeURIComponent(room)}/send/m.room.message/shout`, undefined, { msgtype: "m.text", body: "Unfair!" })]) {
            codes.push(await attempt().then(() => "let through", (error) => error.errcode));
        }
        return codes;
    }, room);
    assert.deepEqual(refused, ["M_FORBIDDEN", "M_FORBIDDEN"]);
    const secret = await alice.sendText(room, "Now that she is gone");
    await bob.waitForText(room, "Now that she is gone");
    const overheard = await carol.step(({ client }, room, id) => {
        return client.fetchRoomEvent(room, id).then(() => "overheard", (error) => error.errcode);
    }, room, secret);
    assert.equal(overheard, "M_NOT_FOUND");
    const power = await bob.step(({ client }, room, whom) => {
        return client.unban(room, whom).then(() => "let through", (error) => error.errcode);
    }, room, carolId);
    assert.equal(power, "M_FORBIDDEN", "who has no power forgives nobody");
    await alice.step(({ client }, room, whom) => client.unban(room, whom), room, carolId);
    await bob.waitForMember(room, carolId, "leave");
    await alice.step(({ client }, room, whom) => client.invite(room, whom), room, carolId);
    await carol.acceptInvite(room);
    await carol.sendText(room, "I brought slippers");
    await alice.waitForText(room, "I brought slippers");
    say("out with a reason, banned with a reason, unheard while banned, and back again");
}
