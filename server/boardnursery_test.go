package server_test

import (
	"bytes"
	"encoding/binary"
	"encoding/json"
	"fmt"
	"net/http"
	"strings"
	"testing"

	"porchlight/kv"
	"porchlight/kv/kvtest"
	"porchlight/server"
)

// TestClipAndSongsInTheRoom: the owner asks for a clip, and teaches the board a song that
// was sent as a file; settings that its camera does not know are refused.
func TestClipAndSongsInTheRoom(t *testing.T) {
	s := boardHouse(t)
	owner := s.User("owner")
	kvtest.Update(t, s.DB, func(tx *kv.WriteTx) error { return s.MakeOwner(tx, owner.ID) })
	var in struct {
		Rooms []string `json:"joined_rooms"`
	}
	owner.Must("GET", "v3/joined_rooms", "", &in)
	n := 0
	say := func(content, until string) (all string) {
		t.Helper()
		n++
		owner.Must("PUT", fmt.Sprintf("v3/rooms/%s/send/m.room.message/%d", in.Rooms[0], n), content, nil)
		return strings.Join(timeline(t, s, owner.Token, until), "\n")
	}
	text := func(body string) string { return fmt.Sprintf(`{"msgtype":"m.text","body":%q}`, body) }

	say(text("clip 1s"), "A clip from ")
	r := s.Ask(t.Context(), owner.Token, "GET", "/_matrix/client/v3/rooms/"+in.Rooms[0]+"/messages?dir=b&limit=1", http.NoBody)
	var page struct {
		Chunk []struct {
			Content struct {
				Type string `json:"msgtype"`
				URL  string
				Info struct {
					Type      string `json:"mimetype"`
					W, H      int
					Duration  int
					Thumbnail string `json:"thumbnail_url"`
				}
			}
		}
	}
	if err := json.Unmarshal(r.Body, &page); err != nil || len(page.Chunk) != 1 {
		t.Fatal(err, string(r.Body))
	}
	clip := page.Chunk[0].Content
	if clip.Type != "m.video" || clip.Info.Type != "video/webm" || clip.Info.W != 640 || clip.Info.H != 480 || clip.Info.Duration < 900 {
		t.Errorf("the clip is %+v", clip)
	}
	download := func(uri string) int {
		r := s.Ask(t.Context(), owner.Token, "GET", "/_matrix/client/v1/media/download/"+strings.TrimPrefix(uri, "mxc://"), http.NoBody)
		return r.Status
	}
	if download(clip.URL) != http.StatusOK || download(clip.Info.Thumbnail) != http.StatusOK {
		t.Error("the clip or its thumbnail cannot be had")
	}

	upload := func(data []byte) (uri string) {
		t.Helper()
		r := s.Ask(t.Context(), owner.Token, "POST", "/_matrix/media/v3/upload?filename=a.wav", bytes.NewReader(data))
		var up struct {
			URI string `json:"content_uri"`
		}
		if err := json.Unmarshal(r.Body, &up); err != nil || up.URI == "" {
			t.Fatal(err, string(r.Body))
		}
		return up.URI
	}
	say(fmt.Sprintf(`{"msgtype":"m.audio","body":"a.wav","url":%q}`, upload([]byte("ID3 is what MP3 begins with"))), "lullaby add")
	say(text("lullaby add loud"), "I did not take it: this cannot be played: it is MP3")
	say(fmt.Sprintf(`{"msgtype":"m.file","body":"a.wav","url":%q}`, upload(tinyWAV())), "lullaby add")
	say(text("lullaby add moon"), `I know "moon" now.`)
	say(text("lullaby moon"), `I could not play "moon": there is no loudspeaker.`)

	for _, tt := range []struct{ setting, value, want string }{
		{"night_camera", "gain=8", "there is no camera that has controls"},
		{"night_camera", "gain", "looks like brightness=10"},
		{"night_hours", "20:00-06:00", ""},
	} {
		_, err := s.Do(t.Context(), server.Order{Do: "board set", Setting: tt.setting, Value: tt.value})
		if tt.want == "" && err != nil || tt.want != "" && (err == nil || !strings.Contains(err.Error(), tt.want)) {
			t.Errorf("%s=%s: %v", tt.setting, tt.value, err)
		}
	}
}

// tinyWAV is a tenth of a second of a saw tooth.
func tinyWAV() []byte {
	var pcm []byte
	for i := range 800 {
		pcm = binary.LittleEndian.AppendUint16(pcm, uint16(i*500))
	}
	head := []byte("RIFF\x00\x00\x00\x00WAVEfmt \x10\x00\x00\x00\x01\x00\x01\x00\x40\x1f\x00\x00\x80\x3e\x00\x00\x02\x00\x10\x00data")
	binary.LittleEndian.PutUint32(head[4:], uint32(36+len(pcm)))
	return append(binary.LittleEndian.AppendUint32(head, uint32(len(pcm))), pcm...)
}
