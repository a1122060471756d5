// Six people look through the door at once, on one encoder; the seventh is told that the board is busy. Prints what each
// costs the house.
import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { boardCalls, boardIsIdle } from "./board.mjs";
import { eventually, given, launch, logIn, note, openPage, say, scenario } from "./browser.mjs";

const { board, pid, server } = given;
const { alice } = given.users;
const most = 6;

await scenario(async (browser) => {
    const loads = [await load()];
    const pages = [];
    while (pages.length < most) {
        pages.push(await watches(browser, `viewer ${pages.length + 1}`));
        loads.push(await load());
    }
    await Promise.all(pages.map(sees));
    const calls = await boardCalls();
    assert.equal(calls.length, most);
    assert.ok(calls.every((call) => call.phase === "active" && call.media.video_codec === "VP8"), JSON.stringify(calls));
    const [idle, one, six] = [loads[0], loads[1], loads[most]];
    const further = (six - one) / (most - 1);
    note("CPU of the house, % of a core: idle", idle.toFixed(1));
    for (const x of loads.slice(1)) note("  with 1 to 6 viewers", x.toFixed(1));
    note("  each further viewer", further.toFixed(1));
    // With an encoder for each it would be as much again.
    assert.ok(further < (one - idle) / 2, "each further viewer costs more than half of the first");

    const other = await launch(); // a browser with six pages that move is slow to place a call
    const late = await logIn(other, "alice");
    const room = await late.directRoom(board.id);
    await late.waitForMember(room, board.id);
    await late.placeCall(room);
    const busy = await late.waitForCall(["ended", "connected"]);
    assert.deepEqual([busy.state, busy.by, busy.reason], ["ended", "remote", "user_busy"], JSON.stringify(busy));
    const tooMany = await opens(browser, "viewer 7");
    await tooMany.locator("#watch").click();
    await tooMany.locator('.stage[data-state="ended"]').waitFor();
    say(`the seventh: ${busy.reason}; our page: "${(await tooMany.locator(".line").first().textContent()).trim()}"`);
    assert.equal((await boardCalls()).length, most);
    await Promise.all(pages.map(sees));

    // One who leaves makes room.
    await pages.pop().getByRole("button", { name: "Hang up" }).click();
    await eventually(async () => assert.equal((await boardCalls()).length, most - 1));
    await late.placeCall(room);
    assert.equal((await late.waitForCall(["ended", "connected"])).state, "connected");
    await late.hangUp();
    await other.close();
    for (const page of pages) await page.getByRole("button", { name: "Hang up" }).click();
    await eventually(boardIsIdle);
});

async function opens(browser, name) {
    const page = await openPage(browser, name, server);
    await page.getByLabel("User name").fill(alice.id);
    await page.getByLabel("Password").fill(alice.password);
    await page.getByRole("button", { name: "Sign in" }).click();
    await page.locator("#watch").waitFor();
    return page;
}

async function watches(browser, name) {
    const page = await opens(browser, name);
    await page.locator("#watch").click();
    await page.locator('.stage[data-state="connected"]').waitFor();
    await sees(page);
    return page;
}

async function sees(page) {
    const shown = () => page.evaluate(() => document.querySelector(".screen video").getVideoPlaybackQuality().totalVideoFrames);
    const before = await shown();
    await eventually(async () => assert.ok((await shown()) > before + 5, "the picture stands still"));
}

/** The CPU time of the server in the next seconds, in percent of one core. */
async function load() {
    const ticks = () => {
        const fields = readFileSync(`/proc/${pid}/stat`, "utf8").replace(/^.*\) /, "").split(" ");
        return Number(fields[11]) + Number(fields[12]); // user and system, in hundredths of a second
    };
    const [before, began] = [ticks(), Date.now()];
    await new Promise((resolve) => setTimeout(resolve, 2000));
    return ((ticks() - before) * 1000) / (Date.now() - began);
}
