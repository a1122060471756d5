package discovery

import (
	"crypto/tls"
	"crypto/x509"
	"encoding/pem"
	"log/slog"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// write puts a new certificate for a name into the two files.
func writePair(t *testing.T, a *Authority, cert, key, name string) {
	t.Helper()
	leaf := must(a.sign(time.Now(), Identity{Names: []string{name}}))
	raw := must(x509.MarshalPKCS8PrivateKey(leaf.PrivateKey))
	for path, block := range map[string]*pem.Block{
		cert: {Type: "CERTIFICATE", Bytes: leaf.Certificate[0]}, key: {Type: "PRIVATE KEY", Bytes: raw},
	} {
		if err := os.WriteFile(path, pem.EncodeToMemory(block), 0o600); err != nil {
			t.Fatal(err)
		}
	}
}

// shown is the name in the certificate that a new connection is shown.
func shown(t *testing.T, c *tls.Config) string {
	t.Helper()
	here, there := net.Pipe()
	defer here.Close()
	defer there.Close()
	go tls.Server(there, c).Handshake()
	client := tls.Client(here, &tls.Config{InsecureSkipVerify: true})
	if err := client.Handshake(); err != nil {
		t.Fatal(err)
	}
	return client.ConnectionState().PeerCertificates[0].DNSNames[0]
}

// The owner's files are followed, at most once in filesEvery, and files that are no good
// change nothing.
func TestFilesAreFollowed(t *testing.T) {
	a := authority(t)
	dir := t.TempDir()
	cert, key := filepath.Join(dir, "cert.pem"), filepath.Join(dir, "key.pem")
	now := time.Now()
	var log strings.Builder
	logger := slog.New(slog.NewTextHandler(&log, nil))
	if _, err := OpenFiles(cert, key, time.Now, logger); err == nil {
		t.Error("files that are not there were opened")
	}
	writePair(t, a, cert, key, "house.local")
	f, err := OpenFiles(cert, key, func() time.Time { return now }, logger)
	if err != nil {
		t.Fatal(err)
	}
	expect := func(when, want string) {
		t.Helper()
		if got := shown(t, f.TLS()); got != want {
			t.Errorf("%s, %s is shown and not %s", when, got, want)
		}
	}
	expect("at first", "house.local")
	writePair(t, a, cert, key, "house-2.local")
	expect("right after the change", "house.local")
	now = now.Add(filesEvery)
	expect("some seconds later", "house-2.local")
	if !strings.Contains(log.String(), "took the new certificate") {
		t.Errorf("the change is not told:\n%s", log.String())
	}

	// Half of a pair has been replaced: the key does not fit.
	other := filepath.Join(dir, "other.pem")
	writePair(t, a, cert, other, "house-3.local")
	now = now.Add(filesEvery)
	expect("with the wrong key", "house-2.local")
	if err := os.Rename(other, key); err != nil {
		t.Fatal(err)
	}
	now = now.Add(filesEvery)
	expect("with the right key", "house-3.local")
	for what, change := range map[string]func() error{
		"rubbish": func() error { return os.WriteFile(cert, []byte("rubbish"), 0o600) },
		"gone":    func() error { return os.Remove(cert) },
	} {
		if err := change(); err != nil {
			t.Fatal(err)
		}
		now = now.Add(filesEvery)
		expect("with the certificate "+what, "house-3.local")
	}
	if n := strings.Count(log.String(), "is no good"); n != 3 {
		t.Errorf("%d complaints, not 3:\n%s", n, log.String())
	}
}
