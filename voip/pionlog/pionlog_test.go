package pionlog_test

import (
	"log/slog"
	"strings"
	"testing"

	"porchlight/voip/pionlog"
)

// What others can make pion complain of stays below Info, whatever pion calls it.
func TestNothingAboveDebug(t *testing.T) {
	for level, want := range map[slog.Level]int{slog.LevelDebug: 4, slog.LevelInfo: 0} {
		var out strings.Builder
		log := slog.New(slog.NewTextHandler(&out, &slog.HandlerOptions{Level: level}))
		l := pionlog.New(log).NewLogger("ice")
		l.Trace("no")
		l.Tracef("no %d", 1)
		l.Debug("no")
		l.Debugf("no %d", 1)
		l.Info("no")
		l.Infof("no %d", 1)
		l.Warn("odd packet")
		l.Warnf("odd packet %d", 7)
		l.Error("odd packet")
		l.Errorf("odd packet %d", 7)
		if n := strings.Count(out.String(), "odd packet"); n != want || strings.Contains(out.String(), "no") {
			t.Errorf("at %s: %d lines, want %d:\n%s", level, n, want, out.String())
		}
		if want > 0 && !strings.Contains(out.String(), "pion=ice") {
			t.Errorf("the lines do not say which part speaks:\n%s", out.String())
		}
	}
}
