package discovery

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"net"
	"net/netip"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"
)

var now = time.Date(2027, time.March, 1, 12, 0, 0, 0, time.UTC)

func authority(t *testing.T) *Authority {
	t.Helper()
	a, err := NewAuthority(now, "house.local", []string{"house.local", "house-2.local"})
	if err != nil {
		t.Fatal(err)
	}
	return a
}

func addrs(list ...string) (out []netip.Addr) {
	for _, s := range list {
		out = append(out, netip.MustParseAddr(s))
	}
	return out
}

// verify does what a device does that trusts the authority.
func verify(a *Authority, leaf *x509.Certificate, host string, when time.Time) error {
	roots := x509.NewCertPool()
	roots.AddCert(a.cert)
	_, err := leaf.Verify(x509.VerifyOptions{Roots: roots, DNSName: host, CurrentTime: when, KeyUsages: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth}})
	return err
}

func TestAuthority(t *testing.T) {
	a := authority(t)
	stored, err := a.Store()
	if err != nil {
		t.Fatal(err)
	}
	if a, err = OpenAuthority(stored); err != nil {
		t.Fatal(err)
	}
	if years := a.cert.NotAfter.Sub(a.cert.NotBefore).Hours() / 24 / 365; years < 9.9 || years > 10.1 {
		t.Errorf("good for %.1f years", years)
	}
	if !a.cert.IsCA || !a.cert.MaxPathLenZero || !a.cert.PermittedDNSDomainsCritical || a.cert.KeyUsage&x509.KeyUsageDigitalSignature != 0 {
		t.Errorf("the authority's certificate: %+v", a.cert)
	}
	if f := a.Fingerprint(); len(f) != 95 || f != strings.ToUpper(f) {
		t.Errorf("fingerprint %q", f)
	}
	for name, test := range map[string]struct {
		names []string
		when  time.Time
		want  bool
	}{
		"its names":    {[]string{"house.local", "house-2.local"}, now, true},
		"below them":   {[]string{"a.house.local"}, now, true},
		"another name": {[]string{"house.local", "other.local"}, now, false},
		"alike":        {[]string{"myhouse.local"}, now, false},
		"nearly over":  {[]string{"house.local"}, now.AddDate(10, 0, -15), false},
	} {
		if got := a.Serves(test.when, test.names); got != test.want {
			t.Errorf("%s: %v", name, got)
		}
	}
	// Clocks of boards are wrong both ways: an authority of a far future is replaced, one that a clock lags behind is kept.
	for name, test := range map[string]struct {
		made, now time.Time
		want      bool
	}{
		"made in 2150, the clock is right again": {now.AddDate(124, 0, 0), now, false},
		"made half a year ahead":                 {now.AddDate(0, 6, 0), now, true},
		"made now, the clock is back in 1970":    {now, time.Unix(0, 0), true},
		"made in five years, the clock in 1970":  {now.AddDate(5, 0, 0), time.Unix(0, 0), true},
		"made in 1970":                           {time.Unix(0, 0), now, true},
	} {
		made, err := NewAuthority(test.made, "house", []string{"house.local"})
		if err != nil {
			t.Fatal(err)
		}
		if got := made.Serves(test.now, []string{"house.local"}); got != test.want {
			t.Errorf("%s: %v", name, got)
		}
	}
	for name, s := range map[string]Stored{
		"nothing":        {},
		"no certificate": {Key: stored.Key},
		"another's key":  {Key: must(authority(t).Store()).Key, Certificate: stored.Certificate},
	} {
		if _, err := OpenAuthority(s); err == nil {
			t.Errorf("%s was opened", name)
		}
	}
	if _, err := NewAuthority(now, "x", nil); err == nil {
		t.Error("an authority without constraints")
	}
}

func must[T any](v T, err error) T {
	if err != nil {
		panic(err)
	}
	return v
}

// TestConstraints signs for others' names, as who has stolen the key might.
func TestConstraints(t *testing.T) {
	a := authority(t)
	for _, test := range []struct {
		host string
		ok   bool
	}{
		{"house.local", true},
		{"house-2.local", true},
		{"192.168.1.20", true},
		{"10.1.2.3", true},
		{"fd00::20", true},
		{"127.0.0.1", true},
		{"example.org", false},
		{"house.local.example.org", false},
		{"other.local", false},
		{"localhost", false},
		{"203.0.113.7", false},
		{"2001:db8::7", false},
	} {
		id := Identity{Names: []string{test.host}}
		if addr, err := netip.ParseAddr(test.host); err == nil {
			id = Identity{Addresses: []netip.Addr{addr}}
		}
		forged, err := a.sign(now, id) // by the back door: possible is passed by
		if err != nil {
			t.Fatal(err)
		}
		if err := verify(a, forged.Leaf, test.host, now); (err == nil) != test.ok {
			t.Errorf("%s: %v", test.host, err)
		}
		kept := a.possible(id)
		if (len(kept.Names)+len(kept.Addresses) == 1) != test.ok {
			t.Errorf("%s: the front door makes %v", test.host, kept)
		}
	}
}

