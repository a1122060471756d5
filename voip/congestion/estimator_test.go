package congestion

import (
	"cmp"
	"math/rand/v2"
	"slices"
	"testing"
	"time"

	"github.com/pion/interceptor"
	"github.com/pion/interceptor/pkg/twcc"
	"github.com/pion/rtcp"
	"github.com/pion/rtp"
)

// road is a line in virtual time, with a call on it: sound, and pictures at the rate that
// the estimator allows, up to the most.
type road struct {
	bits    int           // a second; what is more waits
	waits   time.Duration // longer than this nothing waits, it is lost
	delay   time.Duration
	jitter  time.Duration // each packet is up to so much later, whoever it overtakes
	lost    float64       // the share of packets that gets lost, also of feedback
	stall   time.Duration // nothing passes for so long, every five seconds
	others  int           // bits per second that others put on the line
	feedsAt time.Duration // how often the peer tells
}

const (
	least, most = 100_000 + sound, 500_000 + sound
	sound       = 45_000
	ceiling     = most * 5 / 4
)

// drive is a call on roads, one after the other.
type drive struct {
	e      *Estimator
	now    time.Time
	random *rand.Rand
	due    []event
	number uint16
	free   time.Time // when the line is through with what waits
	peer   *twcc.Recorder
	write  interceptor.RTPWriter
	read   interceptor.RTCPReader
	feed   []byte
	on     road
	delays []time.Duration
}

type event struct {
	at time.Time
	do func()
}

const extension = 5

func newDrive(t *testing.T) *drive {
	t.Helper()
	d := &drive{now: time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC), random: rand.New(rand.NewPCG(1, 2)), peer: twcc.NewRecorder(1)}
	d.e = New(Config{Start: most, Min: least, Max: ceiling, Now: func() time.Time { return d.now }})
	d.write = d.e.BindLocalStream(&interceptor.StreamInfo{RTPHeaderExtensions: []interceptor.RTPHeaderExtension{{URI: numberURI, ID: extension}}},
		interceptor.RTPWriterFunc(func(h *rtp.Header, payload []byte, _ interceptor.Attributes) (int, error) {
			d.carry(h, len(payload))
			return len(payload), nil
		}))
	d.read = d.e.BindRTCPReader(interceptor.RTCPReaderFunc(func(b []byte, a interceptor.Attributes) (int, interceptor.Attributes, error) {
		return copy(b, d.feed), a, nil
	}))
	d.after(0, d.picture)
	d.after(0, d.speak)
	d.after(0, d.tell)
	return d
}

func (d *drive) after(wait time.Duration, do func()) {
	e := event{d.now.Add(wait), do}
	at, _ := slices.BinarySearchFunc(d.due, e, func(a, b event) int { return cmp.Or(a.at.Compare(b.at), -1) })
	d.due = slices.Insert(d.due, at, e)
}

func (d *drive) send(size int) {
	h := rtp.Header{Version: 2, SSRC: 1}
	x, err := rtp.TransportCCExtension{TransportSequence: d.number}.Marshal()
	if err == nil {
		err = h.SetExtension(extension, x)
	}
	if err == nil {
		_, err = d.write.Write(&h, make([]byte, size), nil)
	}
	if err != nil {
		panic(err)
	}
	d.number++
}

func (d *drive) speak() {
	d.send(80)
	d.after(20*time.Millisecond, d.speak)
}

// picture sends one, as large as the rate allows, at twice the rate.
func (d *drive) picture() {
	rate := min(d.e.Rate(), most) - sound
	size := rate / 8 / 15
	if d.random.IntN(60) == 0 {
		size *= 4 // a key frame
	}
	for wait := time.Duration(0); size > 0; size -= 1100 {
		part := min(size, 1100)
		d.after(wait, func() { d.send(part) })
		if rate < most-sound {
			wait += time.Duration(part*8) * time.Second / time.Duration(2*rate)
		}
	}
	d.after(time.Second/15, d.picture)
}

// carry brings a packet to the peer.
func (d *drive) carry(h *rtp.Header, size int) {
	var x rtp.TransportCCExtension
	if err := x.Unmarshal(h.GetExtension(extension)); err != nil {
		panic(err)
	}
	bits := max(d.on.bits-d.on.others, 1)
	if d.free.Before(d.now) {
		d.free = d.now
	}
	if d.on.stall > 0 && time.Duration(d.now.UnixNano())%(5*time.Second) < d.on.stall {
		d.free = maxTime(d.free, d.now.Truncate(5*time.Second).Add(d.on.stall))
	}
	if d.free.Sub(d.now) > d.on.waits || d.random.Float64() < d.on.lost {
		return
	}
	d.free = d.free.Add(time.Duration((size+40)*8) * time.Second / time.Duration(bits))
	d.delays = append(d.delays, d.free.Sub(d.now))
	late := d.on.delay
	if d.on.jitter > 0 {
		late += time.Duration(d.random.Int64N(int64(d.on.jitter)))
	}
	d.after(d.free.Sub(d.now)+late, func() {
		const skew = 1234 * time.Second // the peer's clock begins elsewhere
		d.peer.Record(1, x.TransportSequence, (time.Duration(d.now.UnixNano())%(1000*time.Hour) + skew).Microseconds())
	})
}

func maxTime(a, b time.Time) time.Time {
	if a.Before(b) {
		return b
	}
	return a
}

