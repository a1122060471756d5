package accounts

import (
	"sync"
	"time"

	"porchlight/server/matrix"
)

const (
	// MaxPasswordFailures is how many wrong passwords for one user are looked at from one
	// network or device in a FailureWindow; then even the right one is refused.
	MaxPasswordFailures = 10
	// FailureWindow is how long a wrong password is held against a network or a device.
	FailureWindow = 5 * time.Minute
	// MaxAccountFailures is how many wrong passwords for one user are looked at from all
	// networks together in an AccountFailureWindow, but for those from which the user has
	// logged in: so whoever guesses cannot lock the user out at home.
	MaxAccountFailures = 50
	// AccountFailureWindow is how long MaxAccountFailures are counted.
	AccountFailureWindow = time.Hour
	// maxFailureKeys bounds the memory that strangers can make the server use.
	maxFailureKeys = 4096
)

// failureKey is user and asker together, so that a stranger who guesses cannot lock the user
// out at home. An empty asker is all networks from which the user has not logged in.
type failureKey struct {
	user matrix.UserID
	from string
}

// bound is how many failures a key may have, and in which time.
func (key failureKey) bound() (most int, window time.Duration) {
	if key.from == "" {
		return MaxAccountFailures, AccountFailureWindow
	}
	return MaxPasswordFailures, FailureWindow
}

// failureKeys are what a password of a user counts against.
func failureKeys(user matrix.UserID, by Asker, known bool) []failureKey {
	keys := []failureKey{{user, by.from()}}
	if !known {
		keys = append(keys, failureKey{user, ""})
	}
	return keys
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
func (f *failureCounter) check(keys []failureKey, now time.Time) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	for _, key := range keys {
		c := f.counts[key]
		most, window := key.bound()
		if wait := c.since.Add(window).Sub(now); wait > 0 && c.wrong >= most {
			return matrix.LimitExceeded(wait)
		}
	}
	return nil
}

func (f *failureCounter) count(keys []failureKey, now time.Time) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.counts == nil {
		f.counts = map[failureKey]failureCount{}
	}
	for _, key := range keys {
		c := f.counts[key]
		if _, window := key.bound(); now.Sub(c.since) >= window {
			c = failureCount{since: now}
		}
		c.wrong++
		if len(f.counts) >= maxFailureKeys {
			f.makeRoom(now)
		}
		f.counts[key] = c
	}
}

// makeRoom forgets what is over, or, if nothing is, an arbitrary entry.
func (f *failureCounter) makeRoom(now time.Time) {
	var some failureKey
	for key, c := range f.counts {
		if _, window := key.bound(); now.Sub(c.since) >= window {
			delete(f.counts, key)
		}
		some = key
	}
	if len(f.counts) >= maxFailureKeys {
		delete(f.counts, some)
	}
}

// forget is for the asker who has given the right password; what others have guessed stays.
func (f *failureCounter) forget(key failureKey) {
	f.mu.Lock()
	defer f.mu.Unlock()
	delete(f.counts, key)
}
