package server_test

import (
	"bytes"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/json"
	"encoding/pem"
	"io"
	"math/big"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"porchlight/server"
	"porchlight/server/servertest"
)

// secure gives the house an HTTPS door.
func secure(c *server.Config) { c.Network.ListenHTTPS = []string{"127.0.0.1:0"} }

func fetch(t *testing.T, client *http.Client, url string) (*http.Response, []byte) {
	t.Helper()
	resp, err := client.Get(url)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatal(err)
	}
	return resp, body
}

// trusting is a client that trusts what is in the PEM.
func trusting(t *testing.T, pem []byte) *http.Client {
	t.Helper()
	roots := x509.NewCertPool()
	if !roots.AppendCertsFromPEM(pem) {
		t.Fatalf("no certificate in %q", pem)
	}
	transport := &http.Transport{TLSClientConfig: &tls.Config{RootCAs: roots}, ForceAttemptHTTP2: true}
	t.Cleanup(transport.CloseIdleConnections)
	return &http.Client{Transport: transport}
}

func httpsURL(s *servertest.Server) string { return "https://" + s.Addrs()[1].String() }

// TestHTTPS has a device load the authority over HTTP, trust it, and come back over HTTPS.
// A restart changes nothing for it.
func TestHTTPS(t *testing.T) {
	folder := t.TempDir()
	var first []byte
	for start := range 2 {
		t.Run(strconv.Itoa(start), func(t *testing.T) {
			s := servertest.At(t, folder, secure)
			_, authority := fetch(t, http.DefaultClient, s.URL()+"/ca.pem")
			if start == 0 {
				first = authority
			} else if !bytes.Equal(authority, first) {
				t.Error("another authority after a restart")
			}
			resp, body := fetch(t, trusting(t, authority), httpsURL(s)+"/_matrix/client/versions")
			if resp.StatusCode != 200 || resp.ProtoMajor != 2 || !json.Valid(body) {
				t.Errorf("%s by %s: %s", resp.Status, resp.Proto, body)
			}
			if _, err := http.Get(httpsURL(s) + "/"); err == nil {
				t.Error("who does not trust the authority got an answer")
			}
			_, page := fetch(t, http.DefaultClient, s.URL()+"/trust")
			greeting := strings.Join(s.Greeting(), "\n")
			_, after, _ := strings.Cut(greeting, "fingerprint ")
			fingerprint, _, _ := strings.Cut(after, "\n")
			if fingerprint == "" || !strings.Contains(string(page), fingerprint) {
				t.Errorf("the page does not show the fingerprint %q that the start shows:\n%s", fingerprint, greeting)
			}
			var info struct {
				Secure string `json:"secure"`
				Trust  bool   `json:"trust"`
			}
			_, raw := fetch(t, http.DefaultClient, s.URL()+"/_porchlight/info")
			if err := json.Unmarshal(raw, &info); err != nil || len(s.SecureURLs()) > 0 && (!info.Trust || info.Secure == "") {
				t.Errorf("the page is told %s, %v", raw, err)
			}
		})
	}
}

// TestRenamed gives the house another name in the network: its authority cannot sign for it.
func TestRenamed(t *testing.T) {
	folder := t.TempDir()
	authority := func(name string) (pem string) {
		t.Run(name, func(t *testing.T) {
			s := servertest.At(t, folder, secure, func(c *server.Config) {
				c.Network.LocalName = name
				c.Log = nil // it warns
			})
			_, body := fetch(t, http.DefaultClient, s.URL()+"/ca.pem")
			pem = string(body)
		})
		return pem
	}
	one, other := authority("porch-test-x"), authority("porch-test-y")
	if one == other {
		t.Error("the same authority for another name")
	}
	if authority("porch-test-y") != other {
		t.Error("a new authority for the same name")
	}
}

