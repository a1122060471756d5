package discovery

import (
	"bytes"
	"crypto/tls"
	"fmt"
	"log/slog"
	"os"
	"sync"
	"time"
)

// filesEvery is the least time between two looks at the owner's files.
const filesEvery = 10 * time.Second

// Files is a certificate of the owner's own, in two files that a tool such as certbot
// replaces now and then. It follows them without a restart: with a connection that comes
// filesEvery after the last look, they are read again.
type Files struct {
	cert, key string // paths
	now       func() time.Time
	log       *slog.Logger

	mu              sync.Mutex
	looked          time.Time
	certPEM, keyPEM []byte // what was read last, whether it was good or not
	pair            *tls.Certificate
}

// OpenFiles reads a certificate with its chain and its key, both as PEM. The error says what
// is wrong with them.
func OpenFiles(cert, key string, now func() time.Time, log *slog.Logger) (*Files, error) {
	f := &Files{cert: cert, key: key, now: now, log: log}
	if err := f.read(); err != nil {
		return nil, err
	}
	f.looked = now()
	return f, nil
}

// read takes the files if they have changed. The caller holds mu, or is alone.
func (f *Files) read() error {
	certPEM, err := os.ReadFile(f.cert)
	if err != nil {
		return fmt.Errorf("the certificate: %w", err)
	}
	keyPEM, err := os.ReadFile(f.key)
	if err != nil {
		return fmt.Errorf("the certificate's key: %w", err)
	}
	if bytes.Equal(certPEM, f.certPEM) && bytes.Equal(keyPEM, f.keyPEM) {
		return nil
	}
	f.certPEM, f.keyPEM = certPEM, keyPEM
	pair, err := tls.X509KeyPair(certPEM, keyPEM)
	if err != nil {
		return fmt.Errorf("the certificate %s: %w", f.cert, err)
	}
	if f.pair != nil {
		f.log.Info("took the new certificate", "file", f.cert, "until", pair.Leaf.NotAfter)
	}
	f.pair = &pair
	return nil
}

// certificate is the one to show. Files that are no good, or are being replaced just now,
// leave the one before in place.
func (f *Files) certificate(*tls.ClientHelloInfo) (*tls.Certificate, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if now := f.now(); now.Sub(f.looked) >= filesEvery {
		f.looked = now
		if err := f.read(); err != nil {
			f.log.Warn("a changed certificate is no good, so the one before stays", "error", err)
		}
	}
	return f.pair, nil
}

// TLS is a server's configuration that shows the certificate.
func (f *Files) TLS() *tls.Config {
	return &tls.Config{GetCertificate: f.certificate, MinVersion: tls.VersionTLS12, NextProtos: []string{"h2", "http/1.1"}}
}
