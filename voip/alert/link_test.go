package alert

import (
	"slices"
	"testing"
	"time"
)

// TestLink looks every second: "u" is up, "d" is down.
func TestLink(t *testing.T) {
	for _, tt := range []struct {
		name, looks string
		want        []LinkVerdict
		at          []int // seconds
		gone        time.Duration
	}{
		{"never gone", "uuuuuuuu", nil, nil, 0},
		{"gone and back", "uudddddduuuuu", []LinkVerdict{LinkLost, LinkBack}, []int{5, 11}, 6 * time.Second},
		{"a short gap", "uuddduuuuuuu", nil, nil, 0},
		{"flapping away", "uuddudduddddd", []LinkVerdict{LinkLost}, []int{11}, 0},
		{"flapping back", "uddddududuuuu", []LinkVerdict{LinkLost, LinkBack}, []int{4, 12}, 8 * time.Second},
		{"gone from the start", "ddddd", []LinkVerdict{LinkLost}, []int{3}, 0},
	} {
		l := &Link{Hold: 3 * time.Second}
		var got []LinkVerdict
		var at []int
		for i, look := range tt.looks {
			if v := l.Add(look == 'u', start.Add(time.Duration(i)*time.Second)); v != LinkNothing {
				got, at = append(got, v), append(at, i)
			}
		}
		if !slices.Equal(got, tt.want) || !slices.Equal(at, tt.at) {
			t.Errorf("%s: %v at %v", tt.name, got, at)
		}
		if _, d := l.Gone(start); tt.gone != 0 && d != tt.gone {
			t.Errorf("%s: it was gone for %s", tt.name, d)
		}
	}
	l := &Link{Hold: time.Second}
	l.Add(false, start)
	l.Add(false, start.Add(2*time.Second))
	if since, d := l.Gone(start.Add(time.Minute)); since != start || d != time.Minute {
		t.Errorf("still gone: since %v, for %s", since, d)
	}
}
