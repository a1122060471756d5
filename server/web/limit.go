package web

import (
	"container/list"
	"maps"
	"sync"
	"time"

	"golang.org/x/time/rate"
)

// Class is a kind of requests that is counted together.
type Class string

// The classes of rate limits. Requests are counted by user where one is signed in,
// and by address otherwise.
const (
	General      Class = "general"      // what the spec marks as rate-limited
	Login        Class = "login"        // password and token attempts
	Registration Class = "registration" // new accounts
	Upload       Class = "upload"       // media
	Writing      Class = "writing"      // all else that is written: messages, state, account data
)

// Limit is a token bucket: Burst requests at once, refilled at PerSecond.
type Limit struct {
	PerSecond float64
	Burst     int
}

// maxBuckets is how many buckets are remembered; the ones unused longest are forgotten,
// which means full.
const maxBuckets = 10000

// defaultLimits never bother a household and still slow down who guesses passwords.
func defaultLimits() map[Class]Limit {
	return map[Class]Limit{
		General: {PerSecond: 20, Burst: 100},
		Login:   {PerSecond: 0.2, Burst: 15},
		// Clients ask every two seconds whether the link in the mail was followed.
		Registration: {PerSecond: 0.6, Burst: 20},
		Upload:       {PerSecond: 5, Burst: 50},
		// More than any person sends, and what a card takes beside others.
		Writing: {PerSecond: 40, Burst: 400},
	}
}

func effectiveLimits(changed map[Class]Limit) map[Class]Limit {
	all := defaultLimits()
	maps.Copy(all, changed)
	return all
}

type bucketKey struct {
	class Class
	who   string
}

type bucket struct {
	key    bucketKey
	tokens *rate.Limiter
}

// limiter counts requests.
type limiter struct {
	limits map[Class]Limit

	mu      sync.Mutex
	buckets map[bucketKey]*list.Element // of *bucket
	recent  *list.List                  // most recently used first
}

func newLimiter(limits map[Class]Limit) *limiter {
	return &limiter{limits: limits, buckets: map[bucketKey]*list.Element{}, recent: list.New()}
}

// take counts one request and returns 0, or how long the client has to wait until it
// would be let through.
func (l *limiter) take(class Class, who string, now time.Time) time.Duration {
	r := l.bucket(bucketKey{class, who}).ReserveN(now, 1)
	if !r.OK() {
		return time.Hour // a burst of 0: nothing ever gets through
	}
	wait := r.DelayFrom(now)
	if wait > 0 {
		r.CancelAt(now)
	}
	return wait
}

func (l *limiter) bucket(key bucketKey) *rate.Limiter {
	l.mu.Lock()
	defer l.mu.Unlock()
	if e, ok := l.buckets[key]; ok {
		l.recent.MoveToFront(e)
		return e.Value.(*bucket).tokens
	}
	if l.recent.Len() >= maxBuckets {
		oldest := l.recent.Back()
		delete(l.buckets, oldest.Value.(*bucket).key)
		l.recent.Remove(oldest)
	}
	limit := l.limits[key.class]
	b := &bucket{key: key, tokens: rate.NewLimiter(rate.Limit(limit.PerSecond), limit.Burst)}
	l.buckets[key] = l.recent.PushFront(b)
	return b.tokens
}
