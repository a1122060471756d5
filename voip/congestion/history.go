package congestion

import (
	"errors"
	"time"

	"github.com/pion/rtcp"
)

const (
	// remembered is how many of the packets sent last are known: some seconds of a call.
	remembered = 1 << 10
	// overtaken is how much later than packets sent after it one may arrive and not be lost.
	overtaken = 300 * time.Millisecond
	// tick is the unit of a feedback's reference time, and tickBits its length.
	// spec: draft-holmer-rmcat-transport-wide-cc-extensions-01, 3.1
	tick     = 64 * time.Millisecond
	tickBits = 24
)

// fate is what became of a packet.
type fate uint8

const (
	unknown fate = iota // nothing was said about it, as a feedback may get lost, too
	missing             // had not come yet
	arrived
)

// packet is one that was sent.
type packet struct {
	number uint64 // its number in the header, unwrapped
	size   int    // in bytes
	sent   time.Time
	fate   fate
	came   time.Duration // by the peer's clock, which begins anywhere
}

// history remembers the packets sent last, and what became of them.
type history struct {
	packets [remembered]packet
	next    uint64 // after the highest number sent
	judged  uint64 // after the highest number whose fate was told to the losses
	ticks   int64  // the last feedback's reference time, unwrapped
	started bool
}

// add notes a packet that is sent now.
func (h *history) add(number uint16, size int, now time.Time) {
	if h.next == 0 {
		h.next = 1 << 16 // so that numbers before the first are above zero
		h.next += uint64(number)
		h.judged = h.next
	}
	n := unwrap(number, h.next)
	h.packets[n%remembered] = packet{number: n, size: size, sent: now}
	h.next = max(h.next, n+1)
}

// unwrap is the number nearest to near whose lower 16 bits these are.
func unwrap(number uint16, near uint64) uint64 {
	return near + uint64(int64(int16(number-uint16(near))))
}

// packet is the one with a number, nil if it is not known.
func (h *history) packet(number uint64) *packet {
	if p := &h.packets[number%remembered]; p.number == number && !p.sent.IsZero() {
		return p
	}
	return nil
}

// errFeedback is one that contradicts itself.
var errFeedback = errors.New("congestion: a feedback with fewer times than packets")

// feedback notes what a peer says, and calls came for each packet that has newly arrived, in
// the order of their numbers.
func (h *history) feedback(f *rtcp.TransportLayerCC, came func(*packet)) error {
	near := h.ticks
	reference := int64(f.ReferenceTime) & (1<<tickBits - 1)
	if h.started { // the nearest of those with these lower bits
		const half = 1 << (tickBits - 1)
		reference = near + (reference-near+half)&(1<<tickBits-1) - half
	}
	h.ticks, h.started = reference, true
	at := time.Duration(reference) * tick
	number, left, deltas := unwrap(f.BaseSequenceNumber, h.next), f.PacketStatusCount, f.RecvDeltas
	one := func(symbol uint16) error {
		p := h.packet(number)
		number++
		left--
		switch symbol {
		case rtcp.TypeTCCPacketReceivedSmallDelta, rtcp.TypeTCCPacketReceivedLargeDelta:
			if len(deltas) == 0 {
				return errFeedback
			}
			at += time.Duration(deltas[0].Delta) * time.Microsecond
			deltas = deltas[1:]
			if p != nil && p.fate != arrived {
				p.fate, p.came = arrived, at
				came(p)
			}
		case rtcp.TypeTCCPacketNotReceived:
			if p != nil && p.fate == unknown {
				p.fate = missing
			}
		}
		return nil
	}
	for _, chunk := range f.PacketChunks {
		switch c := chunk.(type) {
		case *rtcp.RunLengthChunk:
			for range min(c.RunLength, left) {
				if err := one(c.PacketStatusSymbol); err != nil {
					return err
				}
			}
		case *rtcp.StatusVectorChunk:
			for _, symbol := range c.SymbolList[:min(len(c.SymbolList), int(left))] {
				if err := one(symbol); err != nil {
					return err
				}
			}
		}
	}
	return nil
}

// judge calls told for each packet whose fate is sealed, once: that was sent well before one
// which has arrived, or is about to be forgotten.
func (h *history) judge(newest time.Time, told func(*packet)) {
	for ; h.judged < h.next; h.judged++ {
		p := h.packet(h.judged)
		if p == nil {
			continue
		}
		if newest.Sub(p.sent) < overtaken {
			return
		}
		told(p)
	}
}
