package bridge

import (
	"context"
	"crypto/rand"
	"fmt"
	"log/slog"
	"net/netip"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/pion/webrtc/v4"

	"porchlight/voip/call"
	"porchlight/voip/congestion"
	"porchlight/voip/device"
)

const (
	// maxOrders and maxEvents bound what waits for the session, and what the
	// session has to say while nobody reads it.
	maxOrders = 64
	maxEvents = 256
	// maxCandidates bounds the candidates of the peer in one session.
	maxCandidates = 400
	// gatherTime is how long a description waits for candidates. All host
	// candidates are there at once; nothing else is gathered.
	gatherTime = 200 * time.Millisecond
)

// Event is what a Session reports.
type Event struct {
	// Report is for call.Step; nil if the Event is a digit.
	Report call.Input
	// Digit is a DTMF digit that the peer dialled: 0-9, *, #, A-D.
	Digit rune
}

// Stats is what a Session counts.
type Stats struct {
	// AudioCodec and VideoCodec are what we send; empty if we do not.
	AudioCodec, VideoCodec string
	// AudioSent and VideoSent count frames, the others packets.
	AudioSent, VideoSent         uint64
	AudioReceived, VideoReceived uint64
	// Digits counts what the peer dialled.
	Digits uint64
	// KeyFrames counts the key frames that the peer asked for and we passed on.
	KeyFrames uint64
	// Bitrate is what the picture may take at the moment, in bits per second.
	Bitrate int
	// Loss is the fraction of our pictures' packets that the peer missed last.
	Loss float64
	// Connected is the time from opening the Session to the first connection.
	Connected time.Duration
	// Speaker is what the loudspeaker measures; zero before the first packet.
	Speaker device.Meter
	// Thinned counts pictures left out because the line carries less than the encoder makes.
	Thinned uint64
	// Dropped counts events and orders beyond their bounds.
	Dropped uint64
}

// Session is the media of one call. Its methods may be called from anywhere;
// all but Close, Events and Stats wait for each other.
type Session struct {
	b      *Bridge
	log    *slog.Logger
	pc     *webrtc.PeerConnection
	ctx    context.Context // ends with the session
	cancel context.CancelFunc
	stream string // the msid stream ID of what we send
	opened time.Time
	// estimator knows what the line to the peer carries.
	estimator *congestion.Estimator

	orders chan call.Output
	events chan Event
	wake   chan struct{}
	done   chan struct{}
	work   sync.WaitGroup // streams; added to by spawn only
	deaf   atomic.Bool    // the peer is not played
	tracks atomic.Int32   // streams of the peer, see maxTracks
	// flooded: it was reported that there are too many of them.
	flooded atomic.Bool

	// negotiating is held by whoever exchanges descriptions, and guards these.
	negotiating sync.Mutex
	senders     map[string]*sender // by kind
	remote      bool               // a description of the peer is in place
	early       []call.Candidate   // of the peer, before that
	taken       int                // candidates of the peer since its ICE began or was restarted
	peerUfrag   string             // of its last description
	withheld    map[string]bool    // kinds that are not sent
	hidden      map[int]section    // of the agreed description, by place: what pion is not shown
	alone       int                // place of the one section that is taken; 0: they are in a bundle
	opened264   atomic.Pointer[camera]

	silence silence

	mu          sync.Mutex
	closed      bool // no new streams
	queue       []Event
	stats       Stats
	everUp      bool
	up          chan struct{} // closed at the first connection
	speaker     device.Speaker
	description string                   // ours as it was last given out
	holding     bool                     // candidates wait for the description to be given out
	found       []call.Candidate         // candidates of ours that wait
	digits      map[webrtc.SSRC]lastTone // by track
	wanted      map[string]bool          // our streams that the peer wants, by kind
	offers      map[string]bool          // those that the peer takes, if it wants them, by kind
	failed      map[string]bool          // those whose device could not be opened, or has failed
	told        call.Lacks               // what the peer was told last
	peerSends   bool                     // the peer says that it sends something
	deadName    string                   // for ICE, of the path in use, if it is dead
	cut         bool                     // the address was gone by which the connection goes
	listed      map[string]call.Stream   // the peer's metadata; nil: it sent none
	first       *string                  // the stream of the peer that came first
	sending     map[uint32]*sender       // by SSRC
	picture     *sender                  // of pictures; nil without
	terms       *h264Terms               // on which H.264 is sent; nil: on none
	placed      bool                     // it is known where our candidates belong: to
	placeMid    *string                  // the section of this name, if it has one,
	placeLine   uint16                   // and of this number
	remb        int                      // what the peer says it can take, in bits per second; 0: nothing
	rembAt      time.Time
}

