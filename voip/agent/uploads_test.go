package agent

import (
	"fmt"
	"io"
	"log/slog"
	"slices"
	"testing"
	"time"

	"porchlight/kv/kvtest"
)

// TestOldPicturesGo: those that are too old, and the oldest of those that are too much.
func TestOldPicturesGo(t *testing.T) {
	now := time.Date(2026, 5, 1, 12, 0, 0, 0, time.UTC)
	for _, tt := range []struct {
		name        string
		time, space string
		want        []string
	}{
		{"by their age", "48h", "0", []string{"mxc://h/4", "mxc://h/gone"}},
		{"by their size", "0s", "2", []string{"mxc://h/2", "mxc://h/3", "mxc://h/4", "mxc://h/gone"}},
		{"by both", "36h", "4", []string{"mxc://h/3", "mxc://h/4", "mxc://h/gone"}},
		{"never", "0s", "0", nil},
	} {
		t.Run(tt.name, func(t *testing.T) {
			h, s := newHouse(), NewStore(kvtest.Open(t), DefaultSettings(0), nil)
			a := New(Config{House: h, Bridge: &media{}, Self: porch, Settings: s, Log: slog.New(slog.NewTextHandler(io.Discard, nil)), Now: func() time.Time { return now }})
			for i := range 5 { // of 1 MiB, a day and a bit old each
				uri := fmt.Sprintf("mxc://h/%d", i)
				if err := s.addUpload(t.Context(), uploadKey{uint64(now.Add(-time.Duration(i) * 13 * time.Hour).UnixMilli()), uri}, 1<<20); err != nil {
					t.Fatal(err)
				}
			}
			if err := s.addUpload(t.Context(), uploadKey{1, "mxc://h/gone"}, 1); err != nil {
				t.Fatal(err)
			}
			for name, value := range map[string]string{"keep_time": tt.time, "keep_space": tt.space} {
				if err := s.Set(t.Context(), name, value, ""); err != nil {
					t.Fatal(err)
				}
			}
			for range 2 { // the second time there is nothing left to do
				if err := a.sweepOnce(t.Context()); err != nil {
					t.Fatal(err)
				}
			}
			if !slices.Equal(h.deleted, tt.want) {
				t.Errorf("deleted %q, want %q", h.deleted, tt.want)
			}
		})
	}
}
