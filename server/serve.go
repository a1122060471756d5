package server

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"slices"
	"sync"
	"time"
)

const (
	// shutdownTime is how long requests under way may take when the house stops.
	shutdownTime = 2 * time.Second
	// headerTime is how long a client may take for the head of a request.
	headerTime = 10 * time.Second
	// idleTime is how long a connection without requests is kept.
	idleTime = 2 * time.Minute
	// maxHeader is the largest head of a request in bytes.
	maxHeader = 16 << 10
)

// Run opens the doors and keeps everything running until ctx ends or a part fails; the
// error says which one. Long polls are answered before it returns.
func (s *Server) Run(ctx context.Context) error {
	if err := s.listen(ctx); err != nil {
		return err
	}
	if err := s.listenControl(ctx); err != nil {
		return errors.Join(err, s.closeListeners())
	}
	// Those who are told first have the given context; all others go on until they are done.
	told, tell := context.WithCancel(ctx)
	defer tell()
	ctx, cancel := context.WithCancel(context.WithoutCancel(ctx))
	defer cancel()
	web := &http.Server{
		Handler: s.Handler, ReadHeaderTimeout: headerTime, IdleTimeout: idleTime, MaxHeaderBytes: maxHeader,
		ErrorLog: slog.NewLogLogger(s.Config.Log.Handler(), slog.LevelDebug), // it tells of clients' mistakes
	}
	results := make(chan error)
	started := 0
	start := func(name string, run func() error) {
		started++
		go func() {
			err := run()
			if err != nil {
				err = fmt.Errorf("%s: %w", name, err)
			}
			results <- err
		}()
	}
	var first sync.WaitGroup
	for _, r := range s.runners {
		if !r.first {
			start(r.name, func() error { return r.run(ctx) })
			continue
		}
		first.Add(1)
		start(r.name, func() error {
			defer first.Done()
			return r.run(told)
		})
	}
	for _, l := range slices.Concat(s.listeners, s.secure) {
		start("http "+l.Addr().String(), func() error {
			if err := web.Serve(l); !errors.Is(err, http.ErrServerClosed) {
				return err
			}
			return nil
		})
	}
	close(s.ready)

	var failed error
	select {
	case <-told.Done():
	case failed = <-results:
		started--
	}
	tell()
	inTime(&first, shutdownTime)
	s.stop()
	late, stop := context.WithTimeout(context.WithoutCancel(ctx), shutdownTime)
	defer stop()
	if err := web.Shutdown(late); err != nil {
		s.Config.Log.Warn("some requests did not end in time", "error", err)
		failed = errors.Join(failed, web.Close())
	}
	cancel()
	for range started {
		failed = errors.Join(failed, <-results)
	}
	return failed
}

// inTime waits for a group, but no longer than d.
func inTime(group *sync.WaitGroup, d time.Duration) {
	done := make(chan struct{})
	go func() {
		group.Wait()
		close(done)
	}()
	limit := time.NewTimer(d)
	defer limit.Stop()
	select {
	case <-done:
	case <-limit.C:
	}
}

// Ready is closed once the doors are open.
func (s *Server) Ready() <-chan struct{} { return s.ready }

// Addrs are the addresses that the doors are open at, those for HTTP first, once Ready.
func (s *Server) Addrs() []net.Addr {
	var all []net.Addr
	for _, l := range slices.Concat(s.listeners, s.secure) {
		all = append(all, l.Addr())
	}
	return all
}

// URL is where clients reach the house, once Ready.
func (s *Server) URL() string { return s.Config.publicURL(s.listeners[0].Addr()) }

func (s *Server) listen(ctx context.Context) error {
	for _, addr := range s.Config.Listen {
		l, err := new(net.ListenConfig).Listen(ctx, "tcp", addr)
		if err != nil {
			return errors.Join(err, s.closeListeners())
		}
		s.listeners = append(s.listeners, l)
	}
	s.listenHTTPS(ctx)
	return nil
}

func (s *Server) closeListeners() error {
	var errs []error
	for _, l := range slices.Concat(s.listeners, s.secure) {
		errs = append(errs, l.Close())
	}
	return errors.Join(errs...)
}
