package web

import (
	"context"
	"net/http"
	"sync"
	"time"

	"porchlight/server/matrix"
)

const (
	// budgetPatience is how long a request waits for room in a budget.
	budgetPatience = 5 * time.Second
	// stallTime is how long a client may move less than stallBytes while others wait for
	// room; then its request is cut off.
	stallTime  = 2 * time.Second
	stallBytes = 16 << 10
	// stallLook is how often those who wait look for such clients.
	stallLook = 250 * time.Millisecond
	// smallBody is what always finds room beside large bodies and answers: the last part of
	// a budget, one smallReserve-th, is for holds up to this size in bytes.
	smallBody    = 64 << 10
	smallReserve = 8
)

// budget bounds the bytes that are in memory for requests at the same time, in all and of one
// client. It is charged as the bytes come: who announces much and sends little has little.
type budget struct {
	total, each int64
	// alone lets one client's only hold be as large as the total.
	alone bool

	mu    sync.Mutex
	used  int64
	by    map[string]int64
	holds map[*hold]struct{}
	freed chan struct{} // closed when room may have come; nil: nobody waits
	// waiting is how much more those want who wait. Of these, who has least is served first.
	waiting map[*hold]int64
}

func newBudget(total, each int64, alone bool) *budget {
	return &budget{total: total, each: each, alone: alone, by: map[string]int64{}, holds: map[*hold]struct{}{}, waiting: map[*hold]int64{}}
}

// hold is what one request has of a budget.
type hold struct {
	budget *budget
	who    string
	// cut, if it is not nil, ends the request's reading or writing. It is called with the
	// budget locked, and not after release.
	cut func()

	size   int64
	moved  int64     // since mark
	mark   time.Time // when the client last moved stallBytes; zero: it is not waited for
	isCut  bool
	listed bool
}

// hold begins with nothing.
func (b *budget) hold(who string, cut func()) *hold { return &hold{budget: b, who: who, cut: cut} }

// grow charges n more bytes, and waits a moment for room if there is none. The error is
// M_LIMIT_EXCEEDED with 429 if the client itself has too much under way, and with 503 if all
// together have, or M_TOO_LARGE if it could never be.
func (h *hold) grow(ctx context.Context, n int64) error {
	if h == nil || n <= 0 {
		return nil
	}
	b := h.budget
	if h.size+n > b.most() {
		return matrix.TooLarge("This is more than the server can hold at once.")
	}
	began := time.Now()
	for {
		b.mu.Lock()
		mine, room := b.room(h, n)
		if mine && room && !b.yields(h) {
			delete(b.waiting, h)
			b.charge(h, n)
			b.mu.Unlock()
			return nil
		}
		if !room {
			b.makeRoom(h, time.Now())
		}
		left := budgetPatience - time.Since(began)
		if left <= 0 || ctx.Err() != nil || h.isCut {
			delete(b.waiting, h)
			b.mu.Unlock()
			if err := ctx.Err(); err != nil {
				return err
			}
			return noRoom(mine)
		}
		b.waiting[h] = n
		if b.freed == nil {
			b.freed = make(chan struct{})
		}
		freed := b.freed
		b.mu.Unlock()
		wait(ctx, freed, min(left, stallLook))
	}
}

// wait ends with any of the three.
func wait(ctx context.Context, freed <-chan struct{}, d time.Duration) {
	limit := time.NewTimer(d)
	defer limit.Stop()
	select {
	case <-freed:
	case <-ctx.Done():
	case <-limit.C:
	}
}

// yields says whether somebody waits who has less and would find room.
func (b *budget) yields(h *hold) bool {
	for other, n := range b.waiting {
		if b.by[other.who] < b.by[h.who] && other.who != h.who {
			if mine, room := b.room(other, n); mine && room {
				return true
			}
		}
	}
	return false
}

// force charges n bytes that are in memory whatever the budget says.
func (h *hold) force(n int64) {
	h.budget.mu.Lock()
	defer h.budget.mu.Unlock()
	h.budget.charge(h, n)
}

