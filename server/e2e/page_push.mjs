// Our own page is told of messages and calls while it is closed. The push service of the browser is on the internet, so
// another one stands here for it: it decrypts what the house sends, as a browser would, and Chromium's service worker is
// given that by the developer tools.
import assert from "node:assert/strict";
import { createDecipheriv, createECDH, createPublicKey, hkdfSync, randomBytes, verify } from "node:crypto";
import { createServer } from "node:http";
import path from "node:path";
import { eventually, given, openPage, say, scenario } from "./browser.mjs";

const { server, shots } = given;
const { alice, bob } = given.users;

const keys = createECDH("prime256v1");
keys.generateKeys();
const auth = randomBytes(16);
const pushes = [];
const service = createServer(async (request, response) => {
    const parts = [];
    for await (const part of request) parts.push(part);
    pushes.push({ headers: request.headers, body: Buffer.concat(parts) });
    response.writeHead(201).end();
});
await new Promise((resolve) => service.listen(0, "127.0.0.1", resolve));
const endpoint = `http://127.0.0.1:${service.address().port}/send/one`;

/** What the browser gets (RFC 8188, RFC 8291). */
function decrypt(body) {
    const [salt, length, sender] = [body.subarray(0, 16), body[20], body.subarray(21, 86)];
    assert.equal(length, 65);
    const info = Buffer.concat([Buffer.from("WebPush: info\0"), keys.getPublicKey(), sender]);
    const secret = Buffer.from(hkdfSync("sha256", keys.computeSecret(sender), auth, info, 32));
    const key = Buffer.from(hkdfSync("sha256", secret, salt, "Content-Encoding: aes128gcm\0", 16));
    const nonce = Buffer.from(hkdfSync("sha256", secret, salt, "Content-Encoding: nonce\0", 12));
    const open = createDecipheriv("aes-128-gcm", key, nonce);
    open.setAuthTag(body.subarray(-16));
    const plain = Buffer.concat([open.update(body.subarray(86, -16)), open.final()]);
    assert.equal(plain.at(-1), 2);
    return plain.subarray(0, -1).toString();
}

/** The house says who it is (RFC 8292). */
function checkSender({ authorization }, house) {
    const [, token, key] = /^vapid t=(\S+), k=(\S+)$/.exec(authorization);
    assert.equal(key, house);
    const [head, claims, signature] = token.split(".");
    const point = Buffer.from(key, "base64url");
    const jwk = { kty: "EC", crv: "P-256", x: point.subarray(1, 33).toString("base64url"), y: point.subarray(33).toString("base64url") };
    const from = { key: createPublicKey({ key: jwk, format: "jwk" }), dsaEncoding: "ieee-p1363" };
    assert.ok(verify("sha256", Buffer.from(`${head}.${claims}`), from, Buffer.from(signature, "base64url")), "the signature is wrong");
    assert.equal(JSON.parse(Buffer.from(claims, "base64url")).aud, new URL(endpoint).origin);
}

async function ask(method, path, body, token) {
    const response = await fetch(`${server}/_matrix/client/v3/${path}`, { method, headers: token ? { Authorization: `Bearer ${token}` } : {}, body: body && JSON.stringify(body) });
    assert.equal(response.status, 200, `${method} ${path}`);
    return response.json();
}

async function logIn({ id, password }) {
    return (await ask("POST", "login", { type: "m.login.password", identifier: { type: "m.id.user", user: id }, password })).access_token;
}

/** The next push, decrypted. */
async function nextPush(house) {
    await eventually(() => assert.ok(pushes.length, "no push came"));
    const push = pushes.shift();
    checkSender(push.headers, house);
    return { headers: push.headers, text: decrypt(push.body) };
}

