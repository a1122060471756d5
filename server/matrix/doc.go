// Package matrix is the vocabulary of the house: identifiers, errcodes, canonical
// JSON, and the shapes of events and content that more than one package speaks of.
//
// It holds no state, reads no clock and imports the standard library only, so that
// every other package may use it. What a string from outside may be is decided here
// once, in the Parse functions and in CheckJSON; behind the door values are trusted.
//
// References of the form "spec: …" name a section of the Matrix specification v1.19.
package matrix