func (b *Bridge) newSession(ctx context.Context) (*Session, error) {
	b.followAddresses()
	pc, err := b.api.NewPeerConnection(webrtc.Configuration{
		BundlePolicy: webrtc.BundlePolicyMaxBundle,
		// What clients make of encrypted RTP headers is not known well enough.
		RTPHeaderEncryptionPolicy: webrtc.RTPHeaderEncryptionPolicyDisable,
	})
	if err != nil {
		return nil, fmt.Errorf("bridge: opening a peer connection: %w", err)
	}
	s := &Session{
		b: b, log: b.cfg.Log, pc: pc, stream: "porchlight-" + rand.Text(), opened: b.cfg.Now(),
		orders: make(chan call.Output, maxOrders), events: make(chan Event),
		wake: make(chan struct{}, 1), done: make(chan struct{}), up: make(chan struct{}),
		senders: map[string]*sender{}, holding: true, digits: map[webrtc.SSRC]lastTone{},
		failed: map[string]bool{}, sending: map[uint32]*sender{}, estimator: b.lines.newest,
	}
	s.silence.count = s.received
	s.ctx, s.cancel = context.WithCancel(ctx)
	s.stats.Bitrate = b.cfg.VideoBitrate
	pc.OnICECandidate(s.foundCandidate)
	pc.OnConnectionStateChange(s.connection)
	pc.OnTrack(func(t *webrtc.TrackRemote, r *webrtc.RTPReceiver) {
		s.spawn(func() { s.receive(t, r) })
	})
	return s, nil
}

// Events is closed when the session has ended. What is not read soon is kept up
// to a bound, and dropped beyond it.
func (s *Session) Events() <-chan Event { return s.events }

// StreamID is the msid stream ID under which picture and sound are sent, the key
// for the stream metadata of the call.
func (s *Session) StreamID() string { return s.stream }

// Stats is a copy of the counters.
func (s *Session) Stats() Stats {
	s.mu.Lock()
	st := s.stats
	speaker := s.speaker
	s.mu.Unlock()
	if speaker != nil {
		st.Speaker = speaker.Meter()
	}
	return st
}

// Order carries out ApplyOffer, CreateOffer, ApplyAnswer, AddCandidates and
// PeerStreams of voip/call in turn, CloseMedia at once, and reports by Events; all other outputs
// it ignores. It never blocks. Events is closed when CloseMedia has been done.
func (s *Session) Order(o call.Output) {
	if _, ok := o.(call.CloseMedia); ok {
		s.cancel() // not behind what is still waiting
		return
	}
	select {
	case s.orders <- o:
	default:
		s.mu.Lock()
		s.stats.Dropped++
		s.mu.Unlock()
		s.report(call.OfferFailed{Reason: "the bridge has too much to do"})
	}
}

// Close ends the session and waits until all of it has stopped.
func (s *Session) Close() error {
	s.cancel()
	<-s.done
	return nil
}

// run is the session's goroutine: it carries out orders and delivers events.
func (s *Session) run() {
	defer close(s.done)
	defer close(s.events)
	defer s.stop()
	look := time.NewTicker(silenceLook)
	defer look.Stop()
	for {
		var to chan Event
		var next Event
		s.mu.Lock()
		if len(s.queue) > 0 {
			to, next = s.events, s.queue[0]
		}
		s.mu.Unlock()
		select {
		case <-s.ctx.Done():
			return
		case o := <-s.orders:
			s.carryOut(o)
		case to <- next:
			s.mu.Lock()
			s.queue = s.queue[1:]
			s.mu.Unlock()
		case <-look.C:
			s.listen()
		case <-s.wake:
		}
	}
}

func (s *Session) carryOut(o call.Output) {
	switch o := o.(type) {
	case call.ApplyOffer:
		answer, err := s.answer(s.ctx, o.SDP)
		s.described(call.Answer, answer, err)
	case call.CreateOffer:
		offer, err := s.offer(s.ctx, o.ICERestart)
		s.described(call.Offer, offer, err)
	case call.ApplyAnswer:
		if err := s.ApplyAnswer(o.SDP); err != nil {
			s.report(call.OfferFailed{Reason: err.Error()})
		}
	case call.AddCandidates:
		s.AddCandidates(o.Candidates)
	case call.PeerStreams:
		s.mu.Lock()
		s.listed = o.Streams
		s.mu.Unlock()
	}
}

func (s *Session) described(kind, sdp string, err error) {
	if err != nil {
		s.log.Info("bridge: a description could not be dealt with", "error", err)
		s.report(call.OfferFailed{Reason: err.Error()})
	} else {
		stream := s.stream
		if !s.sendsAnything() {
			stream = ""
		}
		s.report(call.LocalDescription{Description: call.Description{Type: kind, SDP: sdp}, StreamID: stream, Lacks: s.tell()})
	}
	s.release()
}

// lacking is what our stream is without. s.mu is held.
func (s *Session) lacking() call.Lacks {
	without := func(kind string) bool { return !s.offers[kind] || s.failed[kind] }
	return call.Lacks{Audio: without("audio"), Video: without("video")}
}

