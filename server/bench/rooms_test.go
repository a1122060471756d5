package bench_test

import (
	"encoding/json"
	"fmt"
	"net/http"
	"net/url"
	"testing"
	"time"

	"porchlight/kv"
	"porchlight/server/matrix"
	"porchlight/server/rooms"
	"porchlight/server/servertest"
)

const (
	// filled is how many messages each of an account's many rooms has.
	filled = 100
	// aPage is how many events a client asks of /messages at once.
	aPage = 50
)

// crowd is a house with one reader who is in many rooms, and a writer who fills them.
type crowd struct {
	*servertest.Server
	reader, writer *servertest.User
	rooms          []matrix.RoomID
}

func newCrowd(b *testing.B, n int) *crowd {
	h := servertest.New(b)
	c := &crowd{Server: h, reader: h.User("reader"), writer: h.User("writer")}
	for len(c.rooms) < n {
		// Some rooms in each transaction: one commit for each of the messages would take minutes.
		err := h.DB.Update(b.Context(), func(tx *kv.WriteTx) error {
			for range min(10, n-len(c.rooms)) {
				room, err := c.room(tx, len(c.rooms))
				if err != nil {
					return err
				}
				c.rooms = append(c.rooms, room)
			}
			return nil
		})
		if err != nil {
			b.Fatal(err)
		}
	}
	return c
}

func (c *crowd) room(tx *kv.WriteTx, i int) (matrix.RoomID, error) {
	room, err := c.Rooms.Create(tx, rooms.CreateArgs{Creator: c.writer.ID, Preset: "public_chat", Name: fmt.Sprint("Room ", i)})
	if err != nil {
		return "", err
	}
	if _, err := c.Rooms.SetMembership(tx, rooms.MemberArgs{Room: room, Sender: c.reader.ID, Target: c.reader.ID, Membership: "join"}); err != nil {
		return "", err
	}
	for i := range filled {
		_, err := c.Rooms.Send(tx, rooms.SendArgs{Room: room, Sender: c.writer.ID, Type: "m.room.message",
			Content: fmt.Appendf(nil, `{"msgtype":"m.text","body":"Message %d: somebody is at the door."}`, i)})
		if err != nil {
			return "", err
		}
	}
	return room, nil
}

// read is a GET of the reader's, straight through the handler; it tells what it took.
func (c *crowd) read(b *testing.B, path string, out any) time.Duration {
	start := time.Now()
	r := c.reader.Do("GET", path, "")
	took := time.Since(start)
	if r.Status != http.StatusOK {
		b.Fatalf("%s: %d %s", path, r.Status, r.Body)
	}
	if err := json.Unmarshal(r.Body, out); err != nil {
		b.Fatal(err)
	}
	return took
}

// page reads one page of a room's messages and says where the next begins.
func (c *crowd) page(b *testing.B, took *times, room matrix.RoomID, from string) string {
	var page struct {
		Chunk []json.RawMessage
		End   string
	}
	*took = append(*took, c.read(b, fmt.Sprintf("v3/rooms/%s/messages?dir=b&limit=%d&from=%s", url.PathEscape(string(room)), aPage, from), &page))
	if len(page.Chunk) != aPage || page.End == "" {
		b.Fatalf("%d events, the next page at %q", len(page.Chunk), page.End)
	}
	return page.End
}

// BenchmarkManyRooms is what an account with 1,000 rooms of 100 messages pays to read,
// beside one with 100: by turns, in one run.
func BenchmarkManyRooms(b *testing.B) {
	sizes := []int{100, 1000}
	var crowds []*crowd
	for _, n := range sizes {
		crowds = append(crowds, newCrowd(b, n))
	}
	var first, next, newest, older [2]times
	for b.Loop() {
		for i, c := range crowds {
			var s synced
			first[i] = append(first[i], c.read(b, "v3/sync", &s))
			if len(s.Rooms.Join) != sizes[i] {
				b.Fatalf("%d rooms", len(s.Rooms.Join))
			}
			since := s.Next
			for range 20 {
				room := c.rooms[len(next[i])*37%len(c.rooms)]
				c.writer.Must("PUT", fmt.Sprintf("v3/rooms/%s/send/m.room.message/n%d", url.PathEscape(string(room)), len(next[i])), `{"msgtype":"m.text","body":"news"}`, nil)
				var news synced
				next[i] = append(next[i], c.read(b, "v3/sync?since="+since, &news))
				if len(news.Rooms.Join) != 1 {
					b.Fatalf("%d rooms in what is new", len(news.Rooms.Join))
				}
				since = news.Next
				c.page(b, &older[i], room, c.page(b, &newest[i], room, ""))
			}
		}
	}
	for _, f := range []struct {
		name, target string
		took         [2]times
	}{
		{"first /sync", "", first},
		{"incremental /sync, one change", "as with 100 rooms", next},
		{"/messages, the newest 50", "as with 100 rooms", newest},
		{"/messages, the 50 before", "as with 100 rooms", older},
	} {
		few, many := f.took[0].at(0.5), f.took[1].at(0.5)
		set(f.name+", of 1,000 rooms", f.target, "%v (100 rooms: %v, ratio %.2f)",
			many.Round(time.Microsecond), few.Round(time.Microsecond), float64(many)/float64(few))
	}
	b.ReportMetric(float64(next[1].at(0.5))/float64(next[0].at(0.5)), "×100-rooms")
}
