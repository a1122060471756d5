package accounts

import (
	"context"
	"slices"
	"time"

	"porchlight/server/matrix"
)

// Fallback is a session of interactive authentication as the page sees it that stands in
// for clients which do not know a stage (spec: client-server API, fallback).
type Fallback struct {
	User  matrix.UserID // who has to prove it; empty: anybody
	Terms *Terms        // for StageTerms
	Done  bool          // the stage is complete
}

// FallbackSession finds a session for a stage. The error is M_FORBIDDEN if there is no such
// session, or the stage is not its next one.
func (k *Keeper) FallbackSession(id, stage string) (Fallback, error) {
	op, done, ok := k.uia.fallback(id, stage, k.now())
	if !ok || !done && !k.uia.mayDo(op, id, stage) {
		return Fallback{}, matrix.Forbidden("that session is over, or does not ask for this: please begin again in your client")
	}
	return Fallback{User: op.User, Terms: op.Terms, Done: done}, nil
}

// fallback is what a session is for, and whether it has completed a stage.
func (u *interactive) fallback(id, stage string, now time.Time) (op Operation, done, ok bool) {
	u.mu.Lock()
	defer u.mu.Unlock()
	s, ok := u.sessions[id]
	if !ok || !now.Before(s.expires) {
		return Operation{}, false, false
	}
	return s.op, slices.Contains(s.completed, stage), true
}

// FallbackAnswer is what a person has typed into the page.
type FallbackAnswer struct{ User, Password, Token, IP string }

// CompleteFallback takes a stage that a person did on the page. The client goes on with
// the session alone. The errors are M_FORBIDDEN if the person may try again,
// M_LIMIT_EXCEEDED and M_USER_LOCKED.
func (k *Keeper) CompleteFallback(ctx context.Context, id, stage string, answer FallbackAnswer) error {
	op, _, ok := k.uia.fallback(id, stage, k.now())
	if !ok {
		return matrix.Forbidden("that session is over: please begin again in your client")
	}
	op.IP = answer.IP
	a := authData{Type: stage, Session: id, User: answer.User, Password: answer.Password, Token: answer.Token}
	proof, err := k.stage(ctx, op, a)
	if err != nil {
		return err
	}
	k.uia.complete(id, stage, proof)
	return nil
}
