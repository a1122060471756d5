package bench_test

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"go.etcd.io/bbolt"

	"porchlight/server/servertest"
)

const (
	// history is how many messages the rooms have before anything is measured.
	history = 1000
	// senders send at the same time.
	senders = 16
)

// house is a running house with a room, or several, full of messages.
type house struct {
	*servertest.Server
	rooms []string // by the number of the sender; all the same unless made apart
	txn   atomic.Int64
	http  *http.Client
}

// newHouse makes the house and its senders: user0, user1, …, all in one room or each in
// a room of its own.
func newHouse(b *testing.B, apart bool) *house {
	h := &house{Server: servertest.New(b), http: &http.Client{Transport: &http.Transport{MaxIdleConnsPerHost: senders}}}
	b.Cleanup(h.http.CloseIdleConnections)
	for i := range senders {
		user := h.user(i)
		if i > 0 && !apart {
			user.Must("POST", "v3/join/"+url.PathEscape(h.rooms[0]), "{}", nil)
			h.rooms = append(h.rooms, h.rooms[0])
			continue
		}
		var made struct {
			Room string `json:"room_id"`
		}
		user.Must("POST", "v3/createRoom", `{"preset":"public_chat","name":"Hall"}`, &made)
		h.rooms = append(h.rooms, made.Room)
	}
	h.together(b, history/senders)
	return h
}

func (h *house) user(i int) *servertest.User { return h.User(fmt.Sprint("user", i)) }

// request is the next message of a sender.
func (h *house) request(i int) (path, body string) {
	n := h.txn.Add(1)
	return fmt.Sprintf("/_matrix/client/v3/rooms/%s/send/m.room.message/m%d.%d", url.PathEscape(h.rooms[i]), time.Now().UnixNano(), n),
		fmt.Sprintf(`{"msgtype":"m.text","body":"Message %d: somebody is at the door."}`, n)
}

// send sends a message straight through the handler.
func (h *house) send(tb testing.TB, i int) {
	path, body := h.request(i)
	if r := h.Ask(tb.Context(), h.user(i).Token, "PUT", path, strings.NewReader(body)); r.Status != http.StatusOK {
		tb.Errorf("%d %s", r.Status, r.Body)
	}
}

// sendHTTP sends a message over a loopback connection that is kept open.
func (h *house) sendHTTP(tb testing.TB, i int) {
	path, body := h.request(i)
	r, err := http.NewRequestWithContext(tb.Context(), "PUT", h.URL()+path, strings.NewReader(body))
	if err != nil {
		tb.Error(err)
		return
	}
	h.do(tb, r, i)
}

// do sends a request as a user and returns the body of the answer, which has to be 200.
func (h *house) do(tb testing.TB, r *http.Request, i int) []byte {
	r.Header.Set("Authorization", "Bearer "+h.user(i).Token)
	resp, err := h.http.Do(r)
	if err != nil {
		tb.Error(err)
		return nil
	}
	defer resp.Body.Close()
	answer, err := io.ReadAll(resp.Body)
	if err != nil || resp.StatusCode != http.StatusOK {
		tb.Errorf("%s: %d %s %v", r.URL.Path, resp.StatusCode, answer, err)
	}
	return answer
}

// together lets every sender send n messages, all at the same time.
func (h *house) together(tb testing.TB, n int) {
	var all sync.WaitGroup
	for i := range senders {
		all.Go(func() {
			for range n {
				h.send(tb, i)
			}
		})
	}
	all.Wait()
}

// bare is a bbolt file that follows the house's: the same rows in the same buckets, put
// there by nothing but bbolt.
type bare struct {
	db     *bbolt.DB
	folder string
}

