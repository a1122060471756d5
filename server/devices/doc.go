// Package devices holds the tests of the real binary with real device nodes, in the
// virtual machine that firmware/guest starts: a camera, two sound cards, pins and a bad
// network, all by Debian's own kernel. It has no code of its own.
//
// The tests (build tag guest, "make devices") start `porchlight serve`, claim the house
// and log in as a client would, and call the board with a peer of pion's. What the board's
// sound cards play and hear, other people's aplay and arecord play and hear at their
// other ends. The program of a Raspberry Pi's own camera are these tests themselves, when
// they are started under its name.
package devices
