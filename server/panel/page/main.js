// Starts the page and decides what it shows: claim, sign-in, home, or a call.

import { el, sentence, show } from "./dom.js";
import { ask, Client, inWords } from "./matrix.js";
import { Phone } from "./phone.js";
import { unlock } from "./sound.js";
import { claimView, signInView } from "./front.js";
import { homeView } from "./home.js";
import { callView } from "./callview.js";
import { stopNotifying } from "./notify.js";

/** The state of the browser's history entry that stands for a call. */
const inCall = "call";

let house; // what /_porchlight/info says
let client = null;
let phone = null;
let goingHome = false; // the history is on its way back to before the call
let leave = () => {}; // ends what the present view has running

for (const touched of ["pointerdown", "keydown"]) addEventListener(touched, unlock, { capture: true });
addEventListener("pagehide", () => phone?.current?.leave());
addEventListener("popstate", () => { // the back button of a phone
    if (!goingHome) phone?.current?.leave();
    goingHome = false;
});
start();

async function start() {
    try {
        house = await ask("GET", "/_porchlight/info");
    } catch (error) {
        const again = el("button", { class: "main", autofocus: true, onclick: () => location.reload() }, "Try again");
        return show(el("section", { class: "card" }, el("h1", {}, "Nobody answers"), el("p", {}, sentence(inWords(error))), again));
    }
    const code = new URLSearchParams(location.hash.slice(1)).get("claim");
    if (code !== null) history.replaceState(null, "", location.pathname); // it is a secret
    if (!house.claimed) return view(claimView({ house, code: code ?? "", claimed }));
    const earlier = Client.resume();
    if (earlier) return enter(earlier);
    askToSignIn(code !== null ? "This house has an owner already. Sign in if that is you." : "");
}

function view({ elements, close }) {
    leave();
    leave = close ?? (() => {});
    show(elements);
}

async function claimed(user, password) {
    house.claimed = true;
    try {
        enter(await Client.signIn(user, password));
    } catch (error) {
        askToSignIn(`Your account is made. Signing in did not work, though: ${inWords(error)}`);
    }
}

function askToSignIn(note = "") {
    client = phone = null;
    header();
    view(signInView({ house, note, signedIn: enter }));
}

function enter(session) {
    client = session;
    phone = house.board ? new Phone(client, house.board_user) : null;
    client.addEventListener("signed-out", ({ detail }) => {
        phone?.current?.leave();
        askToSignIn(detail.sentence);
    });
    phone?.addEventListener("call", () => {
        if (history.state !== inCall) history.pushState(inCall, "");
        view(callView({ phone, call: phone.current, done: home }));
    });
    client.listen();
    header();
    home();
}

function home(note = "") {
    if (history.state === inCall && !goingHome) {
        goingHome = true;
        history.back();
    }
    view(homeView({ house, client, phone, note }));
}

function header() {
    const who = document.getElementById("who");
    who.replaceChildren();
    if (!client) return;
    const out = el("button", { class: "plain", onclick: signOut }, "Sign out");
    who.append(el("span", { class: "name", title: client.userId }, client.userId.split(":")[0].slice(1)), out);
}

async function signOut() {
    phone?.current?.leave();
    const leaving = client;
    askToSignIn("You are signed out.");
    await Promise.allSettled([stopNotifying(), leaving.signOut()]); // the house forgets a device's pushers with it
}
