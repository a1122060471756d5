// Package alert decides from the board's sound and pictures when people are to be told:
// of a cry, of something that moves, of a microphone that has died.
//
// It is pure: blocks of sound and pictures with their times go in, verdicts come out. It
// owns no device, no clock and no setting.
package alert
