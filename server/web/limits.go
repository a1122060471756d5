package web

import (
	"cmp"
	"math"
)

// Limits bounds what clients take of the machine, all together and each of them. A client is a
// user where one is signed in, and an address or an IPv6 network of 64 bits otherwise. The
// defaults fit a board with 512 MB. A field of 0 is its default.
type Limits struct {
	// Connections is how many may be open at once, PerAddress how many of one client's
	// address, and also how many requests of one address may be under way.
	Connections, PerAddress int
	// Bodies is how many bytes of request bodies may be in memory at once, BodiesPerClient
	// how many of one client's; 0: a quarter.
	Bodies, BodiesPerClient int64
	// Answers is how many bytes of answers may be under way at once, and the most that one
	// answer may have; AnswersPerClient is what one client's may have together if it is more
	// than one; 0: a quarter.
	Answers, AnswersPerClient int64
}

// The defaults of Limits.
const (
	DefaultConnections = 1024
	DefaultPerAddress  = 128
	DefaultBodies      = 32 << 20
	DefaultAnswers     = 48 << 20
)

// clientShare is the part of all that one client may have, as a divisor.
const clientShare = 4

// Filled returns l with its defaults set.
func (l Limits) Filled() Limits {
	l.Connections = cmp.Or(l.Connections, DefaultConnections)
	l.PerAddress = cmp.Or(l.PerAddress, DefaultPerAddress)
	l.Bodies = cmp.Or(l.Bodies, DefaultBodies)
	l.BodiesPerClient = cmp.Or(l.BodiesPerClient, l.Bodies/clientShare)
	l.Answers = cmp.Or(l.Answers, DefaultAnswers)
	l.AnswersPerClient = cmp.Or(l.AnswersPerClient, l.Answers/clientShare)
	return l
}

// Unlimited is for tests that ask for more than any board could answer.
func Unlimited() Limits {
	const most = math.MaxInt32
	return Limits{most, most, most, most, most, most}
}
