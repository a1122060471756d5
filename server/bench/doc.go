// Package bench measures the house as a whole against what it is meant to reach. It has
// no code of its own.
//
// "make bench" prints one table: figure, target, reached. Times on one machine say little
// about another, so what can be is told as a ratio of two things measured by turns in the
// same run. Nothing here passes or fails by the clock.
package bench
