package main

import (
	"errors"
	"strings"
	"syscall"

	"porchlight/kv"
	"porchlight/server/matrix"
)

// sentence is what a person is told of an error: without the standard's error codes, which are for programs, and with
// what can be done about the usual mistakes.
func sentence(err error) string {
	text := withoutCodes(err)
	if _, damaged := errors.AsType[*kv.DamagedError](err); damaged {
		return text + ". \"porchlight salvage\" copies what can still be read into a new folder"
	}
	switch {
	case errors.Is(err, kv.ErrInUse):
		return text + ". Porchlight is already running on this folder"
	case errors.Is(err, syscall.EADDRINUSE):
		return text + ". Another program listens there: stop it, or choose another address"
	case errors.Is(err, syscall.EACCES) && strings.Contains(text, "listen"):
		return text + ". Ports below 1024 take a right of their own: choose a higher port, or give the program CAP_NET_BIND_SERVICE"
	case errors.Is(err, syscall.EACCES):
		return text + ". Run the command as the user that the server runs as, or with sudo"
	}
	return text
}

// withoutCodes is the text of an error, each of the standard's errors in it reduced to its message.
func withoutCodes(err error) string {
	if joined, ok := err.(interface{ Unwrap() []error }); ok {
		var lines []string
		for _, one := range joined.Unwrap() {
			lines = append(lines, withoutCodes(one))
		}
		if whole := err.Error(); whole != errors.Join(joined.Unwrap()...).Error() {
			return strip(whole, joined.Unwrap()) // fmt.Errorf with several %w
		}
		return strings.Join(lines, "\n")
	}
	return strip(err.Error(), []error{err})
}

// strip replaces the standard's errors among some in a text by their messages.
func strip(text string, among []error) string {
	for _, err := range among {
		var refused *matrix.Error
		if errors.As(err, &refused) {
			text = strings.ReplaceAll(text, refused.Error(), refused.Message)
		}
	}
	return text
}
