package bridge

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/pion/webrtc/v4"

	"porchlight/voip/call"
	"porchlight/voip/device"
)

// Accept takes the peer's offer, the first or a later one (hold, resume, a change
// from voice to video, an ICE restart), and returns the answer with all host
// candidates in it. Later candidates come by Events.
func (s *Session) Accept(ctx context.Context, offer string) (answer string, err error) {
	defer s.release()
	return s.answer(ctx, offer)
}

// Renegotiate is Accept for an offer within the call.
func (s *Session) Renegotiate(ctx context.Context, offer string) (answer string, err error) {
	return s.Accept(ctx, offer)
}

// Offer returns an offer of what the board has, with all host candidates in it.
// It must not be called a second time before ApplyAnswer or Accept, which takes it back.
func (s *Session) Offer(ctx context.Context, iceRestart bool) (string, error) {
	defer s.release()
	return s.offer(ctx, iceRestart)
}

func (s *Session) answer(ctx context.Context, offer string) (string, error) {
	s.negotiating.Lock()
	defer s.negotiating.Unlock()
	p, err := s.propose(ctx, offer)
	if err != nil {
		return "", err
	}
	if err := s.takeBack(); err != nil {
		return "", err
	}
	if err := s.addTracks(p.offer, p.codecs); err != nil {
		return "", err
	}
	s.b.followAddresses() // it may be a restart
	s.hold()
	first := !s.remote
	if err := s.setRemote(webrtc.SDPTypeOffer, widen(p.view)); err != nil {
		return "", err
	}
	made, err := s.pc.CreateAnswer(nil)
	if err != nil {
		return "", fmt.Errorf("bridge: making an answer: %w", err)
	}
	text, err := s.setLocal(ctx, made)
	if err != nil {
		return "", err
	}
	s.agree(p)
	text, err = p.answer(text, s.sendable(p.offer))
	if err != nil {
		return "", err
	}
	if first && !takesAny(text) {
		return "", errNothing
	}
	s.direct(p.offer)
	return text, nil
}

// agree notes what a later description has to keep to. The caller holds negotiating.
func (s *Session) agree(p *proposal) {
	s.hidden = map[int]section{}
	for i, at := range p.offer[1:] {
		if !slices.Contains(p.shown, i+1) {
			s.hidden[i+1] = at.refused()
		}
	}
	var terms *h264Terms
	for _, c := range p.formats {
		if c.terms != nil {
			terms = c.terms
		}
	}
	mid, line := p.place()
	s.mu.Lock()
	defer s.mu.Unlock()
	s.terms, s.placed, s.placeMid, s.placeLine = terms, true, mid, line
}

func (s *Session) offer(ctx context.Context, iceRestart bool) (string, error) {
	s.negotiating.Lock()
	defer s.negotiating.Unlock()
	if s.pc.SignalingState() == webrtc.SignalingStateHaveLocalOffer {
		return "", errors.New("bridge: an offer waits for its answer already")
	}
	codecs := map[string][]string{"audio": s.deviceCodecs("audio"), "video": s.deviceCodecs("video")}
	if err := s.addTracks(nil, codecs); err != nil {
		return "", err
	}
	s.b.followAddresses()
	s.hold()
	made, err := s.pc.CreateOffer(&webrtc.OfferOptions{ICERestart: iceRestart})
	if err != nil {
		return "", fmt.Errorf("bridge: making an offer: %w", err)
	}
	text, err := s.setLocal(ctx, made)
	if err != nil {
		return "", err
	}
	offers := map[string]bool{}
	for kind := range s.senders {
		offers[kind] = true
	}
	s.mu.Lock()
	s.offers = offers
	s.mu.Unlock()
	return s.promise(ctx, text, codecs["video"])
}

