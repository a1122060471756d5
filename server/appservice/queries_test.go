package appservice

import (
	"context"
	"errors"
	"sync/atomic"
	"testing"
	"testing/synctest"
)

// TestQueriesOfOneNameAreOne: one of many who ask for a name asks, all have the answer, and one
// whose client goes does not take it from the others.
func TestQueriesOfOneNameAreOne(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var q queries
		var asked, heard atomic.Int32
		hold := make(chan struct{})
		ask := func(ctx context.Context) (bool, error) {
			asked.Add(1)
			<-hold
			return true, ctx.Err()
		}
		gone, cancel := context.WithCancel(t.Context())
		for i := range 20 {
			ctx := t.Context()
			if i < 2 {
				ctx = gone
			}
			go func() {
				yes, err := q.once(ctx, "name", ask)
				if yes && err == nil {
					heard.Add(1)
				} else if !errors.Is(err, context.Canceled) {
					t.Errorf("%v %v", yes, err)
				}
			}()
			synctest.Wait() // the first one is gone's
		}
		go func() {
			if yes, err := q.once(t.Context(), "another name", ask); !yes || err != nil {
				t.Errorf("another name: %v %v", yes, err)
			}
		}()
		synctest.Wait()
		cancel()
		synctest.Wait()
		close(hold)
		synctest.Wait()
		if asked.Load() != 2 || heard.Load() != 19 || len(q.asked) != 0 {
			t.Errorf("%d asked, %d heard, %d are under way", asked.Load(), heard.Load(), len(q.asked))
		}
	})
}