// newBare begins with a copy of the house's file as it is.
func newBare(b *testing.B, h *house) *bare {
	folder := b.TempDir()
	path := filepath.Join(folder, "bare.db")
	snapshot(b, h, path)
	// The options of kv, which are those that the ratio is about to leave out.
	db, err := bbolt.Open(path, 0o600, &bbolt.Options{PageSize: 4096, FreelistType: bbolt.FreelistMapType, InitialMmapSize: 32 << 20})
	if err != nil {
		b.Fatal(err)
	}
	db.AllocSize = 1 << 20
	b.Cleanup(func() {
		if err := db.Close(); err != nil {
			b.Error(err)
		}
	})
	return &bare{db, folder}
}

func snapshot(b *testing.B, h *house, path string) {
	file, err := os.Create(path)
	if err != nil {
		b.Fatal(err)
	}
	if _, err := h.DB.Backup(b.Context(), pageWriter{file}); err != nil {
		b.Fatal(err)
	}
	// Or else the next commit that is measured would have to write this, too.
	if err := errors.Join(file.Sync(), file.Close()); err != nil {
		b.Fatal(err)
	}
}

// pageWriter writes page by page, as bbolt does. A file written in large pieces lies in
// large pieces in the page cache, and later every small write to it costs a large one.
type pageWriter struct{ file *os.File }

// Write implements io.Writer.
func (w pageWriter) Write(p []byte) (n int, err error) {
	for page := range slices.Chunk(p, os.Getpagesize()) {
		m, err := w.file.Write(page)
		if n += m; err != nil {
			return n, err
		}
	}
	return n, nil
}

// row is one that the house has written since; value nil: deleted.
type row struct{ bucket, key, value []byte }

// behind is what the house has and the bare file has not.
func (f *bare) behind(b *testing.B, h *house) []row {
	path := filepath.Join(f.folder, "house.db")
	snapshot(b, h, path)
	now, err := bbolt.Open(path, 0o600, &bbolt.Options{ReadOnly: true})
	if err != nil {
		b.Fatal(err)
	}
	var rows []row
	err = now.View(func(n *bbolt.Tx) error {
		return f.db.View(func(then *bbolt.Tx) error {
			return n.ForEach(func(name []byte, bucket *bbolt.Bucket) error {
				rows = append(rows, differences(name, bucket.Cursor(), then.Bucket(name).Cursor())...)
				return nil
			})
		})
	})
	if err != nil {
		b.Fatal(err)
	}
	if err := now.Close(); err != nil {
		b.Fatal(err)
	}
	return rows
}

func differences(bucket []byte, now, then *bbolt.Cursor) []row {
	var rows []row
	bucket = bytes.Clone(bucket)
	key, value := now.First()
	old, was := then.First()
	for key != nil || old != nil {
		order := bytes.Compare(key, old)
		switch {
		case old == nil || key != nil && order < 0:
			rows = append(rows, row{bucket, bytes.Clone(key), bytes.Clone(value)})
			key, value = now.Next()
		case key == nil || order > 0:
			rows = append(rows, row{bucket, bytes.Clone(old), nil})
			old, was = then.Next()
		default:
			if !bytes.Equal(value, was) {
				rows = append(rows, row{bucket, bytes.Clone(key), bytes.Clone(value)})
			}
			key, value = now.Next()
			old, was = then.Next()
		}
	}
	return rows
}

// deal gives each of n messages its rows: of every table, which is the first byte of the
// key, the first message gets the first row, and so on.
func deal(rows []row, n int) [][]row {
	messages := make([][]row, n)
	var table byte
	next := 0
	for _, r := range rows {
		if r.key[0] != table {
			table, next = r.key[0], 0
		}
		messages[next%n] = append(messages[next%n], r)
		next++
	}
	return messages
}

// commit writes rows as bbolt alone does.
func (f *bare) commit(b *testing.B, rows []row) {
	err := f.db.Update(func(tx *bbolt.Tx) error {
		for _, r := range rows {
			in := tx.Bucket(r.bucket)
			if r.value == nil {
				if err := in.Delete(r.key); err != nil {
					return err
				}
			} else if err := in.Put(r.key, r.value); err != nil {
				return err
			}
		}
		return nil
	})
	if err != nil {
		b.Fatal(err)
	}
}

