// Package agent is the board as a user of its own house: it follows what happens in its
// rooms, decides whose calls it answers, and drives each call between its signalling
// (voip/call) and its media.
//
// It speaks with the homeserver through the small interface House, in process, and with
// the media through Bridge; it knows neither HTTP nor pion. It keeps no rows: the place
// up to which it has read is House's to keep.
//
// One goroutine, Run's, owns all calls. Timers and sessions report to it over channels.
// Nothing that a room says can make it wait or fail: what is no good is logged once.
package agent
