package web

import (
	"context"
	"errors"
	"testing"
	"testing/synctest"
)

// TestWritesOfOneClient sees that one client has a bounded number of writes in the queue, and
// that another's goes past those that wait.
func TestWritesOfOneClient(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := writers{by: map[string]*turns{}}
		in := make(chan struct{}, 100)
		for range 40 {
			go func() {
				if err := w.enter(context.Background(), "@mallory:h"); err != nil {
					t.Error(err)
				}
				in <- struct{}{}
			}()
		}
		synctest.Wait()
		if len(in) != writesPerClient {
			t.Fatalf("%d writes of one client are in the queue", len(in))
		}
		if err := w.enter(context.Background(), "@alice:h"); err != nil {
			t.Fatal(err)
		}
		gone, leave := context.WithCancel(context.Background())
		leave()
		if err := w.enter(gone, "@mallory:h"); !errors.Is(err, context.Canceled) {
			t.Errorf("a client that has gone: %v", err)
		}
		w.leave("@alice:h")
		for range 40 {
			<-in
			w.leave("@mallory:h")
		}
		synctest.Wait()
		if len(w.by) != 0 {
			t.Errorf("left over: %v", w.by)
		}
	})
}
