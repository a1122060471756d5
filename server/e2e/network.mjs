// Calls over networks that are torn, narrow, divided or new. The browsers stand in network namespaces of their own, this
// script beside the house; there is no way out into the internet.
import assert from "node:assert/strict";
import { execFileSync } from "node:child_process";
import { boardCall, boardCalls, boardIsIdle, boardRings } from "./board.mjs";
import { eventually, given, launchIn, logIn, openPage, say } from "./browser.mjs";

const { board, spaces, server } = given;
const { alice } = given.users;

async function inSpace(space, run) {
    const browser = await launchIn(space);
    try {
        await run(browser);
    } finally {
        await browser.close();
    }
}

async function called(browser, options = {}) {
    const client = await logIn(browser, "alice", options);
    const room = await client.directRoom(board.id);
    await client.waitForMember(room, board.id);
    await client.relaysAreKnown();
    await client.placeCall(room);
    await stands(client, "called");
    return { client, room };
}

async function stands(client, what) {
    const { state, states, problems } = await client.waitForCall(["connected", "ended"], 30);
    assert.equal(state, "connected", JSON.stringify({ states, problems }));
    await moves(client);
    await eventually(async () => assert.ok((await boardCall()).media.heard_level_dbfs > -40, "the board hears nothing"));
    const { local, remote } = await client.path();
    say(`${what}: connected after ${states.find((s) => s.state === "connected").ms} ms, ` +
        `${local.type}${local.relayProtocol ? ` by ${local.relayProtocol}` : ""} ${local.address} to ${remote.type} ${remote.address} (${remote.protocol})`);
    return { local, remote };
}

async function moves(client, seconds = 15) {
    try {
        await eventually(async () => assert.ok((await client.timeBar())?.shown > Date.now() - 1000, "the picture is old, or there is none"), seconds);
    } catch (error) {
        say(`no picture: ${JSON.stringify([await client.callInfo(), await client.callStats(), await boardCalls()])}`);
        throw error;
    }
}

async function ends(client) {
    await client.hangUp();
    await eventually(boardIsIdle);
}

/** Has the board ring, and the owner answer. */
async function rung(client, room) {
    await client.sendState(room, "local.porchlight.board", { value: "0s" }, "ring_pause");
    await client.forgetCall();
    await boardRings();
    await client.answerCall();
    return stands(client, "rung");
}

const ipIn = (space, ...args) => execFileSync("ip", ["-n", space, ...args]);
const ip = (...args) => ipIn(spaces.phone, ...args);
const sleep = (ms) => new Promise((resolve) => setTimeout(resolve, ms));

/** Takes the phone's network away for some time, and gives how long the picture took to come back after that. */
async function tear(seconds, back) {
    ip("link", "set", spaces.house, "down");
    await sleep(seconds * 1000);
    ip("link", "set", spaces.house, "up");
    const mended = Date.now();
    await back();
    return Date.now() - mended;
}

/** Gives the phone another address. Its connections from the old one end, as a phone's system sees to: left to itself
 * Chromium goes on waiting for the answer to its /sync. */
async function moveTo(address, from) {
    ip("addr", "del", from, "dev", spaces.house);
    ip("addr", "add", address, "dev", spaces.house);
    execFileSync("ip", ["netns", "exec", spaces.phone, "ss", "--kill", "--tcp", "src", from.split("/")[0]]);
}

async function torn() {
    await inSpace(spaces.phone, async (browser) => {
        const { client } = await called(browser);
        const { id } = await client.callInfo();
        // Not much longer: after some seven seconds js-sdk offers an ICE restart, and ends the call if that cannot be sent.
        for (const seconds of [2, 5]) {
            const took = await tear(seconds, () => moves(client, 40));
            const info = await client.callInfo();
            assert.deepEqual([info.id, info.state], [id, "connected"], JSON.stringify(info));
            assert.equal((await boardCall()).call_id, id);
            say(`torn for ${seconds} s: the picture is back ${took} ms after mending`);
        }
        for (const [to, from] of [["10.83.0.3/24", "10.83.0.2/24"], ["10.83.0.2/24", "10.83.0.3/24"]]) {
            const began = Date.now();
            await moveTo(to, from);
            await sleep(200); // what was on its way still arrives
            await moves(client, 40);
            assert.equal((await client.callInfo()).id, id);
            assert.equal((await boardCall()).call_id, id);
            say(`moved to ${to}: the picture is back after ${Date.now() - began} ms`);
        }
        await eventually(async () => assert.ok((await boardCall()).media.heard_level_dbfs > -40, "the board hears nothing"));
        await ends(client);
    });
}