// tell has the peer say what came.
func (d *drive) tell() {
	for _, p := range d.peer.BuildFeedbackPacket() {
		raw, err := rtcp.Marshal([]rtcp.Packet{p})
		if err != nil {
			panic(err)
		}
		late := d.on.delay
		if d.on.jitter > 0 {
			late += time.Duration(d.random.Int64N(int64(d.on.jitter)))
		}
		if d.random.Float64() < d.on.lost {
			continue
		}
		d.after(late, func() {
			d.feed = raw
			if _, _, err := d.read.Read(make([]byte, 1500), nil); err != nil {
				panic(err)
			}
		})
	}
	d.after(max(d.on.feedsAt, 50*time.Millisecond), d.tell)
}

// drive goes on for some seconds and returns the rate after each.
func (d *drive) drive(on road, seconds int) (rates []int) {
	d.on = cmp.Or(on, d.on)
	if d.on.waits == 0 {
		d.on.waits = time.Second
	}
	d.delays = d.delays[:0]
	for range seconds {
		end := d.now.Add(time.Second)
		for len(d.due) > 0 && !d.due[0].at.After(end) {
			e := d.due[0]
			d.due = d.due[1:]
			d.now = e.at
			e.do()
		}
		d.now = end
		rates = append(rates, d.e.Rate()/1000)
	}
	return rates
}

func TestRoads(t *testing.T) {
	const ms = time.Millisecond
	for _, c := range []struct {
		name        string
		on          road
		least, most int           // kbit/s, the mean after the first 10 of 40 seconds
		waits       time.Duration // 95 % of the packets wait less before the line
	}{
		{"a free line", road{bits: 5_000_000, delay: 20 * ms}, most / 1000, ceiling / 1000, 30 * ms},
		{"each packet 10 to 110 ms late", road{bits: 5_000_000, delay: 10 * ms, jitter: 100 * ms}, 500, ceiling / 1000, 30 * ms},
		{"5 % lost, each packet 10 to 110 ms late", road{bits: 5_000_000, delay: 10 * ms, jitter: 100 * ms, lost: 0.05}, 480, ceiling / 1000, 30 * ms},
		{"5 % lost", road{bits: 5_000_000, delay: 20 * ms, lost: 0.05}, 480, ceiling / 1000, 30 * ms},
		{"20 % lost", road{bits: 5_000_000, delay: 20 * ms, lost: 0.2}, least / 1000, 250, 30 * ms},
		{"300 kbit/s", road{bits: 300_000, delay: 20 * ms}, 180, 300, 350 * ms},
		{"300 kbit/s, each packet 10 to 60 ms late", road{bits: 300_000, delay: 10 * ms, jitter: 50 * ms}, 180, 300, 350 * ms},
		{"300 kbit/s, 3 % lost", road{bits: 300_000, delay: 20 * ms, lost: 0.03}, 180, 300, 350 * ms},
		{"300 kbit/s without a queue", road{bits: 300_000, waits: 30 * ms, delay: 20 * ms}, 150, 330, 60 * ms},
		{"nothing for 300 ms every 5 s", road{bits: 5_000_000, delay: 20 * ms, stall: 300 * ms}, 450, ceiling / 1000, 300 * ms},
		{"the peer tells every 250 ms", road{bits: 300_000, delay: 50 * ms, feedsAt: 250 * ms}, 170, 300, 450 * ms},
	} {
		t.Run(c.name, func(t *testing.T) {
			d := newDrive(t)
			rates := d.drive(c.on, 10)
			d.delays = d.delays[:0]
			later := d.drive(road{}, 30)
			got := 0
			for _, r := range later {
				got += r
			}
			got /= len(later)
			slices.Sort(d.delays)
			waits := d.delays[len(d.delays)*95/100]
			t.Logf("%d kbit/s, wait p50 %v p95 %v: %v %v", got, d.delays[len(d.delays)/2].Round(ms), waits.Round(ms), rates, later)
			if got < c.least || got > c.most {
				t.Errorf("%d kbit/s, not %d to %d", got, c.least, c.most)
			}
			if waits > c.waits {
				t.Errorf("packets wait %v before the line", waits)
			}
		})
	}
}

// A way that becomes longer, as by a relay or another network, is no queue.
func TestTheWayBecomesLonger(t *testing.T) {
	d := newDrive(t)
	d.drive(road{bits: 5_000_000, delay: 20 * time.Millisecond}, 10)
	d.on.delay += 200 * time.Millisecond
	rates := d.drive(road{}, 20)
	t.Logf("%v", rates)
	if slices.Min(rates) < 200 || rates[9] < 450 {
		t.Errorf("from one second to the next: %v kbit/s", rates)
	}
}

// Another's traffic that fills the line for a while takes its share; afterwards the rate is
// back.
func TestOthersOnTheLine(t *testing.T) {
	d := newDrive(t)
	on := road{bits: 1_000_000, delay: 20 * time.Millisecond, waits: 400 * time.Millisecond}
	d.drive(on, 10)
	on.others = 750_000
	with := d.drive(on, 20)
	on.others = 0
	after := d.drive(on, 20)
	t.Logf("with others %v, after them %v", with, after)
	if with[9] > 300 || with[19] > 330 || slices.Max(after) < most/1000 {
		t.Errorf("with others %v, after them %v kbit/s", with, after)
	}
}
