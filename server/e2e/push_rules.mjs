// What matrix-js-sdk's PushProcessor makes of push rules and events: reads cases from a file, writes its answers to another.
// No browser is needed, and no server: this compares two evaluations of the same rules.
import { readFileSync, writeFileSync } from "node:fs";
import { MatrixEvent } from "matrix-js-sdk/lib/models/event.js";
import { RoomState } from "matrix-js-sdk/lib/models/room-state.js";
import { PushProcessor } from "matrix-js-sdk/lib/pushprocessor.js";

const { cases, answers } = JSON.parse(process.env.PORCHLIGHT_E2E);
const silent = { trace() {}, debug() {}, info() {}, warn() {}, error() {}, getChild: () => silent };

function answer({ user, room, rules, event }) {
    const state = new RoomState(event.room_id);
    state.setStateEvents(room.map((of) => new MatrixEvent(of)));
    const client = {
        credentials: { userId: user },
        getSafeUserId: () => user,
        supportsIntentionalMentions: () => true,
        getRoom: () => ({ currentState: state }),
        pushRules: PushProcessor.rewriteDefaultRules(silent, rules, user),
    };
    const processor = new PushProcessor(client);
    processor.updateCachedPushRuleKeys(client.pushRules);
    const { rule, actions } = processor.actionsAndRuleForEvent(new MatrixEvent(event));
    return rule ? { rule: rule.rule_id, notify: actions.notify, tweaks: actions.tweaks } : {};
}

writeFileSync(answers, JSON.stringify(JSON.parse(readFileSync(cases, "utf8")).map((of) => {
    try {
        return answer(of);
    } catch (error) {
        return { threw: String(error) };
    }
})));
