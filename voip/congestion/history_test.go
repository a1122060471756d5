package congestion

import (
	"fmt"
	"testing"
	"time"

	"github.com/pion/interceptor"
	"github.com/pion/rtcp"
	"github.com/pion/rtp"
)

var begin = time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)

// told is a feedback about packets from a number on: of each when it came, by the peer's
// clock, or a negative time if it has not.
func told(from uint16, reference uint32, came ...time.Duration) *rtcp.TransportLayerCC {
	f := &rtcp.TransportLayerCC{BaseSequenceNumber: from, ReferenceTime: reference & (1<<tickBits - 1), PacketStatusCount: uint16(len(came))}
	chunk := &rtcp.StatusVectorChunk{SymbolSize: rtcp.TypeTCCSymbolSizeTwoBit}
	at := time.Duration(reference) * tick
	for _, c := range came {
		symbol := uint16(rtcp.TypeTCCPacketNotReceived)
		if c >= 0 {
			symbol = rtcp.TypeTCCPacketReceivedLargeDelta
			f.RecvDeltas = append(f.RecvDeltas, &rtcp.RecvDelta{Type: symbol, Delta: (c - at).Microseconds()})
			at = c
		}
		chunk.SymbolList = append(chunk.SymbolList, symbol)
	}
	f.PacketChunks = []rtcp.PacketStatusChunk{chunk}
	return f
}

// Numbers and times wrap, packets overtake each other, and feedback says things twice.
func TestHistory(t *testing.T) {
	const ms = time.Millisecond
	for _, c := range []struct {
		name  string
		first uint16 // of ten packets, 20 ms apart
		told  []*rtcp.TransportLayerCC
		came  string // numbers and times, in the order they are heard of
		fates string // of the packets, once a second has passed
	}{
		{"all", 100, []*rtcp.TransportLayerCC{told(100, 1, 70*ms, 71*ms, 90*ms)},
			"0 70ms, 1 71ms, 2 90ms", "2220000000"},
		{"numbers wrap", 65534, []*rtcp.TransportLayerCC{told(65534, 1, 70*ms, 71*ms, 90*ms, 95*ms)},
			"0 70ms, 1 71ms, 2 90ms, 3 95ms", "2222000000"},
		{"times wrap", 100, []*rtcp.TransportLayerCC{told(100, 1<<tickBits-1, (1<<tickBits-1)*tick), told(101, 1<<tickBits, 1<<tickBits*tick)},
			fmt.Sprintf("0 %v, 1 %v", (1<<tickBits-1)*tick, 1<<tickBits*tick), "2200000000"},
		{"overtaken", 100, []*rtcp.TransportLayerCC{told(100, 1, 70*ms, -1, 72*ms), told(101, 1, 90*ms)},
			"0 70ms, 2 72ms, 1 90ms", "2220000000"},
		{"lost", 100, []*rtcp.TransportLayerCC{told(100, 1, 70*ms, -1, 72*ms)},
			"0 70ms, 2 72ms", "2120000000"},
		{"twice, and taken back", 100, []*rtcp.TransportLayerCC{told(100, 1, 70*ms), told(100, 2, 130*ms, 131*ms), told(100, 2, -1, -1)},
			"0 70ms, 1 131ms", "2200000000"},
		{"of packets that were never sent", 100, []*rtcp.TransportLayerCC{told(90, 1, 70*ms, 71*ms), told(30000, 1, 70*ms), told(110, 1, 70*ms)},
			"", "0000000000"},
	} {
		t.Run(c.name, func(t *testing.T) {
			var h history
			for i := range 10 {
				h.add(c.first+uint16(i), 100, begin.Add(time.Duration(i)*20*ms))
			}
			first := h.next - 10
			came := ""
			for _, f := range c.told {
				err := h.feedback(f, func(p *packet) {
					if came != "" {
						came += ", "
					}
					came += fmt.Sprintf("%d %v", p.number-first, p.came)
				})
				if err != nil {
					t.Fatal(err)
				}
			}
			if came != c.came {
				t.Errorf("came: %s, not %s", came, c.came)
			}
			fates := ""
			h.judge(begin.Add(time.Second), func(p *packet) { fates += fmt.Sprint(p.fate) })
			if fates != c.fates {
				t.Errorf("fates %s, not %s", fates, c.fates)
			}
			h.judge(begin.Add(time.Hour), func(p *packet) { t.Errorf("%d is judged again", p.number-first) })
		})
	}
}

