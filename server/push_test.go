package server

import (
	"net"
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
