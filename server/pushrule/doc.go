// Package pushrule says what a push rule makes of an event (spec: push notifications, push
// rules). It knows the forms of rules, those that the standard predefines, and how they
// match; who has which rules, and what follows from a match, package push knows.
//
// The rules of a user are compiled once into a Set, and an event is read once into an
// Event; then each user's Set is asked about it. What the rules ask of the room comes
// through the interface Room, and only when a rule asks.
//
// Rules and texts come from outside, so nothing here may be slow: a glob is matched in one
// pass over the text, with a few machine words of state, and the lengths of both are bounded.
//
// Invariants: a rule of a form that is not understood matches nothing; dont_notify and
// coalesce do nothing (spec: historical actions).
package pushrule
