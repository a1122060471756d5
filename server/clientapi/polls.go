package clientapi

import (
	"context"

	"porchlight/kv"
	"porchlight/server/matrix"
	"porchlight/server/web"
)

// polled is an operation that may wait for news, and is told none if the caller has been locked
// or signed out meanwhile: the wait ends with a lock at once.
func polled[In, Out any](a *API, op func(*web.Call, In) (Out, error)) func(*web.Call, In) (Out, error) {
	return func(c *web.Call, in In) (out Out, err error) {
		waiting := *c
		ctx, cancel := context.WithCancel(c.Ctx)
		defer cancel()
		waiting.Ctx = ctx
		defer a.Accounts.EndWhenLocked(c.User, cancel)()
		answer, err := op(&waiting, in)
		c.Status = waiting.Status
		if refused := a.stillMay(c); refused != nil {
			return out, refused
		}
		return answer, err
	}
}

// stillMay says whether the caller of an operation that has waited may still have its answer:
// M_UNKNOWN_TOKEN or M_USER_LOCKED if not.
func (a *API) stillMay(c *web.Call) error {
	if c.Ctx.Err() != nil {
		return nil // nobody is there to hear it
	}
	return a.DB.View(c.Ctx, func(tx *kv.ReadTx) error {
		if c.Service == "" {
			if _, err := a.Accounts.Authenticate(tx, c.Token(), c.Now); err != nil {
				return err
			}
		}
		if row, _ := a.Accounts.User(tx, c.User); row.Locked {
			return matrix.UserLocked()
		}
		return nil
	})
}
