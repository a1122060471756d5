package accounts

import (
	"context"
	"slices"
	"time"

	"porchlight/kv"
	"porchlight/server/matrix"
)

// Fallback is a session of interactive authentication as the page sees it that stands in
// for clients which do not know a stage (spec: client-server API, fallback). Anybody can
// lead anybody to that page, so it has to say who asks for what: all but Terms and Done is
// for that.
type Fallback struct {
	Operation  string          // operationId of what is asked
	User       matrix.UserID   // who has to prove it; empty: anybody
	NewUser    matrix.UserID   // the account that would be made; empty: none, or not known
	Device     matrix.DeviceID // that User asks with
	DeviceName string          // what User calls it; may be empty
	IP         string          // where it was asked from
	Began      time.Time
	Terms      *Terms // for StageTerms
	Done       bool   // the stage is complete
}

// FallbackSession finds a session for a stage. The error is M_FORBIDDEN if there is no such
// session, the stage is not its next one, or it cannot be done on a page: an address is
// proved by the link in a mail, and a password only to confirm what a signed-in device asks
// for. Where nobody is signed in, whoever asks has the password, or must not have what it
// would give them (spec: client-server API, single sign-on, security considerations 1).
func (k *Keeper) FallbackSession(ctx context.Context, id, stage string) (f Fallback, err error) {
	s, ok := k.uia.fallback(id, stage, k.now())
	if !ok || !s.done && !k.uia.mayDo(s.op, id, stage) {
		return f, matrix.Forbidden("that session is over, or does not ask for this: please begin again in your client")
	}
	if err := mayStandIn(s.op, stage); err != nil {
		return f, err
	}
	f = Fallback{
		Operation: s.op.Name, User: s.op.User, NewUser: s.op.NewUser, Device: s.op.Device,
		IP: s.op.IP, Began: s.began, Terms: s.op.Terms, Done: s.done,
	}
	err = k.db.View(ctx, func(tx *kv.ReadTx) error {
		row, _ := k.Device(tx, f.User, f.Device)
		f.DeviceName = row.Name
		return nil
	})
	return f, err
}

// mayStandIn refuses the stages that the page must not complete.
func mayStandIn(op Operation, stage string) error {
	switch stage {
	case StageDummy, StageTerms, StageRegistrationToken:
		return nil
	case StagePassword:
		if op.User != "" {
			return nil
		}
		return matrix.Forbidden("this page takes no password, since nobody is signed in where this was asked for. " +
			"If it was you, give the password there. If somebody sent you here, do not give it to them")
	case StageEmail:
		return matrix.Forbidden("this step is done by the link in the mail")
	}
	return matrix.Forbidden("this page cannot do that step: please use another client")
}

// fallbackSession is what the page has to know of a session.
type fallbackSession struct {
	op    Operation
	began time.Time
	done  bool
}

// fallback is what a session is for, and whether it has completed a stage.
func (u *interactive) fallback(id, stage string, now time.Time) (f fallbackSession, ok bool) {
	u.mu.Lock()
	defer u.mu.Unlock()
	s, ok := u.sessions[id]
	if !ok || !now.Before(s.expires) {
		return f, false
	}
	return fallbackSession{s.op, s.began, slices.Contains(s.completed, stage)}, true
}

// FallbackAnswer is what a person has typed into the page.
type FallbackAnswer struct {
	Password, Token string
	NewUser         matrix.UserID // what the page had shown as Fallback.NewUser
	IP              string
}

// CompleteFallback takes a stage that a person did on the page. The client goes on with
// the session alone. The errors are M_FORBIDDEN if the person may try again, or the page
// must not do that stage, M_LIMIT_EXCEEDED and M_USER_LOCKED.
func (k *Keeper) CompleteFallback(ctx context.Context, id, stage string, answer FallbackAnswer) error {
	s, ok := k.uia.fallback(id, stage, k.now())
	if !ok {
		return matrix.Forbidden("that session is over: please begin again in your client")
	}
	if err := mayStandIn(s.op, stage); err != nil {
		return err
	}
	s.op.IP = answer.IP
	a := authData{Type: stage, Session: id, Password: answer.Password, Token: answer.Token}
	proof, err := k.stage(ctx, s.op, a)
	if err != nil {
		return err
	}
	if !k.uia.show(id, answer.NewUser) {
		return matrix.Forbidden("something else is asked for by now: please read the page again")
	}
	k.uia.complete(id, stage, proof)
	return nil
}

// show notes that a person has read which account a session would make; false if that is
// another one by now.
func (u *interactive) show(id string, newUser matrix.UserID) bool {
	u.mu.Lock()
	defer u.mu.Unlock()
	s, ok := u.sessions[id]
	if !ok || s.op.NewUser != newUser {
		return false
	}
	s.shown = true
	return true
}
