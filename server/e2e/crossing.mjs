// Calls that cross each other, and a person with two devices: one call is left, whichever it is.
import assert from "node:assert/strict";
import { boardCall, boardCalls, boardIsIdle, boardRings } from "./board.mjs";
import { eventually, given, openClient, say, scenario } from "./browser.mjs";

const { board } = given;
const { alice: person } = given.users;

await scenario(async (browser) => {
    const first = await device(browser, "alice's first");
    const room = await first.directRoom(board.id);
    await first.waitForMember(room, board.id);
    await first.sendState(room, "local.porchlight.board", { value: "0s" }, "ring_pause");

    // Sorted before and behind all IDs that the board can draw.
    await crosses(first, room, "-", "outbound");
    await crosses(first, room, "~", "inbound");
    for (let i = 0; i < 3; i++) await atOnce(first, room, ["-", "~", ""][i]);

    const second = await device(browser, "alice's second");
    await second.directRoom(board.id);
    await answeredOnOne(first, second);
    await answeredOnBoth(first, second);
    await rejectedOnOne(first, second);
});

/** A page of the person, whose syncs can be held up. */
async function device(browser, name) {
    const client = await openClient(browser, name);
    let open = Promise.resolve();
    await client.page.route("**/_matrix/client/v3/sync*", async (route) => {
        try {
            const response = await route.fetch({ timeout: 60_000 });
            await open;
            await route.fulfill({ response });
        } catch {
            // The page is being closed.
        }
    });
    client.hearsNothing = () => {
        let hears;
        open = new Promise((resolve) => (hears = resolve));
        return hears;
    };
    await client.login({ server: given.server, user: person.id, password: person.password });
    return client;
}

/** Both invites are out before either side hears of the other's. */
async function crosses(client, room, idPrefix, direction) {
    await client.forgetCall();
    const hears = client.hearsNothing();
    await boardRings();
    await eventually(async () => assert.equal((await boardCall()).phase, "inviting"));
    const theirs = (await boardCall()).call_id;
    const ours = await client.placeCall(room, { invitee: board.id, idPrefix });
    // The board decides by what it knows: it takes the browser's call, or leaves it alone.
    await eventually(async () => {
        const call = await boardCall();
        assert.deepEqual([call.call_id, call.phase], direction === "outbound" ? [ours, "answered"] : [theirs, "inviting"]);
    });
    hears();
    await oneCall(client, direction);
    say(`crossed: the ${direction === "outbound" ? "browser's" : "board's"} call was the lesser, and is the one`);
    await ends(client);
}

/** Both call at the same moment, as it comes. */
async function atOnce(client, room, idPrefix) {
    await client.forgetCall();
    await Promise.all([boardRings(), client.placeCall(room, { invitee: board.id, idPrefix })]);
    const { direction } = await oneCall(client);
    say(`at once: ${direction}`);
    await ends(client);
}

async function oneCall(client, direction) {
    const info = await client.waitForCall(["connected"]);
    if (direction) assert.equal(info.direction, direction, JSON.stringify(info));
    const call = await eventually(async () => {
        const found = await boardCall();
        assert.equal(found.phase, "active");
        return found;
    });
    assert.equal(call.call_id, (await client.callInfo()).id);
    const before = await client.framesShown();
    await eventually(async () => assert.ok((await client.framesShown()) > before + 3, "the picture stands still"));
    await eventually(async () => assert.ok((await boardCall()).media.heard_level_dbfs > -40, "the board does not hear the beep"));
    return info;
}

async function ends(client) {
    await client.hangUp();
    await eventually(boardIsIdle);
}

async function bothRing(first, second) {
    await Promise.all([first.forgetCall(), second.forgetCall()]);
    await boardRings();
    await Promise.all([first.waitForCall(["ringing"]), second.waitForCall(["ringing"])]);
}

async function answeredOnOne(first, second) {
    await bothRing(first, second);
    await second.answerCall();
    const other = await first.waitForCall(["ended"]);
    assert.equal(other.reason, "answered_elsewhere", JSON.stringify(other));
    await oneCall(second, "inbound");
    await ends(second);
    say("two devices rang, one answered, the other stopped");
}

/** Whoever loses hears from m.call.select_answer. */
async function answeredOnBoth(first, second) {
    await bothRing(first, second);
    await Promise.all([first.answerCall(), second.answerCall()]);
    const states = await Promise.all([first, second].map((client) => client.waitForCall(["connected", "ended"])));
    const winner = [first, second].filter((_, i) => states[i].state === "connected");
    assert.equal(winner.length, 1, JSON.stringify(states));
    const loser = states.find(({ state }) => state === "ended");
    assert.equal(loser.reason, "answered_elsewhere", JSON.stringify(loser));
    await oneCall(winner[0], "inbound");
    assert.equal((await boardCalls()).length, 1);
    await ends(winner[0]);
    say("two devices answered at once, the board selected one");
}

async function rejectedOnOne(first, second) {
    await bothRing(first, second);
    await first.rejectCall();
    await second.waitForCall(["ended"]);
    await eventually(boardIsIdle);
    say("one device rejected the call, and the other stopped ringing");
}
