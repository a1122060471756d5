package web

import (
	"strconv"
	"testing"
	"time"
)

// TestBucketsAreBounded lets more strangers in than may be remembered.
func TestBucketsAreBounded(t *testing.T) {
	l := newLimiter(map[Class]Limit{General: {PerSecond: 1, Burst: 1}})
	now := time.UnixMilli(0)
	for i := range maxBuckets + 500 {
		l.take(General, strconv.Itoa(i), now)
		if l.take(General, "regular", now) == 0 && i > 0 {
			t.Fatal("who asks all the time is forgotten")
		}
	}
	if len(l.buckets) != maxBuckets || l.recent.Len() != maxBuckets {
		t.Errorf("%d buckets, %d in order, want %d", len(l.buckets), l.recent.Len(), maxBuckets)
	}
}
