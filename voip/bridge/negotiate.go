package bridge

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/pion/webrtc/v4"

	"porchlight/voip/call"
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
	sections, err := parseSDP(offer)
	if err != nil {
		return "", err
	}
	if err := s.takeBack(); err != nil {
		return "", err
	}
	if err := s.addTracks(sections); err != nil {
		return "", err
	}
	s.b.followAddresses() // it may be a restart
	s.hold()
	err = s.setRemote(webrtc.SDPTypeOffer, widen(sections))
	if err != nil {
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
	text, err = narrow(text, sections)
	if err != nil {
		return "", err
	}
	s.direct(sections)
	return text, nil
}

func (s *Session) offer(ctx context.Context, iceRestart bool) (string, error) {
	s.negotiating.Lock()
	defer s.negotiating.Unlock()
	if s.pc.SignalingState() == webrtc.SignalingStateHaveLocalOffer {
		return "", errors.New("bridge: an offer waits for its answer already")
	}
	if err := s.addTracks(nil); err != nil {
		return "", err
	}
	s.b.followAddresses()
	s.hold()
	made, err := s.pc.CreateOffer(&webrtc.OfferOptions{ICERestart: iceRestart})
	if err != nil {
		return "", fmt.Errorf("bridge: making an offer: %w", err)
	}
	return s.setLocal(ctx, made)
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
	if err := s.setRemote(webrtc.SDPTypeAnswer, widen(sections)); err != nil {
		return err
	}
	s.direct(sections)
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
		err := s.pc.AddICECandidate(webrtc.ICECandidateInit{Candidate: c.Candidate, SDPMid: c.Mid, SDPMLineIndex: c.MLine})
		if err != nil {
			s.log.Debug("bridge: a candidate of the peer is of no use", "error", err)
		}
	}
}

// addTracks gives each kind that the peer offers, or in an offer of ours each
// that we have, its track: before the description, so that pion puts it there.
func (s *Session) addTracks(offer []section) error {
	for _, kind := range []string{"audio", "video"} {
		if s.senders[kind] != nil {
			continue
		}
		codecs := s.deviceCodecs(kind)
		if offer != nil {
			at, ok := live(offer, kind)
			if !ok || !namesAny(at, codecs) {
				continue
			}
		}
		if len(codecs) == 0 {
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
		if err := s.addSender(kind, codecs); err != nil {
			return err
		}
	}
	return nil
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

// direct starts and stops our streams as the peer's description allows.
func (s *Session) direct(peer []section) {
	wanted := map[string]bool{}
	for kind := range s.senders {
		if at, ok := live(peer, kind); ok && at.dir&receives != 0 {
			wanted[kind] = true
		}
	}
	s.mu.Lock()
	s.wanted = wanted
	s.mu.Unlock()
	for kind, snd := range s.senders {
		s.setSending(snd, wanted[kind])
	}
}

// sendsAnything says whether the board has a stream of its own in this session.
func (s *Session) sendsAnything() bool {
	s.negotiating.Lock()
	defer s.negotiating.Unlock()
	return len(s.senders) > 0
}
