package server

import (
	"context"

	"porchlight/kv"
	"porchlight/server/changes"
	"porchlight/server/e2ee"
)

// restored begins another incarnation when a client shows a position that this server gave
// out and that the log does not reach: the database is an older copy, which came back by
// other means than the restore command, such as a copied card. It happens once for all
// clients: no position is given out again.
func (s *Server) restored(ctx context.Context, ahead changes.Position) error {
	s.restoring.Lock()
	defer s.restoring.Unlock()
	ctx = context.WithoutCancel(ctx) // who asked may be gone; the others need it as well
	known := false
	err := s.DB.View(ctx, func(tx *kv.ReadTx) error {
		known = ahead <= s.Changes.Last(tx)
		return nil
	})
	if err != nil || known {
		return err
	}
	s.Config.Log.Warn("a client has seen more than the database holds, so an older copy of it has come back: " +
		"clients are told everything again, and one-time keys are dropped")
	return beginIncarnation(ctx, s.DB, s.Changes, s.E2EE, ahead)
}

// beginIncarnation makes a database that came back from an older copy safe to go on with.
func beginIncarnation(ctx context.Context, db *kv.DB, log *changes.Keeper, keys *e2ee.Keeper, ahead changes.Position) error {
	if err := keys.Restored(ctx); err != nil {
		return err
	}
	return db.Update(ctx, func(tx *kv.WriteTx) error {
		log.Restart(tx, ahead)
		return nil
	})
}
