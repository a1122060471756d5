package discovery

import (
	"context"
	"errors"
	"net"
	"net/netip"
	"slices"
	"strings"
	"sync"

	"golang.org/x/net/dns/dnsmessage"
	"golang.org/x/net/ipv4"
	"golang.org/x/net/ipv6"
)

const (
	mdnsPort = 5353
	// recordTTL is how many seconds others may remember an address (RFC 6762, 10).
	recordTTL = 120
	// maxPacket is the largest packet in bytes (RFC 6762, 17).
	maxPacket = 9000
	// maxHeard is how many packets may wait; more are lost, as in any network.
	maxHeard = 64
	// cacheFlush says that a record replaces all that were told before (RFC 6762, 10.2).
	cacheFlush = 1 << 15
)

var (
	group4 = net.UDPAddr{IP: net.IPv4(224, 0, 0, 251), Port: mdnsPort}
	group6 = net.UDPAddr{IP: net.ParseIP("ff02::fb"), Port: mdnsPort}
)

// wire is our own ear and mouth on the multicast groups, for what the library does not do:
// asking whether a name is free, announcing it, and noticing that somebody else has it.
type wire struct {
	links []link
	v4    *ipv4.PacketConn // nil: not to be had
	v6    *ipv6.PacketConn
	mu    sync.Mutex // one packet at a time: the sockets have one outgoing interface
}

// packet is what was heard, and on which link.
type packet struct {
	link int // its index; 0: not known
	data []byte
}

func openWire(links []link) (*wire, error) {
	v4, v6, err := listen()
	if err != nil {
		return nil, err
	}
	w := &wire{links: links, v4: v4, v6: v6}
	joined := 0
	for _, l := range links {
		if v4 != nil && v4.JoinGroup(&l.Interface, &group4) == nil {
			joined++
		}
		if v6 != nil && v6.JoinGroup(&l.Interface, &group6) == nil {
			joined++
		}
	}
	if joined == 0 {
		return nil, errors.Join(errors.New("no network interface takes part in multicast"), closeBoth(v4, v6))
	}
	if v4 != nil {
		err = errors.Join(v4.SetControlMessage(ipv4.FlagInterface, true), v4.SetMulticastTTL(255))
	}
	if v6 != nil {
		err = errors.Join(err, v6.SetControlMessage(ipv6.FlagInterface, true), v6.SetMulticastHopLimit(255))
	}
	if err != nil {
		return nil, errors.Join(err, closeBoth(v4, v6))
	}
	return w, nil
}

// close ends the readers. There is nothing to do about an error.
func (w *wire) close() { _ = closeBoth(w.v4, w.v6) }

// read starts the readers, which end with the wire.
func (w *wire) read(ctx context.Context, group *sync.WaitGroup, heard chan<- packet) {
	loop := func(from func([]byte) (int, int, error)) {
		buf := make([]byte, maxPacket)
		for ctx.Err() == nil {
			n, index, err := from(buf)
			if errors.Is(err, net.ErrClosed) {
				return
			}
			if err != nil {
				continue // an ICMP error of an earlier packet
			}
			select {
			case heard <- packet{index, slices.Clone(buf[:n])}:
			default:
			}
		}
	}
	if w.v4 != nil {
		group.Go(func() {
			loop(func(b []byte) (n, index int, err error) {
				n, cm, _, err := w.v4.ReadFrom(b)
				if cm != nil {
					index = cm.IfIndex
				}
				return n, index, err
			})
		})
	}
	if w.v6 != nil {
		group.Go(func() {
			loop(func(b []byte) (n, index int, err error) {
				n, cm, _, err := w.v6.ReadFrom(b)
				if cm != nil {
					index = cm.IfIndex
				}
				return n, index, err
			})
		})
	}
}

