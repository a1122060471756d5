package server

import (
	"context"
	"errors"
	"fmt"

	"porchlight/kv"
)

// ErrStorage is returned by New and Run when the disk has refused or may have lost a write:
// the process can start itself once more and try again. See Config.AfterFault.
var ErrStorage = errors.New("the disk does not take writes")

// storageFault gives an error of the start that is about the disk the name that whoever
// starts the server looks for.
func storageFault(err error) error {
	if _, is := errors.AsType[*kv.UnwritableError](err); is {
		return fmt.Errorf("%w: %w", ErrStorage, err)
	}
	return err
}

// watchStorage ends Run when the database takes no more writes, unless that was so from the
// start or the process has started itself for it a short time ago. Then what can be read is
// served on.
func (s *Server) watchStorage(ctx context.Context) error {
	if s.readOnly {
		s.Config.Log.Error("what is stored can be read, and nothing can be written until the disk is mended and the server restarted",
			"error", s.DB.Unwritable())
		<-ctx.Done()
		return nil
	}
	select {
	case <-ctx.Done():
		return nil
	case <-s.DB.Refused():
	}
	if !s.Config.RestartOnFault {
		s.Config.Log.Error("what is stored can still be read, and nothing can be written until the disk is mended and the server restarted",
			"error", s.DB.Unwritable())
		<-ctx.Done()
		return nil
	}
	return storageFault(s.DB.Unwritable())
}

// storageAbout is a line for the owner when nothing can be written.
func (s *Server) storageAbout() []string {
	if err := s.DB.Unwritable(); err != nil {
		return []string{"Nothing new can be stored: " + err.Error() + ". What is there can be read. Check the disk or card, then restart the server."}
	}
	return []string{}
}

// outlive lets the server go on when one part of it cannot: over a damaged row or page, or
// because nothing can be written. What else there is still works.
func (s *Server) outlive(ctx context.Context, r runner, err error) error {
	_, damaged := errors.AsType[*kv.DamagedError](err)
	_, unwritable := errors.AsType[*kv.UnwritableError](err)
	if errors.Is(err, ErrStorage) || !damaged && !unwritable {
		return err
	}
	s.Config.Log.Error("a part of the server has stopped; the others go on", "part", r.name, "error", err)
	<-ctx.Done()
	return nil
}
