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
	budgetPatience = 2 * time.Second
	// stallTime is how long a client may move less than stallBytes while others wait for
	// room; then its request is cut off.
	stallTime  = 2 * time.Second
	stallBytes = 16 << 10
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
}

func newBudget(total, each int64, alone bool) *budget {
	return &budget{total: total, each: each, alone: alone, by: map[string]int64{}, holds: map[*hold]struct{}{}}
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
	var limit *time.Timer
	for {
		b.mu.Lock()
		mine, room := b.room(h, n)
		if mine && room {
			b.charge(h, n)
			b.mu.Unlock()
			return nil
		}
		if !room {
			b.cutStalled(time.Now())
		}
		if b.freed == nil {
			b.freed = make(chan struct{})
		}
		freed := b.freed
		b.mu.Unlock()
		if limit == nil {
			limit = time.NewTimer(budgetPatience)
			defer limit.Stop()
		}
		select {
		case <-freed:
		case <-ctx.Done():
			return ctx.Err()
		case <-limit.C:
			return noRoom(mine)
		}
	}
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
		h.mark = time.Now()
	}
	h.size += n
	b.used += n
	b.by[h.who] += n
}

// cutStalled ends the requests of clients that have not moved for a while.
func (b *budget) cutStalled(now time.Time) {
	for h := range b.holds {
		if h.cut != nil && !h.isCut && !h.mark.IsZero() && now.Sub(h.mark) >= stallTime {
			h.isCut = true
			h.cut()
		}
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
	if b.freed != nil {
		close(b.freed)
		b.freed = nil
	}
}