await scenario(async (browser) => {
    const page = await openPage(browser, "alice", "about:blank", { viewport: { width: 390, height: 844 }, isMobile: true });
    const context = page.context();
    await context.grantPermissions(["notifications"], { origin: server });
    const json = { endpoint, keys: { p256dh: keys.getPublicKey("base64url"), auth: auth.toString("base64url") } };
    await page.addInitScript((json) => {
        const subscription = { toJSON: () => json, unsubscribe: async () => localStorage.removeItem("subscribed") };
        PushManager.prototype.subscribe = async function (options) {
            localStorage.setItem("subscribed", JSON.stringify(options));
            return subscription;
        };
        PushManager.prototype.getSubscription = async () => (localStorage.getItem("subscribed") ? subscription : null);
    }, json);
    await page.goto(server);
    await page.getByLabel("User name").fill(alice.id);
    await page.getByLabel("Password").fill(alice.password);
    await page.getByRole("button", { name: "Sign in" }).click();
    await page.getByRole("button", { name: "Tell me", exact: true }).click();
    await page.getByText("This browser tells you").waitFor();
    if (shots) await page.screenshot({ path: path.join(shots, "notify-phone-light.png"), fullPage: true });
    const options = JSON.parse(await page.evaluate(() => localStorage.getItem("subscribed")));
    assert.equal(options.userVisibleOnly, true);
    assert.equal(Buffer.from(options.applicationServerKey, "base64url").length, 65);
    const own = await logIn(alice);
    const { pushers: [pusher] } = await ask("GET", "pushers", undefined, own);
    assert.equal(pusher.pushkey, json.keys.p256dh);
    assert.equal(pusher.data.endpoint, endpoint);
    say("subscribed, with the house's key");

    const token = await logIn(bob);
    await ask("PUT", `profile/${encodeURIComponent(bob.id)}/displayname`, { displayname: "Bob" }, token);
    const { room_id: room } = await ask("POST", "createRoom", { preset: "trusted_private_chat", invite: [alice.id], name: "Garden" }, token);
    assert.equal(JSON.parse((await nextPush(options.applicationServerKey)).text).type, "m.room.member");
    await ask("POST", `join/${encodeURIComponent(room)}`, {}, own);
    await ask("PUT", `rooms/${encodeURIComponent(room)}/send/m.room.message/1`, { msgtype: "m.text", body: "tea is ready" }, token);
    const message = await nextPush(options.applicationServerKey);
    await ask("PUT", `rooms/${encodeURIComponent(room)}/send/m.call.invite/2`, { call_id: "1", version: "1", party_id: "a", lifetime: 60000, offer: { type: "offer", sdp: "x" } }, token);
    const call = await nextPush(options.applicationServerKey);
    assert.equal(call.headers.urgency, "high");
    say("the house writes what this browser alone can read");

    const [worker] = context.serviceWorkers();
    const tools = await context.newCDPSession(page);
    const registration = new Promise((resolve) => tools.on("ServiceWorker.workerRegistrationUpdated", ({ registrations: [one] }) => one && resolve(one.registrationId)));
    await tools.send("ServiceWorker.enable");
    const registrationId = await registration;
    const deliver = (data) => tools.send("ServiceWorker.deliverPushMessage", { origin: server, registrationId, data });
    const shown = () => worker.evaluate(async () => (await registration.getNotifications()).map(({ title, body, tag, requireInteraction }) => ({ title, body, tag, requireInteraction })));
    await deliver(message.text);
    await eventually(async () => assert.deepEqual(await shown(), [{ title: "Bob", body: "Garden: tea is ready", tag: `message ${room}`, requireInteraction: false }]));
    await deliver(call.text);
    await page.waitForTimeout(300);
    assert.equal((await shown()).length, 1, "a call is shown although somebody looks at the page");
    // Nobody looks any more. A busy browser may start the worker again in between, which forgets that.
    await eventually(async () => {
        await worker.evaluate(() => (clients.matchAll = async () => []));
        await deliver(call.text);
        assert.ok((await shown()).some(({ title, requireInteraction }) => title === "Bob rings" && requireInteraction));
    });
    await deliver("nonsense");
    await eventually(async () => assert.ok((await shown()).some(({ title }) => title === "Porchlight")));
    say("messages and calls are shown");

    const opened = await worker.evaluate(async () => {
        const opened = new Promise((resolve) => (clients.openWindow = resolve));
        const [notification] = await registration.getNotifications();
        self.dispatchEvent(new NotificationEvent("notificationclick", { notification }));
        return opened;
    });
    assert.equal(opened, "/");
    say("a click opens the page");

    const other = createECDH("prime256v1");
    other.generateKeys();
    const moved = { endpoint: endpoint.replace("one", "two"), keys: { p256dh: other.getPublicKey("base64url"), auth: randomBytes(16).toString("base64url") } };
    await worker.evaluate((moved) => {
        self.dispatchEvent(Object.assign(new ExtendableEvent("pushsubscriptionchange"), { newSubscription: { toJSON: () => moved } }));
    }, moved);
    await eventually(async () => {
        const { pushers } = await ask("GET", "pushers", undefined, own);
        assert.deepEqual(pushers.map(({ pushkey, data }) => [pushkey, data.endpoint, data.auth]), [[moved.keys.p256dh, moved.endpoint, moved.keys.auth]]);
    });
    say("the browser has moved its subscription, with nobody there");

    await page.reload(); // the browser has the first subscription, again: it is set anew, and the other one goes
    await page.getByRole("button", { name: "Tell me no more" }).waitFor();
    await eventually(async () => assert.deepEqual((await ask("GET", "pushers", undefined, own)).pushers.map(({ pushkey }) => pushkey), [json.keys.p256dh]));
    await page.getByRole("button", { name: "Tell me no more" }).click();
    await page.getByRole("button", { name: "Tell me", exact: true }).waitFor();
    assert.deepEqual((await ask("GET", "pushers", undefined, own)).pushers, []);
    say("told no more");

    await page.locator("#phones summary").click();
    await page.getByLabel("What the phone is called").fill("Alice's phone");
    await page.getByRole("button", { name: "Get a password" }).click();
    const secret = await page.locator("#phone-secret").textContent();
    const check = (password) => fetch(`${server}/upAAAABBBBCCCC/auth`, { headers: { Authorization: `Basic ${btoa(`alice:${password}`)}` } });
    assert.equal((await check(secret)).status, 200);
    if (shots) await page.screenshot({ path: path.join(shots, "phones-phone-light.png"), fullPage: true });
    await page.getByRole("button", { name: "Remove" }).click();
    await eventually(async () => assert.equal((await check(secret)).status, 401));
    say("a phone got its password, and lost it");
});
service.close();
