// Which call is the current one: places calls, rings for those that come in, and hands events to theirs.

import { Call } from "./call.js";
import { inWords } from "./matrix.js";
import { open } from "./media.js";

/** A call rings only if there is this much time left to answer it, in milliseconds. */
const timeToAnswer = 2000;

/** Events on itself: "call" whenever `current` is another call (a call's own changes are its own events). */
export class Phone extends EventTarget {
    current = null;
    #client;
    #board;
    #last = { talk: true, camera: false };
    #maybe = new Map(); // invites of a sync that is still being read: call id → Call

    constructor(client, board) {
        super();
        this.#client = client;
        this.#board = board;
        client.addEventListener("call", ({ detail }) => this.#event(detail));
        client.addEventListener("caught-up", () => this.#ring());
    }

    get busy() {
        return this.current !== null && !this.current.over;
    }

    /** Calls the board. `talk` false: watch and listen only. What goes wrong ends the call, which then says so. */
    async callBoard({ talk, camera }) {
        if (this.busy) return;
        this.#last = { talk, camera };
        const call = new Call(this.#client, { room: null, peer: this.#board });
        this.#make(call);
        await this.#attempt(call, async () => {
            const room = this.#client.directRoom(this.#board);
            const { stream, why } = talk ? await open({ camera }) : { stream: null, why: "" };
            call.lend(stream, why);
            call.room = await room;
            await call.place();
        });
    }

    /** Calls the board as it was called last. */
    again() {
        return this.callBoard(this.#last);
    }

    /** Takes the call that rings. */
    async answer({ camera }) {
        const call = this.current;
        await this.#attempt(call, async () => {
            const { stream, why } = await open({ camera });
            call.lend(stream, why);
            await call.answer();
        });
    }

    async #attempt(call, act) {
        try {
            await act();
        } catch (error) {
            call.hangUp("unknown_error", inWords(error));
        }
    }

    #make(call) {
        this.current = call;
        this.dispatchEvent(new Event("call"));
    }

    #event({ room, event, age }) {
        const content = event.content ?? {};
        const id = content.call_id;
        if (event.type === "m.call.invite" && event.sender === this.#board) {
            const forUs = !content.invitee || content.invitee === this.#client.userId;
            const known = this.#maybe.has(id) || this.current?.callId === id;
            if (forUs && !known && content.lifetime - age > timeToAnswer && typeof content.offer?.sdp === "string") {
                this.#maybe.set(id, new Call(this.#client, { room, peer: event.sender, invite: content, age }));
            }
            return;
        }
        const call = this.#maybe.get(id) ?? (this.current?.callId === id && this.current.room === room ? this.current : null);
        call?.take({ sender: event.sender, type: event.type, content });
    }

    /** Rings for what is still open after a whole sync was read. */
    #ring() {
        const calls = [...this.#maybe.values()].filter((call) => !call.over);
        this.#maybe.clear();
        for (const call of calls) {
            if (!this.busy) this.#make(call);
            else if (this.current.waiting && (this.current.room === call.room || this.current.room === null)) this.#glare(call);
            // Otherwise we are talking already: our other devices may take it.
        }
    }

    /** Both called at once: the call with the lesser id is held, and the greater one given up. */
    async #glare(theirs) {
        const ours = this.current;
        if (ours.state === "calling" && ours.callId < theirs.callId) return;
        const camera = ours.camera;
        ours.hangUp();
        this.#make(theirs);
        await this.answer({ camera });
    }
}