// promise makes of pion's offer one that names only pictures that can be sent, and says
// which H.264 they are. Sections that pion was not shown stand where they stood.
func (s *Session) promise(ctx context.Context, made string, codecs []string) (string, error) {
	sections, err := parseSDP(made)
	if err != nil {
		return "", err
	}
	h264 := string(device.H264)
	var format device.H264Format
	known := false
	if slices.Contains(codecs, h264) {
		if format, known = s.cameraFormat(ctx); !known && len(codecs) > 1 || format.Reorders {
			codecs = without(codecs, h264)
		}
	}
	for i, at := range sections {
		if at.kind != "video" || at.off || !namesAny(at, codecs) {
			continue
		}
		for _, codec := range []string{h264, string(device.VP8)} {
			if !slices.Contains(codecs, codec) {
				at = at.without(at.coded(codec))
			}
		}
		for _, f := range at.coded(h264) {
			if known {
				at = at.withFmtp(f, offeredTerms(format).fmtp(format))
			}
		}
		sections[i] = at
	}
	return joinSDP(s.reveal(sections)), nil
}

// reveal puts sections that pion was not shown where they stood.
func (s *Session) reveal(sections []section) []section {
	out := sections[:1:1]
	for rest := sections[1:]; ; {
		if h, ok := s.hidden[len(out)]; ok {
			out = append(out, h)
			continue
		}
		if len(rest) == 0 {
			return out
		}
		out, rest = append(out, rest[0]), rest[1:]
	}
}

// conceal takes them out again, and shows pion H.264 in the form that it knows.
func (s *Session) conceal(sections []section) []section {
	var out []section
	for i, at := range sections {
		if _, ok := s.hidden[i]; ok {
			continue
		}
		if at.kind == "video" {
			for _, f := range at.coded(string(device.H264)) {
				at = at.withFmtp(f, plainH264)
			}
		}
		out = append(out, at)
	}
	return out
}

// takeBack undoes an offer of ours that crosses the peer's. Pion knows no rollback, so it is
// given the peer's last description for an answer: that restores all but ICE, if that was
// to be restarted, and then the peer's offer is a restart, too, or one is needed after it.
//
// spec: MSC2746 designate one party as polite
func (s *Session) takeBack() error {
	last := s.pc.CurrentRemoteDescription()
	if s.pc.SignalingState() != webrtc.SignalingStateHaveLocalOffer || last == nil {
		return nil
	}
	return s.setRemote(webrtc.SDPTypeAnswer, last.SDP)
}

// ApplyAnswer takes the peer's answer to Offer.
func (s *Session) ApplyAnswer(answer string) error {
	s.negotiating.Lock()
	defer s.negotiating.Unlock()
	sections, err := parseSDP(answer)
	if err != nil {
		return err
	}
	if err := s.setRemote(webrtc.SDPTypeAnswer, widen(s.conceal(sections))); err != nil {
		return err
	}
	if at, ok := live(sections, "video"); ok {
		for _, f := range at.coded(string(device.H264)) {
			if t, ok := readTerms(at.about("fmtp", f)); ok {
				s.mu.Lock()
				s.terms = &t
				s.mu.Unlock()
				break
			}
		}
	}
	s.direct(sections)
	s.retell()
	return nil
}

// AddCandidates takes candidates of the peer, at any time: those that come before
// its description wait for it. What cannot be used is passed over, since a peer
// has many candidates and needs one.
func (s *Session) AddCandidates(list []call.Candidate) {
	s.negotiating.Lock()
	defer s.negotiating.Unlock()
	if s.taken+len(list) > maxCandidates {
		s.log.Info("bridge: the peer has too many candidates")
		return
	}
	s.taken += len(list)
	if !s.remote {
		s.early = append(s.early, list...)
		return
	}
	s.addCandidates(list)
}

func (s *Session) addCandidates(list []call.Candidate) {
	for _, c := range list {
		if s.elsewhere(c) {
			continue
		}
		err := s.pc.AddICECandidate(webrtc.ICECandidateInit{Candidate: c.Candidate, SDPMid: c.Mid, SDPMLineIndex: c.MLine})
		if err != nil {
			s.log.Debug("bridge: a candidate of the peer is of no use", "error", err)
		}
	}
}

