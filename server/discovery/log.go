package discovery

import (
	"fmt"
	"log/slog"

	"github.com/pion/logging"
)

// pionLog hands the log of the mDNS library to ours. It warns of the packets of others, and
// anybody can send some, so nothing is above Debug.
type pionLog struct{ log *slog.Logger }

// NewLogger implements logging.LoggerFactory.
func (p pionLog) NewLogger(scope string) logging.LeveledLogger {
	return scopedLog{p.log.With("pion", scope)}
}

type scopedLog struct{ log *slog.Logger }

func (scopedLog) Trace(string)          {}
func (scopedLog) Tracef(string, ...any) {}
func (scopedLog) Debug(string)          {}
func (scopedLog) Debugf(string, ...any) {}
func (scopedLog) Info(string)           {}
func (scopedLog) Infof(string, ...any)  {}

func (l scopedLog) Warn(msg string)                   { l.log.Debug(msg) }
func (l scopedLog) Warnf(format string, args ...any)  { l.log.Debug(fmt.Sprintf(format, args...)) }
func (l scopedLog) Error(msg string)                  { l.log.Debug(msg) }
func (l scopedLog) Errorf(format string, args ...any) { l.log.Debug(fmt.Sprintf(format, args...)) }
