// Package webpush writes messages to browsers that are not open, as the Web has it: the
// message is encrypted for the browser (RFC 8291), handed to the push service that the
// browser has chosen (RFC 8030), and the house says there who it is (RFC 8292, "VAPID").
//
// It is pure but for randomness: who sends the requests, decides where they may go.
package webpush

import (
	"bytes"
	"context"
	"crypto/aes"
	"crypto/cipher"
	"crypto/ecdh"
	"crypto/hkdf"
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
	"encoding/binary"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"time"
)

const (
	// MaxMessage is the largest message in bytes: what push services have to take is 4096
	// bytes, of which head, padding and tag take some (RFC 8291, 4).
	MaxMessage = 4096 - headSize - 1 - tagSize
	// authSize is the size of a subscription's secret in bytes, saltSize that of a message's.
	authSize = 16
	saltSize = 16
	// keySize is the size of a public key: an uncompressed point of P-256.
	keySize = 65
	// headSize is salt, size of a record, and the sender's key with its length (RFC 8188, 2.1).
	headSize = saltSize + 4 + 1 + keySize
	tagSize  = 16
	// recordSize is that of the one record that a message has.
	recordSize = 4096
	// lastRecord ends the last record's plain text (RFC 8188, 2).
	lastRecord = 2
)

// Subscription is where a browser can be written to, and how to encrypt for it.
type Subscription struct {
	Endpoint string // an address of the browser's push service
	key      *ecdh.PublicKey
	auth     []byte
}

// NewSubscription reads what a browser says of its subscription: its endpoint, and p256dh and
// auth in base64 for URLs. The error is for whoever asked.
func NewSubscription(endpoint, p256dh, auth string) (*Subscription, error) {
	u, err := url.Parse(endpoint)
	if err != nil || u.Host == "" || u.User != nil || u.Fragment != "" || u.Scheme != "https" && u.Scheme != "http" {
		return nil, errors.New("the endpoint of a subscription has to be an address on the web")
	}
	point, err := decode(p256dh)
	if err != nil {
		return nil, errors.New("the key of a subscription is no base64 for URLs")
	}
	key, err := ecdh.P256().NewPublicKey(point)
	if err != nil {
		return nil, errors.New("the key of a subscription is no point of P-256")
	}
	secret, err := decode(auth)
	if err != nil || len(secret) != authSize {
		return nil, fmt.Errorf("the secret of a subscription has %d bytes in base64 for URLs", authSize)
	}
	return &Subscription{endpoint, key, secret}, nil
}

// decode reads base64 for URLs, with padding or without.
func decode(s string) ([]byte, error) {
	return base64.RawURLEncoding.DecodeString(strings.TrimRight(s, "="))
}

// Message is what a browser is told.
type Message struct {
	Text   []byte        // at most MaxMessage
	TTL    time.Duration // how long a push service keeps it for a browser that is not to be reached
	Urgent bool          // it wakes a device that saves its battery
}

// NewRequest is the request that hands a message to a push service, at a time. subject is an
// address ("mailto:…" or "https:…") at which whoever runs the push service reaches the owner.
func (k *Key) NewRequest(ctx context.Context, s *Subscription, m Message, subject string, now time.Time) (*http.Request, error) {
	salt := make([]byte, saltSize)
	rand.Read(salt) // never fails
	sender, err := ecdh.P256().GenerateKey(rand.Reader)
	if err != nil {
		return nil, err
	}
	body, err := s.encrypt(m.Text, sender, salt)
	if err != nil {
		return nil, err
	}
	who, err := k.authorization(s.Endpoint, subject, now)
	if err != nil {
		return nil, err
	}
	r, err := http.NewRequestWithContext(ctx, http.MethodPost, s.Endpoint, bytes.NewReader(body))
	if err != nil {
		return nil, err
	}
	urgency := "normal"
	if m.Urgent {
		urgency = "high"
	}
	r.Header.Set("Authorization", who)
	r.Header.Set("Content-Encoding", "aes128gcm")
	r.Header.Set("Content-Type", "application/octet-stream")
	r.Header.Set("TTL", strconv.Itoa(int(m.TTL/time.Second)))
	r.Header.Set("Urgency", urgency)
	return r, nil
}

// encrypt is the body of a message (RFC 8291, 3.4; RFC 8188, 2).
func (s *Subscription) encrypt(text []byte, sender *ecdh.PrivateKey, salt []byte) ([]byte, error) {
	if len(text) > MaxMessage {
		return nil, fmt.Errorf("a message has at most %d bytes", MaxMessage)
	}
	shared, err := sender.ECDH(s.key)
	if err != nil {
		return nil, err
	}
	public := sender.PublicKey().Bytes()
	key, nonce, err := derive(shared, s.auth, s.key.Bytes(), public, salt)
	if err != nil {
		return nil, err
	}
	block, err := aes.NewCipher(key)
	if err != nil {
		return nil, err
	}
	seal, err := cipher.NewGCM(block)
	if err != nil {
		return nil, err
	}
	head := make([]byte, 0, headSize+len(text)+1+tagSize)
	head = append(head, salt...)
	head = binary.BigEndian.AppendUint32(head, recordSize)
	head = append(head, byte(len(public)))
	head = append(head, public...)
	return seal.Seal(head, nonce, append(bytes.Clone(text), lastRecord), nil), nil
}

// derive is the key and the nonce of a message (RFC 8291, 3.3 and 3.4).
func derive(shared, auth, receiver, sender, salt []byte) (key, nonce []byte, err error) {
	info := "WebPush: info\x00" + string(receiver) + string(sender)
	secret, err := hkdf.Key(sha256.New, shared, auth, info, sha256.Size)
	if err != nil {
		return nil, nil, err
	}
	if key, err = hkdf.Key(sha256.New, secret, salt, "Content-Encoding: aes128gcm\x00", 16); err != nil {
		return nil, nil, err
	}
	nonce, err = hkdf.Key(sha256.New, secret, salt, "Content-Encoding: nonce\x00", 12)
	return key, nonce, err
}
