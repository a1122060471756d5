package dialguard

import (
	"errors"
	"net"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"testing"
	"time"
)

func TestWhatIsPublic(t *testing.T) {
	for address, want := range map[string]bool{
		"8.8.8.8": true, "93.184.216.34": true, "2606:4700::1111": true, "2a00:1450::1": true,
		"0.0.0.0": false, "0.1.2.3": false, "10.0.0.1": false, "100.64.0.1": false, "100.127.255.255": false, "127.0.0.1": false,
		"169.254.169.254": false, "172.16.0.1": false, "172.31.255.255": false, "192.168.1.1": false, "198.18.0.1": false,
		"192.0.0.192": false, "192.0.2.1": false, "192.88.99.1": false, "203.0.113.9": false, "224.0.0.1": false, "239.255.255.250": false, "240.0.0.1": false, "255.255.255.255": false,
		"::": false, "::1": false, "::8.8.8.8": false, "::ffff:8.8.8.8": false, "::ffff:127.0.0.1": false, "64:ff9b::7f00:1": false,
		"64:ff9b:1::1": false, "100::1": false, "2001::1": false, "2001:db8::1": false, "2002:7f00:1::": false, "fc00::1": false, "fd12::1": false,
		"fe80::1": false, "fe80::1%eth0": false, "fec0::1": false, "ff02::1": false, "3fff::1": false, "5f00::1": false,
	} {
		if got := Public(netip.MustParseAddr(address)); got != want {
			t.Errorf("%s: %t", address, got)
		}
	}
	if Public(netip.Addr{}) {
		t.Error("nothing is public")
	}
}

func TestTheAddressIsCheckedWhenConnecting(t *testing.T) {
	reached := false
	inside := httptest.NewServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) { reached = true }))
	defer inside.Close()
	_, port, err := net.SplitHostPort(inside.Listener.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	client := &http.Client{Transport: &http.Transport{DialContext: Dialer(time.Second, false).DialContext}}
	// "localhost" stands for any name that resolves to an address within, whatever it
	// resolved to when somebody looked at it before.
	for _, host := range []string{"127.0.0.1", "localhost", "[::1]", "[::ffff:127.0.0.1]", "0.0.0.0", "127.1", "2130706433"} {
		resp, err := client.Get("http://" + host + ":" + port + "/")
		if err == nil {
			resp.Body.Close()
			t.Errorf("%s was reached", host)
		}
	}
	if _, err := client.Get(inside.URL); !errors.Is(err, ErrForbidden) {
		t.Errorf("the error is %v", err)
	}
	if reached {
		t.Error("the server within was reached")
	}
	open := &http.Client{Transport: &http.Transport{DialContext: Dialer(time.Second, true).DialContext}}
	resp, err := open.Get(inside.URL)
	if err != nil {
		t.Fatal(err)
	}
	resp.Body.Close()
	if !reached {
		t.Error("private networks are allowed and were not reached")
	}
}

func TestOnlyTCP(t *testing.T) {
	for _, c := range [][2]string{{"unix", "/run/x"}, {"udp4", "8.8.8.8:53"}, {"tcp4", "nonsense"}, {"tcp6", "[fe80::1%eth0]:80"}} {
		if err := Control(c[0], c[1], nil); !errors.Is(err, ErrForbidden) {
			t.Errorf("%v: %v", c, err)
		}
	}
	if err := Control("tcp4", "8.8.8.8:443", nil); err != nil {
		t.Error(err)
	}
}
