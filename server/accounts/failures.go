package accounts

import (
	"sync"
	"time"

	"porchlight/server/matrix"
)

const (
	// MaxPasswordFailures is how many wrong passwords for one user are looked at
	// from one address in a FailureWindow; then even the right one is refused.
	MaxPasswordFailures = 10
	// FailureWindow is how long a wrong password is held against an address.
	FailureWindow = 5 * time.Minute
	// maxFailureKeys bounds the memory that strangers can make the house use.
	maxFailureKeys = 4096
)

// failureKey is user and address together, so that a stranger who guesses cannot lock
// the user out at home.
type failureKey struct {
	user matrix.UserID
	ip   string
}

type failureCount struct {
	wrong int
	since time.Time
}

// failureCounter counts wrong passwords, in memory only.
type failureCounter struct {
	mu     sync.Mutex
	counts map[failureKey]failureCount
}

// check refuses with M_LIMIT_EXCEEDED while there were too many failures.
func (f *failureCounter) check(who failureKey, now time.Time) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	c := f.counts[who]
	if wait := c.since.Add(FailureWindow).Sub(now); wait > 0 && c.wrong >= MaxPasswordFailures {
		return matrix.LimitExceeded(wait)
	}
	return nil
}

func (f *failureCounter) count(who failureKey, now time.Time) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.counts == nil {
		f.counts = map[failureKey]failureCount{}
	}
	c := f.counts[who]
	if now.Sub(c.since) >= FailureWindow {
		c = failureCount{since: now}
	}
	c.wrong++
	if len(f.counts) >= maxFailureKeys {
		f.makeRoom(now)
	}
	f.counts[who] = c
}

// makeRoom forgets what is over, or, if nothing is, an arbitrary entry.
func (f *failureCounter) makeRoom(now time.Time) {
	var some failureKey
	for who, c := range f.counts {
		if now.Sub(c.since) >= FailureWindow {
			delete(f.counts, who)
		}
		some = who
	}
	if len(f.counts) >= maxFailureKeys {
		delete(f.counts, some)
	}
}

func (f *failureCounter) forget(who failureKey) {
	f.mu.Lock()
	defer f.mu.Unlock()
	delete(f.counts, who)
}
