package server_test

import (
	"archive/tar"
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"porchlight/server"
	"porchlight/server/matrix"
	"porchlight/server/servertest"
)

// member is a file in a backup.
type member struct {
	name string
	body []byte
}

// madeBackup is a backup of a server with media in two files.
func madeBackup(t *testing.T) []byte {
	t.Helper()
	s := servertest.New(t, func(c *server.Config) { c.Media = server.MediaConfig{VolumeBytes: 4 << 20, MinFree: -1} })
	alice := s.User("alice")
	alice.Must("POST", "/_matrix/client/v3/createRoom", `{}`, nil)
	for i := range 6 {
		body := bytes.NewReader(bytes.Repeat([]byte{byte(i)}, 900_000))
		if _, err := s.Media.Upload(t.Context(), matrix.NewUserID("alice", servertest.Name), "text/plain", "a", body); err != nil {
			t.Fatal(err)
		}
	}
	var archive bytes.Buffer
	if err := s.Backup(t.Context(), &archive); err != nil {
		t.Fatal(err)
	}
	return archive.Bytes()
}

// parts are the members of a backup, and where each begins.
func parts(t *testing.T, archive []byte) (all []member, begins []int64) {
	t.Helper()
	in := bytes.NewReader(archive)
	r := tar.NewReader(in)
	for at := int64(0); ; {
		h, err := r.Next()
		if errors.Is(err, io.EOF) {
			return all, begins
		}
		if err != nil {
			t.Fatal(err)
		}
		body, err := io.ReadAll(r)
		if err != nil {
			t.Fatal(err)
		}
		all, begins = append(all, member{h.Name, body}), append(begins, at)
		at += 512 + (h.Size+511)/512*512
	}
}

// packed is an archive of members, with its end or without.
func packed(t *testing.T, end bool, all ...member) []byte {
	t.Helper()
	var out bytes.Buffer
	w := tar.NewWriter(&out)
	for _, m := range all {
		h := &tar.Header{Name: m.name, Mode: 0o600, Size: int64(len(m.body))}
		if strings.HasSuffix(m.name, "@") {
			h = &tar.Header{Name: "media/00000009.db", Typeflag: tar.TypeSymlink, Linkname: "/etc/passwd"}
		}
		if err := w.WriteHeader(h); err != nil {
			t.Fatal(err)
		}
		if _, err := w.Write(m.body); err != nil {
			t.Fatal(err)
		}
	}
	finish := w.Flush
	if end {
		finish = w.Close
	}
	if err := finish(); err != nil {
		t.Fatal(err)
	}
	return out.Bytes()
}

// manifestOf names members as a backup's manifest does.
func manifestOf(t *testing.T, format int, all []member) member {
	t.Helper()
	files := []map[string]any{}
	for _, m := range all {
		sum := sha256.Sum256(m.body)
		files = append(files, map[string]any{"name": m.name, "bytes": len(m.body), "sha256": hex.EncodeToString(sum[:])})
	}
	raw, err := json.Marshal(map[string]any{"format": format, "files": files})
	if err != nil {
		t.Fatal(err)
	}
	return member{"porchlight.manifest", raw}
}

