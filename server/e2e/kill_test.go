//go:build e2e

package e2e

import (
	"encoding/json"
	"fmt"
	"net/url"
	"sync"
	"testing"
)

// The kill test: how often the server is killed, and how many senders write meanwhile.
const (
	killRounds   = 3
	killSenders  = 8
	ackedPerKill = 100 // messages acknowledged before the server is killed
)

// sent is a message whose sending was begun.
type sent struct {
	room, txn string
	eventID   string // empty if it was never acknowledged
}

func (c *client) sendText(room, txn, body string) (eventID string, err error) {
	var answer struct {
		EventID string `json:"event_id"`
	}
	path := fmt.Sprintf("/_matrix/client/v3/rooms/%s/send/m.room.message/%s", url.PathEscape(room), url.PathEscape(txn))
	err = c.do("PUT", path, map[string]string{"msgtype": "m.text", "body": body}, &answer)
	return answer.EventID, err
}

// messages gives the event ids of all the room's messages, by their bodies.
func (c *client) messages(t *testing.T, room string) map[string][]string {
	t.Helper()
	found := map[string][]string{}
	from := ""
	for {
		var page struct {
			Chunk []struct {
				EventID string          `json:"event_id"`
				Type    string          `json:"type"`
				Content json.RawMessage `json:"content"`
			} `json:"chunk"`
			End string `json:"end"`
		}
		path := fmt.Sprintf("/_matrix/client/v3/rooms/%s/messages?dir=b&limit=100&from=%s", url.PathEscape(room), url.QueryEscape(from))
		if from == "" {
			path = fmt.Sprintf("/_matrix/client/v3/rooms/%s/messages?dir=b&limit=100", url.PathEscape(room))
		}
		if err := c.do("GET", path, nil, &page); err != nil {
			t.Fatal(err)
		}
		for _, event := range page.Chunk {
			if event.Type != "m.room.message" {
				continue
			}
			var content struct {
				Body string `json:"body"`
			}
			if err := json.Unmarshal(event.Content, &content); err != nil {
				t.Fatal(err)
			}
			found[content.Body] = append(found[content.Body], event.EventID)
		}
		if page.End == "" {
			return found
		}
		from = page.End
	}
}

// TestKill kills the server in the middle of sending, several times. Every
// acknowledged message must be there afterwards, none twice; and whoever got no
// answer may ask again with the same transaction id without writing twice.
func TestKill(t *testing.T) {
	p := newPorch(t)
	alice := p.logIn(owner)
	var room struct {
		RoomID string `json:"room_id"`
	}
	if err := alice.do("POST", "/_matrix/client/v3/createRoom", map[string]string{"preset": "private_chat"}, &room); err != nil {
		t.Fatal(err)
	}

	all := map[string]*sent{} // by body, which is also the transaction id
	for round := range killRounds {
		for body, s := range sendUntilKilled(p, alice, room.RoomID, round) {
			all[body] = s
		}
		p.start()

		found := alice.messages(t, room.RoomID)
		lost, unanswered := 0, 0
		for body, s := range all {
			ids := found[body]
			switch {
			case len(ids) > 1:
				t.Errorf("%s is there %d times: %v", body, len(ids), ids)
			case s.eventID == "":
				unanswered++
			case len(ids) == 0 || ids[0] != s.eventID:
				lost++
				t.Errorf("%s was acknowledged as %s, but there is %v", body, s.eventID, ids)
			}
		}
		t.Logf("round %d: %d sent so far, %d of them unanswered, %d lost", round, len(all), unanswered, lost)
	}

	for body, s := range all {
		id, err := alice.sendText(s.room, s.txn, body)
		if err != nil {
			t.Fatal(err)
		}
		if s.eventID != "" && id != s.eventID {
			t.Errorf("%s: asked again, the server says %s, it had said %s", body, id, s.eventID)
		}
	}
	for body, ids := range alice.messages(t, room.RoomID) {
		if len(ids) != 1 {
			t.Errorf("asked for again, %s is there %d times", body, len(ids))
		}
	}

	p.stop()
	t.Log(p.porchlight("check"))
}

// sendUntilKilled sends from several senders at once, kills the server after a
// number of answers, and gives what had been begun.
func sendUntilKilled(p *porch, c *client, room string, round int) map[string]*sent {
	var (
		mu      sync.Mutex
		begun   = map[string]*sent{}
		acked   int
		once    sync.Once
		enough  = make(chan struct{})
		senders sync.WaitGroup
	)
	for sender := range killSenders {
		senders.Go(func() {
			for n := 0; ; n++ {
				body := fmt.Sprintf("round %d, sender %d, message %d", round, sender, n)
				s := &sent{room: room, txn: body}
				mu.Lock()
				begun[body] = s
				mu.Unlock()
				id, err := c.sendText(room, body, body)
				if err != nil {
					once.Do(func() { close(enough) }) // also if it fails for another reason than being killed
					return
				}
				mu.Lock()
				s.eventID = id
				acked++
				if acked >= ackedPerKill {
					once.Do(func() { close(enough) })
				}
				mu.Unlock()
			}
		})
	}
	<-enough
	p.kill()
	senders.Wait()
	if acked < ackedPerKill {
		p.t.Fatalf("round %d: sending failed after %d messages, before the server was killed", round, acked)
	}
	return begun
}