async function tornPage() {
    await inSpace(spaces.phone, async (browser) => {
        const page = await openPage(browser, "alice", server);
        await page.getByLabel("User name").fill(alice.id);
        await page.getByLabel("Password").fill(alice.password);
        await page.getByRole("button", { name: "Sign in" }).click();
        await page.locator("#watch").click();
        await page.locator('.stage[data-state="connected"]').waitFor();
        const shown = () => page.evaluate(() => document.querySelector(".screen video").getVideoPlaybackQuality().totalVideoFrames);
        const goesOn = async () => {
            const before = await shown();
            await eventually(async () => assert.ok((await shown()) > before + 3, "the picture stands still"), 40);
        };
        await goesOn();
        const { call_id: id } = await boardCall();
        for (const seconds of [3, 9]) {
            say(`the page, torn for ${seconds} s: the picture is back ${await tear(seconds, goesOn)} ms after mending`);
            assert.equal((await boardCall()).call_id, id);
        }
        const began = Date.now();
        await moveTo("10.83.0.3/24", "10.83.0.2/24");
        await sleep(200);
        await goesOn();
        // This may well be in the middle of looking for a path from the other address.
        await moveTo("10.83.0.2/24", "10.83.0.3/24");
        await sleep(200);
        await goesOn();
        assert.equal((await boardCall()).call_id, id);
        say(`the page, moved to another address and back: the picture is back after ${Date.now() - began} ms`);
        await page.getByRole("button", { name: "Hang up" }).click();
        await eventually(boardIsIdle);
    });
}

/** The one who placed the call is the board: it has to look for the phone. */
async function tornRung() {
    await inSpace(spaces.phone, async (browser) => {
        const { client, room } = await called(browser);
        await ends(client);
        await rung(client, room);
        const { id } = await client.callInfo();
        const goesOn = async () => {
            await moves(client, 40);
            await eventually(async () => { // pictures may come before the library has seen that they can
                const info = await client.callInfo();
                assert.deepEqual([info.id, info.state], [id, "connected"], JSON.stringify(info));
            });
            assert.equal((await boardCall()).call_id, id);
        };
        for (const seconds of [2, 5]) say(`rung, torn for ${seconds} s: the picture is back ${await tear(seconds, goesOn)} ms after mending`);
        for (const [to, from] of [["10.83.0.3/24", "10.83.0.2/24"], ["10.83.0.2/24", "10.83.0.3/24"]]) {
            const began = Date.now();
            await moveTo(to, from);
            await sleep(1200); // what was on its way still arrives
            await goesOn();
            say(`rung, the phone moved to ${to}: the picture is back after ${Date.now() - began} ms`);
        }
        await ends(client);
    });
}

/** UDP gets through no more in the middle of a call, TCP does. */
async function udpDies() {
    const both = [spaces.phone, spaces.house];
    const rule = ["pref", "10", "ipproto", "udp", "type", "blackhole"];
    await inSpace(spaces.phone, async (browser) => {
        const { client, room } = await called(browser);
        for (const [what, again] of [["called", null], ["rung", () => rung(client, room)], ["rung once more", () => rung(client, room)]]) {
            if (again) await again();
            assert.equal((await client.path()).remote.protocol, "udp");
            const { id } = await client.callInfo();
            for (const space of both) ipIn(space, "rule", "add", ...rule);
            const began = Date.now();
            await sleep(2000); // what was on its way still arrives
            await moves(client, 40);
            const { local, remote } = await client.path();
            const by = local.relayProtocol ? `the relay, ${local.relayProtocol}` : remote.protocol;
            say(`${what}, and UDP died: the picture is back after ${Date.now() - began} ms, by ${by}`);
            assert.match(by, /tcp$/);
            assert.deepEqual([(await client.callInfo()).id, (await boardCall()).call_id], [id, id]);
            await eventually(async () => assert.ok((await boardCall()).media.heard_level_dbfs > -40, "the board hears nothing"));
            await ends(client);
            for (const space of both) ipIn(space, "rule", "del", ...rule);
        }
    });
}

