package server_test

import (
	"errors"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"porchlight/server"
)

// TestSalvage: whatever page of the database is lost, what is left is saved into a new
// folder, from which a server starts, and what is missing is named.
func TestSalvage(t *testing.T) {
	folder := t.TempDir()
	func() {
		c := quiet(folder)
		c.Board.Off = true
		s, stop := running(t, c)
		defer stop()
		if _, err := server.Ask(t.Context(), c, server.Order{Do: "user add", User: "owner", Password: "long enough", Owner: true}); err != nil {
			t.Fatal(err)
		}
		for i := range 4 {
			if _, err := s.Media.Upload(t.Context(), "@owner:house.test", "text/plain", "a.txt", strings.NewReader(strings.Repeat("content", 10+i))); err != nil {
				t.Fatal(err)
			}
		}
	}()
	name := filepath.Join(folder, "porchlight.db")
	data, err := os.ReadFile(name)
	if err != nil {
		t.Fatal(err)
	}
	saved := 0
	random := rand.New(rand.NewPCG(1, 6))
	for range 8 {
		page := 2 + random.IntN(len(data)/4096-2)
		damaged := append([]byte{}, data...)
		clear(damaged[page*4096 : (page+1)*4096])
		if err := os.WriteFile(name, damaged, 0o600); err != nil {
			t.Fatal(err)
		}
		into := filepath.Join(t.TempDir(), "saved")
		lines, err := server.Salvage(t.Context(), folder, into)
		if err != nil {
			if _, statErr := os.Stat(into); !errors.Is(statErr, os.ErrNotExist) {
				t.Errorf("page %d: half a server was left behind", page)
			}
			continue
		}
		saved++
		c := quiet(into)
		c.Board.Off = true
		s, stop := running(t, c)
		if problems, err := s.DB.Check(t.Context()); err != nil || len(problems) > 0 && !strings.Contains(strings.Join(lines, "\n"), problems[0]) {
			t.Errorf("page %d: %q, %v; salvage said %q", page, problems, err, lines)
		}
		stop()
	}
	if saved == 0 {
		t.Error("nothing was ever saved")
	}
	t.Logf("saved %d of 8", saved)
	if _, err := server.Salvage(t.Context(), folder, folder); err == nil {
		t.Error("a server was salvaged into itself")
	}
	if _, err := server.Salvage(t.Context(), t.TempDir(), filepath.Join(t.TempDir(), "x")); err == nil {
		t.Error("an empty folder was salvaged")
	}
}
