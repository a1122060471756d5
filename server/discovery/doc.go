// Package discovery lets devices in the house find the board and trust it, without the
// internet: a browser gives the microphone to secure pages only.
//
// It has three parts. Names answers for "<name>.local" by multicast DNS and announces the
// services of the board, on every network interface that is up; a name that somebody else
// has gets a number behind it. Authority is a certificate authority of the board's own,
// which can sign for the board's names and for addresses of private networks and for
// nothing else, however its key might be misused; Certificates are what it signs, made
// anew while the house runs whenever names or addresses change or time goes by. Page tells
// people how to trust the authority.
//
// The package keeps nothing: whoever makes an Authority stores it.
package discovery
