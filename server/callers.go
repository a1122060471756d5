package server

import (
	"context"
	"net"
	"net/http"
	"sync"
	"time"
)

// graceTime is how long somebody who has come just now, when the house stops, may take to say
// what for. Browsers open connections to have them, and never say anything.
const graceTime = 100 * time.Millisecond

// callers are the connections on which a request is under way or about to come.
type callers struct {
	mu    sync.Mutex
	quiet map[net.Conn]bool // true: nothing has been said on it so far
	moved chan struct{}     // holds one: something has changed
}

func newCallers() *callers {
	return &callers{quiet: map[net.Conn]bool{}, moved: make(chan struct{}, 1)}
}

// note is an http.Server's ConnState.
func (c *callers) note(conn net.Conn, state http.ConnState) {
	c.mu.Lock()
	defer c.mu.Unlock()
	switch state {
	case http.StateNew, http.StateActive:
		c.quiet[conn] = state == http.StateNew
	default:
		delete(c.quiet, conn)
	}
	select {
	case c.moved <- struct{}{}:
	default:
	}
}

// drain waits until everybody is answered, but no longer than ctx lasts, and not for those who
// say nothing. It takes that nobody comes in any more, and that each answer ends its connection.
// An http.Server that is shut down would drop, without a word, whoever it has not heard yet.
func (c *callers) drain(ctx context.Context) {
	grace := time.NewTimer(graceTime)
	defer grace.Stop()
	for c.left() > 0 {
		select {
		case <-c.moved:
		case <-grace.C:
			c.hangUp()
		case <-ctx.Done():
			return
		}
	}
}

func (c *callers) left() int {
	c.mu.Lock()
	defer c.mu.Unlock()
	return len(c.quiet)
}

// hangUp closes the connections of those who have said nothing.
func (c *callers) hangUp() {
	c.mu.Lock()
	defer c.mu.Unlock()
	for conn, quiet := range c.quiet {
		if quiet {
			conn.Close() // whatever comes of it, the connection is given up
		}
	}
}