// noRoom is the refusal; mine says that the client's own share is not the reason.
func noRoom(mine bool) error {
	if !mine {
		e := matrix.LimitExceeded(budgetPatience)
		e.Message = "Too much of yours is under way at once: please try again in a moment."
		return e
	}
	e := matrix.Refusal(http.StatusServiceUnavailable, "M_LIMIT_EXCEEDED",
		"The server has as much in hand as it can hold: please try again in a moment.")
	e.Retry = budgetPatience
	return e
}

// most is the largest hold that there can be.
func (b *budget) most() int64 {
	if b.alone {
		return b.total
	}
	return min(b.total, b.each)
}

// room says whether n more bytes fit into the client's share, and into all.
func (b *budget) room(h *hold, n int64) (mine, all bool) {
	mine = b.by[h.who]+n <= b.each || b.alone && b.by[h.who] == h.size
	most := b.total
	if h.size+n > smallBody {
		most -= b.total / smallReserve
	}
	return mine, b.used+n <= most || b.alone && b.used == h.size
}

func (b *budget) charge(h *hold, n int64) {
	if !h.listed {
		h.listed = true
		b.holds[h] = struct{}{}
	}
	h.mark = time.Now()
	h.size += n
	b.used += n
	b.by[h.who] += n
}

// makeRoom ends the requests of clients that have not moved for a while, so that h finds room.
// If there are none, those who hold something wait for each other: then the one gives way whose
// client has most, unless that is h itself.
func (b *budget) makeRoom(h *hold, now time.Time) {
	cut := false
	var richest *hold
	for other := range b.holds {
		switch _, waits := b.waiting[other]; {
		case waits:
			if other.who != h.who && b.by[other.who] > b.by[h.who] && (richest == nil || b.by[other.who] > b.by[richest.who]) {
				richest = other
			}
		case other.cut != nil && !other.isCut && !other.mark.IsZero() && now.Sub(other.mark) >= stallTime:
			cut, other.isCut = true, true
			other.cut()
		}
	}
	if !cut && richest != nil {
		richest.isCut = true
		b.wake()
	}
}

// wake lets those who wait look again.
func (b *budget) wake() {
	if b.freed != nil {
		close(b.freed)
		b.freed = nil
	}
}

// progress notes that the client has moved n bytes.
func (h *hold) progress(n int) {
	if h == nil {
		return
	}
	h.budget.mu.Lock()
	defer h.budget.mu.Unlock()
	if h.moved += int64(n); h.moved >= stallBytes {
		h.moved, h.mark = 0, time.Now()
	}
}

// start says that the client is waited for from now on, and how it is cut off.
func (h *hold) start(cut func()) {
	h.budget.mu.Lock()
	defer h.budget.mu.Unlock()
	h.moved, h.mark, h.cut = 0, time.Now(), cut
}

// shrink gives back what is more than n bytes.
func (h *hold) shrink(n int64) {
	b := h.budget
	b.mu.Lock()
	defer b.mu.Unlock()
	if less := h.size - n; less > 0 {
		h.size -= less
		b.used -= less
		b.by[h.who] -= less
		b.wake()
	}
}

// settle says that the client has done its part: it is not waited for any more.
func (h *hold) settle() {
	if h == nil {
		return
	}
	h.budget.mu.Lock()
	defer h.budget.mu.Unlock()
	h.mark, h.cut = time.Time{}, nil
}

// release gives everything back. It may be called again.
func (h *hold) release() {
	if h == nil {
		return
	}
	b := h.budget
	b.mu.Lock()
	defer b.mu.Unlock()
	if !h.listed {
		return
	}
	delete(b.holds, h)
	b.used -= h.size
	if b.by[h.who] -= h.size; b.by[h.who] == 0 {
		delete(b.by, h.who)
	}
	h.size, h.listed, h.cut = 0, false, nil
	b.wake()
}
