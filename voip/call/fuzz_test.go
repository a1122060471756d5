package call

import (
	"encoding/json"
	"testing"
	"time"

	"porchlight/server/matrix"
)

// tape turns bytes into inputs, hostile ones as likely as sensible ones.
type tape struct {
	t     *testing.T
	bytes []byte
}

func (p *tape) next() byte {
	if len(p.bytes) == 0 {
		return 0
	}
	b := p.bytes[0]
	p.bytes = p.bytes[1:]
	return b
}

func pick[T any](p *tape, of ...T) T { return of[int(p.next())%len(of)] }

func (p *tape) event() Input {
	sender := pick(p, alice, board, bob, matrix.UserID(""))
	party := pick(p, "hers", "ours", "other", "")
	kind := pick(p, TypeInvite, TypeAnswer, TypeCandidates, TypeSelectAnswer, TypeReject, TypeHangup,
		TypeNegotiate, TypeStreamsChanged, TypeStreamsChangedUnstable, TypeReplaces)
	rest := map[string]string{
		TypeInvite:         inviteJSON(pick[int64](p, 90000, 1, 1<<53), pick(p, "", `,"invitee":"@porch:house"`, `,"invitee":"@bob:house"`)),
		TypeAnswer:         answerJSON(),
		TypeCandidates:     candidateJSON(pick(p, "a", ""), "b"),
		TypeSelectAnswer:   `,"selected_party_id":"` + pick(p, "ours", "other") + `"`,
		TypeHangup:         pick(p, "", `,"reason":"user_busy"`, `,"reason":"strange"`),
		TypeNegotiate:      negotiateJSON(pick(p, "offer", "answer", "rollback"), pick(p, audioSDP, videoSDP)),
		TypeStreamsChanged: `,"sdp_stream_metadata":{"s":{"purpose":"m.usermedia"}}`,
	}[kind]
	return aged(p.t, pick(p, 0, time.Second, -time.Hour, 1<<62), sender, party, kind, rest)
}

func (p *tape) input() Input {
	if p.next()%2 == 0 {
		return p.event()
	}
	return pick[Input](p,
		CaughtUp{}, Accept{}, Place{}, Refuse{}, Ignore{}, HangUp{UserBusy}, GlareLost{}, Mute{Audio: true}, Mute{},
		Renegotiate{}, ours(Offer), ours(Answer), LocalDescription{},
		LocalCandidates{[]Candidate{{Candidate: "1"}}}, LocalCandidates{[]Candidate{{}}},
		Connected{}, Disconnected{}, PathLost{}, ConnectionFailed{}, MediaFailed{}, OfferFailed{"why"},
		Left{User: alice}, Left{User: board}, Left{User: bob, Alone: true},
		TimerFired{Timer(p.next()), uint32(p.next() % 4)})
}

// watcher checks what must hold for every sequence of inputs.
type watcher struct {
	t                             *testing.T
	role                          Role
	ringing, open, ended, sentOwn bool
	armed                         [timerCount]bool
}

func (w *watcher) see(o Output) {
	t := w.t
	if w.ended {
		t.Fatalf("%s after the end", brief(o))
	}
	switch o := o.(type) {
	case Send:
		raw, err := json.Marshal(o.Content)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := Parse(o.Content.EventType(), raw); err != nil {
			t.Fatalf("%s is refused by ourselves: %v", raw, err)
		}
		w.sent(o.Content)
	case Ring:
		if w.ringing || w.role == Caller {
			t.Fatal("rings twice, or as a caller")
		}
		w.ringing = true
	case StopRinging:
		if !w.ringing {
			t.Fatal("stops what does not ring")
		}
		w.ringing = false
	case ApplyOffer:
		w.open = true
	case CreateOffer:
		if w.role == Callee && (!o.ICERestart || !w.open) {
			t.Fatal("a callee offers")
		}
		w.open = true
	case ApplyAnswer, AddCandidates:
		if !w.open {
			t.Fatalf("%s without a session", brief(o))
		}
	case CloseMedia:
		if !w.open {
			t.Fatal("closes twice")
		}
		w.open = false
	case SetTimer:
		if o.After <= 0 || o.After > MaxLifetime {
			t.Fatalf("a timer of %s", o.After)
		}
		w.armed[o.Timer] = true
	case StopTimer:
		w.armed[o.Timer] = false
	case Ended:
		if w.open || w.ringing {
			t.Fatal("ends with media open or ringing")
		}
		w.ended = true
	}
}

func (w *watcher) sent(c Content) {
	switch c.(type) {
	case *Invite, *SelectAnswer:
		if w.role == Callee {
			w.t.Fatalf("a callee sends %s", c.EventType())
		}
		w.sentOwn = true
	case *AnswerEvent, *Reject:
		if w.role == Caller {
			w.t.Fatalf("a caller sends %s", c.EventType())
		}
		w.sentOwn = true
	case *Candidates, *Negotiate, *StreamsChanged:
		if !w.sentOwn {
			w.t.Fatalf("%s before our description", c.EventType())
		}
	}
}

// FuzzStep: no sequence of events, decisions, reports and timers makes a call
// panic, break its rules or come back from its end.
func FuzzStep(f *testing.F) {
	f.Add(false, []byte{})
	f.Add(false, []byte{0, 0, 0, 0, 0, 0, 0, 0, 1, 0, 1, 1, 1, 11, 1, 15})
	f.Add(true, []byte{1, 2, 1, 10, 0, 0, 0, 1, 0, 0, 0, 0, 1, 15, 1, 9, 1, 10})
	f.Fuzz(func(t *testing.T, asCaller bool, input []byte) {
		if len(input) > 600 {
			return
		}
		s := callee()
		if asCaller {
			s = caller()
		}
		p := &tape{t: t, bytes: input}
		w := &watcher{t: t, role: s.Role()}
		for len(p.bytes) > 0 {
			in := p.input()
			next, out := Step(s, in)
			again, _ := Step(s, in)
			if next.Phase() != again.Phase() {
				t.Fatalf("%T leads to %d once and to %d then", in, next.Phase(), again.Phase())
			}
			if next.Phase() < s.Phase() {
				t.Fatalf("%T leads back from %d to %d", in, s.Phase(), next.Phase())
			}
			for _, o := range out {
				w.see(o)
			}
			if (next.Phase() == Over) != w.ended {
				t.Fatalf("%T: phase %d, ended %t", in, next.Phase(), w.ended)
			}
			s = next
		}
	})
}
