package server

import (
	"log/slog"
	"net"
	"net/url"
	"testing"
)

// TestGatewayAddresses: push gateways are on the internet, or this house itself.
func TestGatewayAddresses(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	s := &Server{listeners: []net.Listener{l}, Config: Config{PublicURL: "https://house.example"}}
	_, port, err := net.SplitHostPort(l.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	for address, allowed := range map[string]bool{
		l.Addr().String():       true,
		"[::1]:" + port:         true,
		"127.0.0.1:443":         true, // where the public address leads
		"93.184.216.34:443":     true,
		"127.0.0.1:22":          false,
		"[::1]:22":              false,
		"192.168.77.1:" + port:  false,
		"169.254.169.254:80":    false,
		"[::ffff:127.0.0.1]:22": false,
		"[fd00::1]:443":         false,
		"not an address":        false,
	} {
		if err := s.mayDial("tcp4", address, nil); (err == nil) != allowed {
			t.Errorf("%s: %v", address, err)
		}
	}
	s.Config.AllowPrivateNetworks = true
	if err := s.mayDial("tcp4", "192.168.77.1:80", nil); err != nil {
		t.Error(err)
	}
}

// TestOurOwnGateway: the house knows itself by each of its names, and by no other.
func TestOurOwnGateway(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	house, err := New(t.Context(), Config{
		Data: t.TempDir(), ServerName: "porch-test.local", PublicURL: "https://house.example", Board: BoardConfig{Off: true},
		Network: NetworkConfig{LocalName: "porch-test"}, Log: slog.New(slog.DiscardHandler),
	})
	if err != nil {
		t.Fatal(err)
	}
	defer func() {
		if err := house.Close(); err != nil {
			t.Error(err)
		}
	}()
	house.listeners = []net.Listener{l}
	_, port, err := net.SplitHostPort(l.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	const path = "/_matrix/push/v1/notify"
	for address, ours := range map[string]bool{
		"http://127.0.0.1:" + port + path:          true,
		"http://localhost:" + port + path:          true,
		"https://porch-test.local:" + port + path:  true,
		"https://Porch-Test.local.:" + port + path: true,
		"https://house.example" + path:             true,
		"https://house.example:443" + path:         true,
		"http://house.example" + path:              false,
		"https://house.example:8443" + path:        false,
		"http://localhost:1" + path:                false,
		"https://gateway.example" + path:           false,
		"http://192.0.2.1:" + port + path:          false,
		"http://localhost:" + port + "/elsewhere":  false,
	} {
		u, err := url.Parse(address)
		if err != nil {
			t.Fatal(err)
		}
		if got := house.isOwnGateway(u); got != ours {
			t.Errorf("%s: %t", address, got)
		}
	}
}