// send says something on one link. Networks lose packets, and interfaces go down: what
// matters is said again.
func (w *wire) send(l link, m dnsmessage.Message) {
	raw, err := m.Pack()
	if err != nil {
		return // our own names and addresses always fit
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.v4 != nil && slices.ContainsFunc(l.addrs, netip.Addr.Is4) && w.v4.SetMulticastInterface(&l.Interface) == nil {
		_, _ = w.v4.WriteTo(raw, nil, &group4)
	}
	if w.v6 != nil && slices.ContainsFunc(l.addrs, netip.Addr.Is6) && w.v6.SetMulticastInterface(&l.Interface) == nil {
		_, _ = w.v6.WriteTo(raw, nil, &group6)
	}
}

// question asks on all links who has the name, and says that we would like it.
//
// spec: RFC 6762, 8.1 and 8.2
func (w *wire) question(name string) {
	for _, l := range w.links {
		w.send(l, dnsmessage.Message{
			Questions:   []dnsmessage.Question{{Name: dnsName(name), Type: dnsmessage.TypeALL, Class: dnsmessage.ClassINET}},
			Authorities: l.records(name, recordTTL, dnsmessage.ClassINET),
		})
	}
}

// answer says on all links what addresses the name has there; a ttl of 0 takes it back.
//
// spec: RFC 6762, 8.3 and 10.1
func (w *wire) answer(name string, ttl uint32) {
	for _, l := range w.links {
		w.send(l, dnsmessage.Message{
			Header:  dnsmessage.Header{Response: true, Authoritative: true},
			Answers: l.records(name, ttl, dnsmessage.ClassINET|cacheFlush),
		})
	}
}

func (l link) records(name string, ttl uint32, class dnsmessage.Class) (all []dnsmessage.Resource) {
	for _, a := range l.addrs {
		h := dnsmessage.ResourceHeader{Name: dnsName(name), Type: dnsmessage.TypeA, Class: class, TTL: ttl}
		var body dnsmessage.ResourceBody
		if a.Is4() {
			body = &dnsmessage.AResource{A: a.As4()}
		} else {
			h.Type = dnsmessage.TypeAAAA
			body = &dnsmessage.AAAAResource{AAAA: a.As16()}
		}
		all = append(all, dnsmessage.Resource{Header: h, Body: body})
	}
	return all
}

// dnsName is a name of ours in the form of the library: LocalNames sees to its length.
func dnsName(name string) dnsmessage.Name {
	n, err := dnsmessage.NewName(name + ".")
	if err != nil {
		return dnsmessage.Name{}
	}
	return n
}

// said is what a packet means for a name of ours.
type said struct {
	claims bool       // somebody else says that the name is theirs
	asks   bool       // somebody asks for all there is about the name
	wants  netip.Addr // somebody else would like the name, too: their highest address
}

// understand reads a packet of anybody.
func (w *wire) understand(p packet, name string) (s said) {
	var m dnsmessage.Message
	if m.Unpack(p.data) != nil {
		return s
	}
	for _, q := range m.Questions {
		if !m.Response && q.Type == dnsmessage.TypeALL && sameName(q.Name, name) {
			s.asks = true
		}
	}
	if m.Response {
		for _, r := range slices.Concat(m.Answers, m.Additionals) {
			addr := address(r, name)
			s.claims = s.claims || addr.IsValid() && r.Header.TTL > 0 && !w.ours(addr)
		}
		return s
	}
	for _, r := range m.Authorities {
		if addr := address(r, name); s.asks && addr.IsValid() && !w.ours(addr) && addr.Compare(s.wants) > 0 {
			s.wants = addr
		}
	}
	return s
}

func sameName(n dnsmessage.Name, name string) bool {
	return strings.EqualFold(strings.TrimSuffix(n.String(), "."), name)
}

// address is what a record says of the name; not valid if nothing.
func address(r dnsmessage.Resource, name string) netip.Addr {
	if !sameName(r.Header.Name, name) {
		return netip.Addr{}
	}
	switch body := r.Body.(type) {
	case *dnsmessage.AResource:
		return netip.AddrFrom4(body.A)
	case *dnsmessage.AAAAResource:
		return netip.AddrFrom16(body.AAAA).Unmap()
	}
	return netip.Addr{}
}

// ours says whether an address is one of this machine: other programs on it may answer for
// the same name.
func (w *wire) ours(addr netip.Addr) bool {
	if addr.IsLoopback() {
		return true
	}
	if slices.ContainsFunc(w.links, func(l link) bool { return slices.Contains(l.addrs, addr) }) {
		return true
	}
	all, err := net.InterfaceAddrs() // it may be a new one, or on a link without multicast
	return err != nil || slices.ContainsFunc(all, func(a net.Addr) bool {
		n, ok := a.(*net.IPNet)
		return ok && n.IP.Equal(addr.AsSlice())
	})
}

// highest is our highest address on a link, or anywhere if the link is not known: of two
// who want a name at the same time, the higher one gets it.
func (w *wire) highest(index int) (best netip.Addr) {
	for _, l := range w.links {
		if index != 0 && l.Index != index {
			continue
		}
		if last := l.addrs[len(l.addrs)-1]; last.Compare(best) > 0 {
			best = last
		}
	}
	return best
}
