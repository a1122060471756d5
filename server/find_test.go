package server_test

import (
	"bytes"
	"errors"
	"os"
	"path/filepath"
	"slices"
	"testing"

	"porchlight/server"
)

// TestCommandsMakeNoServer gives every order, a backup and a compaction to folders that hold no server: each is refused
// by name, and the folder is left as it was.
func TestCommandsMakeNoServer(t *testing.T) {
	some, err := server.New(t.Context(), quiet(t.TempDir()))
	if err != nil {
		t.Fatal(err)
	}
	orders := some.Orders()
	if err := some.Close(); err != nil {
		t.Error(err)
	}
	for _, folder := range []string{"empty", "absent"} {
		t.Run(folder, func(t *testing.T) {
			parent := t.TempDir()
			c := quiet(filepath.Join(parent, folder))
			if folder == "empty" {
				if err := os.Mkdir(c.Data, 0o700); err != nil {
					t.Fatal(err)
				}
			}
			refused := func(what string, err error) {
				t.Helper()
				var none *server.NoServerError
				if !errors.As(err, &none) || none.Data != c.Data {
					t.Errorf("%s: %v, want a NoServerError", what, err)
				}
			}
			for _, order := range orders {
				_, err := server.Ask(t.Context(), c, server.Order{Do: order})
				refused(order, err)
			}
			var archive bytes.Buffer
			refused("backup", server.AskBackup(t.Context(), c, &archive))
			if archive.Len() > 0 {
				t.Errorf("a backup of nothing has %d bytes", archive.Len())
			}
			if files, err := os.ReadDir(c.Data); len(files) > 0 || folder == "absent" && !errors.Is(err, os.ErrNotExist) {
				t.Errorf("the folder was made or filled: %v, %v", files, err)
			}
		})
	}
}

// TestUnfoundedDatabase: a database without a name, as a start that was killed early leaves it, is no server yet; only
// the commands that found one may make it one.
func TestUnfoundedDatabase(t *testing.T) {
	c := quiet(t.TempDir())
	server.MakeUnfounded(t, c)
	var none *server.NoServerError
	if _, err := server.Ask(t.Context(), c, server.Order{Do: "check"}); !errors.As(err, &none) {
		t.Errorf("check: %v, want a NoServerError", err)
	}
	s, err := server.New(t.Context(), c)
	if err != nil {
		t.Fatalf("it cannot be founded any more: %v", err)
	}
	if err := s.Close(); err != nil {
		t.Error(err)
	}
}

// TestFindRunning starts two servers and finds both, by absolute folders and names, wherever the commands are called.
func TestFindRunning(t *testing.T) {
	found := func() (all []server.Running) {
		t.Helper()
		all, err := server.FindRunning(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		return all
	}
	t.Chdir(t.TempDir()) // a relative folder, as the README's
	first, second := quiet("one"), quiet(filepath.Join(t.TempDir(), "a folder with blanks"))
	second.ServerName = "second.test"
	_, stopFirst := running(t, first)
	_, stopSecond := running(t, second)
	here, err := os.Getwd()
	if err != nil {
		t.Fatal(err)
	}
	wanted := []server.Running{
		{Data: filepath.Join(here, "one"), Name: "house.test"}, {Data: second.Data, Name: "second.test"},
	}
	t.Chdir("/")
	all := found()
	for _, want := range wanted {
		if !slices.Contains(all, want) {
			t.Errorf("%v is not among %v", want, all)
		}
	}
	stopSecond()
	stopFirst()
	all = found()
	for _, gone := range wanted {
		if slices.Contains(all, gone) {
			t.Errorf("%v is still among %v", gone, all)
		}
	}
}

// TestTokenOfClosedRegistration: a token that nobody could use is not made.
func TestTokenOfClosedRegistration(t *testing.T) {
	c := quiet(t.TempDir())
	_, stop := running(t, c)
	defer stop()
	lines, err := server.Ask(t.Context(), c, server.Order{Do: "token add", Token: "useless"})
	if err == nil {
		t.Errorf("it was made: %q", lines)
	}
	if lines, err := server.Ask(t.Context(), c, server.Order{Do: "token list"}); err != nil || len(lines) > 0 {
		t.Errorf("tokens: %q, %v", lines, err)
	}
}
