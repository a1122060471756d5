package web

import (
	"net"
	"net/http"
	"net/netip"
	"strings"

	"porchlight/server/matrix"
)

// corsMaxAge is how long browsers may remember a preflight answer, in seconds.
const corsMaxAge = "86400"

// setHeaders sets what every answer carries. ours is whether the path belongs to the
// Matrix APIs, where browsers of any origin may ask (spec: client-server API, web
// browser clients).
func setHeaders(h http.Header, path string) (ours bool) {
	h.Set("X-Content-Type-Options", "nosniff")
	h.Set("Referrer-Policy", "no-referrer")
	h.Set("Content-Security-Policy", "default-src 'none'; frame-ancestors 'none'; sandbox")
	if !below(path, "/_matrix") && !below(path, "/.well-known") {
		return false
	}
	h.Set("Access-Control-Allow-Origin", "*")
	h.Set("Access-Control-Allow-Methods", "GET, POST, PUT, DELETE, OPTIONS")
	h.Set("Access-Control-Allow-Headers", "X-Requested-With, Content-Type, Authorization")
	h.Set("Access-Control-Expose-Headers", "Retry-After")
	h.Set("Access-Control-Max-Age", corsMaxAge)
	return true
}

func below(path, folder string) bool {
	rest, ok := strings.CutPrefix(path, folder)
	return ok && (rest == "" || rest[0] == '/')
}

// clientIP is the address of the client, or of the proxy's client where the proxy is
// trusted; empty if there is none, as on a Unix socket.
func (s *Server) clientIP(r *http.Request) string {
	if s.proxy {
		if all := r.Header.Values("X-Forwarded-For"); len(all) > 0 {
			entries := strings.Split(all[len(all)-1], ",")
			// Only the last entry is the proxy's own word.
			if a, err := netip.ParseAddr(strings.TrimSpace(entries[len(entries)-1])); err == nil {
				return a.Unmap().String()
			}
		}
	}
	host, _, err := net.SplitHostPort(r.RemoteAddr)
	if err != nil {
		host = r.RemoteAddr
	}
	a, err := netip.ParseAddr(host)
	if err != nil {
		return ""
	}
	return a.Unmap().WithZone("").String()
}

// ClientNetwork is what a request counts to, where nobody is signed in: the client's address, or
// its IPv6 network; empty if there is none.
func (s *Server) ClientNetwork(r *http.Request) string { return addressBlock(s.clientIP(r)) }

// base is where the client says that it reached the house, without a slash at the end;
// empty if it says nothing that could be so.
func (s *Server) base(r *http.Request) string {
	scheme, host := "http", r.Host
	if r.TLS != nil {
		scheme = "https"
	}
	if p := r.Header.Get("X-Forwarded-Proto"); p == "http" || p == "https" {
		scheme = p // also of a proxy that is not trusted: whoever lies harms only themselves
	}
	if s.proxy {
		if h := r.Header.Get("X-Forwarded-Host"); h != "" {
			host = h
		}
	}
	if _, err := matrix.ParseServerName(host); err != nil {
		return ""
	}
	return scheme + "://" + host
}

// addressBlock is what one household is taken to have: an IPv4 address or an IPv6
// network of 64 bits.
func addressBlock(ip string) string {
	a, err := netip.ParseAddr(ip)
	if err != nil || a.Is4() {
		return ip
	}
	p, err := a.Prefix(64)
	if err != nil {
		return ip
	}
	return p.String()
}
