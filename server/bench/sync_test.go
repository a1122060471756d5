package bench_test

import (
	"encoding/json"
	"net/http"
	"sync"
	"testing"
	"time"

	"porchlight/kv"
	"porchlight/server/rooms"
)

// commitTimes is a witness of the rooms: it notes when each event was on disk.
type commitTimes struct {
	mu sync.Mutex
	at map[string]time.Time
}

// EventAppended implements rooms.Witness.
func (c *commitTimes) EventAppended(tx *kv.WriteTx, e *rooms.Event) error {
	tx.AfterCommit(func() {
		c.mu.Lock()
		defer c.mu.Unlock()
		c.at[string(e.ID)] = time.Now()
	})
	return nil
}

func (c *commitTimes) of(event string) (time.Time, bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	at, ok := c.at[event]
	return at, ok
}

// BenchmarkSync is the time from the commit of a message until a client that waits in
// /sync, over HTTP on loopback, has the whole answer with it; one other sends, or all do.
func BenchmarkSync(b *testing.B) {
	for _, c := range []struct {
		name string
		send func(h *house, b *testing.B)
	}{
		{"one sends", func(h *house, b *testing.B) { h.send(b, 1) }},
		{"16 send", func(h *house, b *testing.B) { h.together(b, 4) }},
	} {
		b.Run(c.name, func(b *testing.B) { wake(b, c.name, c.send) })
	}
}

func wake(b *testing.B, name string, send func(*house, *testing.B)) {
	h := newHouse(b, false)
	commits := &commitTimes{at: map[string]time.Time{}}
	h.Rooms.AddWitness(commits)
	since := h.sync(b, "").Next

	var took times
	heard := make(chan struct{}, 1)
	stop := make(chan struct{})
	var listener sync.WaitGroup
	listener.Go(func() {
		for {
			select {
			case <-stop:
				return
			default:
			}
			answer := h.sync(b, since)
			now := time.Now()
			since = answer.Next
			for _, room := range answer.Rooms.Join {
				for _, e := range room.Timeline.Events {
					if at, ok := commits.of(e.ID); ok {
						took = append(took, now.Sub(at))
					}
				}
			}
			select {
			case heard <- struct{}{}:
			default:
			}
		}
	})
	for b.Loop() {
		send(h, b)
		<-heard
	}
	close(stop)
	h.send(b, 1) // ends the last wait
	listener.Wait()
	b.ReportMetric(float64(took.at(0.5).Microseconds()), "p50-µs")
	b.ReportMetric(float64(took.at(0.99).Microseconds()), "p99-µs")
	set("commit to waiting /sync, "+name, "p50 ≤ 5 ms", "p50 %v, p95 %v, p99 %v",
		took.at(0.5).Round(time.Microsecond), took.at(0.95).Round(time.Microsecond), took.at(0.99).Round(time.Microsecond))
}

// synced is what is read of an answer to /sync.
type synced struct {
	Next  string `json:"next_batch"`
	Rooms struct {
		Join map[string]struct {
			Timeline struct {
				Events []struct {
					ID string `json:"event_id"`
				}
			}
		}
	}
}

// sync asks for what is new to user0, and waits for it unless since is empty.
func (h *house) sync(b *testing.B, since string) synced {
	r, err := http.NewRequestWithContext(b.Context(), "GET", h.URL()+"/_matrix/client/v3/sync?timeout=30000&since="+since, nil)
	if err != nil {
		b.Error(err)
		return synced{}
	}
	var s synced
	if err := json.Unmarshal(h.do(b, r, 0), &s); err != nil {
		b.Error(err)
	}
	return s
}
