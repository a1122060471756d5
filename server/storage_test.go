package server_test

import (
	"errors"
	"fmt"
	"net/http"
	"strings"
	"syscall"
	"testing"

	"porchlight/server"
	"porchlight/server/servertest"
)

// TestServesReadingWithoutWriting: when the disk takes no more writes, everything that reads
// goes on, and what writes is refused with a sentence.
func TestServesReadingWithoutWriting(t *testing.T) {
	s := servertest.New(t)
	owner := s.User("owner")
	var room struct {
		ID string `json:"room_id"`
	}
	owner.Must("POST", "v3/createRoom", `{}`, &room)
	owner.Must("PUT", "v3/rooms/"+room.ID+"/send/m.room.message/1", `{"msgtype":"m.text","body":"before"}`, nil)
	var up struct {
		URI string `json:"content_uri"`
	}
	owner.Must("POST", "/_matrix/media/v3/upload", `{"some": "content"}`, &up)
	var sync struct {
		Next string `json:"next_batch"`
	}
	owner.Must("GET", "v3/sync", "", &sync)
	s.DB.Refuse(syscall.EIO)

	media := strings.TrimPrefix(up.URI, "mxc://")
	for _, c := range []struct {
		method, path, body string
		status             int
	}{
		{"GET", "v3/account/whoami", "", 200},
		{"GET", "v3/sync", "", 200},
		{"GET", "v3/sync?timeout=0&since=" + sync.Next, "", 200},
		{"POST", "unstable/org.matrix.simplified_msc3575/sync", `{"lists":{"a":{"ranges":[[0,9]],"timeline_limit":3,"required_state":[]}}}`, 200},
		{"GET", "v3/rooms/" + room.ID + "/messages?dir=b", "", 200},
		{"GET", "v3/rooms/" + room.ID + "/state", "", 200},
		{"GET", "v3/profile/" + string(owner.ID), "", 200},
		{"GET", "v3/devices", "", 200},
		{"GET", "v3/pushrules/", "", 200},
		{"POST", "v3/keys/query", `{"device_keys":{}}`, 200},
		{"GET", "v1/media/download/" + media, "", 200},
		{"GET", "/", "", 200},
		{"PUT", "v3/rooms/" + room.ID + "/send/m.room.message/2", `{"msgtype":"m.text","body":"after"}`, 503},
		{"PUT", "v3/rooms/" + room.ID + "/send/m.room.message/1", `{"msgtype":"m.text","body":"before"}`, 200}, // said before
		{"PUT", "v3/profile/" + string(owner.ID) + "/displayname", `{"displayname":"x"}`, 503},
		{"POST", "/_matrix/media/v3/upload", `{"other": "content"}`, 503},
		{"POST", "v3/createRoom", `{}`, 503},
	} {
		r := owner.Do(c.method, c.path, c.body)
		if r.Status != c.status {
			t.Errorf("%s %s: %d %s", c.method, c.path, r.Status, r.Body)
		}
		if c.status == http.StatusServiceUnavailable && (!strings.Contains(string(r.Body), "M_UNKNOWN") || !strings.Contains(string(r.Body), "can still be read")) {
			t.Errorf("%s %s: %s", c.method, c.path, r.Body)
		}
	}
	lines, err := server.Ask(t.Context(), s.Config, server.Order{Do: "check"})
	if err != nil {
		t.Errorf("check: %q, %v", lines, err)
	}
}

// TestEndsForAFault: with RestartOnFault, Run ends with ErrStorage so that the process can
// start itself.
func TestEndsForAFault(t *testing.T) {
	c := quiet(t.TempDir())
	c.Board.Off = true
	c.RestartOnFault = true
	s, err := server.New(t.Context(), c)
	if err != nil {
		t.Fatal(err)
	}
	ran := make(chan error, 1)
	go func() { ran <- s.Run(t.Context()) }()
	<-s.Ready()
	s.DB.Refuse(fmt.Errorf("sync: %w", syscall.EIO))
	if err := <-ran; !errors.Is(err, server.ErrStorage) || !errors.Is(err, syscall.EIO) {
		t.Errorf("run: %v", err)
	}
	if err := s.Close(); err != nil {
		t.Error(err)
	}
	c.RestartOnFault, c.AfterFault = false, true
	if s, err = server.New(t.Context(), c); err != nil {
		t.Fatal(err)
	}
	if err := errors.Join(s.DB.Unwritable(), s.Close()); err != nil {
		t.Errorf("after a restart on a disk that works: %v", err)
	}
}
