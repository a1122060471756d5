// Package alert decides from the board's sound and pictures when people are to be told:
// of a cry, of something that moves, of a microphone that has died or a network that is gone.
//
// It is pure: blocks of sound, pictures and looks with their times go in, verdicts come out. It
// owns no device, no clock and no setting.
package alert
