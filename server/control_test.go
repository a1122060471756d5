package server_test

import (
	"bytes"
	"context"
	"errors"
	"io"
	"log/slog"
	"strings"
	"testing"

	"porchlight/kv"
	"porchlight/server"
)

// quiet is a house without a board that can be opened at a folder.
func quiet(folder string) server.Config {
	return server.Config{
		Data: folder, ServerName: "house.test", Listen: []string{"127.0.0.1:0"},
		Board: server.BoardConfig{Camera: "test", Microphone: "test", Loudspeaker: "meter", Loopback: true},
		Log:   slog.New(slog.NewTextHandler(io.Discard, nil)),
	}
}

// running starts the house and returns how to stop it.
func running(t *testing.T, c server.Config) (*server.Server, func()) {
	t.Helper()
	s, err := server.New(t.Context(), c)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	ran := make(chan error, 1)
	go func() { ran <- s.Run(ctx) }()
	select {
	case <-s.Ready():
	case err := <-ran:
		t.Fatal(err)
	}
	return s, func() {
		t.Helper()
		cancel()
		if err := errors.Join(<-ran, s.Close()); err != nil {
			t.Error(err)
		}
	}
}

// TestOrdersReachTheHouseRunningOrNot gives the same orders over the socket and to the
// folder.
func TestOrdersReachTheHouseRunningOrNot(t *testing.T) {
	for _, run := range []bool{true, false} {
		c := quiet(t.TempDir())
		c.Registration = server.RegistrationToken
		stop := func() {}
		if run {
			_, stop = running(t, c)
		} else if _, err := server.Prepare(t.Context(), c, server.Order{Do: "identity"}); err != nil {
			t.Fatal(err)
		}
		steps := []struct {
			order server.Order
			want  string // in the lines or the error
		}{
			{server.Order{Do: "user add", User: "alice", Password: "long enough", Owner: true}, "made @alice:house.test"},
			{server.Order{Do: "user add", User: "alice", Password: "long enough"}, "taken"},
			{server.Order{Do: "user add", User: "eve", Password: "long enough", Owner: true}, "owner already"},
			{server.Order{Do: "user add", User: "bob"}, "password: "},
			{server.Order{Do: "user add", User: "B@d", Password: "long enough"}, "letters a to z"},
			{server.Order{Do: "user passwd", User: "bob", Password: "short"}, "password needs"},
			{server.Order{Do: "user passwd", User: "bob", Password: "long enough"}, "another one now"},
			{server.Order{Do: "user passwd", User: "porch", Password: "long enough"}, "no password"},
			{server.Order{Do: "user list"}, "@alice:house.test admin owner|@bob:house.test|@porch:house.test board"},
			{server.Order{Do: "user lock", User: "bob"}, "@bob:house.test is locked"},
			{server.Order{Do: "user suspend", User: "bob"}, "@bob:house.test is suspended"},
			{server.Order{Do: "user admin", User: "bob", Admin: true}, "@bob:house.test is an administrator"},
			{server.Order{Do: "user list"}, "@bob:house.test admin locked suspended"},
			{server.Order{Do: "user unlock", User: "bob"}, "@bob:house.test is no longer locked"},
			{server.Order{Do: "user unsuspend", User: "bob"}, "@bob:house.test is no longer suspended"},
			{server.Order{Do: "user admin", User: "bob"}, "@bob:house.test is no administrator"},
			{server.Order{Do: "user lock", User: "alice"}, "owns the house"},
			{server.Order{Do: "user suspend", User: "nobody"}, "no account"},
			{server.Order{Do: "user deactivate", User: "bob"}, "closed @bob:house.test"},
			{server.Order{Do: "user deactivate", User: "nobody"}, "no account"},
			{server.Order{Do: "token add", Token: "friends", Uses: 2}, "friends"},
			{server.Order{Do: "token list"}, "friends  0 of 2 uses, for ever"},
			{server.Order{Do: "token remove", Token: "friends"}, "removed friends"},
			{server.Order{Do: "token remove", Token: "friends"}, "no such"},
			{server.Order{Do: "identity"}, "server name: house.test|owner: @alice:house.test"},
			{server.Order{Do: "check", Repair: true}, "everything is in order|removed 0 contents that no upload refers to"},
			{server.Order{Do: "nonsense"}, "no order"},
		}
		for _, step := range steps {
			lines, err := server.Ask(t.Context(), c, step.order)
			got := strings.Join(lines, "|")
			if err != nil {
				got += err.Error()
			}
			if !strings.Contains(got, step.want) {
				t.Errorf("running %v, %q: got %q, want %q", run, step.order.Do, got, step.want)
			}
		}
		stop()
	}
}

func TestBackupAndRestore(t *testing.T) {
	c := quiet(t.TempDir())
	_, stop := running(t, c)
	if _, err := server.Ask(t.Context(), c, server.Order{Do: "user add", User: "alice", Password: "long enough", Owner: true}); err != nil {
		t.Fatal(err)
	}
	var live, still bytes.Buffer
	if err := server.AskBackup(t.Context(), c, &live); err != nil {
		t.Fatal(err)
	}
	stop()
	if err := server.AskBackup(t.Context(), c, &still); err != nil {
		t.Fatal(err)
	}
	for _, backup := range []*bytes.Buffer{&live, &still} {
		into := quiet(t.TempDir())
		if err := server.Restore(into.Data, bytes.NewReader(backup.Bytes())); err != nil {
			t.Fatal(err)
		}
		into.ServerName = "" // it is in the backup
		lines, err := server.Ask(t.Context(), into, server.Order{Do: "user list"})
		if err != nil || len(lines) != 2 {
			t.Errorf("restored: %q, %v", lines, err)
		}
		if lines, err := server.Ask(t.Context(), into, server.Order{Do: "check"}); err != nil {
			t.Errorf("restored: %q, %v", lines, err)
		}
		if err := server.Restore(into.Data, bytes.NewReader(backup.Bytes())); err == nil {
			t.Error("a house was written over")
		}
		if _, _, err := server.Compact(into.Data); err != nil {
			t.Error(err)
		}
		if lines, err := server.Ask(t.Context(), into, server.Order{Do: "check"}); err != nil {
			t.Errorf("compacted: %q, %v", lines, err)
		}
	}
	if err := server.Restore(t.TempDir(), strings.NewReader("no archive")); err == nil {
		t.Error("nonsense was restored")
	}
}

func TestTwoHousesDoNotShareAFolder(t *testing.T) {
	c := quiet(t.TempDir())
	_, stop := running(t, c)
	defer stop()
	if _, err := server.New(t.Context(), c); !errors.Is(err, kv.ErrInUse) {
		t.Errorf("got %v", err)
	}
}

// TestAHouseWithoutANameIsCalledLikeItsMachine is how the README's first command starts.
func TestAHouseWithoutANameIsCalledLikeItsMachine(t *testing.T) {
	c := quiet(t.TempDir())
	c.ServerName = ""
	var names []string
	for range 2 { // the second start finds the name of the first
		s, stop := running(t, c)
		names = append(names, string(s.Setup.ServerName()))
		stop()
	}
	if names[0] != names[1] || !strings.HasSuffix(names[0], ".local") {
		t.Errorf("the house is called %q", names)
	}
}
