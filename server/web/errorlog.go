package web

import (
	"context"
	"log"
	"log/slog"
	"strings"
)

// ErrorLog is for http.Server. What the package says of clients' mistakes goes to the log at
// debug level; a handler that panicked is the server's own fault and an error.
func ErrorLog(l *slog.Logger) *log.Logger { return log.New(errorLog{l}, "", 0) }

type errorLog struct{ log *slog.Logger }

func (e errorLog) Write(line []byte) (int, error) {
	level := slog.LevelDebug
	text := strings.TrimSuffix(string(line), "\n")
	if strings.HasPrefix(text, "http: panic serving") || strings.HasPrefix(text, "http2: panic serving") {
		level = slog.LevelError
	}
	e.log.Log(context.Background(), level, text)
	return len(line), nil
}
