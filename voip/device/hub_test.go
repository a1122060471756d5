package device

import (
	"context"
	"errors"
	"fmt"
	"testing"
	"time"
)

const tick = 10 * time.Millisecond

func frame(n byte, key bool) EncodedFrame {
	return EncodedFrame{Data: []byte{n}, Duration: tick, Key: key}
}

// got reads all that is queued.
func got(v *viewer) (frames []EncodedFrame) {
	for {
		f, ok, err := v.pop()
		if !ok || err != nil {
			return frames
		}
		frames = append(frames, f)
	}
}

func TestHubQueues(t *testing.T) {
	type frameIs struct {
		n     byte
		ticks time.Duration
	}
	for _, tc := range []struct {
		name  string
		keyed bool
		send  string // k is a key frame, f any other; numbered from 0
		want  []frameIs
		lost  uint64
	}{
		{"starts at a key frame", true, "ffkf", []frameIs{{2, 1}, {3, 1}}, 0},
		{"no key frame yet", true, "fff", nil, 0},
		{"fits", true, "kfff", []frameIs{{0, 1}, {1, 1}, {2, 1}, {3, 1}}, 0},
		{"too slow, no key frame to go on from", true, "kffff", nil, 5},
		{"too slow, then a key frame", true, "kffffkf", []frameIs{{5, 6}, {6, 1}}, 5},
		{"too slow, a key frame in the queue", true, "kfkff", []frameIs{{2, 3}, {3, 1}, {4, 1}}, 2},
		{"too slow at a key frame", true, "kfffkf", []frameIs{{4, 5}, {5, 1}}, 4},
		{"sound begins at once", false, "kk", []frameIs{{0, 1}, {1, 1}}, 0},
		{"sound loses the oldest", false, "kkkkkk", []frameIs{{2, 3}, {3, 1}, {4, 1}, {5, 1}}, 2},
	} {
		t.Run(tc.name, func(t *testing.T) {
			h := newHub("test", tc.keyed, 4)
			v := h.add(func(*viewer) {})
			for i, kind := range tc.send {
				h.publish(frame(byte(i), kind == 'k'))
			}
			var have []frameIs
			for _, f := range got(v) {
				have = append(have, frameIs{f.Data[0], f.Duration / tick})
			}
			if len(have) != len(tc.want) {
				t.Fatalf("got %v, not %v", have, tc.want)
			}
			for i := range have {
				if have[i] != tc.want[i] {
					t.Fatalf("got %v, not %v", have, tc.want)
				}
			}
			if v.dropped != tc.lost {
				t.Errorf("%d dropped, not %d", v.dropped, tc.lost)
			}
		})
	}
}

// A slow viewer takes nothing from a quick one.
func TestHubViewersAreApart(t *testing.T) {
	h := newHub("test", true, 4)
	slow, quick := h.add(func(*viewer) {}), h.add(func(*viewer) {})
	for i := range 20 {
		h.publish(frame(byte(i), i == 0))
		if fs := got(quick); len(fs) != 1 || fs[0].Data[0] != byte(i) || fs[0].Duration != tick {
			t.Fatalf("frame %d: %v", i, fs)
		}
	}
	if slow.dropped != 20 || !h.takeKeyRequest(time.Unix(0, 0)) {
		t.Errorf("slow viewer lost %d, or asked for no key frame", slow.dropped)
	}
}

func TestHubKeyRequests(t *testing.T) {
	h := newHub("test", true, 4)
	at := time.Unix(100, 0)
	if h.takeKeyRequest(at) {
		t.Error("asked by nobody")
	}
	v := h.add(func(*viewer) {})
	for _, tc := range []struct {
		after time.Duration
		ask   bool
		want  bool
	}{
		{0, false, true}, // the new viewer's
		{tick, false, false},
		{2 * tick, true, false}, // too soon
		{999 * time.Millisecond, true, false},
		{time.Second, false, true}, // the one that waited
		{3 * time.Second, false, false},
		{4 * time.Second, true, true},
	} {
		if tc.ask {
			v.RequestKeyFrame()
			v.RequestKeyFrame()
		}
		if got := h.takeKeyRequest(at.Add(tc.after)); got != tc.want {
			t.Errorf("after %v: %v", tc.after, got)
		}
	}
}

func TestHubBitrate(t *testing.T) {
	h := newHub("test", true, 4)
	one, two := h.add(func(*viewer) {}), h.add(func(*viewer) {})
	one.SetBitrate(300)
	two.SetBitrate(200)
	if b := h.sharedBitrate(500); b != 200 {
		t.Error("the least wish is", b)
	}
	h.remove(two, ErrClosed)
	one.SetBitrate(900)
	if b := h.sharedBitrate(500); b != 500 {
		t.Error("the limit is", b)
	}
	two = h.add(func(*viewer) {})
	one.SetBitrate(300)
	two.SetBitrate(50)
	if b := h.sharedBitrate(500); b != 100 {
		t.Errorf("two viewers of which one is on a bad line get %d, want 100: a third of what the other can take", b)
	}
	h.remove(one, ErrClosed)
	if b := h.sharedBitrate(500); b != 50 {
		t.Errorf("the one viewer that is left gets %d, want 50", b)
	}
	one = h.add(func(*viewer) {})
	two.SetBitrate(0)
	one.SetBitrate(-1)
	if b := h.sharedBitrate(500); b != 500 {
		t.Error("without a wish:", b)
	}
}

