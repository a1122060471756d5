// Calls between matrix-js-sdk in Chromium and the board's own user: answered, seen, heard, ended from both sides, and
// rejected for who is not on the board's list.
import assert from "node:assert/strict";
import { eventually, given, logIn, say, scenario } from "./browser.mjs";
import { boardCall, boardIsIdle } from "./board.mjs";

const board = given.board; // {id, toneHz}

await scenario(async (browser) => {
    const alice = await logIn(browser, "alice"); // the owner, who may call
    const room = await alice.directRoom(board.id);

    await answered(alice, room);
    await alice.hangUp();
    assert.equal((await alice.waitForCall(["ended"])).reason, "user_hangup");
    await eventually(boardIsIdle);
    say("hung up by the caller; the board is idle again");

    await answered(alice, room);
    await alice.sendText(room, "hang up"); // the board does what its owner writes to it
    const end = await alice.waitForCall(["ended"]);
    assert.equal(end.by, "remote", `ended by the board: ${JSON.stringify(end)}`);
    await eventually(boardIsIdle);
    say("hung up by the board");

    const bob = await logIn(browser, "bob"); // has an account, but is not on the list
    // The board comes into no room at his invitation, so the owner brings them together.
    const bobId = given.users.bob.id;
    const bobsRoom = await alice.createRoom({ preset: "private_chat", invite: [board.id, bobId] });
    await alice.waitForMember(bobsRoom, board.id);
    await bob.acceptInvite(bobsRoom);
    await alice.waitForMember(bobsRoom, bobId);
    await alice.leaveRoom(bobsRoom);
    await bob.waitForMember(bobsRoom, given.users.alice.id, "leave");
    await bob.placeCall(bobsRoom);
    const rejected = await bob.waitForCall(["ended"]);
    assert.equal(rejected.by, "remote", JSON.stringify(rejected));
    assert.ok(!rejected.states.some(({ state }) => state === "connected"), JSON.stringify(rejected));
    say(`a stranger's call was rejected: ${JSON.stringify(rejected.states)}`);
});

/** Places a call and checks everything of a call that stands. */
async function answered(client, room) {
    await client.waitForMember(room, board.id);
    await client.placeCall(room);
    const { state, states, problems } = await client.waitForCall(["connected", "ended"]);
    assert.equal(state, "connected", JSON.stringify({ states, problems }));
    say(`connected: ${states.map(({ state, ms }) => `${state} ${ms} ms`).join(", ")}`);

    await eventually(async () => assert.ok(await client.picture(), "no picture"));
    await eventually(async () => assert.ok((await client.movement()) > 0.001, "the picture stands still"));
    say(`picture: ${JSON.stringify(await client.picture())}`);
    await seesTime(client);

    await eventually(async () => {
        const tone = await client.tone();
        assert.ok(tone && Math.abs(tone.hz - board.toneHz) < 20, `heard ${JSON.stringify(tone)}, not ${board.toneHz} Hz`);
    });
    say(`tone: ${JSON.stringify(await client.tone())}`);

    await eventually(async () => {
        const { media } = await boardCall();
        const beep = media.heard_level_dbfs > -30 && media.heard_hz > 300 && media.heard_hz < 600;
        assert.ok(beep, `the board does not hear Chromium's beep: ${JSON.stringify(media)}`);
        say(`the board hears the beep: ${JSON.stringify(media)}`);
    });
}

/** Reads the time that is burnt into the picture, several times: it must be fresh, and go on. */
async function seesTime(client) {
    const lags = [];
    let last = 0;
    for (let i = 0; i < 20; i++) {
        const { shown, now } = await eventually(async () => {
            const reading = await client.timeBar();
            assert.ok(reading && reading.shown !== last, `no new time in the picture: ${JSON.stringify(reading)}`);
            return reading;
        });
        assert.ok(shown > last, `time went backwards: ${last} → ${shown}`);
        last = shown;
        lags.push(now - shown);
    }
    lags.sort((a, b) => a - b);
    const median = lags[Math.floor(lags.length / 2)];
    assert.ok(median >= -50 && median < 2000, `the picture is ${median} ms old`);
    say(`the picture is ${median} ms old (p50 of ${lags.length})`);
}
