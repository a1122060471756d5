// Package relay is the house's own TURN server (RFC 8656): it carries the media of calls
// between devices that cannot reach each other, in two subnets for instance, or over TCP
// where a network lets no UDP through.
//
// It is never an open relay. Three gates stand one behind the other:
//
//   - Only who holds credentials of this house gets an allocation. They are made for a
//     signed-in user, end after Lifetime, and need no table: a user name with its end in
//     it, and a password that is its HMAC under the house's secret ("TURN REST API").
//   - A permission is granted for addresses of this very machine only.
//   - Each single packet has to come from, and go to, either a port of the board's own calls
//     (Config.Peers) or another live allocation of this relay. Everything else is dropped in
//     both directions, so that nothing that listens on the machine can be reached either.
//
// So a call between two phones goes phone, allocation, allocation, phone; a call to the
// board phone, allocation, board. Connections over TCP on the far side (RFC 6062) are
// refused.
//
// Allocations are bounded for each user and in all, as are TCP connections for each address
// and in all. It listens on each address of the machine by itself, as many addresses as
// come and go, since the answer has to come from where the question went.
package relay
