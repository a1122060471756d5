package device

import (
	"context"
	"slices"
	"sync"
	"time"
)

// Queue lengths per viewer. A viewer who falls further behind loses frames.
const (
	videoQueueFrames  = 15 // a second of pictures at the usual rate
	audioQueuePackets = 10 // 200 ms of sound
)

// keyFrameInterval is the least time between two key frames made on request.
const keyFrameInterval = time.Second

// hub hands the frames of one encoder to its viewers. It never waits for them.
type hub struct {
	codec string
	mode  string // the codec that the device gives for it: its own, or for plain frames another's
	keyed bool   // frames depend on those before them, so that a viewer begins and resumes at a key frame
	depth int    // frames in each viewer's queue
	// replays says that who comes is given what has come since the last key frame: the
	// device makes none on request.
	replays bool
	reorder *reordering // whether its pictures are sent in another order than shown; may be nil

	mu        sync.Mutex
	past      []EncodedFrame // since the last key frame, if it replays
	pastBytes int
	viewers   map[*viewer]struct{}
	keyWanted bool
	lastKey   time.Time
}

func newHub(codec string, keyed bool, depth int) *hub {
	return &hub{codec: codec, mode: codec, keyed: keyed, depth: depth, viewers: make(map[*viewer]struct{})}
}

// viewer is one end of a hub. All its state is guarded by hub.mu.
type viewer struct {
	hub   *hub
	depth int           // frames in its queue
	leave func(*viewer) // gives the viewer back to the feed it came from
	wake  chan struct{} // holds one token while there may be something to read

	queue   []EncodedFrame
	astray  bool          // it has asked for a key frame since it was given one
	replay  time.Time     // when it was last given what it had seen already
	started bool          // it has been given a frame
	needKey bool          // what is not a key frame is of no use to it
	owed    time.Duration // length of the frames dropped since the last one queued
	dropped uint64
	bitrate int     // its wish in bits per second, 0 for none
	loss    float64 // the fraction of frames that do not reach it
	err     error   // why there will be no more frames
}

// add makes a new viewer. It is given nothing before the next key frame, which is asked for.
func (h *hub) add(leave func(*viewer)) *viewer {
	h.mu.Lock()
	defer h.mu.Unlock()
	v := &viewer{hub: h, depth: h.depth + len(h.past), leave: leave, wake: make(chan struct{}, 1), needKey: h.keyed}
	h.viewers[v] = struct{}{}
	if len(h.past) == 0 {
		h.keyWanted = h.keyed
		return v
	}
	v.catchUp()
	return v
}

// catchUp gives a viewer what has come since the last key frame, to be seen at once, as the
// way to the newest picture. hub.mu is held.
func (v *viewer) catchUp() {
	v.queue, v.started, v.needKey, v.astray = slices.Clone(v.hub.past), true, false, false
	for i := range v.queue {
		v.queue[i].Duration = replayPace
	}
	v.queue[0].Duration += v.owed
	v.owed, v.depth = 0, v.hub.depth+len(v.queue)
	v.signal()
}

// replayLost gives viewers who have asked for a key frame, which the device cannot make, what
// has come since the last one.
func (h *hub) replayLost(at time.Time) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if len(h.past) == 0 {
		return
	}
	for v := range h.viewers {
		if v.astray && at.Sub(v.replay) >= replayInterval {
			v.replay = at
			v.catchUp()
		}
	}
}

const (
	// replayPace is the length of a frame that is replayed, and maxReplay what is kept for it
	// at most, in bytes: key frames ten seconds apart of a camera that spends 3 Mbit/s.
	replayPace = time.Millisecond
	maxReplay  = 4 << 20
	// replayInterval is the least time between two replays for a viewer that has lost frames:
	// each costs its line as much as all that has come since the last key frame.
	replayInterval = 3 * time.Second
)

// remember keeps a frame for those who come later. hub.mu is held.
func (h *hub) remember(f EncodedFrame) {
	if f.Key {
		h.past, h.pastBytes = nil, 0
	}
	if h.pastBytes += len(f.Data); h.pastBytes > maxReplay || len(h.past) == 0 && !f.Key {
		h.past = nil
		return
	}
	h.past = append(h.past, f)
}

// forget drops what is kept, as after the end of a device.
func (h *hub) forget() {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.past = nil
}

// sinceKey is what is kept.
func (h *hub) sinceKey() []EncodedFrame {
	h.mu.Lock()
	defer h.mu.Unlock()
	return slices.Clone(h.past)
}

// remove takes a viewer out, whose reader then gets err. It says whether the viewer was in.
func (h *hub) remove(v *viewer, err error) bool {
	h.mu.Lock()
	defer h.mu.Unlock()
	_, in := h.viewers[v]
	delete(h.viewers, v)
	v.fail(err)
	return in
}

// failAll ends every viewer with err.
func (h *hub) failAll(err error) {
	h.mu.Lock()
	defer h.mu.Unlock()
	for v := range h.viewers {
		v.fail(err)
	}
	clear(h.viewers)
}

// empty says whether nobody is watching.
func (h *hub) empty() bool {
	h.mu.Lock()
	defer h.mu.Unlock()
	return len(h.viewers) == 0
}

// publish queues a frame for every viewer.
func (h *hub) publish(f EncodedFrame) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.replays {
		h.remember(f)
	}
	for v := range h.viewers {
		v.offer(f)
	}
}

