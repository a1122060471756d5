package bench_test

import (
	"encoding/binary"
	"fmt"
	"io"
	"net/http"
	"sync"
	"testing"
	"time"
)

const (
	// uploaders upload at the same time.
	uploaders = 16
	// uploadBytes is what each of them uploads.
	uploadBytes = 20 << 20
	// fewestSends are measured of each kind.
	fewestSends = 200
)

// BenchmarkSendAmidUploads measures what a message takes from the request to the answer
// over HTTP, beside 16 uploads of 20 MB each and without them.
func BenchmarkSendAmidUploads(b *testing.B) {
	h := newHouse(b, false)
	for b.Loop() {
		var alone times
		for range fewestSends {
			start := time.Now()
			h.sendHTTP(b, 0)
			alone.since(start)
		}
		var all sync.WaitGroup
		begun := time.Now()
		for i := range uploaders {
			all.Go(func() { h.upload(b, i) })
		}
		over := make(chan struct{})
		go func() { all.Wait(); close(over) }()
		var beside times
	sending:
		for {
			select {
			case <-over:
				break sending
			default:
				start := time.Now()
				h.sendHTTP(b, 0)
				beside.since(start)
			}
		}
		rate := float64(uploaders*uploadBytes) / (1 << 20) / time.Since(begun).Seconds()
		b.ReportMetric(float64(alone.at(0.99).Microseconds()), "alone-p99-µs")
		b.ReportMetric(float64(beside.at(0.99).Microseconds()), "beside-p99-µs")
		show := func(t times) string {
			return fmt.Sprintf("p50 %v, p99 %v", t.at(0.5).Round(10*time.Microsecond), t.at(0.99).Round(10*time.Microsecond))
		}
		set("send, one client", "", "%s", show(alone))
		set(fmt.Sprintf("send, beside %d uploads of %d MB", uploaders, uploadBytes>>20), "", "%s, of %d; %.0f MB/s", show(beside), len(beside), rate)
	}
}

// upload uploads what nobody has uploaded before.
func (h *house) upload(tb testing.TB, i int) {
	content := &counting{n: uint64(time.Now().UnixNano()) + uint64(i)<<32, left: uploadBytes}
	r, err := http.NewRequestWithContext(tb.Context(), "POST", h.URL()+"/_matrix/media/v3/upload", content)
	if err != nil {
		tb.Error(err)
		return
	}
	r.ContentLength = uploadBytes
	h.do(tb, r, i)
}

// counting is numbers, one after the other.
type counting struct {
	n    uint64
	left int
}

// Read gives the next numbers.
func (c *counting) Read(p []byte) (int, error) {
	if c.left == 0 {
		return 0, io.EOF
	}
	got := 0
	for got+8 <= len(p) && c.left > 0 {
		binary.LittleEndian.PutUint64(p[got:], c.n*0x9e3779b97f4a7c15)
		c.n++
		got += 8
		c.left -= 8
	}
	return got, nil
}
