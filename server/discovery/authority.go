package discovery

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/sha256"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"errors"
	"fmt"
	"math/big"
	"net"
	"net/netip"
	"slices"
	"strings"
	"time"
)

const (
	// authorityYears is how long an authority is good for.
	authorityYears = 10
	// clockSlack is how far a client's clock may be behind the board's.
	clockSlack = 24 * time.Hour
	// serialBits is the size of serial numbers.
	serialBits = 120
)

// mostAhead is how far in the future an authority may begin and be kept: a board without a
// clock of its own starts with the time at which it last wrote it down.
const mostAhead = 365 * 24 * time.Hour

// notBefore is a time that every clock which is right has passed. Boards without a
// battery begin in 1970 until they hear the time from somewhere.
var notBefore = time.Date(2026, time.January, 1, 0, 0, 0, 0, time.UTC)

// private are the networks that an authority may sign for: those that mean something
// else in each house, so that nobody can be harmed elsewhere.
var private = []netip.Prefix{
	netip.MustParsePrefix("10.0.0.0/8"), netip.MustParsePrefix("172.16.0.0/12"), netip.MustParsePrefix("192.168.0.0/16"),
	netip.MustParsePrefix("100.64.0.0/10"), netip.MustParsePrefix("169.254.0.0/16"), netip.MustParsePrefix("127.0.0.0/8"),
	netip.MustParsePrefix("fc00::/7"), netip.MustParsePrefix("fe80::/10"), netip.MustParsePrefix("::1/128"),
}

// Stored is an Authority as it is kept. Key is as secret as a password.
type Stored struct {
	Key         []byte `json:"key"`         // PKCS #8
	Certificate []byte `json:"certificate"` // DER
}

// Authority signs the board's certificates.
type Authority struct {
	key  *ecdsa.PrivateKey
	cert *x509.Certificate
}

// NewAuthority makes one that may sign for these DNS names (and what is below them) and
// for addresses in private networks. label tells people which board it is.
func NewAuthority(now time.Time, label string, names []string) (*Authority, error) {
	if len(names) == 0 {
		return nil, errors.New("an authority for no name at all would be one for every name")
	}
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return nil, err
	}
	from := later(now, notBefore).Add(-clockSlack)
	template := &x509.Certificate{
		SerialNumber: serial(),
		Subject:      pkix.Name{CommonName: "Porchlight " + label, Organization: []string{"Porchlight"}},
		NotBefore:    from, NotAfter: from.AddDate(authorityYears, 0, 0),
		IsCA: true, BasicConstraintsValid: true, MaxPathLenZero: true,
		KeyUsage:                    x509.KeyUsageCertSign | x509.KeyUsageCRLSign,
		PermittedDNSDomainsCritical: true,
		PermittedDNSDomains:         names,
		PermittedIPRanges:           ranges(),
		// Nothing of ours has mail or URI names; a constraint to one of ours rules out others'.
		PermittedEmailAddresses: names[:1],
		PermittedURIDomains:     names[:1],
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	if err != nil {
		return nil, err
	}
	cert, err := x509.ParseCertificate(der)
	return &Authority{key, cert}, err
}

// OpenAuthority is the Authority that was stored.
func OpenAuthority(s Stored) (*Authority, error) {
	key, err := x509.ParsePKCS8PrivateKey(s.Key)
	if err != nil {
		return nil, fmt.Errorf("the key of the certificate authority: %w", err)
	}
	ec, ok := key.(*ecdsa.PrivateKey)
	if !ok {
		return nil, fmt.Errorf("the key of the certificate authority is a %T", key)
	}
	cert, err := x509.ParseCertificate(s.Certificate)
	if err != nil {
		return nil, fmt.Errorf("the certificate authority: %w", err)
	}
	if !ec.PublicKey.Equal(cert.PublicKey) {
		return nil, errors.New("the key of the certificate authority is not that of its certificate")
	}
	return &Authority{ec, cert}, nil
}

// Store gives what OpenAuthority takes.
func (a *Authority) Store() (Stored, error) {
	key, err := x509.MarshalPKCS8PrivateKey(a.key)
	return Stored{Key: key, Certificate: a.cert.Raw}, err
}

// Serves says whether the authority can still sign for all these names at a time; if not,
// a new one has to be made and trusted. One that was made while the clock was far in the
// future serves nobody until then; but a clock that is plainly behind says nothing of that.
func (a *Authority) Serves(now time.Time, names []string) bool {
	if now.After(a.cert.NotAfter.AddDate(0, -1, 0)) {
		return false
	}
	if now.After(notBefore) && a.cert.NotBefore.After(now.Add(mostAhead)) {
		return false
	}
	return !slices.ContainsFunc(names, func(n string) bool { return !a.mayName(n) })
}

func (a *Authority) mayName(name string) bool {
	return slices.ContainsFunc(a.cert.PermittedDNSDomains, func(p string) bool {
		return name == p || strings.HasSuffix(name, "."+p)
	})
}

func (a *Authority) mayAddress(addr netip.Addr) bool {
	return slices.ContainsFunc(private, func(p netip.Prefix) bool { return p.Contains(addr) })
}

// DER is the authority's certificate, to be trusted.
func (a *Authority) DER() []byte { return slices.Clone(a.cert.Raw) }

// PEM is the same in the form that command lines like.
func (a *Authority) PEM() []byte {
	return pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: a.cert.Raw})
}

// Label is the authority's name as devices show it.
func (a *Authority) Label() string { return a.cert.Subject.CommonName }

// Begins is the time from which the authority holds.
func (a *Authority) Begins() time.Time { return a.cert.NotBefore }

// Until is when the authority ends.
func (a *Authority) Until() time.Time { return a.cert.NotAfter }

// Fingerprint is the SHA-256 of the certificate as devices show it: pairs of capital
// hexadecimal digits with colons between them.
func (a *Authority) Fingerprint() string {
	sum := sha256.Sum256(a.cert.Raw)
	pairs := make([]string, len(sum))
	for i, b := range sum {
		pairs[i] = fmt.Sprintf("%02X", b)
	}
	return strings.Join(pairs, ":")
}

func ranges() (list []*net.IPNet) {
	for _, p := range private {
		list = append(list, &net.IPNet{IP: p.Addr().AsSlice(), Mask: net.CIDRMask(p.Bits(), p.Addr().BitLen())})
	}
	return list
}

// serial is a serial number that nobody has seen before.
func serial() *big.Int {
	var b [serialBits / 8]byte
	rand.Read(b[:]) // never fails: see crypto/rand
	b[0] |= 1       // not zero
	return new(big.Int).SetBytes(b[:])
}

func later(a, b time.Time) time.Time {
	if a.After(b) {
		return a
	}
	return b
}
