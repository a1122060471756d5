// Package bridge carries the media of calls: one peer connection per Session,
// between the devices of the board and whoever is at the other end.
//
// A Bridge owns the ports that all its sessions share: one UDP port on each
// address of the machine and the TCP port of the same number. A Session takes the
// orders of voip/call (Session.Order) and reports back in inputs of voip/call
// (Session.Events); its methods Accept, Offer and so on do the same step by step.
//
// The package never decides anything about a call. It knows the room, the users
// and Matrix not at all, and of the devices only the interface Media.
//
// Each Session has one goroutine that carries out orders and delivers events, and
// one more for each stream in each direction. All of them belong to Bridge.Run and
// are waited for when the Session closes. Nobody waits for a slow reader of
// events: beyond a bound they are dropped and counted.
package bridge