// TestRestoreIsWholeOrNothing: whatever is wrong with a backup, nothing is left of it, and a
// good one can be restored afterwards.
func TestRestoreIsWholeOrNothing(t *testing.T) {
	good := madeBackup(t)
	all, begins := parts(t, good)
	files := all[:len(all)-1] // without the manifest
	if len(files) < 3 || files[0].name != "porchlight.db" || all[len(all)-1].name != "porchlight.manifest" {
		t.Fatalf("the backup has %d members", len(all))
	}
	earlier := packed(t, true, files...)
	bad := map[string][]byte{
		"nothing":                               nil,
		"no archive":                            []byte("no archive"),
		"an empty archive":                      packed(t, true),
		"no database":                           packed(t, true, files[1:]...),
		"no database, with a manifest":          packed(t, true, append(files[1:len(files):len(files)], manifestOf(t, 1, files[1:]))...),
		"a missing file":                        packed(t, true, append(files[:len(files)-1:len(files)-1], manifestOf(t, 1, files))...),
		"a file too many":                       packed(t, true, append(files[:len(files):len(files)], manifestOf(t, 1, files[:len(files)-1]))...),
		"a file behind the manifest":            packed(t, true, files[0], manifestOf(t, 1, files[:1]), files[1]),
		"a later format":                        packed(t, true, append(files[:len(files):len(files)], manifestOf(t, 2, files))...),
		"a manifest that is none":               packed(t, true, append(files[:len(files):len(files)], member{"porchlight.manifest", []byte("{")})...),
		"an earlier backup without a volume":    packed(t, true, files[:2]...),
		"an earlier backup without its end":     packed(t, false, files...),
		"a file that leads out":                 packed(t, true, append(files[:len(files):len(files)], member{"../out", nil})...),
		"an absolute name":                      packed(t, true, append(files[:len(files):len(files)], member{"/tmp/out", nil})...),
		"a file of another kind":                packed(t, true, append(files[:len(files):len(files)], member{"control.sock", nil})...),
		"a link":                                packed(t, true, append(files[:len(files):len(files)], member{"@", nil})...),
		"the same file twice":                   packed(t, true, append(files[:len(files):len(files)], files[1])...),
		"a database that is none":               packed(t, true, member{"porchlight.db", bytes.Repeat([]byte("x"), 8192)}),
		"an earlier backup, half its end there": earlier[:len(earlier)-700],
	}
	for i, at := range begins[1:] {
		bad[fmt.Sprintf("cut before member %d", i+1)] = good[:at]
		bad[fmt.Sprintf("cut in the head of member %d", i+1)] = good[:at+100]
		bad[fmt.Sprintf("earlier, cut before member %d", i+1)] = earlier[:min(at, int64(len(earlier))-1024)]
	}
	for i := range 40 {
		bad[fmt.Sprintf("cut at %d of 40", i)] = good[:int(begins[len(begins)-1])*i/40]
		bad[fmt.Sprintf("earlier, cut at %d of 40", i)] = earlier[:len(earlier)*i/40]
	}
	for i, at := range begins[:len(begins)-1] {
		damaged := bytes.Clone(good)
		damaged[at+512+int64(len(all[i].body))/2] ^= 4
		bad[fmt.Sprintf("a bit of member %d", i)] = damaged
	}
	for name, archive := range bad {
		data := filepath.Join(t.TempDir(), "data")
		err := server.Restore(data, bytes.NewReader(archive))
		if err == nil {
			t.Errorf("%s: restored", name)
			continue
		}
		if _, err := os.Stat(data); !os.IsNotExist(err) {
			t.Errorf("%s: something is left: %v", name, err)
		}
		if strings.Contains(err.Error(), "unexpected EOF") {
			t.Errorf("%s: %v", name, err)
		}
		if strings.HasPrefix(name, "cut before") {
			restores(t, data, good)
		}
	}
	restores(t, filepath.Join(t.TempDir(), "data"), earlier)
	t.Logf("%d bad archives", len(bad))
}

// restores restores a good backup and looks at what came of it.
func restores(t *testing.T, data string, archive []byte) {
	t.Helper()
	if err := server.Restore(data, bytes.NewReader(archive)); err != nil {
		t.Fatal(err)
	}
	entries, err := os.ReadDir(data)
	if err != nil || len(entries) != 2 {
		t.Errorf("restored %v, %v", entries, err)
	}
	c := quiet(data)
	c.ServerName = ""
	for order, want := range map[string]string{"check": "everything is in order", "user list": "@alice:" + servertest.Name} {
		lines, err := server.Ask(t.Context(), c, server.Order{Do: order})
		if err != nil || !strings.Contains(strings.Join(lines, "\n"), want) {
			t.Errorf("%s: %q, %v", order, lines, err)
		}
	}
}

// failing is a backup whose reading or writing fails in the middle.
type failing struct {
	io.Reader
	err error
}

func (f failing) Read(p []byte) (int, error) {
	n, err := f.Reader.Read(p)
	if errors.Is(err, io.EOF) {
		err = f.err
	}
	return n, err
}

