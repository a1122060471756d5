package server

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"slices"
	"sync"
	"time"

	"porchlight/server/web"
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
	// maxStreams is how many requests one HTTP/2 connection may have at once, streamBuffers
	// and streamBuffer how many bytes of their bodies may wait to be read, in all and of one.
	maxStreams                  = 64
	streamBuffers, streamBuffer = 256 << 10, 128 << 10
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
	// Nobody stops by the given context itself: some are told before the others.
	asked := ctx.Done()
	ctx, cancel := context.WithCancel(context.WithoutCancel(ctx))
	defer cancel()
	told, tell := context.WithCancel(ctx)
	defer tell()
	here := newCallers()
	httpd := &http.Server{
		ConnState: here.note,
		Handler:   s.Handler, ReadHeaderTimeout: headerTime, IdleTimeout: idleTime, MaxHeaderBytes: maxHeader,
		ErrorLog: web.ErrorLog(s.Config.Log),
		HTTP2: &http.HTTP2Config{
			MaxConcurrentStreams: maxStreams, MaxReceiveBufferPerConnection: streamBuffers, MaxReceiveBufferPerStream: streamBuffer,
		},
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
			start(r.name, func() error { return s.outlive(ctx, r, r.run(ctx)) })
			continue
		}
		first.Add(1)
		start(r.name, func() error {
			defer first.Done()
			return s.outlive(told, r, r.run(told))
		})
	}
	var doors sync.WaitGroup
	for _, l := range slices.Concat(s.listeners, s.secure) {
		doors.Add(1)
		start("http "+l.Addr().String(), func() error {
			defer doors.Done()
			if err := httpd.Serve(l); !errors.Is(err, net.ErrClosed) {
				return err
			}
			return nil
		})
	}
	close(s.ready)

	var failed error
	select {
	case <-asked:
	case failed = <-results:
		started--
	}
	// From now on each answer ends its connection: what the first have to say lets long polls go,
	// and who asks on at the same connection would find it cut a moment later.
	httpd.SetKeepAlivesEnabled(false)
	tell()
	inTime(&first, shutdownTime)
	failed = errors.Join(failed, s.shut(ctx, httpd, here, &doors))
	cancel()
	for range started {
		failed = errors.Join(failed, <-results)
	}
	return failed
}

// shut closes the doors: whoever comes from here on is refused, and not cut off in the middle;
// who is here is answered, long polls at once.
func (s *Server) shut(ctx context.Context, httpd *http.Server, here *callers, doors *sync.WaitGroup) error {
	failed := s.closeListeners()
	doors.Wait()
	s.stop()
	late, stop := context.WithTimeout(ctx, shutdownTime)
	defer stop()
	here.drain(late)
	if err := httpd.Shutdown(late); err != nil {
		s.Config.Log.Warn("some requests did not end in time", "error", err)
		failed = errors.Join(failed, httpd.Close())
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
		s.listeners = append(s.listeners, s.connections.Listen(l))
	}
	s.listenHTTPS(ctx)
	return nil
}

func (s *Server) closeListeners() error {
	var errs []error
	for _, l := range slices.Concat(s.listeners, s.secure) {
		if err := l.Close(); !errors.Is(err, net.ErrClosed) {
			errs = append(errs, err)
		}
	}
	return errors.Join(errs...)
}
