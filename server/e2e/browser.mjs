// Starts Chromium and opens pages in it: what all scenarios share.
import { chromium } from "playwright-core";
import assert from "node:assert/strict";
import { mkdtempSync, writeFileSync } from "node:fs";
import os from "node:os";
import path from "node:path";

/** What the Go test hands over: {page, server, shots, users: {name: {id, password}}, …}. */
export const given = JSON.parse(process.env.PORCHLIGHT_E2E ?? "{}");

const flags = [
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    // Nothing here may look for the internet.
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    // A camera that shows a moving picture and a microphone that beeps, both without asking.
    "--use-fake-device-for-media-stream",
    "--use-fake-ui-for-media-stream",
    "--autoplay-policy=no-user-gesture-required",
    // Everything is on one machine here, which may have no other network.
    "--allow-loopback-in-peer-connection",
    // Pages in the background must go on drawing: two of them stand side by side.
    "--disable-background-timer-throttling",
    "--disable-backgrounding-occluded-windows",
    "--disable-renderer-backgrounding",
];

const program = process.env.CHROMIUM ?? "/usr/bin/chromium";

export function launch(...more) {
    return start(program, more);
}

/** Starts a browser in a network namespace; we talk to it through a pipe, which knows no network. */
export function launchIn(space, ...more) {
    const script = path.join(mkdtempSync(path.join(os.tmpdir(), "browser-")), "chromium");
    writeFileSync(script, `#!/bin/sh\nexec ip netns exec ${space} ${program} "$@"\n`, { mode: 0o755 });
    return start(script, more);
}

function start(executablePath, more) {
    return chromium.launch({ executablePath, args: [...flags, ...more], env: { ...process.env, LANG: "C.UTF-8" } });
}

/** Where the test client is for a browser that reaches no server with it; openPage then reads it from given.folder. */
const nowhere = "http://localhost:9/";

/** Opens a page of its own (no shared storage) and repeats here what it says in its console. */
export async function openPage(browser, name, url, options = {}) {
    const context = await browser.newContext(options);
    if (given.folder) {
        await context.route(`${nowhere}**`, (route) => {
            const name = new URL(route.request().url()).pathname.slice(1) || "index.html";
            return route.fulfill({ path: path.join(given.folder, name) });
        });
        // What Chromium asks people when a page from elsewhere wants to talk to a machine in their network.
        await context.grantPermissions(["local-network-access"], { origin: new URL(nowhere).origin });
    }
    const page = await context.newPage();
    page.on("console", (message) => {
        const known = message.text().startsWith("Failed to load resource"); // said below, with the address
        if (["error", "warning"].includes(message.type()) && !known) console.log(`  [${name}] ${message.text()}`);
    });
    page.on("response", (response) => {
        const what = `${response.request().method()} ${response.url()}`;
        if (response.status() >= 400) console.log(`  [${name}] ${what}: ${response.status()}`);
    });
    page.on("pageerror", (error) => console.log(`  [${name}] uncaught: ${error.stack}`));
    await page.goto(url);
    return page;
}

/** Opens the test client; its functions (page/client.js) are the methods of what is returned. */
export async function openClient(browser, name) {
    const page = await openPage(browser, name, given.page ?? nowhere);
    await page.waitForFunction(() => window.porch);
    // A scenario's own step: runs in the page, with its tools (end of page/client.js) and arguments that are plain data.
    const step = (what, ...args) => page.evaluate(`(${what})(window.porch.tools, ...${JSON.stringify(args)})`);
    return new Proxy({ page, step }, {
        get(target, method) {
            if (method in target) return target[method];
            if (method === "then") return undefined; // it is no promise
            return (...args) => page.evaluate(([method, args]) => window.porch[method](...args), [method, args]);
        },
    });
}

/** Opens the test client and logs in as one of the given users. */
export async function logIn(browser, name, options = {}) {
    const client = await openClient(browser, name);
    const session = await client.login({ server: given.server, user: name, password: given.users[name].password, ...options });
    assert.equal(session.userId, given.users[name].id);
    return client;
}

/** Tries again until check() holds (it throws while it does not), at most `seconds` long. */
export async function eventually(check, seconds = 15) {
    const end = Date.now() + seconds * 1000;
    for (;;) {
        try {
            return await check();
        } catch (error) {
            if (Date.now() > end) throw error;
        }
        await new Promise((resolve) => setTimeout(resolve, 100));
    }
}

/** Runs a scenario and closes the browser after it, whatever happened; `more` are further flags for the browser. */
export async function scenario(run, ...more) {
    const browser = await launch(...more);
    try {
        await run(browser);
    } finally {
        await browser.close();
    }
    for (const { figure, reached, reference } of figures) say(`  ${figure.padEnd(44)} ${reached.join(", ").padEnd(24)} ${reference}`);
    if (given.figures) writeFileSync(given.figures, JSON.stringify(figures));
}

const figures = []; // {figure, reached, reference}

/** Puts a figure into the table that ends the script, and that the benchmarks print, beside what others reached. */
export function note(figure, value, reference = "") {
    const row = figures.find((row) => row.figure === figure);
    if (row) row.reached.push(String(value));
    else figures.push({ figure, reached: [String(value)], reference });
}

/** What was seen, and how many seconds after the script's start. */
export function say(sentence) {
    console.log(`${(performance.now() / 1000).toFixed(1)} s: ${sentence}`);
}
