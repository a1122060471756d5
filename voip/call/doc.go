// Package call is the signalling of one call, MSC2746 as it stands in the
// standard's module on voice over IP, for both roles: the caller and the callee.
//
// A call is a State. Step takes the State and one Input (an event of the room, a
// decision of the person at the board, a report of the media bridge, a timer that
// fired) and returns the next State and the Outputs: events to send, orders to
// the bridge, timers to set, what to tell the person. Nothing else happens: the
// package reads no clock, starts no goroutine, draws no random number and knows
// neither sockets nor pion. A State is a value; an old one stays valid.
//
// Once a State has ended it stays ended, whatever comes in. A callee offers only to
// restart ICE, and gives way to the caller's offers: what else it wants changed waits for
// one of those.
//
// What came from outside goes through Parse once, which checks its shape and its
// size; behind it contents are trusted to be well-formed, never to be meant well.
//
// References of the form "spec: MSC2746 <clause>" name a heading of the proposal.
package call
