package device

import (
	"errors"
	"slices"
	"time"
)

const (
	// hotplugLook is how often a board that was started without a camera looks whether video
	// devices have come, and hotplugLooks how often it then tries them: one is not ready at
	// once.
	hotplugLook  = 5 * time.Second
	hotplugLooks = 3
	// soundAfter is how long a device has to run until one that had failed counts as whole.
	soundAfter = 10 * time.Second
)

var (
	// errPluggedIn ends the streams of the test picture.
	errPluggedIn = errors.New("device: a camera was plugged in")
	errUnplugged = errors.New("device: it is unplugged")
	errReordered = errors.New("device: its H.264 has B-frames, whose order calls cannot keep; switch them off in the camera")
)

// eye is where the picture comes from now; nil: there is none.
func (b *Board) eye() *feed {
	b.sightMu.RLock()
	defer b.sightMu.RUnlock()
	return b.video
}

// tuning is the controls of the camera that there is now; nil: it has none.
func (b *Board) tuning() tuner {
	b.sightMu.RLock()
	defer b.sightMu.RUnlock()
	return b.tuner
}

// sightless says whether no camera has been found yet, though any would do.
func (b *Board) sightless() bool {
	b.sightMu.RLock()
	defer b.sightMu.RUnlock()
	return b.noCamera != ""
}

// plugIn takes the camera that find finds in place of the test picture; whoever looks at
// that looks at the camera then, if it gives what they look at.
func (b *Board) plugIn(find func() bool) {
	b.sightMu.Lock()
	before, said := b.video, b.found
	b.found = slices.DeleteFunc(slices.Clone(said), func(s string) bool { return s == b.noCamera })
	if !find() || b.video == before {
		b.found = said
		b.sightMu.Unlock()
		return
	}
	b.noCamera = ""
	b.video.live = b.countCamera
	now := b.video
	b.sightMu.Unlock()
	b.cfg.Log.Info("a camera was plugged in", "device", now.name)
	if before != nil && !slices.ContainsFunc(before.all(), func(h *hub) bool { return now.hub(h.codec) == nil }) {
		before.retire(errPluggedIn)
	}
}

// retire stops the device for good. Its viewers get the reason.
func (f *feed) retire(why error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	for _, h := range f.all() {
		h.failAll(why)
	}
	if f.running != nil && !f.running.stopped {
		f.running.stopped = true
		f.running.cancel()
	}
}

// CameraFault says what is wrong with the camera: that it is unplugged, or why it failed when
// it ran last. Nil: nothing, or there is none.
func (b *Board) CameraFault() error {
	eye := b.eye()
	if err := eye.fault(b.cfg.Now()); err != nil || eye == nil || len(eye.hubs) == 0 {
		return err
	}
	for _, h := range eye.hubs {
		if h.reorder == nil || !h.reorder.seen.Load() {
			return nil
		}
	}
	return errReordered
}

// MicrophoneFault is CameraFault of the microphone.
func (b *Board) MicrophoneFault() error { return b.audio.fault(b.cfg.Now()) }

// fault says what is wrong with the device. One that has failed counts as whole when it has
// run for a while, or was plugged in anew.
func (f *feed) fault(now time.Time) error {
	if f == nil {
		return nil
	}
	gone := f.present != nil && !f.present()
	f.mu.Lock()
	defer f.mu.Unlock()
	switch {
	case gone:
		f.failed, f.gone = errUnplugged, true
	case f.gone:
		f.failed, f.gone = nil, false
	case f.running != nil && !f.running.stopped && now.Sub(f.running.began) >= soundAfter:
		f.failed = nil
	}
	return f.failed
}
