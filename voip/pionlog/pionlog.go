// Package pionlog hands the log of pion's libraries to log/slog.
//
// They warn of single packets, candidates and clients, and anybody in the network can send
// some. So nothing of it is above Debug: it helps whoever looks for a fault, and cannot be
// made to fill a disk. What they tell of their own inner life is left out altogether.
package pionlog

import (
	"fmt"
	"log/slog"

	"github.com/pion/logging"
)

// New is a factory for the loggers that pion's parts ask for. Each line names its part as
// "pion".
func New(log *slog.Logger) logging.LoggerFactory { return factory{log} }

type factory struct{ log *slog.Logger }

// NewLogger implements logging.LoggerFactory.
func (f factory) NewLogger(scope string) logging.LeveledLogger {
	return scoped{f.log.With("pion", scope)}
}

type scoped struct{ log *slog.Logger }

func (scoped) Trace(string)          {}
func (scoped) Tracef(string, ...any) {}
func (scoped) Debug(string)          {}
func (scoped) Debugf(string, ...any) {}
func (scoped) Info(string)           {}
func (scoped) Infof(string, ...any)  {}

func (l scoped) Warn(msg string)                   { l.log.Debug(msg) }
func (l scoped) Warnf(format string, args ...any)  { l.log.Debug(fmt.Sprintf(format, args...)) }
func (l scoped) Error(msg string)                  { l.log.Debug(msg) }
func (l scoped) Errorf(format string, args ...any) { l.log.Debug(fmt.Sprintf(format, args...)) }
