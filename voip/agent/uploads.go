package agent

import (
	"context"
	"strings"
	"time"

	"porchlight/kv"
	"porchlight/server/matrix"
)

const (
	// sweepEvery is how often pictures and clips that are too old, or too many, are deleted.
	sweepEvery = 10 * time.Minute
	// maxSweep is how many are deleted at once; the others wait for the next time.
	maxSweep = 500
)

// uploadKey names something that the board made by itself and put into the content
// repository. Its row is its size in bytes.
type uploadKey struct {
	Made uint64 // milliseconds since 1970
	URI  string
}

// upload keeps something in the content repository, and notes that the board made it.
func (a *Agent) upload(ctx context.Context, contentType, name string, data []byte) (string, error) {
	uri, err := a.House.Upload(ctx, contentType, name, data)
	if err != nil {
		return "", err
	}
	if err := a.Settings.addUpload(ctx, uploadKey{uint64(max(0, a.Now().UnixMilli())), uri}, uint64(len(data))); err != nil {
		a.Log.Error("a picture or clip will be kept for ever, since it could not be noted", "uri", uri, "error", err)
	}
	return uri, nil
}

// sweep deletes what is too old or too much, from time to time.
func (a *Agent) sweep(ctx context.Context) {
	again := time.NewTicker(sweepEvery)
	defer again.Stop()
	for {
		if err := a.sweepOnce(ctx); err != nil && ctx.Err() == nil {
			a.Log.Error("old pictures and clips could not be deleted", "error", err)
		}
		select {
		case <-again.C:
		case <-ctx.Done():
			return
		}
	}
}

func (a *Agent) sweepOnce(ctx context.Context) error {
	s := a.Settings.Current()
	due, err := a.Settings.dueUploads(ctx, a.Now(), s.KeepTime, s.KeepSpace)
	for _, key := range due {
		// One that somebody else has deleted is gone as well.
		if err := a.House.Delete(ctx, key.URI); err != nil && !matrix.IsCode(err, "M_NOT_FOUND") {
			return err
		}
		if err := a.Settings.dropUpload(ctx, key); err != nil {
			return err
		}
	}
	if len(due) > 0 {
		a.Log.Info("old pictures and clips of the board were deleted", "number", len(due))
	}
	return err
}

// addUpload notes an upload. Without a database nothing is noted.
func (s *Store) addUpload(ctx context.Context, key uploadKey, bytes uint64) error {
	if s.db == nil {
		return nil
	}
	return s.db.Update(ctx, func(tx *kv.WriteTx) error {
		s.uploads.Put(tx, key, bytes)
		return nil
	})
}

func (s *Store) dropUpload(ctx context.Context, key uploadKey) error {
	return s.db.Update(ctx, func(tx *kv.WriteTx) error {
		s.uploads.Delete(tx, key)
		return nil
	})
}

// dueUploads are those that are older than keep, and the oldest of those that together are
// larger than space in bytes; 0 is no bound.
func (s *Store) dueUploads(ctx context.Context, now time.Time, keep time.Duration, space int64) (due []uploadKey, err error) {
	if s.db == nil || keep == 0 && space == 0 {
		return nil, nil
	}
	err = s.db.View(ctx, func(tx *kv.ReadTx) error {
		var total uint64
		for key, bytes := range s.uploads.Scan(tx, kv.All().Reverse()) {
			total += bytes
			old := keep > 0 && now.Sub(time.UnixMilli(int64(key.Made))) > keep
			if old || space > 0 && total > uint64(space) {
				due = append(due, key)
			}
		}
		return nil
	})
	if n := len(due); n > maxSweep {
		due = due[n-maxSweep:] // the oldest
	}
	return due, err
}

// checkUploads says which rows no release could have written.
func (s *Store) checkUploads(r kv.Reader, report func(format string, args ...any)) {
	for key := range s.uploads.Scan(r, kv.All()) {
		if !strings.HasPrefix(key.URI, "mxc://") {
			report("something that the board made lies at %q", key.URI)
		}
	}
}
