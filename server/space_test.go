package server

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"porchlight/server/matrix"
)

// testSpace is a disk of which the test says how much is free.
func testSpace(free *atomic.Int64, told *[]string, text *strings.Builder) *space {
	return &space{
		reserve: 1000, now: time.Now, log: slog.New(slog.NewTextHandler(text, nil)), nudge: make(chan struct{}, 1),
		free:  func() (int64, error) { return free.Load(), nil },
		owner: func() string { return "matrix:u/owner:h" },
		tell: func(_ context.Context, full bool, left int64) error {
			if free.Load() == 0 {
				return fmt.Errorf("commit: %w", syscall.ENOSPC)
			}
			*told = append(*told, fmt.Sprint(full, left))
			return nil
		},
	}
}

func TestSpaceAtBelowAndAbove(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var free atomic.Int64
		s := testSpace(&free, nil, &strings.Builder{})
		for _, step := range []struct {
			free int64
			full bool
		}{{1001, false}, {1000, false}, {999, true}, {1000, true}, {1249, true}, {1250, false}, {1000, false}, {0, true}, {5000, false}} {
			free.Store(step.free)
			time.Sleep(spaceEvery)
			if err := s.Refuse("sendMessage", "m.room.message", false); (err != nil) != step.full {
				t.Errorf("%d bytes are free: %v", step.free, err)
			} else if err != nil && (!matrix.IsCode(err, "M_RESOURCE_LIMIT_EXCEEDED") || !strings.Contains(fmt.Sprint(err.(*matrix.Error).Extra), "matrix:u/owner:h")) {
				t.Errorf("the refusal is %v", err)
			}
		}
		s.reserve = -1
		free.Store(0)
		time.Sleep(spaceEvery)
		if err := s.Refuse("sendMessage", "m.room.message", false); err != nil {
			t.Errorf("without a reserve: %v", err)
		}
	})
}

func TestWhoWritesOnAFullDisk(t *testing.T) {
	var free atomic.Int64
	s := testSpace(&free, nil, &strings.Builder{})
	for _, tt := range []struct {
		op, eventType string
		owner, may    bool
	}{
		{"sendMessage", "m.room.message", false, false},
		{"sendMessage", "m.room.message", true, true},
		{"sendMessage", "m.call.answer", false, true},
		{"setRoomStateWithKey", "m.call.x", false, false},
		{"createRoom", "", false, false},
		{"setAccountData", "", false, false},
		{"redactEvent", "", false, true},
		{"leaveRoom", "", false, true},
		{"logout", "", false, true},
	} {
		if err := s.Refuse(tt.op, tt.eventType, tt.owner); (err == nil) != tt.may {
			t.Errorf("%+v: %v", tt, err)
		}
	}
}

// TestSpaceIsToldOnce lets many writes fail, and counts what the log and the owner hear.
func TestSpaceIsToldOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var text strings.Builder
		var told []string
		var free atomic.Int64
		free.Store(5000)
		s := testSpace(&free, &told, &text)
		ctx, stop := context.WithCancel(context.Background())
		ran := make(chan error, 1)
		go func() { ran <- s.run(ctx) }()
		synctest.Wait()
		free.Store(0)
		for _, cause := range []error{syscall.ENOSPC, syscall.EDQUOT, errors.New("file resize error: " + syscall.ENOSPC.Error())} {
			for range 500 {
				if e := s.Failed(fmt.Errorf("commit: %w", cause)); e == nil || e.Code != "M_RESOURCE_LIMIT_EXCEEDED" {
					t.Fatalf("%v is told as %v", cause, e)
				}
			}
			time.Sleep(time.Minute)
			synctest.Wait()
		}
		if n := strings.Count(text.String(), "level=ERROR"); n != 1 || len(told) != 0 {
			t.Errorf("%d errors; %v\n%s", n, told, &text)
		}
		free.Store(500) // the notice finds room
		time.Sleep(time.Minute)
		free.Store(5000)
		time.Sleep(time.Minute)
		synctest.Wait()
		if fmt.Sprint(told) != "[true 500 false 5000]" || strings.Count(text.String(), "\n") != 2 {
			t.Errorf("the owner heard %v, the log\n%s", told, &text)
		}
		stop()
		if err := <-ran; err != nil {
			t.Error(err)
		}
	})
}

func TestOtherFailuresAreNotOfTheDisk(t *testing.T) {
	var free atomic.Int64
	free.Store(5000)
	s := testSpace(&free, nil, &strings.Builder{})
	for _, err := range []error{errors.New("a wire is loose"), syscall.EIO, syscall.EROFS} {
		if e := s.Failed(err); e != nil || s.full {
			t.Errorf("%v is told as %v", err, e)
		}
	}
}
