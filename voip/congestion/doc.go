// Package congestion finds out what the line to a peer carries.
//
// Each packet that is sent has a number, and the peer tells when each number arrived (TWCC).
// An [Estimator] watches both, as an interceptor of pion's, and makes a rate of it:
//
//	sent packets ─┐
//	              ├─ history ─┬─ queue: does what waits before the line grow? ─┐
//	feedback ─────┘           ├─ losses: which share never arrived?           ─┼─ Rate
//	                          └─ arrivals: how much arrives?                  ─┘
//
// The rules are those of Google's congestion control (draft-ietf-rmcat-gcc-02): down to 85 %
// of what arrives when the queue grows, down by half the loss beyond a tenth of it, else up
// by some percent a second. Two things differ, both for wireless lines, on which packets are
// delayed one by one, overtake each other and get lost at random:
//
//   - The queue is judged by the least delay among some neighbouring packets: a queue delays
//     them all, a bad moment of the radio only some.
//   - A packet is lost only when it has not come long after its neighbours did. Pion's own
//     estimator counts who was overtaken as lost.
package congestion
