package device

import (
	"context"
	"errors"
	"strings"
	"testing"
	"testing/synctest"
	"time"
)

// failing is a device that gives a frame each 100 ms until it is made to fail.
type failing struct {
	hub  *hub
	fail chan error
}

func (p *failing) run(ctx context.Context) error {
	tick := time.NewTicker(100 * time.Millisecond)
	defer tick.Stop()
	for {
		select {
		case <-tick.C:
			p.hub.publish(EncodedFrame{Data: []byte{1}, Duration: 100 * time.Millisecond, Key: true})
		case err := <-p.fail:
			return err
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

// fakeFeed is a feed of a failing device; started counts how often it runs now.
func fakeFeed(b *Board, name string, started *int) (*feed, chan error) {
	h, fail := newHub(string(VP8), true, videoQueueFrames), make(chan error)
	f := b.newFeed(name, func(*hub) (producer, error) { return &failing{h, fail}, nil }, h)
	f.live = func(change int) { *started += change }
	return f, fail
}

// running is a board whose Run runs.
func running(t *testing.T, camera string) *Board {
	t.Helper()
	b, err := New(Config{Camera: camera, Microphone: None, Loudspeaker: None})
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	ran := make(chan error, 1)
	go func() { ran <- b.Run(ctx) }()
	t.Cleanup(func() {
		cancel()
		if err := <-ran; err != nil {
			t.Error(err)
		}
	})
	return b
}

// TestPluggedIn: whoever looks at the test picture for want of a camera sees the camera that
// is plugged in, and the test picture stops.
func TestPluggedIn(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := running(t, None)
		old, _ := fakeFeed(b, "test picture", new(int))
		tests := 0
		old.live = func(change int) { tests += change }
		b.sightMu.Lock()
		b.video, b.noCamera, b.found = old, "There is none.", []string{"There is none.", "There is no microphone."}
		b.sightMu.Unlock()

		v, err := b.OpenVideo(t.Context(), VP8)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := v.ReadFrame(t.Context()); err != nil {
			t.Fatal(err)
		}
		b.plugIn(func() bool { return false })
		if _, err := v.ReadFrame(t.Context()); err != nil || !b.sightless() || len(b.Describe()) != 2 {
			t.Errorf("nothing was plugged in, but: %v, %q", err, b.Describe())
		}
		lives := 0
		b.cfg.Live = func(on bool) { lives++ }
		b.plugIn(func() bool {
			b.video, _ = fakeFeed(b, "camera", new(int))
			b.say("There is a camera.")
			return true
		})
		for err = nil; err == nil; {
			_, err = v.ReadFrame(t.Context())
		}
		if !errors.Is(err, errPluggedIn) {
			t.Errorf("the test picture ended with %v", err)
		}
		if err := v.Close(); err != nil {
			t.Error(err)
		}
		synctest.Wait()
		if tests != 0 {
			t.Error("the test picture still runs")
		}
		v, err = b.OpenVideo(t.Context(), VP8)
		if err != nil {
			t.Fatal(err)
		}
		defer v.Close()
		if _, err := v.ReadFrame(t.Context()); err != nil || b.eye().name != "camera" || lives != 1 {
			t.Errorf("%v, %q, the light changed %d times", err, b.eye().name, lives)
		}
		if all := strings.Join(b.Describe(), " "); all != "There is no microphone. There is a camera." || b.sightless() {
			t.Errorf("it says: %q", all)
		}
	})
}

// TestFaults: a device that failed is at fault until it has run for a while, or was plugged
// in anew.
func TestFaults(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := running(t, None)
		if err := errors.Join(b.CameraFault(), b.MicrophoneFault()); err != nil {
			t.Errorf("what is not there is at fault: %v", err)
		}
		started, there := 0, true
		f, fail := fakeFeed(b, "camera", &started)
		f.present = func() bool { return there }
		b.sightMu.Lock()
		b.video = f
		b.sightMu.Unlock()
		want := func(what string, want error) {
			t.Helper()
			if got := b.CameraFault(); !errors.Is(got, want) || (got == nil) != (want == nil) {
				t.Errorf("%s: %v, not %v", what, got, want)
			}
		}
		want("never used", nil)
		broken := errors.New("it is broken")
		v, err := b.OpenVideo(t.Context(), VP8)
		if err != nil {
			t.Fatal(err)
		}
		want("running", nil)
		fail <- broken
		synctest.Wait()
		want("failed", broken)
		v.Close()
		if v, err = b.OpenVideo(t.Context(), VP8); err != nil {
			t.Fatal(err)
		}
		time.Sleep(soundAfter / 2)
		want("runs again, for a moment", broken)
		time.Sleep(soundAfter)
		want("runs again", nil)
		fail <- broken
		synctest.Wait()
		v.Close()
		there = false
		want("unplugged", errUnplugged)
		there = true
		want("plugged in", nil)
		there = false
		want("unplugged while nobody looks", errUnplugged)
	})
}
