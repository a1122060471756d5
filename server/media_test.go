package server_test

import (
	"bytes"
	"fmt"
	"io"
	"strings"
	"testing"

	"porchlight/kv"
	"porchlight/kv/kvtest"
	"porchlight/media"
	"porchlight/server"
	"porchlight/server/matrix"
)

// mediaHouse has files that are full after a few uploads.
func mediaHouse(folder string) server.Config {
	c := quiet(folder)
	c.Board.Off = true
	c.Media = server.MediaConfig{VolumeBytes: 4 << 20, MinFree: -1}
	return c
}

func content(n int) []byte { return bytes.Repeat([]byte(fmt.Sprintf("%08d", n)), 100_000) }

func TestOrdersAboutMedia(t *testing.T) {
	c := mediaHouse(t.TempDir())
	s, stop := running(t, c)
	var items []media.Item
	for i, user := range []string{"alice", "bob", "alice"} {
		if _, err := server.Ask(t.Context(), c, server.Order{Do: "user add", User: user, Password: "long enough", Owner: i == 0}); err != nil && i < 2 {
			t.Fatal(err)
		}
		item, err := s.Media.Upload(t.Context(), matrix.NewUserID(user, s.Setup.ServerName()), "text/plain", "a b.txt", bytes.NewReader(content(i%2)))
		if err != nil {
			t.Fatal(err)
		}
		items = append(items, item)
	}
	for _, step := range []struct {
		order server.Order
		want  string
	}{
		{server.Order{Do: "media list"}, `2400000 bytes in 3 uploads|0 bytes in 0 thumbnails, 0 bytes in 0 pictures of previews`},
		{server.Order{Do: "media list", User: "bob"}, `@bob:house.test  800000 bytes  text/plain  "a b.txt"|800000 bytes in 1 uploads`},
		{server.Order{Do: "media quarantine", Media: items[0].URI()}, "hidden from everybody, with all 2 uploads"},
		{server.Order{Do: "media list", User: "alice"}, "text/plain quarantined"},
		{server.Order{Do: "media quarantine", Media: items[2].URI(), Release: true}, "shown again"},
		{server.Order{Do: "media delete", Media: items[0].URI()}, "deleted mxc://house.test/"},
		{server.Order{Do: "media delete", Media: items[0].URI()}, "no such media"},
		{server.Order{Do: "media quarantine", Media: "mxc://house.test/../x"}, "no such media"},
		{server.Order{Do: "media quarantine", Media: "https://house.test/x"}, "no content URI"},
		{server.Order{Do: "media delete", Media: "mxc://house.test"}, "no content URI"},
		{server.Order{Do: "check", Repair: true}, "everything is in order"},
	} {
		lines, err := server.Ask(t.Context(), c, step.order)
		got := strings.Join(lines, "|")
		if err != nil {
			got += err.Error()
		}
		if !strings.Contains(got, step.want) {
			t.Errorf("%+v: got %q, want %q", step.order, got, step.want)
		}
	}
	stop()
}

// TestABackupOfMedia deletes and uploads while a backup is written.
func TestABackupOfMedia(t *testing.T) {
	c := mediaHouse(t.TempDir())
	s, stop := running(t, c)
	upload := func(n int) media.Item {
		t.Helper()
		item, err := s.Media.Upload(t.Context(), "@alice:house.test", "", "", bytes.NewReader(content(n)))
		if err != nil {
			t.Fatal(err)
		}
		return item
	}
	var items []media.Item
	for i := range 12 {
		items = append(items, upload(i))
	}
	var archive bytes.Buffer
	busy := writerFunc(func(p []byte) (int, error) {
		if len(items) > 0 {
			if err := s.Media.Delete(t.Context(), items[0].Server, items[0].ID); err != nil {
				t.Error(err)
			}
			items = items[1:]
			upload(100 + len(items))
		}
		return archive.Write(p)
	})
	if err := s.Backup(t.Context(), busy); err != nil {
		t.Fatal(err)
	}
	stop()

	into := mediaHouse(t.TempDir())
	if err := server.Restore(into.Data, &archive); err != nil {
		t.Fatal(err)
	}
	if lines, err := server.Ask(t.Context(), into, server.Order{Do: "check"}); err != nil {
		t.Errorf("restored: %q, %v", lines, err)
	}
	restored, stop := running(t, into)
	defer stop()
	var all []media.Item
	kvtest.View(t, restored.DB, func(tx *kv.ReadTx) {
		for item := range restored.Media.Items(tx) {
			found, err := restored.Media.Item(tx, item.Server, item.ID)
			if err != nil {
				t.Error(err)
			}
			all = append(all, found)
		}
	})
	for _, item := range all {
		if n, err := io.Copy(io.Discard, restored.Media.Open(item)); n != item.Size || err != nil {
			t.Errorf("%s: %d bytes of %d: %v", item.URI(), n, item.Size, err)
		}
	}
	if len(all) != 12 {
		t.Errorf("%d uploads were restored", len(all))
	}
	if _, err := restored.Media.Repair(t.Context()); err != nil {
		t.Error(err)
	}
}

type writerFunc func(p []byte) (int, error)

func (f writerFunc) Write(p []byte) (int, error) { return f(p) }
