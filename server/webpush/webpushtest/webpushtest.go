// Package webpushtest is a push service with one browser, for tests: it checks who sends, and
// decrypts as the browser would (RFC 8030, 8291, 8292). It shares no code with the sender.
package webpushtest

import (
	"crypto/aes"
	"crypto/cipher"
	"crypto/ecdh"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/hmac"
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"errors"
	"io"
	"math/big"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync/atomic"
	"testing"
	"time"
)

// Service is a push service that runs until the end of the test.
type Service struct {
	*httptest.Server
	// P256dh and Auth are what the browser says of its subscription.
	P256dh, Auth string
	// Got are the messages that came, in order.
	Got chan Message

	key    *ecdh.PrivateKey
	auth   []byte
	house  string // its public key
	status atomic.Int32
}

// Message is what the browser gets, and what the push service was told of it.
type Message struct {
	Text         string
	TTL, Urgency string
	Subject      string
}

// Start runs a service whose subscription is bound to the public key of a house.
func Start(t testing.TB, house string) *Service {
	t.Helper()
	key, err := ecdh.P256().GenerateKey(rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	s := &Service{Got: make(chan Message, 100), key: key, auth: make([]byte, 16), house: house}
	rand.Read(s.auth)
	s.P256dh = base64.RawURLEncoding.EncodeToString(key.PublicKey().Bytes())
	s.Auth = base64.RawURLEncoding.EncodeToString(s.auth)
	s.status.Store(http.StatusCreated)
	s.Server = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		m, err := s.take(r)
		if err != nil {
			t.Errorf("a push: %v", err)
			w.WriteHeader(http.StatusBadRequest)
			return
		}
		status := int(s.status.Load()) // as of now: whoever hears of the message may change it
		s.Got <- m
		w.WriteHeader(status)
	}))
	t.Cleanup(s.Close)
	return s
}

// Answer has the service answer with a status from now on.
func (s *Service) Answer(status int) { s.status.Store(int32(status)) }

func (s *Service) take(r *http.Request) (m Message, err error) {
	body, err := io.ReadAll(r.Body)
	if err != nil {
		return m, err
	}
	if len(body) > 4096 {
		return m, errors.New("it is longer than push services have to take")
	}
	if r.Method != http.MethodPost || r.Header.Get("Content-Encoding") != "aes128gcm" {
		return m, errors.New("it is no encrypted message")
	}
	m.TTL, m.Urgency = r.Header.Get("TTL"), r.Header.Get("Urgency")
	if m.Subject, err = s.sender(r); err != nil {
		return m, err
	}
	text, err := s.decrypt(body)
	m.Text = string(text)
	return m, err
}

// sender checks the token of the house, and gives its subject.
func (s *Service) sender(r *http.Request) (subject string, err error) {
	rest, ok := strings.CutPrefix(r.Header.Get("Authorization"), "vapid ")
	token, key, both := strings.Cut(rest, ", k=")
	token, isToken := strings.CutPrefix(token, "t=")
	parts := strings.Split(token, ".")
	if !ok || !both || !isToken || len(parts) != 3 || key != s.house {
		return "", errors.New("it does not say who the house is")
	}
	point, err := base64.RawURLEncoding.DecodeString(key)
	if err != nil {
		return "", err
	}
	signature, err := base64.RawURLEncoding.DecodeString(parts[2])
	if err != nil || len(signature) != 64 {
		return "", errors.New("its signature is none")
	}
	public, err := ecdsa.ParseUncompressedPublicKey(elliptic.P256(), point)
	if err != nil {
		return "", err
	}
	sum := sha256.Sum256([]byte(parts[0] + "." + parts[1]))
	if !ecdsa.Verify(public, sum[:], new(big.Int).SetBytes(signature[:32]), new(big.Int).SetBytes(signature[32:])) {
		return "", errors.New("its signature is wrong")
	}
	text, err := base64.RawURLEncoding.DecodeString(parts[1])
	if err != nil {
		return "", err
	}
	var claims struct {
		Aud, Sub string
		Exp      int64
	}
	if err := json.Unmarshal(text, &claims); err != nil {
		return "", err
	}
	if left := time.Until(time.Unix(claims.Exp, 0)); claims.Aud != "http://"+r.Host || left <= 0 || left > 24*time.Hour {
		return "", errors.New("its token is for " + claims.Aud + " until " + time.Unix(claims.Exp, 0).String())
	}
	return claims.Sub, nil
}

// mac is one step of HKDF: all that are needed here fit into one (RFC 5869).
func mac(key []byte, parts ...[]byte) []byte {
	h := hmac.New(sha256.New, key)
	for _, p := range parts {
		h.Write(p)
	}
	return h.Sum(nil)
}

func (s *Service) decrypt(body []byte) ([]byte, error) {
	if len(body) < 86 || body[20] != 65 {
		return nil, errors.New("its head is too short")
	}
	salt, sender, sealed := body[:16], body[21:86], body[86:]
	other, err := ecdh.P256().NewPublicKey(sender)
	if err != nil {
		return nil, err
	}
	shared, err := s.key.ECDH(other)
	if err != nil {
		return nil, err
	}
	one := []byte{1}
	secret := mac(mac(s.auth, shared), []byte("WebPush: info\x00"), s.key.PublicKey().Bytes(), sender, one)
	from := mac(salt, secret)
	block, err := aes.NewCipher(mac(from, []byte("Content-Encoding: aes128gcm\x00"), one)[:16])
	if err != nil {
		return nil, err
	}
	open, err := cipher.NewGCM(block)
	if err != nil {
		return nil, err
	}
	plain, err := open.Open(nil, mac(from, []byte("Content-Encoding: nonce\x00"), one)[:12], sealed, nil)
	if err != nil {
		return nil, err
	}
	text := strings.TrimRight(string(plain), "\x00")
	if !strings.HasSuffix(text, "\x02") {
		return nil, errors.New("its last record does not end")
	}
	return []byte(strings.TrimSuffix(text, "\x02")), nil
}