// elsewhere says whether a candidate belongs to a section that has no part in the connection.
func (s *Session) elsewhere(c call.Candidate) bool {
	return s.alone > 0 && !c.End() && c.MLine != nil && int(*c.MLine) != s.alone-1
}

// addTracks gives each kind that the peer offers, or in an offer of ours each
// that we have, its track: before the description, so that pion puts it there.
func (s *Session) addTracks(offer []section, codecs map[string][]string) error {
	for _, kind := range []string{"audio", "video"} {
		if offer != nil {
			s.dropEnded(kind, offer)
			at, ok := live(offer, kind)
			if !ok || !namesAny(at, codecs[kind]) {
				continue
			}
		}
		if s.senders[kind] != nil {
			continue
		}
		if len(codecs[kind]) == 0 {
			if kind == "audio" && offer == nil && !s.hasTransceiver() {
				// Nothing to say, but still an ear, and a call needs a section.
				_, err := s.pc.AddTransceiverFromKind(webrtc.RTPCodecTypeAudio,
					webrtc.RTPTransceiverInit{Direction: webrtc.RTPTransceiverDirectionRecvonly})
				if err != nil {
					return fmt.Errorf("bridge: adding a place for sound: %w", err)
				}
			}
			continue
		}
		if err := s.addSender(kind, codecs[kind]); err != nil {
			return err
		}
	}
	return nil
}

// dropEnded lets go of a stream of ours whose section the peer has ended: if there is another
// one of the kind, now or later, the stream begins in that from the start.
func (s *Session) dropEnded(kind string, offer []section) {
	snd := s.senders[kind]
	if snd == nil {
		return
	}
	mid := ""
	for _, t := range s.pc.GetTransceivers() {
		if t.Sender() == snd.rtp {
			mid = t.Mid()
		}
	}
	ended := slices.ContainsFunc(offer, func(at section) bool { return at.off && at.kind == kind && mid != "" && at.mid() == mid })
	if !ended {
		return
	}
	s.setSending(snd, false)
	if err := snd.rtp.Stop(); err != nil {
		s.log.Debug("bridge: ending a stream", "error", err)
	}
	delete(s.senders, kind)
	s.mu.Lock()
	defer s.mu.Unlock()
	maps.DeleteFunc(s.sending, func(_ uint32, of *sender) bool { return of == snd })
	if s.picture == snd {
		s.picture = nil
	}
}

func (s *Session) hasTransceiver() bool { return len(s.pc.GetTransceivers()) > 0 }

func namesAny(s section, codecs []string) bool {
	for _, c := range codecs {
		if s.names(c) {
			return true
		}
	}
	return false
}

// Withhold keeps the board's sound or its pictures back for the whole call, as if there
// were no such device. It has to come before the first description.
func (s *Session) Withhold(audio, video bool) {
	s.negotiating.Lock()
	defer s.negotiating.Unlock()
	s.withheld = map[string]bool{"audio": audio, "video": video}
}

// Deafen keeps the peer's sound from being played, for the whole call; digits that are
// dialled are still heard. It has to come before the first description.
func (s *Session) Deafen() { s.deaf.Store(true) }

// deviceCodecs is what the board can send of a kind. The caller holds negotiating.
func (s *Session) deviceCodecs(kind string) []string {
	if s.withheld[kind] {
		return nil
	}
	var list []string
	if kind == "audio" {
		for _, c := range s.b.cfg.Media.AudioCodecs() {
			list = append(list, string(c))
		}
		return list
	}
	for _, c := range s.b.cfg.Media.VideoCodecs() {
		list = append(list, string(c))
	}
	return list
}

