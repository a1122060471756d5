package device

import (
	"context"
	"fmt"
	"log/slog"
	"slices"
	"sync"
	"time"
)

// producer is an opened device. run publishes its frames on the feed's hubs
// until ctx ends or the device fails, and closes the device.
type producer interface {
	run(ctx context.Context) error
}

// feed is a device and all who watch it: opened for the first, closed after the last.
type feed struct {
	name string
	log  *slog.Logger
	hubs []*hub // one for each codec that can be had
	raw  *hub   // of plain pictures or plain sound; nil if they cannot be had
	// exclusive says that the device gives one codec at a time.
	exclusive bool
	// spawn has fn run by Board.Run.
	spawn func(ctx context.Context, fn func(context.Context)) error
	// open opens the device for the codec of h.
	open func(h *hub) (producer, error)
	// live is told of each start (1) and each end (-1) of the device; may be nil.
	live func(change int)

	// present says whether the device is plugged in; nil: it cannot be unplugged.
	present func() bool
	now     func() time.Time

	mu      sync.Mutex // held also while the device opens
	running *feedRun
	failed  error // why it did when it ran last
	gone    bool  // it was not there when it was looked for
}

// feedRun is one stretch from the first viewer to the last.
type feedRun struct {
	codec   string
	began   time.Time
	cancel  context.CancelFunc
	stopped bool          // cancel has been called; guarded by feed.mu
	done    chan struct{} // closed when the device is closed
}

func (f *feed) hub(codec string) *hub {
	for _, h := range f.all() {
		if h.codec == codec {
			return h
		}
	}
	return nil
}

// all is every hub.
func (f *feed) all() []*hub {
	if f.raw == nil {
		return f.hubs
	}
	return append(slices.Clip(f.hubs), f.raw)
}

// active is the codec for which the device was opened, or "" if it is not running.
func (f *feed) active() string {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.running == nil || f.running.stopped {
		return ""
	}
	return f.running.codec
}

// join adds a viewer and starts the device if it is the first.
func (f *feed) join(ctx context.Context, codec string) (*viewer, error) {
	h := f.hub(codec)
	if h == nil {
		return nil, ErrUnsupported
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.running != nil && f.running.stopped {
		// The device is exclusive: let it close before it is opened again.
		select {
		case <-f.running.done:
			f.running = nil
		case <-ctx.Done():
			return nil, ctx.Err()
		}
	}
	if f.running != nil && f.exclusive && f.running.codec != h.mode {
		return nil, fmt.Errorf("%w: the %s gives %s to another viewer", ErrBusy, f.name, f.running.codec)
	}
	v := h.add(f.leave) // before the device gives its first frame, which is a key frame
	if f.running == nil {
		if err := f.start(ctx, h); err != nil {
			h.remove(v, err)
			return nil, err
		}
	}
	return v, nil
}

// start opens the device and has it run. mu is held.
func (f *feed) start(ctx context.Context, h *hub) error {
	p, err := f.open(h)
	if err != nil {
		f.failed = err
		return err
	}
	runCtx, cancel := context.WithCancel(context.Background())
	r := &feedRun{codec: h.mode, began: f.now(), cancel: cancel, done: make(chan struct{})}
	job := func(ctx context.Context) {
		stop := context.AfterFunc(ctx, cancel)
		defer stop()
		f.end(r, p.run(runCtx))
	}
	f.tell(1) // before it can end
	if err := f.spawn(ctx, job); err != nil {
		cancel()
		_ = p.run(runCtx) // it ends at once and closes the device
		f.tell(-1)
		return err
	}
	f.running = r
	return nil
}

// tell tells of a start or an end.
func (f *feed) tell(change int) {
	if f.live != nil {
		f.live(change)
	}
}

// end is called when the device has been closed. Viewers that are left get the reason.
func (f *feed) end(r *feedRun, err error) {
	r.cancel()
	f.tell(-1) // before it can be started again
	close(r.done)
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.running != r {
		return
	}
	f.running = nil
	if r.stopped {
		return
	}
	if err == nil || err == context.Canceled {
		err = ErrClosed
	} else {
		f.failed = err
		f.log.Error("device failed", "device", f.name, "err", err)
	}
	for _, h := range f.all() {
		h.failAll(err)
	}
}

// leave takes a viewer out and stops the device if it was the last.
func (f *feed) leave(v *viewer) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if !v.hub.remove(v, ErrClosed) || f.running == nil {
		return
	}
	if n := v.lost(); n > 0 {
		f.log.Info("viewer was too slow", "device", f.name, "codec", v.hub.codec, "dropped", n)
	}
	for _, h := range f.all() {
		if !h.empty() {
			return
		}
	}
	f.running.stopped = true
	f.running.cancel()
}

// lost is the number of frames dropped for the viewer.
func (v *viewer) lost() uint64 {
	v.hub.mu.Lock()
	defer v.hub.mu.Unlock()
	return v.dropped
}
