package push

import (
	"context"
	"testing"
	"testing/synctest"
	"time"
)

func TestRetriesAreBounded(t *testing.T) {
	for failures := 1; failures < 100; failures++ {
		wait := retryAfter(failures)
		most := maxRetry
		if failures <= 10 { // 2^9 s are less than ten minutes
			most = min(maxRetry, firstRetry<<(failures-1))
		}
		if wait < most/2 || wait > most {
			t.Errorf("after %d failures: %s, want %s at most", failures, wait, most)
		}
	}
}

func TestSleepEndsWithItsContext(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		if sleep(ctx, time.Hour) || !sleep(t.Context(), time.Hour) {
			t.Error("it did not wait as it should")
		}
	})
}

func FuzzGatewayAnswer(f *testing.F) {
	for _, seed := range []string{`{"rejected":["a"]}`, `{}`, `{"rejected":null}`, `{"rejected":7}`, `[]`, `<html>`} {
		f.Add([]byte(seed))
	}
	f.Fuzz(func(t *testing.T, answer []byte) {
		if keys, err := rejectedKeys(answer); err != nil && keys != nil {
			t.Errorf("%q: %q and %v", answer, keys, err)
		}
	})
}