// takeKeyRequest says whether the frame taken at the given time must be a key
// frame, and counts it as made if so.
func (h *hub) takeKeyRequest(at time.Time) bool {
	h.mu.Lock()
	defer h.mu.Unlock()
	if !h.keyWanted || (!h.lastKey.IsZero() && at.Sub(h.lastKey) < keyFrameInterval) {
		return false
	}
	h.keyWanted, h.lastKey = false, at
	return true
}

// sharedPart is the part of what the best viewer can take that the shared encoder is not
// lowered below for one on a bad line.
const sharedPart = 3

// sharedBitrate is what the encoder is to make for all viewers together, in bits per second:
// what the one can take who takes least, but at least a part of what the best can take.
func (h *hub) sharedBitrate(limit int) int {
	h.mu.Lock()
	defer h.mu.Unlock()
	least, best := limit, 0
	for v := range h.viewers {
		wish := limit
		if v.bitrate > 0 {
			wish = min(v.bitrate, limit)
		}
		least, best = min(least, wish), max(best, wish)
	}
	return max(least, best/sharedPart)
}

// mostLoss is the highest loss that a listener has.
func (h *hub) mostLoss() float64 {
	h.mu.Lock()
	defer h.mu.Unlock()
	loss := 0.0
	for v := range h.viewers {
		loss = max(loss, v.loss)
	}
	return loss
}

// offer queues f, or drops what has to be dropped. hub.mu is held.
func (v *viewer) offer(f EncodedFrame) {
	if v.needKey && !f.Key {
		v.skip(f)
		return
	}
	if len(v.queue) >= v.depth && !v.makeRoom(f.Key) {
		v.skip(f)
		return
	}
	f.Duration += v.owed
	v.owed, v.needKey, v.started = 0, false, true
	v.astray = v.astray && !f.Key
	v.queue = append(v.queue, f)
	v.signal()
}

// makeRoom drops the oldest frames of a full queue, up to the next one that
// stands for itself. It says whether the frame at hand, a key frame or not, can follow.
func (v *viewer) makeRoom(key bool) bool {
	n := 1
	for n < len(v.queue) && v.hub.keyed && !v.queue[n].Key {
		n++
	}
	rest := v.queue[n:]
	for _, f := range v.queue[:n] {
		v.skip(f)
	}
	v.queue = append([]EncodedFrame(nil), rest...)
	if len(v.queue) > 0 {
		v.queue[0].Duration += v.owed
		v.owed = 0
		return true
	}
	if v.hub.keyed && !key {
		v.needKey, v.hub.keyWanted, v.astray = true, true, true
		return false
	}
	return true
}

// skip counts a frame that the viewer will not get. hub.mu is held.
func (v *viewer) skip(f EncodedFrame) {
	if v.started {
		v.owed += f.Duration
		v.dropped++
	}
}

// fail ends the viewer. hub.mu is held.
func (v *viewer) fail(err error) {
	if v.err == nil {
		v.err = err
	}
	v.signal()
}

func (v *viewer) signal() {
	select {
	case v.wake <- struct{}{}:
	default: // the token is there already
	}
}

// pop takes the oldest frame, if there is one.
func (v *viewer) pop() (f EncodedFrame, ok bool, err error) {
	v.hub.mu.Lock()
	defer v.hub.mu.Unlock()
	if v.err != nil {
		v.signal() // for whoever reads again
		return EncodedFrame{}, false, v.err
	}
	if len(v.queue) == 0 {
		return EncodedFrame{}, false, nil
	}
	f = v.queue[0]
	v.queue = v.queue[1:]
	return f, true, nil
}

func (v *viewer) read(ctx context.Context) (EncodedFrame, error) {
	for {
		if f, ok, err := v.pop(); ok || err != nil {
			return f, err
		}
		select {
		case <-v.wake:
		case <-ctx.Done():
			return EncodedFrame{}, ctx.Err()
		}
	}
}

// ReadFrame implements VideoStream.
func (v *viewer) ReadFrame(ctx context.Context) (EncodedFrame, error) { return v.read(ctx) }

// RequestKeyFrame implements VideoStream.
func (v *viewer) RequestKeyFrame() {
	v.hub.mu.Lock()
	defer v.hub.mu.Unlock()
	v.astray, v.hub.keyWanted = true, true
}

// wantKey asks for a key frame.
func (h *hub) wantKey() {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.keyWanted = true
}

// SetBitrate implements VideoStream.
func (v *viewer) SetBitrate(bitsPerSecond int) {
	v.hub.mu.Lock()
	defer v.hub.mu.Unlock()
	v.bitrate = max(bitsPerSecond, 0)
}

// SetLoss implements AudioStream.
func (v *viewer) SetLoss(fraction float64) {
	v.hub.mu.Lock()
	defer v.hub.mu.Unlock()
	v.loss = min(max(fraction, 0), 1)
}

// Close implements VideoStream and AudioStream.
func (v *viewer) Close() error {
	v.leave(v)
	return nil
}

// videoViewer and audioViewer give a viewer the face of the two kinds of stream.
type videoViewer struct{ *viewer }

func (v videoViewer) Codec() VideoCodec { return VideoCodec(v.hub.codec) }

type audioViewer struct{ *viewer }

// ReadPacket implements AudioStream.
func (v audioViewer) ReadPacket(ctx context.Context) (EncodedFrame, error) { return v.read(ctx) }

func (v audioViewer) Codec() AudioCodec { return AudioCodec(v.hub.codec) }