func TestLeaf(t *testing.T) {
	a := authority(t)
	c, err := NewCertificates(CertificatesConfig{Authority: a, Now: func() time.Time { return now }, Identity: func() Identity {
		return Identity{Names: []string{"House.local", "house.local", "example.org"}, Addresses: addrs("192.168.1.20", "203.0.113.7", "fe80::1")}
	}})
	if err != nil {
		t.Fatal(err)
	}
	leaf := c.Leaf()
	for _, host := range []string{"house.local", "192.168.1.20", "fe80::1"} {
		if err := verify(a, leaf, host, now); err != nil {
			t.Errorf("%s: %v", host, err)
		}
	}
	if len(leaf.DNSNames) != 1 || len(leaf.IPAddresses) != 2 {
		t.Errorf("made for %v %v", leaf.DNSNames, leaf.IPAddresses)
	}
	if d := leaf.NotAfter.Sub(leaf.NotBefore); d > 398*24*time.Hour {
		t.Errorf("good for %s", d)
	}
	if len(leaf.ExtKeyUsage) != 1 || leaf.ExtKeyUsage[0] != x509.ExtKeyUsageServerAuth || leaf.IsCA {
		t.Errorf("usages %v", leaf.ExtKeyUsage)
	}
	if err := verify(a, leaf, "house.local", now.AddDate(2, 0, 0)); err == nil {
		t.Error("good after its end")
	}
	if _, err := NewCertificates(CertificatesConfig{Authority: a, Now: time.Now, Identity: func() Identity { return Identity{Names: []string{"example.org"}} }}); err == nil {
		t.Error("a certificate for nothing")
	}
}

// TestClockBehind has a board start in 1970: its certificates have to be good today.
func TestClockBehind(t *testing.T) {
	epoch := time.Unix(0, 0)
	young, err := NewAuthority(epoch, "house.local", []string{"house.local"})
	if err != nil {
		t.Fatal(err)
	}
	for name, a := range map[string]*Authority{"from the first start": young, "from before": authority(t)} {
		leaf, err := a.sign(epoch, Identity{Names: []string{"house.local"}})
		if err != nil {
			t.Fatal(err)
		}
		if err := verify(a, leaf.Leaf, "house.local", a.cert.NotBefore.AddDate(0, 6, 0)); err != nil {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// TestRenewal runs two years, in which the board moves once.
func TestRenewal(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a, err := NewAuthority(time.Now().AddDate(30, 0, 0), "house.local", []string{"house.local"})
		if err != nil {
			t.Fatal(err)
		}
		var mu sync.Mutex
		id := Identity{Names: []string{"house.local"}, Addresses: addrs("192.168.1.20")}
		var gone time.Duration // by which the clock was put forward
		c, err := NewCertificates(CertificatesConfig{
			Authority: a,
			Now: func() time.Time {
				mu.Lock()
				defer mu.Unlock()
				return time.Now().AddDate(30, 0, 0).Add(gone)
			},
			Identity: func() Identity {
				mu.Lock()
				defer mu.Unlock()
				return id
			},
		})
		if err != nil {
			t.Fatal(err)
		}
		ctx, cancel := context.WithCancel(t.Context())
		ran := make(chan error)
		go func() { ran <- c.Run(ctx) }()
		first := c.Leaf()
		time.Sleep(time.Hour)
		if !c.Leaf().Equal(first) {
			t.Error("renewed for no reason")
		}
		mu.Lock()
		id.Addresses = addrs("10.0.0.5")
		mu.Unlock()
		time.Sleep(2 * lookEvery)
		moved := c.Leaf()
		if verify(a, moved, "10.0.0.5", c.Now()) != nil || verify(a, moved, "192.168.1.20", c.Now()) == nil {
			t.Errorf("after the move: %v", moved.IPAddresses)
		}
		const day = 24 * time.Hour
		for days := 0; days < 2*365; days += 10 {
			mu.Lock()
			gone += 10 * day
			mu.Unlock()
			time.Sleep(2 * lookEvery)
			if err := verify(a, c.Leaf(), "house.local", c.Now().Add(30*day)); err != nil {
				t.Fatalf("after %d days: %v", days, err)
			}
		}
		if c.Leaf().Equal(moved) {
			t.Error("not renewed in two years")
		}
		cancel()
		if err := <-ran; err != nil {
			t.Error(err)
		}
	})
}

// TestHandshake looks at what a client gets.
func TestHandshake(t *testing.T) {
	a := authority(t)
	c, err := NewCertificates(CertificatesConfig{Authority: a, Now: func() time.Time { return now }, Identity: func() Identity {
		return Identity{Names: []string{"house.local"}}
	}})
	if err != nil {
		t.Fatal(err)
	}
	roots := x509.NewCertPool()
	roots.AddCert(a.cert)
	for version, ok := range map[uint16]bool{tls.VersionTLS11: false, tls.VersionTLS12: true, tls.VersionTLS13: true} {
		here, there := net.Pipe()
		go func() {
			_ = tls.Server(there, c.TLS()).Handshake() // the client says what failed
			_ = there.Close()
		}()
		client := tls.Client(here, &tls.Config{
			ServerName: "house.local", RootCAs: roots, MinVersion: version, MaxVersion: version,
			Time: func() time.Time { return now }, NextProtos: []string{"h2"},
		})
		err := client.Handshake()
		if (err == nil) != ok {
			t.Errorf("version %x: %v", version, err)
		}
		if s := client.ConnectionState(); ok && (len(s.PeerCertificates) != 2 || s.NegotiatedProtocol != "h2") {
			t.Errorf("version %x: chain of %d, protocol %q", version, len(s.PeerCertificates), s.NegotiatedProtocol)
		}
		_ = here.Close()
	}
}
