// Package gpio is what hangs on the board's pins: the ring button, the light that is on
// while somebody can be seen or heard, a lamp for the night, and the relay of the door.
//
// It speaks with the kernel's GPIO character device through periph.io. A line is named as
// the kernel names it ("GPIO17") or by chip and number ("gpiochip0:17"), with ",low" or
// ",high" behind it for the level that means pressed or on: a button is low if nothing
// else is said, with the pull-up resistor switched on; the others are high.
package gpio