// tell is what the peer is told that our stream is without.
func (s *Session) tell() call.Lacks {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.told = s.lacking()
	return s.told
}

// retell reports what our stream is without if the peer has heard otherwise.
func (s *Session) retell() {
	s.mu.Lock()
	now := s.lacking()
	changed := now != s.told
	s.told = now
	s.mu.Unlock()
	if changed {
		s.report(now)
	}
}

// report queues an event for whoever reads Events.
func (s *Session) report(in call.Input) { s.post(Event{Report: in}) }

func (s *Session) post(e Event) {
	s.mu.Lock()
	if s.closed {
		s.mu.Unlock()
		return
	}
	if len(s.queue) >= maxEvents {
		s.stats.Dropped++
		s.mu.Unlock()
		return
	}
	s.queue = append(s.queue, e)
	s.mu.Unlock()
	select {
	case s.wake <- struct{}{}:
	default: // it is awake already
	}
}

// spawn starts a goroutine that stop waits for, unless the session has ended.
func (s *Session) spawn(fn func()) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed {
		return
	}
	s.work.Go(fn)
}

// stop ends everything that belongs to the session.
func (s *Session) stop() {
	// Nobody may be in the middle of a description.
	s.negotiating.Lock()
	defer s.negotiating.Unlock()
	s.mu.Lock()
	s.closed = true
	s.mu.Unlock()
	if err := s.pc.GracefulClose(); err != nil {
		s.log.Debug("bridge: closing a peer connection", "error", err)
	}
	s.work.Wait()
	s.letGo(s.opened264.Swap(nil))
	s.pathDead(false)
	s.mu.Lock()
	speaker := s.speaker
	s.mu.Unlock()
	if speaker != nil {
		if err := speaker.Close(); err != nil {
			s.log.Debug("bridge: closing the loudspeaker", "error", err)
		}
	}
}

// connection follows the state of ICE and DTLS.
func (s *Session) connection(state webrtc.PeerConnectionState) {
	s.pathDead(state == webrtc.PeerConnectionStateDisconnected)
	switch state {
	case webrtc.PeerConnectionStateConnected:
		s.mu.Lock()
		if !s.everUp {
			s.everUp = true
			s.stats.Connected = s.b.cfg.Now().Sub(s.opened)
			close(s.up)
		}
		s.cut = false
		s.mu.Unlock()
		if !s.silent() { // or it is lost until something comes
			s.report(call.Connected{})
		}
	case webrtc.PeerConnectionStateDisconnected:
		s.report(call.Disconnected{})
	case webrtc.PeerConnectionStateFailed:
		s.report(call.ConnectionFailed{})
	}
}

// pathDead notes whether anything comes by the path in use.
func (s *Session) pathDead(dead bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.deadName != "" {
		s.b.ports.paths.set(s.deadName, false)
		s.deadName = ""
	}
	if dead && !s.closed {
		s.deadName = iceUfrag(s.description)
		s.b.ports.paths.set(s.deadName, true)
	}
}

// moved hears that addresses of the machine have come or gone; now are those that there
// are. A connection that can go on as it is is left alone.
func (s *Session) moved(now []netip.Addr, more bool) {
	local, ok := s.localAddr()
	connected := s.pc.ConnectionState() == webrtc.PeerConnectionStateConnected
	s.mu.Lock()
	if ok && !slices.Contains(now, local) {
		s.cut = true
	}
	lost := s.everUp && len(now) > 0 && (s.cut || more && !connected)
	s.mu.Unlock()
	if lost {
		s.report(call.PathLost{})
	}
}

// localAddr is the address of ours by which the connection goes, if there is one.
func (s *Session) localAddr() (netip.Addr, bool) {
	for _, t := range s.pc.GetTransceivers() {
		if t.Receiver() == nil || t.Receiver().Transport() == nil {
			continue
		}
		pair, err := t.Receiver().Transport().ICETransport().GetSelectedCandidatePair()
		if err != nil || pair == nil {
			continue
		}
		addr, err := netip.ParseAddr(pair.Local.Address)
		return addr.Unmap(), err == nil
	}
	return netip.Addr{}, false
}

// foundCandidate hears of a candidate of ours, and of the end of them.
//
// spec: MSC2746 mandate the end-of-candidates candidate
func (s *Session) foundCandidate(c *webrtc.ICECandidate) {
	var out call.Candidate
	if c != nil {
		init := c.ToJSON()
		// Everything is bundled on the first section, and nheko refuses null.
		mid, line := "0", uint16(0)
		if init.SDPMid != nil && *init.SDPMid != "" {
			mid = *init.SDPMid
		}
		if init.SDPMLineIndex != nil {
			line = *init.SDPMLineIndex
		}
		out = call.Candidate{Candidate: init.Candidate, Mid: &mid, MLine: &line}
	}
	s.mu.Lock()
	s.found = append(s.found, out)
	holding := s.holding
	s.mu.Unlock()
	if !holding {
		s.release()
	}
}
