package server

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"sync"
	"syscall"
	"time"

	"porchlight/kv"
	"porchlight/server/matrix"
)

const (
	// DefaultReserve is how many bytes of the disk are kept for the owner, for calls, and for
	// what gives room back.
	DefaultReserve = 64 << 20
	// spaceEvery is how often the disk is looked at, at most, and while nobody writes.
	spaceEvery = time.Second
	// spaceTick is how often it is looked at whether or not anybody writes.
	spaceTick = 10 * time.Second
	// spaceNotice is the server_notice_type of what the owner is told.
	spaceNotice = "porchlight.disk"
)

// vitalOps are the operations that go on when the disk is nearly full: they free room, end
// something, or let people log in and be reached.
var vitalOps = map[string]bool{
	"redactEvent": true, "leaveRoom": true, "forgetRoom": true, "kick": true, "ban": true, "unban": true,
	"logout": true, "logout_all": true, "delete3pidFromAccount": true,
	"claimKeys": true, "uploadKeys": true, "setAdminLockUser": true, "setAdminSuspendUser": true,
}

// space watches the room on the disk. It implements web.Space.
type space struct {
	reserve int64 // bytes; negative: none
	free    func() (int64, error)
	now     func() time.Time
	owner   func() string // whom to turn to, as a URI
	// tell is called once when the disk is full and once when that is over.
	tell  func(ctx context.Context, full bool, free int64) error
	log   *slog.Logger
	nudge chan struct{} // holds one: full may have changed

	mu     sync.Mutex
	seenAt time.Time
	left   int64
	full   bool // less than the reserve is left, or a write has failed
	failed time.Time
}

// Refuse implements web.Space.
func (s *space) Refuse(op, eventType string, owner bool) error {
	if !s.isFull() || owner || vitalOps[op] || op == "sendMessage" && strings.HasPrefix(eventType, "m.call.") {
		return nil
	}
	return s.refusal("The server's disk is nearly full: only its owner can write, and what gives room back goes on, such as removing messages.")
}

// Failed implements web.Space.
func (s *space) Failed(err error) *matrix.Error {
	if !isDiskFull(err) {
		return nil
	}
	s.mu.Lock()
	s.full, s.failed = true, s.now()
	s.mu.Unlock()
	s.wake()
	return s.refusal("The server's disk is full: nothing can be written at the moment.")
}

// isDiskFull says whether an error comes from a full disk or quota. bbolt passes on only the
// text of what went wrong when its file has to grow.
func isDiskFull(err error) bool {
	for _, cause := range []syscall.Errno{syscall.ENOSPC, syscall.EDQUOT} {
		if errors.Is(err, cause) || strings.HasSuffix(err.Error(), cause.Error()) {
			return true
		}
	}
	return false
}

func (s *space) refusal(why string) *matrix.Error {
	return matrix.ResourceLimit(why).With("admin_contact", s.Contact())
}

// Contact implements web.Space.
func (s *space) Contact() string { return s.owner() }

// isFull looks at the disk, unless that was a moment ago.
func (s *space) isFull() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	now := s.now()
	if !s.seenAt.IsZero() && now.Sub(s.seenAt) < spaceEvery && !now.Before(s.seenAt) {
		return s.full
	}
	free, err := s.free()
	if err != nil { // then writing says what is wrong
		return s.full
	}
	s.seenAt, s.left = now, free
	before := s.full
	// Over only with a quarter more, so that it does not come and go with each message; and
	// after a write has failed, not within the same moment.
	enough := free-s.reserve >= s.reserve/4 && now.Sub(s.failed) >= spaceTick
	switch {
	case s.reserve >= 0 && free < s.reserve:
		s.full = true
	case enough:
		s.full = false
	}
	if before != s.full {
		s.wake()
	}
	return s.full
}

func (s *space) wake() {
	select {
	case s.nudge <- struct{}{}:
	default:
	}
}

// run tells the owner once when there is no room, and once when there is again.
func (s *space) run(ctx context.Context) error {
	tick := time.NewTicker(spaceTick)
	defer tick.Stop()
	told, noticed := false, false
	for {
		full := s.isFull()
		s.mu.Lock()
		left := s.left
		s.mu.Unlock()
		if full != told {
			told = full
			if full {
				s.log.Error("the disk is full: others than the owner cannot write", "free", left, "reserve", s.reserve)
			} else {
				s.log.Info("the disk has room again", "free", left)
			}
		}
		if full != noticed {
			switch err := s.tell(ctx, full, left); {
			case err == nil:
				noticed = full
			case ctx.Err() != nil:
			case !isDiskFull(err): // else it is tried again
				s.log.Error("cannot tell the owner about the disk", "error", err)
				noticed = full
			}
		}
		select {
		case <-ctx.Done():
			return nil
		case <-tick.C:
		case <-s.nudge:
		}
	}
}

// openSpace makes the watch over the disk of the data folder.
func (s *Server) openSpace() {
	c := s.Config
	reserve := c.Limits.Reserve
	if reserve == 0 {
		reserve = DefaultReserve
	}
	s.space = &space{
		reserve: reserve, now: c.Now, log: c.Log, nudge: make(chan struct{}, 1),
		free: func() (int64, error) { return s.Media.Free(c.Data) },
		owner: func() (uri string) {
			err := s.DB.View(context.Background(), func(tx *kv.ReadTx) error {
				uri = s.contact(tx)
				return nil
			})
			if err != nil { // the refusal itself matters more
				c.Log.Debug("whom to turn to", "error", err)
			}
			return uri
		},
		tell: s.tellSpace,
	}
	s.runs("disk", s.space.run)
}

// tellSpace writes to the owner.
func (s *Server) tellSpace(ctx context.Context, full bool, free int64) error {
	text := "The disk has room again: everybody can write."
	if full {
		text = fmt.Sprintf("The disk of this server is nearly full: %d MB are left. Others cannot write until there is more room. "+
			"Delete uploads (porchlight media list, porchlight media delete) or use a larger card.", free/1e6)
	}
	return s.DB.Update(ctx, func(tx *kv.WriteTx) error {
		owner := s.Setup.Owner(tx)
		if owner == "" {
			return nil // the log has it
		}
		_, err := s.Notices.Send(tx, owner, spaceNotice, text)
		return err
	})
}