// A feedback with fewer times than packets is refused, and one about nothing is nothing.
func TestFeedbackThatContradictsItself(t *testing.T) {
	var h history
	h.add(1, 100, begin)
	h.add(2, 100, begin)
	f := told(1, 1, 70*time.Millisecond, 71*time.Millisecond)
	f.RecvDeltas = f.RecvDeltas[:1]
	if err := h.feedback(f, func(*packet) {}); err == nil {
		t.Error("taken")
	}
	if err := new(history).feedback(told(1, 1, 70*time.Millisecond), func(*packet) { t.Error("a packet that was never sent") }); err != nil {
		t.Error(err)
	}
}

// A peer that does not tell when packets arrive, only how many did not.
func TestLost(t *testing.T) {
	now := begin
	e := New(Config{Start: 400_000, Min: 100_000, Max: 600_000, Now: func() time.Time { return now }})
	say := func(share float64, times int) int {
		for range times {
			now = now.Add(time.Second)
			e.Lost(share)
		}
		return e.Rate()
	}
	for _, c := range []struct {
		share       float64
		times       int
		least, most int
	}{
		{0, 1, 400_000, 400_000},
		{0, 10, 600_000, 600_000},
		{0.2, 1, 600_000, 672_000}, // may be chance
		{0.2, 4, 380_000, 480_000},
		{0.2, 30, 100_000, 100_000},
		{0.05, 30, 110_000, 300_000},
		{0, 30, 600_000, 600_000},
	} {
		if got := say(c.share, c.times); got < c.least || got > c.most {
			t.Errorf("%.0f %% lost, %d times: %d bit/s, not %d to %d", 100*c.share, c.times, got, c.least, c.most)
		}
	}
}

// Whatever a peer says about packets, the rate stays within its bounds.
func FuzzFeedback(f *testing.F) {
	for _, packet := range []*rtcp.TransportLayerCC{
		told(0, 1, 70*time.Millisecond, 71*time.Millisecond, 200*time.Millisecond),
		told(65530, 1<<tickBits-1, (1<<tickBits-1)*tick, -1, (1<<tickBits)*tick),
	} {
		raw, err := packet.Marshal()
		if err != nil {
			f.Fatal(err)
		}
		f.Add(raw, uint16(65530), uint8(20))
	}
	f.Fuzz(func(t *testing.T, raw []byte, first uint16, count uint8) {
		now := begin
		e := New(Config{Start: 300_000, Min: 100_000, Max: 600_000, Now: func() time.Time { return now }})
		write := e.BindLocalStream(&interceptor.StreamInfo{RTPHeaderExtensions: []interceptor.RTPHeaderExtension{{URI: numberURI, ID: 1}}},
			interceptor.RTPWriterFunc(func(*rtp.Header, []byte, interceptor.Attributes) (int, error) { return 0, nil }))
		read := e.BindRTCPReader(interceptor.RTCPReaderFunc(func(b []byte, a interceptor.Attributes) (int, interceptor.Attributes, error) {
			return copy(b, raw), a, nil
		}))
		for i := range uint16(count) {
			h := rtp.Header{Version: 2}
			x, err := rtp.TransportCCExtension{TransportSequence: first + i}.Marshal()
			if err != nil {
				t.Fatal(err)
			}
			if err := h.SetExtension(1, x); err != nil {
				t.Fatal(err)
			}
			if _, err := write.Write(&h, make([]byte, 100), nil); err != nil {
				t.Fatal(err)
			}
			now = now.Add(20 * time.Millisecond)
			if i%8 != 7 {
				continue
			}
			_, _, err = read.Read(make([]byte, max(1500, len(raw))), nil)
			if rate := e.Rate(); rate < 100_000 || rate > 600_000 {
				t.Fatalf("%d bit/s (%v)", rate, err)
			}
		}
	})
}

// What a feedback about ten packets costs, and remembering those.
func BenchmarkFeedback(b *testing.B) {
	now := begin
	e := New(Config{Start: 300_000, Min: 100_000, Max: 600_000, Now: func() time.Time { return now }})
	number := uint16(0)
	for b.Loop() {
		var came []time.Duration
		for i := range 10 {
			now = now.Add(10 * time.Millisecond)
			e.history.add(number+uint16(i), 1000, now)
			came = append(came, now.Sub(begin))
		}
		e.feedback(told(number, uint32(now.Sub(begin)/tick), came...))
		number += 10
	}
}
