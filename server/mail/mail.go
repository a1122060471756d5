// Package mail hands e-mails to the relay that the house's owner has named (RFC 5321).
//
// It keeps nothing and tries once: who asked for the mail asks again.
package mail

import (
	"bytes"
	"context"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"mime"
	"mime/quotedprintable"
	"net"
	"net/mail"
	"net/smtp"
	"strconv"
	"strings"
	"time"
)

// Security is how the connection to the relay is protected.
type Security string

// The kinds of protection. The zero value is STARTTLS.
const (
	STARTTLS Security = "starttls" // the connection is upgraded, or not used
	TLS      Security = "tls"      // from the first byte on
	Plain    Security = "none"     // for a relay on this machine or in this house
)

const (
	// sendTimeout is how long one mail may take.
	sendTimeout = 30 * time.Second
	// maxAddressBytes is the longest address (RFC 5321, 4.5.3.1.3).
	maxAddressBytes = 254
)

// Config names the relay.
type Config struct {
	Host           string
	Port           int // 0: 587, or 465 for TLS, or 25 without protection
	Security       Security
	User, Password string // empty: the relay asks for none
	From           string // "Name <address>" or an address
	// RootCAs sign the relay's certificate; nil: the system's.
	RootCAs *x509.CertPool
	Now     func() time.Time // nil: time.Now
}

// Sender sends mails. It may be used from any goroutine.
type Sender struct {
	Config
	from *mail.Address
}

// Message is a mail in plain text.
type Message struct {
	To      string // an address without a name
	Subject string
	Text    string // lines end in \n
}

// New checks the configuration; it does not connect.
func New(c Config) (*Sender, error) {
	if c.Host == "" {
		return nil, errors.New("the mail relay has no name")
	}
	from, err := mail.ParseAddress(c.From)
	if err != nil {
		return nil, fmt.Errorf("the sender of mails %q is not an address: %w", c.From, err)
	}
	port := 587
	switch c.Security {
	case "":
		c.Security = STARTTLS
	case STARTTLS:
	case TLS:
		port = 465
	case Plain:
		port = 25
	default:
		return nil, fmt.Errorf("the mail relay is protected by starttls, tls or none, not %q", c.Security)
	}
	if c.Port == 0 {
		c.Port = port
	}
	if c.Now == nil {
		c.Now = time.Now
	}
	return &Sender{Config: c, from: from}, nil
}

// ParseAddress is an address as "user@domain" and nothing else.
func ParseAddress(s string) (string, error) {
	a, err := mail.ParseAddress(s)
	switch {
	case err != nil:
		return "", err
	case a.Address != s || len(s) > maxAddressBytes || strings.ContainsAny(s, "\r\n\x00 "):
		return "", errors.New("it is not a bare address")
	}
	return s, nil
}

// Send hands one mail to the relay. The error says what the relay or the network said.
func (s *Sender) Send(ctx context.Context, m Message) error {
	to, err := ParseAddress(m.To)
	if err != nil {
		return fmt.Errorf("address %q: %w", m.To, err)
	}
	body, err := s.compose(to, m)
	if err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(ctx, sendTimeout)
	defer cancel()
	client, err := s.connect(ctx)
	if err != nil {
		return err
	}
	defer client.Close() // after Quit there is nothing to report
	if s.User != "" {
		if err := client.Auth(smtp.PlainAuth("", s.User, s.Password, s.Host)); err != nil {
			return fmt.Errorf("log in to the mail relay: %w", err)
		}
	}
	if err := client.Mail(s.from.Address); err != nil {
		return fmt.Errorf("the mail relay refused the sender: %w", err)
	}
	if err := client.Rcpt(to); err != nil {
		return fmt.Errorf("the mail relay refused the address: %w", err)
	}
	w, err := client.Data()
	if err != nil {
		return err
	}
	if _, err := w.Write(body); err != nil {
		return err
	}
	if err := w.Close(); err != nil {
		return fmt.Errorf("the mail relay refused the mail: %w", err)
	}
	return client.Quit()
}

// connect opens the connection, protected as configured, and greets.
func (s *Sender) connect(ctx context.Context) (*smtp.Client, error) {
	address := net.JoinHostPort(s.Host, strconv.Itoa(s.Port))
	secure := &tls.Config{ServerName: s.Host, RootCAs: s.RootCAs, MinVersion: tls.VersionTLS12}
	var conn net.Conn
	var err error
	if s.Security == TLS {
		conn, err = (&tls.Dialer{Config: secure}).DialContext(ctx, "tcp", address)
	} else {
		conn, err = new(net.Dialer).DialContext(ctx, "tcp", address)
	}
	if err != nil {
		return nil, fmt.Errorf("reach the mail relay: %w", err)
	}
	if end, ok := ctx.Deadline(); ok {
		err = conn.SetDeadline(end) // net/smtp knows no context
	}
	var client *smtp.Client
	if err == nil {
		client, err = smtp.NewClient(conn, s.Host)
	}
	if err != nil {
		return nil, errors.Join(fmt.Errorf("greet the mail relay: %w", err), conn.Close())
	}
	if s.Security == STARTTLS {
		if err := client.StartTLS(secure); err != nil {
			return nil, errors.Join(fmt.Errorf("protect the connection to the mail relay: %w", err), client.Close())
		}
	}
	return client, nil
}

// compose writes the mail with its header.
func (s *Sender) compose(to string, m Message) ([]byte, error) {
	_, domain, _ := strings.Cut(s.from.Address, "@")
	var b bytes.Buffer
	for _, field := range [][2]string{
		{"Date", s.Now().Format(time.RFC1123Z)},
		{"Message-ID", "<" + rand.Text() + "@" + domain + ">"},
		{"From", s.from.String()},
		{"To", (&mail.Address{Address: to}).String()},
		{"Subject", mime.QEncoding.Encode("utf-8", m.Subject)},
		{"Auto-Submitted", "auto-generated"},
		{"MIME-Version", "1.0"},
		{"Content-Type", "text/plain; charset=utf-8"},
		{"Content-Transfer-Encoding", "quoted-printable"},
	} {
		if strings.ContainsAny(field[1], "\r\n") {
			return nil, fmt.Errorf("the field %s of the mail has several lines", field[0])
		}
		fmt.Fprintf(&b, "%s: %s\r\n", field[0], field[1])
	}
	b.WriteString("\r\n")
	q := quotedprintable.NewWriter(&b)
	if _, err := q.Write([]byte(strings.ReplaceAll(m.Text, "\n", "\r\n"))); err != nil {
		return nil, err
	}
	return b.Bytes(), q.Close()
}
