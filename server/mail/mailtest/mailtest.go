// Package mailtest is a mail relay for tests: it takes every mail and keeps it.
package mailtest

import (
	"bufio"
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"encoding/base64"
	"math/big"
	"net"
	"strings"
	"sync"
	"testing"
	"time"
)

// Relay is a relay that runs until the end of the test.
type Relay struct {
	Host    string
	Port    int
	RootCAs *x509.CertPool // sign its certificate

	listener net.Listener
	secure   *tls.Config
	starttls bool
	done     sync.WaitGroup

	mu     sync.Mutex
	user   string
	secret string
	refuse bool
	turned int // addresses that were refused
	mails  []Mail
	came   chan struct{} // closed and replaced when a mail comes
}

// Mail is what a client has handed over.
type Mail struct {
	From, To string
	Data     string // header and text, lines end in \n
	Secure   bool   // it came over TLS
}

// Start runs a relay without protection.
func Start(t testing.TB) *Relay { return start(t, false, false) }

// StartTLS runs a relay that offers STARTTLS.
func StartTLS(t testing.TB) *Relay { return start(t, true, false) }

// StartWrapped runs a relay that speaks TLS from the first byte on.
func StartWrapped(t testing.TB) *Relay { return start(t, false, true) }

func start(t testing.TB, starttls, wrapped bool) *Relay {
	t.Helper()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	r := &Relay{Host: "127.0.0.1", Port: listener.Addr().(*net.TCPAddr).Port, starttls: starttls, listener: listener}
	r.certify(t)
	if wrapped {
		r.listener = tls.NewListener(listener, r.secure)
	}
	r.done.Go(func() {
		for {
			conn, err := r.listener.Accept()
			if err != nil {
				return
			}
			r.done.Go(func() { r.serve(conn, wrapped) })
		}
	})
	t.Cleanup(func() {
		if err := r.listener.Close(); err != nil {
			t.Error(err)
		}
		r.done.Wait()
	})
	return r
}

// Demand has clients log in.
func (r *Relay) Demand(user, password string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.user, r.secret = user, password
}

// Refuse has every address refused from now on, or not any more.
func (r *Relay) Refuse(all bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.refuse = all
}

// Refused is how many addresses were refused so far.
func (r *Relay) Refused() int {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.turned
}

// ask reads what Demand and Refuse have set.
func (r *Relay) ask() (credentials string, refuse bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	return base64.StdEncoding.EncodeToString([]byte("\x00" + r.user + "\x00" + r.secret)), r.refuse
}

// Mails are the mails that came in so far.
func (r *Relay) Mails() []Mail {
	r.mu.Lock()
	defer r.mu.Unlock()
	return append([]Mail(nil), r.mails...)
}

// Wait waits until n mails have come in, and returns them. The test fails if ctx ends first.
func (r *Relay) Wait(ctx context.Context, t testing.TB, n int) []Mail {
	t.Helper()
	for {
		r.mu.Lock()
		if len(r.mails) >= n {
			defer r.mu.Unlock()
			return append([]Mail(nil), r.mails...)
		}
		if r.came == nil {
			r.came = make(chan struct{})
		}
		came := r.came
		r.mu.Unlock()
		select {
		case <-came:
		case <-ctx.Done():
			t.Fatalf("fewer than %d mails came: %v", n, ctx.Err())
		}
	}
}

// certify makes a certificate for this relay's address.
func (r *Relay) certify(t testing.TB) {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	plan := &x509.Certificate{
		SerialNumber: big.NewInt(1), NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour),
		IPAddresses: []net.IP{net.ParseIP(r.Host)}, IsCA: true, BasicConstraintsValid: true,
	}
	der, err := x509.CreateCertificate(rand.Reader, plan, plan, &key.PublicKey, key)
	if err != nil {
		t.Fatal(err)
	}
	cert, err := x509.ParseCertificate(der)
	if err != nil {
		t.Fatal(err)
	}
	r.RootCAs = x509.NewCertPool()
	r.RootCAs.AddCert(cert)
	r.secure = &tls.Config{Certificates: []tls.Certificate{{Certificate: [][]byte{der}, PrivateKey: key}}}
}

// serve speaks just enough SMTP. Errors end the connection, and the client reports them.
func (r *Relay) serve(conn net.Conn, secure bool) {
	defer func() { _ = conn.Close() }()
	_ = conn.SetDeadline(time.Now().Add(30 * time.Second))
	lines := bufio.NewReader(conn)
	say := func(s string) { _, _ = conn.Write([]byte(s + "\r\n")) }
	say("220 relay.test")
	m := Mail{Secure: secure}
	for {
		line, err := lines.ReadString('\n')
		if err != nil {
			return
		}
		line = strings.TrimRight(line, "\r\n")
		verb, rest, _ := strings.Cut(line, " ")
		switch strings.ToUpper(verb) {
		case "EHLO":
			if r.starttls && !m.Secure {
				say("250-STARTTLS")
			}
			say("250-8BITMIME\r\n250-SMTPUTF8\r\n250 AUTH PLAIN")
		case "STARTTLS":
			if !r.starttls {
				say("502 not here")
				continue
			}
			say("220 go on")
			conn = tls.Server(conn, r.secure)
			lines, m.Secure = bufio.NewReader(conn), true
		case "AUTH":
			if want, _ := r.ask(); rest == "PLAIN "+want {
				say("235 welcome")
			} else {
				say("535 no")
			}
		case "MAIL":
			m.From = between(rest)
			say("250 ok")
		case "RCPT":
			if _, refuse := r.ask(); refuse {
				r.mu.Lock()
				r.turned++
				r.mu.Unlock()
				say("550 nobody of that name")
				continue
			}
			m.To = between(rest)
			say("250 ok")
		case "DATA":
			say("354 go on")
			m.Data = data(lines)
			r.mu.Lock()
			r.mails = append(r.mails, m)
			if r.came != nil {
				close(r.came)
				r.came = nil
			}
			r.mu.Unlock()
			say("250 ok")
		case "QUIT":
			say("221 bye")
			return
		default:
			say("500 what?")
		}
	}
}

// data reads up to the line with a dot alone.
func data(lines *bufio.Reader) string {
	var b strings.Builder
	for {
		line, err := lines.ReadString('\n')
		if line = strings.TrimRight(line, "\r\n"); err != nil || line == "." {
			return b.String()
		}
		b.WriteString(strings.TrimPrefix(line, ".") + "\n")
	}
}

// between is what stands between < and >.
func between(s string) string {
	_, s, _ = strings.Cut(s, "<")
	s, _, _ = strings.Cut(s, ">")
	return s
}
