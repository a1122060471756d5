// The views for who is not signed in: the first claim of the house, and signing in.

import { complain, complaint, el, field, sentence } from "./dom.js";
import { ask, Client, inWords } from "./matrix.js";

const shortestPassword = 8; // the server's own rule; it has the last word

/** Makes the owner's account. `claimed(user, password)` is called once it is there. */
export function claimView({ house, code, claimed }) {
    const problem = complaint();
    const [codeField, codeInput] = field("Code", {
        name: "code", required: true, value: code, autocomplete: "off", autocapitalize: "characters", spellcheck: "false",
        autofocus: !code, placeholder: "ABCD-EFGH",
    }, "The server printed it when it started, on its screen or in its log.");
    const [nameField, nameInput] = field("Your user name", {
        name: "username", required: true, autocomplete: "username", autocapitalize: "none", spellcheck: "false", autofocus: Boolean(code),
    });
    const shown = el("output", { class: "quiet" });
    const showId = () => (shown.textContent = `Others reach you as @${nameInput.value.trim().toLowerCase() || "name"}:${house.server_name}`);
    nameInput.addEventListener("input", showId);
    showId();
    const [fullField, fullInput] = field("Your name, as others see it", { name: "display", autocomplete: "name" }, "You may leave this empty.");
    const [passwordField, passwordInput] = field("Password", {
        name: "password", type: "password", required: true, minlength: shortestPassword, autocomplete: "new-password",
    }, `At least ${shortestPassword} characters. A few words that only you would put together are good.`);
    const [againField, againInput] = field("Password, once more", { name: "again", type: "password", required: true, autocomplete: "new-password" });
    if (code) codeField.hidden = true;

    const submit = form(problem, async () => {
        if (passwordInput.value !== againInput.value) throw new Error("The two passwords are not the same.");
        try {
            const { user_id: user } = await ask("POST", "/_porchlight/claim", {
                code: codeInput.value, username: nameInput.value, password: passwordInput.value,
                ...(fullInput.value.trim() && { display_name: fullInput.value.trim() }),
            });
            await claimed(user, passwordInput.value);
        } catch (error) {
            if (error.code === "M_FORBIDDEN") codeField.hidden = false; // the link's code is wrong
            throw error;
        }
    });
    return {
        elements: el("section", { class: "card narrow" },
            el("h1", {}, "Welcome home"),
            el("p", {}, "This Porchlight has no owner yet. Make your account: it is the one that looks after the house and may call the porch."),
            el("form", { onsubmit: submit, oninput: () => complain(problem, "") }, codeField, nameField, shown, fullField, passwordField, againField, problem,
                el("button", { class: "main" }, "Make this house mine"))),
    };
}

/** Signs in. `signedIn(client)` is called after it. */
export function signInView({ house, note, signedIn }) {
    const problem = complaint();
    const [nameField, nameInput] = field("User name", {
        name: "username", required: true, autocomplete: "username", autocapitalize: "none", spellcheck: "false", autofocus: true,
    });
    const [passwordField, passwordInput] = field("Password", { name: "password", type: "password", required: true, autocomplete: "current-password" });
    const submit = form(problem, async () => signedIn(await Client.signIn(nameInput.value.trim(), passwordInput.value)));
    const help = {
        closed: "No account? The owner of the house can make one for you.",
        token: "No account? Ask the owner for a registration token, and register with any Matrix app.",
        open: "No account? You can register with any Matrix app.",
    }[house.registration];
    return {
        elements: el("section", { class: "card narrow" },
            el("h1", {}, "Come in"),
            el("p", {}, "Sign in to ", el("strong", {}, house.server_name), "."),
            note && el("p", { class: "note", role: "status" }, note),
            el("form", { onsubmit: submit, oninput: () => complain(problem, "") }, nameField, passwordField, problem, el("button", { class: "main" }, "Sign in")),
            help && el("p", { class: "quiet" }, help)),
    };
}

/** A form's submit handler: one at a time, and what goes wrong is said below the form. */
function form(problem, act) {
    return async (event) => {
        event.preventDefault();
        const button = event.currentTarget.querySelector("button.main");
        if (button.disabled) return;
        button.disabled = true;
        complain(problem, "");
        try {
            await act();
        } catch (error) {
            complain(problem, sentence(inWords(error)));
        }
        button.disabled = false;
    };
}
