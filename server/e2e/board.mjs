// The board's own view of its calls, as the owner may ask for it (/_porchlight/status).
import assert from "node:assert/strict";
import { given } from "./browser.mjs";

let token = null;

async function ask(path, options = {}) {
    const response = await fetch(given.server + path, {
        ...options,
        headers: token ? { Authorization: `Bearer ${token}` } : {},
    });
    const answer = await response.json();
    assert.ok(response.ok, `${path}: ${response.status} ${JSON.stringify(answer)}`);
    return answer;
}

/** The board's calls: [{peer, phase, media: {heard_level_dbfs, …}}]. */
export async function boardCalls() {
    if (!token) {
        const { id, password } = given.users.alice;
        const identifier = { type: "m.id.user", user: id };
        const body = JSON.stringify({ type: "m.login.password", identifier, password });
        token = (await ask("/_matrix/client/v3/login", { method: "POST", body })).access_token;
    }
    return (await ask("/_porchlight/status")).calls ?? [];
}

/** Has the board ring, as an automation of the owner's may: {people, mode, timeout}, all optional. */
export async function boardRings(options = {}) {
    await boardCalls(); // logs in
    return ask("/_porchlight/ring", { method: "POST", body: JSON.stringify(options) });
}

/** The one call that the board is in. */
export async function boardCall() {
    const calls = await boardCalls();
    assert.equal(calls.length, 1, `calls: ${JSON.stringify(calls)}`);
    return calls[0];
}

/** Fails while the board is in a call. */
export async function boardIsIdle() {
    assert.deepEqual(await boardCalls(), []);
}
