package ephemeral

import (
	"fmt"
	"testing"
	"testing/synctest"
	"time"

	"porchlight/server/matrix"
)

// TestPresenceOfSeveralDevices: of what a user's devices say, that of the one in use counts, in
// whichever order they say it and however often, and others are told of real changes only.
func TestPresenceOfSeveralDevices(t *testing.T) {
	for _, c := range []struct {
		says []string // the devices, each again and again
		want string
	}{
		{[]string{Unavailable, Online}, Online},
		{[]string{Online, Unavailable}, Online},
		{[]string{Online, Offline}, Online},
		{[]string{Offline, Online}, Online},
		{[]string{Unavailable, Offline}, Unavailable},
		{[]string{Offline, Unavailable}, Unavailable},
		{[]string{Offline, Offline}, Offline},
		{[]string{Unavailable, Unavailable}, Unavailable},
		{[]string{Offline, Unavailable, Online}, Online},
		{[]string{Online, Unavailable, Offline}, Online},
	} {
		for _, polls := range []time.Duration{0, 30 * time.Second} {
			t.Run(fmt.Sprint(c.says, polls), func(t *testing.T) {
				synctest.Test(t, func(t *testing.T) {
					f := setUp(t)
					running(t, f.k)
					for i, state := range c.says {
						go func() {
							for range 20 {
								done, err := f.k.Connect(alice, matrix.DeviceID(fmt.Sprint(i)), state)
								if err != nil {
									t.Error(err)
									return
								}
								time.Sleep(polls)
								done()
								time.Sleep(3 * time.Second)
							}
						}()
					}
					time.Sleep(2 * time.Second)
					synctest.Wait()
					after := f.k.Counter()
					for range 50 {
						time.Sleep(time.Second)
						synctest.Wait()
						if got := f.k.Presence(alice).State; got != c.want {
							t.Fatalf("%s, want %s", got, c.want)
						}
					}
					if n := f.k.Counter() - after; n > 0 {
						t.Errorf("others were told of %d changes, and there was none", n)
					}
					time.Sleep(time.Hour)
				})
			})
		}
	}
}

// TestActivityMakesOnline: whatever the devices or the user said before, but for hiding.
func TestActivityMakesOnline(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := setUp(t)
		running(t, f.k)
		changes := uint64(0)
		expect := func(what, want string, told uint64) {
			t.Helper()
			synctest.Wait()
			n := f.k.Counter()
			if got := f.k.Presence(alice).State; got != want || n-changes != told {
				t.Errorf("%s: %s, told %d times; want %s, %d times", what, got, n-changes, want, told)
			}
			changes = n
		}
		poll := func(state string) {
			t.Helper()
			done, err := f.k.Connect(alice, "PHONE", state)
			if err != nil {
				t.Fatal(err)
			}
			done()
		}
		set := func(state string) {
			t.Helper()
			if err := f.k.SetPresence(alice, "DESK", state, nil); err != nil {
				t.Fatal(err)
			}
		}
		f.k.Active(alice)
		expect("a bot that does not sync", Offline, 0)
		poll(Unavailable)
		expect("idle", Online, 1) // for it has just done something
		time.Sleep(time.Hour)
		expect("gone", Offline, 1)
		poll(Unavailable)
		expect("idle", Unavailable, 1)
		for range 6 {
			f.k.Active(alice)
			poll(Unavailable)
		}
		expect("six messages", Online, 1)
		for range 20 {
			time.Sleep(20 * time.Second)
			poll(Unavailable)
		}
		expect("nothing more", Unavailable, 1)
		set(Online)
		expect("by word", Online, 1)
		set(Unavailable)
		poll(Online)
		expect("by word", Unavailable, 1)
		f.k.Active(alice)
		expect("a message", Online, 1)
		for range 3 { // until the other device does not count any more
			time.Sleep(20 * time.Second)
			poll(Online)
		}
		poll(Unavailable)
		expect("the client goes idle", Unavailable, 1)
		poll(Online)
		expect("and comes back", Online, 1)
		set(Offline)
		f.k.Active(alice)
		poll(Online)
		expect("hidden", Offline, 1)
		set(Online)
		poll(Offline)
		expect("one device hides", Online, 1)
		time.Sleep(time.Hour)
		expect("gone", Offline, 1)
	})
}
