// The page rings. The board places no calls by itself yet, so two people's pages call each other: each is told that the
// other one is the board.
import assert from "node:assert/strict";
import path from "node:path";
import { eventually, given, openPage, say, scenario } from "./browser.mjs";

const { server, shots } = given;
const { alice, bob } = given.users;
const viewport = { width: 390, height: 844 };

await scenario(async (browser) => {
    const [a, b] = await Promise.all([opens(browser, "alice", alice, bob, "light"), opens(browser, "bob", bob, alice, "dark")]);

    // The first call makes the direct room; the other side's page does not know it yet, and has to come in first.
    await a.locator("#call").click();
    await joins(bob);
    await said(b, "The porch is calling");
    assert.equal(await b.title(), "The porch is calling");
    if (shots) await b.screenshot({ path: path.join(shots, "ringing-phone-dark.png") });
    await b.getByRole("button", { name: "Answer" }).click();
    await Promise.all([connected(a), connected(b)]);
    await Promise.all([sees(a), sees(b)]);
    await a.getByRole("button", { name: "Mute" }).click();
    await b.getByRole("button", { name: "Hang up" }).click();
    await said(a, "The porch hung up.");
    if (shots) await a.screenshot({ path: path.join(shots, "ended-phone-light.png") });
    say("answered, and hung up by the other side");

    await a.getByRole("button", { name: "Call again" }).click();
    await b.getByRole("button", { name: "Decline" }).click();
    await said(a, "did not take the call");
    await a.getByRole("button", { name: "Back", exact: true }).click();
    await a.locator("#call").waitFor();
    say("declined");

    await a.locator("#call").click();
    await said(b, "The porch is calling");
    await a.getByRole("button", { name: "Hang up" }).click();
    await said(b, "The porch ended the call.");
    await b.getByRole("button", { name: "Back", exact: true }).click();
    await b.locator("#call").waitFor();
    say("given up by the caller");

    await a.locator("#watch").click();
    await b.getByRole("button", { name: "Answer" }).click();
    await Promise.all([connected(a), connected(b)]);
    await sees(a);
    await a.getByRole("button", { name: "Hang up" }).click();
    await said(b, "The porch hung up.");
    await b.getByRole("button", { name: "Back", exact: true }).click();
    say("watched");

    // Both at once: one call is left, whichever it is.
    await Promise.all([a.locator("#call").click(), b.locator("#call").click()]);
    await Promise.all([connected(a), connected(b)]);
    await Promise.all([sees(a), sees(b)]);
    await a.getByRole("button", { name: "Hang up" }).click();
    await said(b, "The porch hung up.");
    say("both called at once");

    await elsewhere(browser, a, b);
});

/** A second page of the same person: both ring, and the one that is not used stops. */
async function elsewhere(browser, a, b) {
    const second = await opens(browser, "bob's second", bob, alice, "light");
    await a.locator("#call").click();
    await Promise.all([b, second].map((page) => page.getByRole("button", { name: "Answer" }).waitFor()));
    await second.getByRole("button", { name: "Answer" }).click();
    await said(b, "You answered on another device.");
    await Promise.all([connected(a), connected(second)]);
    await second.context().close(); // without a word: the connection is lost, or its last word gets through
    await a.locator('.stage[data-state="ended"], .stage[data-state="mending"]').waitFor();
    say("answered on another device");
}

async function opens(browser, name, person, board, colorScheme) {
    const page = await openPage(browser, name, "about:blank", { viewport, hasTouch: true, isMobile: true, colorScheme });
    await page.route("**/_porchlight/info", async (route) => {
        const response = await route.fetch();
        await route.fulfill({ response, json: { ...(await response.json()), board: true, board_user: board.id } });
    });
    await page.goto(server);
    await page.getByLabel("User name").fill(person.id);
    await page.getByLabel("Password").fill(person.password);
    await page.getByRole("button", { name: "Sign in" }).click();
    await page.locator("#call").waitFor();
    return page;
}

/** Accepts the invitation into the direct room, as the board does by itself. */
async function joins(person) {
    const ask = async (method, path, body, token) => {
        const headers = token ? { Authorization: `Bearer ${token}` } : {};
        const response = await fetch(server + path, { method, headers, body: body && JSON.stringify(body) });
        return response.json();
    };
    const identifier = { type: "m.id.user", user: person.id };
    const { access_token: token } = await ask("POST", "/_matrix/client/v3/login", { type: "m.login.password", identifier, password: person.password });
    const room = await eventually(async () => {
        const { rooms } = await ask("GET", "/_matrix/client/v3/sync", undefined, token);
        const [invited] = Object.keys(rooms?.invite ?? {});
        assert.ok(invited, "no invitation");
        return invited;
    });
    await ask("POST", `/_matrix/client/v3/join/${encodeURIComponent(room)}`, {}, token);
    // For calls back the page must know that this room is the direct one.
    await ask("PUT", `/_matrix/client/v3/user/${encodeURIComponent(person.id)}/account_data/m.direct`, { [alice.id]: [room] }, token);
}

function connected(page) {
    return page.locator('.stage[data-state="connected"]').waitFor();
}

/** The other side's picture is there and moves on. */
async function sees(page) {
    const at = () => page.evaluate(() => {
        const video = document.querySelector(".screen video");
        return video.videoWidth ? video.getVideoPlaybackQuality().totalVideoFrames : 0;
    });
    const before = await at();
    await eventually(async () => assert.ok((await at()) > before + 5, "the picture stands still"));
}

/** Waits until the line above the picture says this. */
function said(page, words) {
    return page.locator(".line", { hasText: words }).waitFor();
}