/** The board gets other addresses in calls; the server's own, by which the client hears of it, stays. */
async function boardMoves() {
    await inSpace(spaces.phone, async (browser) => {
        const { client, room } = await called(browser);
        let from = "10.83.0.1/24";
        for (const [what, to, again] of [["called", "10.83.0.7/24", null], ["rung", "10.83.0.8/24", () => rung(client, room)]]) {
            if (again) await again();
            const { id } = await client.callInfo();
            assert.equal((await client.path()).remote.address, from.split("/")[0]);
            const began = Date.now();
            ipIn(spaces.house, "addr", "del", from, "dev", spaces.phone);
            ipIn(spaces.house, "addr", "add", to, "dev", spaces.phone);
            await sleep(1200); // what was on its way still arrives
            await moves(client, 40);
            assert.equal((await client.path()).remote.address, to.split("/")[0]);
            assert.deepEqual([(await client.callInfo()).id, (await boardCall()).call_id], [id, id]);
            say(`${what}, and the board moved to ${to}: the picture is back after ${Date.now() - began} ms`);
            from = to;
            await ends(client);
        }
    });
}

async function relay() {
    for (const transport of ["udp", "tcp"]) {
        await inSpace(spaces.phone, async (browser) => {
            const { client, room } = await called(browser, { forceTURN: true, transport });
            const by = async () => {
                const { local } = await client.path();
                assert.deepEqual([local.type, local.relayProtocol], ["relay", transport]);
            };
            await by();
            await ends(client);
            await rung(client, room);
            await by();
            await ends(client);
        });
    }
}

async function subnets() {
    await inSpace(spaces.phone, async (browser) => {
        const { client } = await called(browser); // the library may use any way, and there is only one
        const { local } = await client.path();
        assert.equal(local.type, "relay");
        await ends(client);
        await inSpace(spaces.other, async (second) => {
            const bob = await logIn(second, "bob");
            await bob.relaysAreKnown();
            const room = await client.createRoom({ preset: "trusted_private_chat", is_direct: true, invite: [given.users.bob.id] });
            await bob.acceptInvite(room);
            await client.waitForMember(room, given.users.bob.id);
            await client.placeCall(room);
            await bob.answerCall();
            await Promise.all([client, bob].map((one) => one.waitForCall(["connected"])));
            for (const one of [client, bob]) {
                const before = await one.framesShown();
                await eventually(async () => assert.ok((await one.framesShown()) > before + 5, "the picture stands still"));
                await eventually(async () => assert.ok((await one.tone())?.level > 0.01, "nothing is heard"));
            }
            const { local, remote } = await client.path();
            assert.ok(local.type === "relay" || remote.type === "relay", JSON.stringify({ local, remote }));
            say(`two people in two subnets: ${local.type} ${local.address} to ${remote.type} ${remote.address}`);
            await client.hangUp();
            await bob.waitForCall(["ended"]);
        });
    });
}

async function ipv6() {
    await inSpace(spaces.phone, async (browser) => {
        const { client, room } = await called(browser);
        const { local, remote } = await client.path();
        assert.ok(local.address.includes(":") && remote.address.includes(":"), JSON.stringify({ local, remote }));
        await ends(client);
        await rung(client, room);
        await ends(client);
    });
    await inSpace(spaces.phone, async (browser) => {
        const { client } = await called(browser, { forceTURN: true });
        assert.equal((await client.path()).local.type, "relay");
        await ends(client);
    });
}

await assert.rejects(fetch("http://192.0.2.1/", { signal: AbortSignal.timeout(3000) }), "there is a way out");
const scenes = { torn, "torn, rung": tornRung, "torn page": tornPage, "UDP dies": udpDies, "board moves": boardMoves, relay, subnets, IPv6: ipv6 };
await scenes[given.scene]();
