package discovery

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"fmt"
	"log/slog"
	"net/netip"
	"slices"
	"strings"
	"sync"
	"time"
)

const (
	// leafDays is how long a certificate is good for: as long as devices take it (398
	// days), since a board without a battery may be far behind the time when it starts.
	leafDays = 397
	// renewDays is how long before its end a certificate is made anew.
	renewDays = 90
	// lookEvery is how often names, addresses and the clock are looked at.
	lookEvery = 5 * time.Second
)

// Identity is what a certificate is to be good for.
type Identity struct {
	Names     []string // DNS names
	Addresses []netip.Addr
}

// CertificatesConfig is what Certificates are made of. All but Log is required.
type CertificatesConfig struct {
	Authority *Authority
	// Identity is asked again every few seconds, and from any goroutine.
	Identity func() Identity
	Now      func() time.Time
	Log      *slog.Logger // nil discards
}

// Certificates holds the certificate that the board shows at the moment.
type Certificates struct {
	CertificatesConfig

	mu   sync.Mutex
	is   Identity // that the leaf was made for
	leaf *tls.Certificate
}

// NewCertificates makes the first certificate.
func NewCertificates(c CertificatesConfig) (*Certificates, error) {
	if c.Log == nil {
		c.Log = slog.New(slog.DiscardHandler)
	}
	all := &Certificates{CertificatesConfig: c}
	_, err := all.renew()
	return all, err
}

// Run makes a new certificate whenever one is needed, until ctx ends.
func (c *Certificates) Run(ctx context.Context) error {
	tick := time.NewTicker(lookEvery)
	defer tick.Stop()
	for {
		select {
		case <-tick.C:
			// The old one stays if there is no new one: it may still do for many.
			if renewed, err := c.renew(); err != nil {
				c.Log.Error("cannot make a certificate", "error", err)
			} else if renewed {
				c.Log.Info("made a new certificate", "names", c.Leaf().DNSNames, "until", c.Leaf().NotAfter)
			}
		case <-ctx.Done():
			return nil
		}
	}
}

// TLS is the configuration of a listener: TLS 1.2 and 1.3, HTTP/2 offered.
func (c *Certificates) TLS() *tls.Config {
	return &tls.Config{
		MinVersion: tls.VersionTLS12, NextProtos: []string{"h2", "http/1.1"},
		GetCertificate: func(*tls.ClientHelloInfo) (*tls.Certificate, error) {
			c.mu.Lock()
			defer c.mu.Unlock()
			return c.leaf, nil
		},
	}
}

// Leaf is the certificate that the board shows at the moment.
func (c *Certificates) Leaf() *x509.Certificate {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.leaf.Leaf
}

// renew makes a new certificate if the old one does not do any more.
func (c *Certificates) renew() (bool, error) {
	want := c.Authority.possible(c.Identity())
	now := c.Now()
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.leaf != nil && want.equal(c.is) && now.AddDate(0, 0, renewDays).Before(c.leaf.Leaf.NotAfter) {
		return false, nil
	}
	leaf, err := c.Authority.sign(now, want)
	if err != nil {
		return false, err
	}
	c.is, c.leaf = want, leaf
	return true, nil
}

// possible leaves out of an Identity what the authority may not sign for, sorts it and
// takes duplicates away.
func (a *Authority) possible(id Identity) Identity {
	var out Identity
	for _, n := range id.Names {
		if n = strings.ToLower(n); a.mayName(n) {
			out.Names = append(out.Names, n)
		}
	}
	for _, addr := range id.Addresses {
		if addr = addr.Unmap().WithZone(""); a.mayAddress(addr) {
			out.Addresses = append(out.Addresses, addr)
		}
	}
	slices.Sort(out.Names)
	slices.SortFunc(out.Addresses, netip.Addr.Compare)
	out.Names, out.Addresses = slices.Compact(out.Names), slices.Compact(out.Addresses)
	return out
}

func (id Identity) equal(other Identity) bool {
	return slices.Equal(id.Names, other.Names) && slices.Equal(id.Addresses, other.Addresses)
}

// sign makes a certificate with a key of its own and the full chain.
func (a *Authority) sign(now time.Time, id Identity) (*tls.Certificate, error) {
	if len(id.Names)+len(id.Addresses) == 0 {
		return nil, fmt.Errorf("the authority %q may sign for none of the board's names and addresses", a.Label())
	}
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return nil, err
	}
	// A clock that is wrong must not make what nobody with a right one can use.
	from := later(now.Add(-clockSlack), a.cert.NotBefore)
	until := from.AddDate(0, 0, leafDays)
	if until.After(a.cert.NotAfter) {
		until = a.cert.NotAfter
	}
	template := &x509.Certificate{
		SerialNumber: serial(),
		Subject:      pkix.Name{CommonName: "Porchlight"},
		NotBefore:    from, NotAfter: until,
		BasicConstraintsValid: true,
		KeyUsage:              x509.KeyUsageDigitalSignature,
		ExtKeyUsage:           []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth},
		DNSNames:              id.Names,
	}
	if len(id.Names) > 0 {
		template.Subject.CommonName = id.Names[0]
	}
	for _, addr := range id.Addresses {
		template.IPAddresses = append(template.IPAddresses, addr.AsSlice())
	}
	der, err := x509.CreateCertificate(rand.Reader, template, a.cert, key.Public(), a.key)
	if err != nil {
		return nil, err
	}
	leaf, err := x509.ParseCertificate(der)
	return &tls.Certificate{Certificate: [][]byte{der, a.cert.Raw}, PrivateKey: key, Leaf: leaf}, err
}