func TestRestoreOnAFullDisk(t *testing.T) {
	good := madeBackup(t)
	data := t.TempDir()
	err := server.Restore(data, failing{bytes.NewReader(good[:len(good)/2]), &os.PathError{Op: "write", Path: "x", Err: syscall.ENOSPC}})
	if err == nil || !strings.Contains(err.Error(), "not enough space in "+data) {
		t.Errorf("the error is %v", err)
	}
	if left, err := os.ReadDir(data); err != nil || len(left) != 0 {
		t.Errorf("%v is left, %v", left, err)
	}
	restores(t, data, good)
}

// TestKilledRestore: what a killed restore leaves is no server, and no obstacle.
func TestKilledRestore(t *testing.T) {
	good := madeBackup(t)
	all, _ := parts(t, good)
	for name, files := range map[string]map[string][]byte{
		"at the beginning": {".restore/porchlight.db": []byte("half")},
		"in the media":     {".restore/porchlight.db": all[0].body, ".restore/media/00000001.db": []byte("half")},
		"while moving":     {".restore/porchlight.db": all[0].body, ".restore/moving": nil, "media/00000001.db": all[1].body, "media/00000007.db": all[1].body},
	} {
		t.Run(name, func(t *testing.T) {
			data := t.TempDir()
			write(t, data, files)
			if _, err := server.New(t.Context(), quiet(data)); err == nil || !strings.Contains(err.Error(), "was not finished") {
				t.Errorf("a server began there: %v", err)
			}
			if _, err := os.Stat(filepath.Join(data, "porchlight.db")); err == nil {
				t.Error("there is a database")
			}
			restores(t, data, good)
		})
	}
	t.Run("another server's media", func(t *testing.T) {
		data := t.TempDir()
		write(t, data, map[string][]byte{"media/00000001.db": []byte("precious")})
		if err := server.Restore(data, bytes.NewReader(good)); err == nil || !strings.Contains(err.Error(), "move that folder away") {
			t.Errorf("the error is %v", err)
		}
		if left, err := os.ReadFile(filepath.Join(data, "media/00000001.db")); string(left) != "precious" {
			t.Errorf("the media are %q, %v", left, err)
		}
	})
}

// TestLeftoversAreRemoved: what killed commands leave is gone after the next start.
func TestLeftoversAreRemoved(t *testing.T) {
	data := t.TempDir()
	restores(t, data, madeBackup(t))
	write(t, data, map[string][]byte{
		".backup-123": []byte("x"), ".backup-9": nil, "porchlight.db.compact": []byte("x"), "porchlight.db.new": []byte("x"),
		".restore/moving": nil, ".restore/media/00000001.db": []byte("x"), "notes.txt": []byte("the owner's"),
	})
	c := quiet(data)
	c.ServerName = ""
	if lines, err := server.Ask(t.Context(), c, server.Order{Do: "check"}); err != nil {
		t.Errorf("check: %q, %v", lines, err)
	}
	var names []string
	entries, err := os.ReadDir(data)
	for _, e := range entries {
		names = append(names, e.Name())
	}
	if got := strings.Join(names, " "); err != nil || got != "media notes.txt porchlight.db" {
		t.Errorf("%s is there, %v", got, err)
	}
}

// TestCompactSaysOneThing: an error is one sentence, and nothing is left.
func TestCompactSaysOneThing(t *testing.T) {
	c := quiet(t.TempDir())
	_, stop := running(t, c)
	_, _, err := server.Compact(c.Data)
	if err == nil || strings.Contains(err.Error(), "\n") || strings.Contains(err.Error(), "no such file") {
		t.Errorf("while the server runs: %v", err)
	}
	stop()
	if _, _, err := server.Compact(c.Data); err != nil {
		t.Error(err)
	}
	_, _, err = server.Compact(t.TempDir())
	if err == nil || strings.Count(err.Error(), "porchlight.db") != 1 {
		t.Errorf("without a server: %v", err)
	}
}

func write(t *testing.T, folder string, files map[string][]byte) {
	t.Helper()
	for name, body := range files {
		path := filepath.Join(folder, name)
		if err := errors.Join(os.MkdirAll(filepath.Dir(path), 0o700), os.WriteFile(path, body, 0o600)); err != nil {
			t.Fatal(err)
		}
	}
}
