// Package agent is the board as a user of its own house: it follows what happens in its
// rooms, decides whose calls it answers, rings people, does what it is told in writing,
// raises alerts, and drives each call between its signalling (voip/call) and its media.
//
// It speaks with the homeserver through the small interface House, in process, with the
// media of calls through Bridge, and with camera, microphone and pins through Devices and
// Door; it knows neither HTTP nor pion. Its rows are the board's settings and songs, what
// it uploaded (Store), and the calls that go on (Journal).
//
// One goroutine, Run's, owns all calls and the ring. Timers, sessions and slow work report
// to it over channels. Nothing that a room says can make it wait or fail: what is no good
// is logged once. What it does of its own accord (answering, opening the door) it writes
// into the control room.
package agent
