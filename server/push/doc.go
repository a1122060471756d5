// Package push decides whom events notify, counts what is unread, and tells the push
// gateways of those who are not looking.
//
// It owns the push rules of each user, of which only the changes are stored, so that a rule
// that a later release predefines reaches everybody; and the pushers. Clients hear of rules
// as account data of type m.push_rules.
//
// An event is held against the rules of every local user in its room once, in the
// transaction that appends it; the outcome is kept in the event's own row (rooms.Notice).
// Nothing is written per member. What is unread follows from that, from how far somebody has
// read or has sent events, and from whom they ignore now, so the counts live in memory only and
// are right after a restart.
//
// Run sends to push gateways, one goroutine for each pusher that has something to send, so
// that a slow gateway delays nobody. A follower's cursor in the change log, and in each
// pusher's row the first event that it still has to send, are written together and late:
// after a crash, events may be sent once more under the same ID, but none is lost. A pusher
// may also be a browser (Web Push), which is written to through its own push service.
//
// The secrets by which devices listen to the house's topics, and those topics' newest messages,
// are kept here for server/ntfy, which has no tables.
package push
