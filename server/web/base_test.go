package web

import (
	"crypto/tls"
	"net/http/httptest"
	"testing"
)

func TestBase(t *testing.T) {
	for _, tt := range []struct {
		host, proto, forwarded string
		tls, proxy             bool
		want                   string
	}{
		{host: "house.test", want: "http://house.test"},
		{host: "house.test:8008", want: "http://house.test:8008"},
		{host: "[::1]:8008", want: "http://[::1]:8008"},
		{host: "house.test", tls: true, want: "https://house.test"},
		{host: "house.test", proto: "https", want: "https://house.test"},
		{host: "house.test", proto: "javascript", want: "http://house.test"},
		{host: "inner", proto: "https", forwarded: "house.test", want: "https://inner"},
		{host: "inner", proto: "https", forwarded: "house.test", proxy: true, want: "https://house.test"},
		{host: "", want: ""},
		{host: `a"b`, want: ""},
		{host: "a/b", want: ""},
	} {
		r := httptest.NewRequest("GET", "/", nil)
		r.Host = tt.host
		if tt.tls {
			r.TLS = new(tls.ConnectionState)
		}
		r.Header.Set("X-Forwarded-Proto", tt.proto)
		r.Header.Set("X-Forwarded-Host", tt.forwarded)
		if got := (&Server{proxy: tt.proxy}).base(r); got != tt.want {
			t.Errorf("%+v: %q", tt, got)
		}
	}
}
