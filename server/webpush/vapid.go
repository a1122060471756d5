package webpush

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/sha256"
	"crypto/x509"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"net/url"
	"time"
)

// tokenLife is how long a push service may take a token for good; a day is the most (RFC
// 8292, 2).
const tokenLife = 12 * time.Hour

// Key is what the house is known by at push services. Browsers bind their subscriptions to
// it, so it is made once and kept.
type Key struct {
	private *ecdsa.PrivateKey
	public  string // base64 for URLs
}

// NewKey makes a key.
func NewKey() (*Key, error) {
	private, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return nil, err
	}
	return newKey(private)
}

func newKey(private *ecdsa.PrivateKey) (*Key, error) {
	point, err := private.PublicKey.ECDH()
	if err != nil {
		return nil, err
	}
	return &Key{private, base64.RawURLEncoding.EncodeToString(point.Bytes())}, nil
}

// OpenKey reads what Store has written.
func OpenKey(stored []byte) (*Key, error) {
	parsed, err := x509.ParsePKCS8PrivateKey(stored)
	if err != nil {
		return nil, err
	}
	private, ok := parsed.(*ecdsa.PrivateKey)
	if !ok || private.Curve != elliptic.P256() {
		return nil, errors.New("the key for push services is not of P-256")
	}
	return newKey(private)
}

// Store is the key as it is kept (PKCS #8). It is a secret.
func (k *Key) Store() ([]byte, error) { return x509.MarshalPKCS8PrivateKey(k.private) }

// Public is the key as browsers are told it: the applicationServerKey, in base64 for URLs.
func (k *Key) Public() string { return k.public }

// authorization says to the push service of an endpoint who the house is (RFC 8292, 2 and 3).
func (k *Key) authorization(endpoint, subject string, now time.Time) (string, error) {
	u, err := url.Parse(endpoint)
	if err != nil {
		return "", err
	}
	claims, err := json.Marshal(struct {
		Audience string `json:"aud"`
		Expires  int64  `json:"exp"`
		Subject  string `json:"sub"`
	}{u.Scheme + "://" + u.Host, now.Add(tokenLife).Unix(), subject})
	if err != nil {
		return "", err
	}
	encode := base64.RawURLEncoding.EncodeToString
	token := encode([]byte(`{"typ":"JWT","alg":"ES256"}`)) + "." + encode(claims)
	sum := sha256.Sum256([]byte(token))
	r, s, err := ecdsa.Sign(rand.Reader, k.private, sum[:])
	if err != nil {
		return "", err
	}
	var signature [64]byte // r and s, 32 bytes each (RFC 7518, 3.4)
	r.FillBytes(signature[:32])
	s.FillBytes(signature[32:])
	return fmt.Sprintf("vapid t=%s.%s, k=%s", token, encode(signature[:]), k.public), nil
}
