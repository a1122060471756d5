//go:build !linux

package device

import (
	"context"
	"log/slog"
)

// Cameras and sound cards are found on Linux only.

func openCapture(string, *slog.Logger) (soundInput, error) { return nil, ErrUnsupported }

func openPlayback(context.Context, func() string, *slog.Logger, func([]int16), func(context.Context, func(context.Context)) error) (player, error) {
	return nil, ErrUnsupported
}

func (b *Board) lookForCamera() {}

func (b *Board) findV4L2(path string) (bool, error) {
	if path == Auto {
		return false, nil
	}
	return false, ErrUnsupported
}