func (s *Session) setRemote(kind webrtc.SDPType, sdp string) error {
	if s.ctx.Err() != nil {
		return ErrClosed
	}
	if err := s.pc.SetRemoteDescription(webrtc.SessionDescription{Type: kind, SDP: sdp}); err != nil {
		return fmt.Errorf("bridge: taking the peer's %s: %w", kind, err)
	}
	s.remote = true
	if ufrag := iceUfrag(sdp); ufrag != s.peerUfrag {
		s.peerUfrag, s.taken = ufrag, len(s.early) // ICE begins anew, and forgets what it had
	}
	s.addCandidates(s.early)
	s.early = nil
	return nil
}

// setLocal puts our description in place and returns it with the candidates that
// are found at once.
func (s *Session) setLocal(ctx context.Context, d webrtc.SessionDescription) (string, error) {
	gathered := webrtc.GatheringCompletePromise(s.pc)
	if err := s.pc.SetLocalDescription(d); err != nil {
		return "", fmt.Errorf("bridge: setting our %s: %w", d.Type, err)
	}
	enough := time.NewTimer(gatherTime)
	defer enough.Stop()
	select {
	case <-gathered:
	case <-enough.C:
	case <-ctx.Done():
		return "", ctx.Err()
	case <-s.ctx.Done():
		return "", ErrClosed
	}
	local := s.pc.LocalDescription()
	if local == nil {
		return "", errors.New("bridge: our description is gone")
	}
	s.mu.Lock()
	s.description = local.SDP
	s.mu.Unlock()
	return local.SDP, nil
}

// hold keeps candidates back until release: they must not overtake the
// description that they belong to.
func (s *Session) hold() {
	s.mu.Lock()
	s.holding = true
	s.mu.Unlock()
}

// release reports the candidates that are not in the description.
func (s *Session) release() {
	s.mu.Lock()
	s.holding = false
	var list []call.Candidate
	for _, c := range s.found {
		if s.placed {
			line := s.placeLine
			c.Mid, c.MLine = s.placeMid, &line
		}
		if c.End() || !strings.Contains(s.description, strings.TrimPrefix(c.Candidate, "candidate:")) {
			list = append(list, c)
		}
	}
	s.found = nil
	s.mu.Unlock()
	if len(list) > 0 {
		s.report(call.LocalCandidates{Candidates: list})
	}
}

// sendable says of which kinds there is something of ours in what the peer takes. The caller
// holds negotiating.
func (s *Session) sendable(peer []section) map[string]bool {
	can := map[string]bool{}
	for kind, snd := range s.senders {
		at, ok := live(peer, kind)
		codec := snd.track.chosen()
		can[kind] = ok && codec != "" && at.names(codec)
	}
	if snd := s.senders["video"]; snd != nil && snd.track.chosen() == string(device.H264) {
		s.mu.Lock()
		can["video"] = can["video"] && s.terms != nil
		s.mu.Unlock()
	}
	return can
}

// direct starts and stops our streams as the peer's description allows.
func (s *Session) direct(peer []section) {
	wanted, offers := map[string]bool{}, s.sendable(peer)
	for kind, can := range offers {
		if at, ok := live(peer, kind); ok && can && at.dir&receives != 0 {
			wanted[kind] = true
		}
	}
	s.mu.Lock()
	s.wanted, s.offers = wanted, offers
	s.peerSends = slices.ContainsFunc(peer[1:], func(at section) bool {
		return !at.off && (at.kind == "audio" || at.kind == "video") && at.dir&sends != 0
	})
	s.mu.Unlock()
	for kind, snd := range s.senders {
		s.setSending(snd, wanted[kind])
	}
	if snd := s.senders["video"]; snd == nil || !wanted["video"] || snd.track.chosen() != string(device.H264) {
		s.letGo(s.opened264.Swap(nil)) // nobody will take it over
	}
}

// sendsAnything says whether the board has a stream of its own in this session.
func (s *Session) sendsAnything() bool {
	s.negotiating.Lock()
	defer s.negotiating.Unlock()
	return len(s.senders) > 0
}