// TestOwnCertificate has the owner bring a certificate.
func TestOwnCertificate(t *testing.T) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "own"}, IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)},
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour), IsCA: true, BasicConstraintsValid: true,
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	if err != nil {
		t.Fatal(err)
	}
	private, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		t.Fatal(err)
	}
	folder := t.TempDir()
	cert := pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der})
	for name, text := range map[string][]byte{"cert.pem": cert, "key.pem": pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: private})} {
		if err := os.WriteFile(filepath.Join(folder, name), text, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	s := servertest.New(t, secure, func(c *server.Config) {
		c.TLSCert, c.TLSKey = filepath.Join(folder, "cert.pem"), filepath.Join(folder, "key.pem")
	})
	if resp, _ := fetch(t, trusting(t, cert), httpsURL(s)+"/_matrix/client/versions"); resp.StatusCode != 200 || resp.ProtoMajor != 2 {
		t.Errorf("%s by %s", resp.Status, resp.Proto)
	}
	for _, path := range []string{"/trust", "/ca.crt"} {
		if resp, _ := fetch(t, http.DefaultClient, s.URL()+path); resp.StatusCode != 404 {
			t.Errorf("%s: %s, though the house signs nothing", path, resp.Status)
		}
	}
}

// TestTurnServer asks where calls are relayed, under two names of the house.
func TestTurnServer(t *testing.T) {
	s := servertest.New(t, func(c *server.Config) {
		c.Network.Turn = true
		c.Board.Loopback = true
	})
	port := 0
	for _, host := range []string{"127.0.0.1", "localhost"} {
		r, err := http.NewRequest("GET", s.URL()+"/_matrix/client/v3/voip/turnServer", nil)
		if err != nil {
			t.Fatal(err)
		}
		_, listening, _ := strings.Cut(s.Addrs()[0].String(), ":")
		r.Host = net.JoinHostPort(host, listening)
		r.Header.Set("Authorization", "Bearer "+s.User("ada").Token)
		resp, err := http.DefaultClient.Do(r)
		if err != nil {
			t.Fatal(err)
		}
		var out struct {
			URIs     []string `json:"uris"`
			Username string   `json:"username"`
			Password string   `json:"password"`
			TTL      int      `json:"ttl"`
		}
		err = json.NewDecoder(resp.Body).Decode(&out)
		if cerr := resp.Body.Close(); err != nil || cerr != nil {
			t.Fatal(err, cerr)
		}
		if len(out.URIs) != 2 || out.TTL <= 600 || out.Password == "" || !strings.HasSuffix(out.Username, ":"+string(s.User("ada").ID)) {
			t.Fatalf("told %+v", out)
		}
		for i, transport := range []string{"udp", "tcp"} {
			at, found := strings.CutSuffix(out.URIs[i], "?transport="+transport)
			after, isHost := strings.CutPrefix(at, "turn:"+host+":")
			n, err := strconv.Atoi(after)
			if !found || !isHost || err != nil || port != 0 && n != port {
				t.Errorf("asked at %s, told %q", host, out.URIs[i])
			}
			port = n
		}
	}
	conn, err := net.Dial("tcp", net.JoinHostPort("127.0.0.1", strconv.Itoa(port)))
	if err != nil {
		t.Fatal(err)
	}
	_ = conn.Close()
	if _, on := s.RelayStats(); !on {
		t.Error("no figures")
	}
}

func TestNetworkConfig(t *testing.T) {
	for name, change := range map[string]func(*server.Config){
		"certificate without HTTPS": func(c *server.Config) { c.TLSCert, c.TLSKey = "a", "b" },
		"name with a dot":           func(c *server.Config) { c.Network.LocalName = "a.b" },
		"no port":                   func(c *server.Config) { c.Network.TurnPort = 1 << 16 },
	} {
		c := server.Config{Data: t.TempDir(), ServerName: "house.test"}
		change(&c)
		if s, err := server.New(t.Context(), c); err == nil {
			t.Errorf("%s is taken", name)
			_ = s.Close()
		}
	}
}