// block is how many messages are sent before the bare file is told their rows.
const block = 32

// way is a way to send; each message is timed beside a bare commit.
type way struct {
	name       string
	send       func(testing.TB, int)
	took, bare times
	ratios     []float64
}

// BenchmarkSequential is one sender who waits for each answer, by turns with bare commits
// of the rows that earlier messages came to.
func BenchmarkSequential(b *testing.B) {
	h := newHouse(b, false)
	bare := newBare(b, h)
	ways := []*way{{name: "sequential send", send: h.send}, {name: "the same over HTTP on loopback", send: h.sendHTTP}}
	var bytes, commits uint64
	var rows, n int
	earlier := make([][]row, block) // of the block before
	for b.Loop() {
		for _, w := range ways {
			before := h.DB.Stats()
			for _, message := range earlier {
				start := time.Now()
				w.send(b, 0)
				sent := time.Now()
				bare.commit(b, message)
				if len(message) > 0 { // not in the first block
					w.took, w.bare = append(w.took, sent.Sub(start)), append(w.bare, time.Since(sent))
					w.ratios = append(w.ratios, float64(w.took[len(w.took)-1])/float64(w.bare[len(w.bare)-1]))
				}
			}
			after := h.DB.Stats()
			bytes += after.Written - before.Written
			commits += after.Commits - before.Commits
			n += block
			earlier = deal(bare.behind(b, h), block)
			for _, message := range earlier {
				rows += len(message)
			}
		}
	}
	for _, w := range ways {
		slices.Sort(w.ratios)
		set(w.name+" / bare bbolt commit", "≤ 1.5", "%.2f (%v / %v, medians)", w.ratios[len(w.ratios)/2], w.took.at(0.5), w.bare.at(0.5))
	}
	b.ReportMetric(ways[0].ratios[len(ways[0].ratios)/2], "×bare")
	b.ReportMetric(float64(bytes)/float64(n), "B/message")
	set("rows of a sequential message", "", "%.1f", float64(rows)/float64(n))
	set("written to disk per sequential message", "≤ 64 KiB", "%.1f KiB, in pages", float64(bytes)/float64(n)/1024)
	set("syncs per sequential message", "", "%.2f", 2*float64(commits)/float64(n))
}

// BenchmarkConcurrent is 16 senders at the same time, beside one who is alone.
func BenchmarkConcurrent(b *testing.B) {
	for _, c := range []struct {
		name  string
		apart bool
	}{{"one room", false}, {"16 rooms", true}} {
		b.Run(c.name, func(b *testing.B) { concurrent(b, newHouse(b, c.apart), c.name) })
	}
}

func concurrent(b *testing.B, h *house, name string) {
	const each = 16 // messages of each sender in a round
	var alone, together times
	var bytes, commits uint64
	for b.Loop() {
		start := time.Now()
		for range each {
			h.send(b, 0)
		}
		alone.since(start)

		before, start := h.DB.Stats(), time.Now()
		h.together(b, each)
		together.since(start)
		after := h.DB.Stats()
		bytes += after.Written - before.Written
		commits += after.Commits - before.Commits
	}
	n := float64(len(together) * each * senders)
	ratio := senders * float64(alone.at(0.5)) / float64(together.at(0.5))
	b.ReportMetric(ratio, "×alone")
	b.ReportMetric(float64(bytes)/n, "B/message")
	set("rate of 16 senders / of one, "+name, "≥ 5", "%.1f (%v / %v a message)", ratio, together.at(0.5)/(each*senders), alone.at(0.5)/each)
	set("written per concurrent message, "+name, "≤ 16 KiB", "%.1f KiB, in pages", float64(bytes)/n/1024)
	set("syncs per concurrent message, "+name, "", "%.2f", 2*float64(commits)/n)
}
