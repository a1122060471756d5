// Package ephemeral keeps what is true only for a while: who is typing, how far
// everybody has read, who is there.
//
// Typing and presence live in memory alone. Receipts are in memory at once and reach
// the disk with a later commit; the log then says so with a change of kind Receipt.
//
// A counter, which begins anew at each start, numbers the changes in memory. A token of
// /sync therefore carries three things: the durable position, the counter, and Boot, a
// word that is another one after each start. Whoever comes with today's Boot is told
// what changed since the counter; whoever comes with another is told everything that is
// current, and of receipts those that the log has since the position.
//
// Take Counter before reading, and put that number into the answer's token: what changes
// meanwhile may then be told twice, but nothing is missed.
//
// Invariant: a private receipt is shown to its owner only.
package ephemeral