func TestReadWaits(t *testing.T) {
	h := newHub("test", false, 4)
	v := h.add(func(*viewer) {})
	read := make(chan EncodedFrame, 1)
	go func() {
		f, err := v.read(context.Background())
		if err != nil {
			t.Error(err)
		}
		read <- f
	}()
	h.publish(frame(7, true))
	if f := <-read; f.Data[0] != 7 {
		t.Error(f)
	}
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	if _, err := v.read(ctx); !errors.Is(err, context.Canceled) {
		t.Error("cancelled:", err)
	}
	h.failAll(ErrBusy)
	for range 2 {
		if _, err := v.read(context.Background()); !errors.Is(err, ErrBusy) {
			t.Error("failed:", err)
		}
	}
}

// scripted is a device whose frames and failure the test decides.
type scripted struct {
	hub    *hub
	frames chan EncodedFrame
	fail   chan error
	closed chan struct{}
}

func (s *scripted) run(ctx context.Context) error {
	defer func() { s.closed <- struct{}{} }()
	for {
		select {
		case f := <-s.frames:
			s.hub.publish(f)
		case err := <-s.fail:
			return err
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

// A device starts with the first viewer, stops with the last, and when it
// breaks all are told and the next may try again.
func TestFeed(t *testing.T) {
	b := testBoard(t)
	ctx := within(t, 10*time.Second)
	dev := &scripted{frames: make(chan EncodedFrame), fail: make(chan error), closed: make(chan struct{}, 1)}
	opened := 0
	var openErr error
	f := b.newFeed("scripted", func(h *hub) (producer, error) {
		dev.hub = h
		opened++
		return dev, openErr
	}, newHub("one", false, 4), newHub("two", false, 4))
	f.exclusive = true
	join := func(codec string) *viewer {
		t.Helper()
		v, err := f.join(ctx, codec)
		if err != nil {
			t.Fatal(err)
		}
		return v
	}
	v, w := join("one"), join("one")
	if _, err := f.join(ctx, "two"); !errors.Is(err, ErrBusy) {
		t.Error("a second codec of an exclusive device:", err)
	}
	if _, err := f.join(ctx, "three"); !errors.Is(err, ErrUnsupported) {
		t.Error("an unknown codec:", err)
	}
	dev.frames <- frame(1, true)
	for _, v := range []*viewer{v, w} {
		if got, err := v.read(ctx); err != nil || got.Data[0] != 1 {
			t.Error(got, err)
		}
	}
	v.Close()
	w.Close()
	if f.active() != "" {
		t.Error("active without viewers")
	}
	// Opening again waits until the device is closed.
	v = join("two")
	<-dev.closed
	if opened != 2 || f.active() != "two" {
		t.Error(opened, f.active())
	}
	broken := errors.New("unplugged")
	dev.fail <- broken
	if _, err := v.read(ctx); !errors.Is(err, broken) {
		t.Error("read of a broken device:", err)
	}
	<-dev.closed
	v.Close()
	openErr = broken
	if _, err := f.join(ctx, "one"); !errors.Is(err, broken) {
		t.Error("open of a broken device:", err)
	}
	openErr = nil
	v = join("one")
	b.Close()
	if _, err := v.read(ctx); !errors.Is(err, ErrClosed) {
		t.Error("after the board was closed:", err)
	}
}

// Who comes to a camera that makes no key frames on request sees it at once, and keeps up.
func TestHubReplays(t *testing.T) {
	h := newH264Hub()
	publish := func(n int, key bool) {
		h.publish(EncodedFrame{Data: []byte{byte(n)}, Duration: 60 * time.Millisecond, Key: key})
	}
	take := func(v *viewer) (got string, length time.Duration) {
		for {
			f, ok, err := v.pop()
			if err != nil {
				t.Fatal(err)
			}
			if !ok {
				return got, length
			}
			got, length = got+fmt.Sprint(f.Data[0], " "), length+f.Duration
		}
	}
	publish(1, false)
	for n := 2; n < 22; n++ {
		publish(n, n == 2 || n == 6)
	}
	v := h.add(func(*viewer) {})
	if got, length := take(v); got != "6 7 8 9 10 11 12 13 14 15 16 17 18 19 20 21 " || length != 16*replayPace {
		t.Errorf("%s in %v", got, length)
	}
	publish(22, false)
	if got, length := take(v); got != "22 " || length != 60*time.Millisecond {
		t.Errorf("%s in %v", got, length)
	}
	// One that does not read is bounded all the same.
	slow := h.add(func(*viewer) {})
	for n := range 100 {
		publish(n, false)
	}
	if len(slow.queue) > videoQueueFrames+18 {
		t.Errorf("%d frames wait", len(slow.queue))
	}
	h.forget()
	if got, _ := take(h.add(func(*viewer) {})); got != "" {
		t.Errorf("%s of a device that has ended", got)
	}
	publish(1, true)
	h.publish(EncodedFrame{Data: make([]byte, maxReplay), Duration: time.Millisecond})
	if kept := h.sinceKey(); len(kept) != 0 {
		t.Errorf("%d frames are kept", len(kept))
	}
}
