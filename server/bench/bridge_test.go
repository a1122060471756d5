package bench_test

import (
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"runtime"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"porchlight/server"
)

// waiting is how many messages wait for a bridge that comes back.
const waiting = 10_000

// slowBridge takes no transaction until it is told to, and counts the messages then.
type slowBridge struct {
	open     atomic.Bool
	messages atomic.Int64
	requests atomic.Int64
	peak     atomic.Uint64 // bytes of heap in use
	done     chan struct{} // closed after the last message
}

func (s *slowBridge) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	body, err := io.ReadAll(r.Body)
	if err != nil {
		return
	}
	if strings.HasSuffix(r.URL.Path, "/ping") {
		fmt.Fprint(w, "{}")
		return
	}
	if !s.open.Load() {
		w.WriteHeader(http.StatusServiceUnavailable)
		return
	}
	var memory runtime.MemStats
	runtime.ReadMemStats(&memory)
	s.peak.Store(max(s.peak.Load(), memory.HeapInuse))
	s.requests.Add(1)
	var transaction struct{ Events []struct{ Type string } }
	if json.Unmarshal(body, &transaction) != nil {
		return
	}
	fmt.Fprint(w, "{}")
	n := int64(0)
	for _, e := range transaction.Events {
		if e.Type == "m.room.message" {
			n++
		}
	}
	if n > 0 && s.messages.Add(n) == waiting {
		close(s.done)
	}
}

// BenchmarkBridge is a bridge that was away while 10,000 messages were sent: how fast it
// hears of them, and what memory that takes, the bridge's own in this process included.
func BenchmarkBridge(b *testing.B) {
	h := newHouse(b, false)
	bridge := &slowBridge{}
	web := httptest.NewServer(bridge)
	b.Cleanup(web.Close)
	const token = "token-of-the-bridge"
	registration := fmt.Sprintf("{id: bench, url: '%s', as_token: %s, hs_token: token-of-the-house, sender_localpart: _bot, "+
		"namespaces: {users: [{exclusive: true, regex: '@_bench_.*'}]}}", web.URL, token)
	if _, err := h.Do(b.Context(), server.Order{Do: "appservice add", Registration: registration}); err != nil {
		b.Fatal(err)
	}
	must := func(path string) {
		b.Helper()
		if r := h.Ask(b.Context(), token, "POST", path, strings.NewReader("{}")); r.Status != http.StatusOK {
			b.Fatalf("%s: %d %s", path, r.Status, r.Body)
		}
	}
	must("v3/join/" + h.rooms[0])
	for b.Loop() {
		b.StopTimer()
		bridge.open.Store(false)
		bridge.messages.Store(0)
		bridge.requests.Store(0)
		bridge.peak.Store(0)
		bridge.done = make(chan struct{})
		h.together(b, waiting/senders)
		runtime.GC()
		var before runtime.MemStats
		runtime.ReadMemStats(&before)
		b.StartTimer()
		began := time.Now()
		bridge.open.Store(true)
		must("v1/appservice/bench/ping") // it is back
		<-bridge.done
		took := time.Since(began)
		rate := waiting / took.Seconds()
		b.ReportMetric(rate, "events/s")
		set("bridge, 10,000 events waiting", "", "%.0f events/s in %d transactions", rate, bridge.requests.Load())
		set("heap in use meanwhile", "", "+%.1f MB", float64(max(bridge.peak.Load(), before.HeapInuse)-before.HeapInuse)/(1<<20))
	}
}
