package device

import (
	"context"
	"sync"
	"time"
)

const (
	// maxKeptBytes bounds what is remembered of each kind, in bytes: more than half a
	// minute of the usual picture, and a few seconds of a camera that spends much more.
	maxKeptBytes = 2 << 20
	// keptKeyEvery is how often what is remembered gets a picture that stands for itself.
	keptKeyEvery = 2 * time.Second
	// maxFilmBytes bounds the frames of one kind in a film, in bytes; one that gets there
	// ends early.
	maxFilmBytes = 8 << 20
)

// moment is a frame and when it came.
type moment struct {
	EncodedFrame
	at time.Time
}

// reel takes the frames of one stream as they come, remembers the last ones if it is told
// to, and hands all to those who record.
type reel struct {
	codec string
	keep  time.Duration // how much is remembered at least; 0: nothing

	mu     sync.Mutex
	kept   []moment // begins with a key frame
	size   int      // of kept, in bytes
	takers map[*taker]struct{}
	err    error // why there will be no more
}

// taker is what one recording has got from a reel. All is guarded by the reel's mu.
type taker struct {
	frames []moment
	size   int
	full   bool
	wake   chan struct{} // holds one token while there may be something new
}

// run reads until the stream fails or ctx ends, and returns why.
func (r *reel) run(ctx context.Context, read func(context.Context) (EncodedFrame, error), requestKey func()) error {
	for {
		f, err := read(ctx)
		if err != nil {
			r.end(err)
			return err
		}
		if now := time.Now(); r.add(moment{f, now}) {
			requestKey()
		}
	}
}

// add takes one frame. It says whether a key frame is wanted.
func (r *reel) add(m moment) (wantKey bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	for t := range r.takers {
		t.take(m)
	}
	if r.keep == 0 || len(r.kept) == 0 && !m.Key {
		return false
	}
	r.kept = append(r.kept, m)
	r.size += len(m.Data)
	lastKey := m.at
	for i := len(r.kept) - 1; i >= 0; i-- {
		if r.kept[i].Key {
			lastKey = r.kept[i].at
			break
		}
	}
	r.forget(m.at)
	return m.at.Sub(lastKey) >= keptKeyEvery
}

// forget drops the oldest frames up to a key frame, as long as what is left reaches back
// far enough, or there are too many bytes. mu is held.
func (r *reel) forget(now time.Time) {
	for len(r.kept) > 0 {
		n := 1
		for n < len(r.kept) && !r.kept[n].Key {
			n++
		}
		enough := n < len(r.kept) && now.Sub(r.kept[n].at) >= r.keep
		if !enough && r.size <= maxKeptBytes {
			return
		}
		for _, m := range r.kept[:n] {
			r.size -= len(m.Data)
		}
		r.kept = append([]moment(nil), r.kept[n:]...)
	}
}

// join begins a recording with what is remembered.
func (r *reel) join() *taker {
	r.mu.Lock()
	defer r.mu.Unlock()
	t := &taker{wake: make(chan struct{}, 1)}
	for _, m := range r.kept {
		t.take(m)
	}
	if r.takers == nil {
		r.takers = map[*taker]struct{}{}
	}
	r.takers[t] = struct{}{}
	return t
}

// leave ends a recording and returns all of it.
func (r *reel) leave(t *taker) []moment {
	r.mu.Lock()
	defer r.mu.Unlock()
	delete(r.takers, t)
	return t.frames
}

// state is when a recording's first frame came, zero if there is none yet, and whether
// there will be no more: then err is why, or nil if the recording is full.
func (r *reel) state(t *taker) (first time.Time, over bool, err error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if len(t.frames) > 0 {
		first = t.frames[0].at
	}
	return first, t.full || r.err != nil, r.err
}

// end says that there will be no more frames.
func (r *reel) end(err error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.err, r.kept, r.size = err, nil, 0
	for t := range r.takers {
		t.signal()
	}
}

func (t *taker) take(m moment) {
	if t.full || len(t.frames) == 0 && !m.Key {
		return
	}
	if t.size+len(m.Data) > maxFilmBytes {
		t.full = true
	} else {
		t.frames, t.size = append(t.frames, m), t.size+len(m.Data)
	}
	t.signal()
}

func (t *taker) signal() {
	select {
	case t.wake <- struct{}{}:
	default:
	}
}
