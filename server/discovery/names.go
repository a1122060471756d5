package discovery

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/netip"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/pion/mdns/v2"
	"golang.org/x/net/ipv4"
	"golang.org/x/net/ipv6"

	"porchlight/voip/pionlog"
)

const (
	// maxSuffix is the highest number that is put behind a name that somebody else has.
	maxSuffix = 9
	// domain is that of multicast DNS (RFC 6762, 3).
	domain = ".local"
	// probes are sent this many times before a name is ours (RFC 6762, 8.1), probeEvery
	// apart; who loses against another prober waits for yieldTime.
	probes     = 3
	probeEvery = 250 * time.Millisecond
	yieldTime  = time.Second
	// announcements follow each other by announceEvery (RFC 6762, 8.3).
	announcements = 2
	announceEvery = time.Second
	// scanEvery is how often the network interfaces are looked through.
	scanEvery = 5 * time.Second
)

// Service is one that the board announces.
type Service struct {
	Type string // such as "_https._tcp"
	Port int
	Text [][2]string // keys and values, in this order
}

// NamesConfig is what Names are made of.
type NamesConfig struct {
	// Label is the wanted name without ".local".
	Label string
	// Instance is what lists of services show, such as "Porchlight".
	Instance string
	// Services gives those to announce under a name, which has ".local" at its end.
	Services func(name string) []Service
	// Loopback answers on the loopback interface alone: for tests.
	Loopback bool
	Log      *slog.Logger // nil discards
}

// Names keeps a name for the board in the local network and answers for it.
type Names struct {
	NamesConfig
	all     []string // that can be had, the best first
	settled chan struct{}
	once    sync.Once

	mu  sync.Mutex
	now int // which of all
}

// NewNames makes Names. The error says that the label is none.
func NewNames(c NamesConfig) (*Names, error) {
	all, err := LocalNames(c.Label)
	if err != nil {
		return nil, err
	}
	if c.Log == nil {
		c.Log = slog.New(slog.DiscardHandler)
	}
	return &Names{NamesConfig: c, all: all, settled: make(chan struct{})}, nil
}

// LocalNames lists the names that a board may get that wants to be called label: the name
// itself, and those with a number behind it for when somebody else has it.
func LocalNames(label string) ([]string, error) {
	label = strings.ToLower(label)
	if len(label) == 0 || len(label) > 60 || strings.Trim(label, "abcdefghijklmnopqrstuvwxyz0123456789-") != "" ||
		label[0] == '-' || label[len(label)-1] == '-' {
		return nil, fmt.Errorf("%q cannot be a name in the network: it takes 1 to 60 letters from a to z, digits, and hyphens between them", label)
	}
	all := []string{label + domain}
	for i := 2; i <= maxSuffix; i++ {
		all = append(all, fmt.Sprintf("%s-%d%s", label, i, domain))
	}
	return all, nil
}

// Name is the board's name at the moment, with ".local" at its end.
func (n *Names) Name() string {
	n.mu.Lock()
	defer n.mu.Unlock()
	return n.all[n.now]
}

// Wanted is the name that the board was to have.
func (n *Names) Wanted() string { return n.all[0] }

// Settled is closed once a name was found that nobody else has.
func (n *Names) Settled() <-chan struct{} { return n.settled }

// next takes the next name.
func (n *Names) next() {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.now = (n.now + 1) % len(n.all)
}

// Run answers until ctx ends. A network that is not there, or cannot be used, is waited
// for: there is no error to give up for.
func (n *Names) Run(ctx context.Context) error {
	told := ""
	for {
		links, err := findLinks(n.Loopback)
		if err == nil {
			err = n.serve(ctx, links)
		}
		if ctx.Err() != nil {
			return nil
		}
		if err == nil { // the network or the name changed
			told = ""
			continue
		}
		if err.Error() != told {
			told = err.Error()
			n.Log.Warn("the board has no name in the network at the moment", "name", n.Wanted(), "error", err)
		}
		if !sleep(ctx, scanEvery) {
			return nil
		}
	}
}

// errTaken says that every name is somebody else's.
var errTaken = errors.New("every name up to the last number is taken by other devices")

// serve finds a name, and answers for it until the network changes or the name turns out
// to be somebody else's, too.
func (n *Names) serve(ctx context.Context, links []link) error {
	w, err := openWire(links)
	if err != nil {
		return err
	}
	ctx, cancel := context.WithCancel(ctx)
	var reading sync.WaitGroup
	heard := make(chan packet, maxHeard)
	w.read(ctx, &reading, heard)
	defer reading.Wait()
	defer w.close()
	defer cancel()
	if err := n.claim(ctx, w, heard); err != nil {
		return err
	}
	name := n.Name()
	responder, err := n.respond(name, links)
	if err != nil {
		return err
	}
	defer func() {
		if err := responder.Close(); err != nil {
			n.Log.Debug("mdns: closing", "error", err)
		}
	}()
	n.once.Do(func() { close(n.settled) })
	n.Log.Info("the board has a name in the network", "name", name)
	if name != n.Wanted() {
		n.Log.Warn("another device is called what this board was to be called: it got another name", "wanted", n.Wanted(), "name", name)
	}
	return n.keep(ctx, w, heard, name, links)
}

// claim asks who has the name, and takes the next one until nobody has.
//
// spec: RFC 6762, 8.1 and 8.2
func (n *Names) claim(ctx context.Context, w *wire, heard <-chan packet) error {
	for range len(n.all) {
		for {
			verdict, err := n.probe(ctx, w, heard, n.Name())
			if err != nil {
				return err
			}
			if verdict == free {
				return nil
			}
			if verdict == taken {
				break
			}
			if !sleep(ctx, yieldTime) {
				return ctx.Err()
			}
		}
		n.next()
	}
	return errTaken
}

// How a probe may end.
const (
	free = iota
	taken
	lost // against somebody who wants the name at the same time
)

func (n *Names) probe(ctx context.Context, w *wire, heard <-chan packet, name string) (int, error) {
	for range probes {
		w.question(name)
		wait := time.NewTimer(probeEvery)
		for waiting := true; waiting; {
			select {
			case <-wait.C:
				waiting = false
			case p := <-heard:
				said := w.understand(p, name)
				if said.claims {
					wait.Stop()
					return taken, nil
				}
				if said.wants.IsValid() && said.wants.Compare(w.highest(p.link)) > 0 {
					wait.Stop()
					return lost, nil
				}
			case <-ctx.Done():
				wait.Stop()
				return free, ctx.Err()
			}
		}
	}
	return free, nil
}

// keep announces the name and defends it. It returns nil when the network or the name
// has changed, or ctx has ended.
func (n *Names) keep(ctx context.Context, w *wire, heard <-chan packet, name string, links []link) error {
	defer w.answer(name, 0) // goodbye
	announce := time.NewTicker(announceEvery)
	defer announce.Stop()
	scan := time.NewTicker(scanEvery)
	defer scan.Stop()
	w.answer(name, recordTTL)
	for left := announcements - 1; ; {
		select {
		case <-announce.C:
			if left--; left >= 0 {
				w.answer(name, recordTTL)
			}
		case <-scan.C:
			if now, err := findLinks(n.Loopback); err != nil || !slices.EqualFunc(now, links, link.equal) {
				return nil
			}
		case p := <-heard:
			said := w.understand(p, name)
			if said.claims {
				n.Log.Warn("another device says that it has the board's name", "name", name)
				return nil // and ask again who has it
			}
			if said.asks {
				w.answer(name, recordTTL)
			}
		case <-ctx.Done():
			return nil
		}
	}
}

// respond starts the library's responder, which answers for the name and the services.
func (n *Names) respond(name string, links []link) (*mdns.Conn, error) {
	v4, v6, err := listen()
	if err != nil {
		return nil, err
	}
	options := []mdns.ServerOption{
		mdns.WithLocalNames(name), mdns.WithLoggerFactory(pionlog.New(n.Log)), mdns.WithIncludeLoopback(n.Loopback),
		mdns.WithName("porchlight"), mdns.WithResponseTTL(recordTTL), mdns.WithCacheRefresh(false),
	}
	var interfaces []net.Interface
	for _, l := range links {
		interfaces = append(interfaces, l.Interface)
	}
	options = append(options, mdns.WithInterfaces(interfaces...))
	if n.Services != nil {
		for _, s := range n.Services(name) {
			instance := mdns.ServiceInstance{Instance: n.Instance, Service: s.Type, Domain: "local", Port: uint16(s.Port)}
			for _, t := range s.Text {
				instance.Text = append(instance.Text, mdns.NewTXTString(t[0], t[1]))
			}
			options = append(options, mdns.WithService(instance))
		}
	}
	conn, err := mdns.NewServer(v4, v6, options...)
	if err != nil {
		return nil, errors.Join(err, closeBoth(v4, v6))
	}
	return conn, nil
}

// listen opens the port of multicast DNS, beside others who have it open on this machine.
func listen() (*ipv4.PacketConn, *ipv6.PacketConn, error) {
	var v4 *ipv4.PacketConn
	var v6 *ipv6.PacketConn
	c4, err4 := net.ListenUDP("udp4", &net.UDPAddr{IP: group4.IP, Port: mdnsPort})
	if err4 == nil {
		v4 = ipv4.NewPacketConn(c4)
	}
	c6, err6 := net.ListenUDP("udp6", &net.UDPAddr{IP: group6.IP, Port: mdnsPort})
	if err6 == nil {
		v6 = ipv6.NewPacketConn(c6)
	}
	if v4 == nil && v6 == nil {
		return nil, nil, errors.Join(err4, err6)
	}
	return v4, v6, nil
}

func closeBoth(v4 *ipv4.PacketConn, v6 *ipv6.PacketConn) (err error) {
	if v4 != nil {
		err = v4.Close()
	}
	if v6 != nil {
		err = errors.Join(err, v6.Close())
	}
	return err
}

// link is a network interface with its addresses.
type link struct {
	net.Interface
	addrs []netip.Addr
}

func (l link) equal(o link) bool {
	return l.Index == o.Index && l.Name == o.Name && slices.Equal(l.addrs, o.addrs)
}

// findLinks lists the interfaces on which others may ask for the board.
func findLinks(loopback bool) ([]link, error) {
	interfaces, err := net.Interfaces()
	if err != nil {
		return nil, err
	}
	var links []link
	for _, i := range interfaces {
		isLoopback := i.Flags&net.FlagLoopback != 0
		if i.Flags&net.FlagUp == 0 || isLoopback != loopback || !isLoopback && i.Flags&net.FlagMulticast == 0 {
			continue
		}
		addrs, err := i.Addrs()
		if err != nil {
			continue // the interface went away meanwhile
		}
		l := link{Interface: i}
		for _, a := range addrs {
			if n, ok := a.(*net.IPNet); ok {
				if addr, ok := netip.AddrFromSlice(n.IP); ok {
					l.addrs = append(l.addrs, addr.Unmap())
				}
			}
		}
		if len(l.addrs) > 0 {
			slices.SortFunc(l.addrs, netip.Addr.Compare)
			links = append(links, l)
		}
	}
	if len(links) == 0 {
		return nil, errors.New("no network is up")
	}
	return links, nil
}

// sleep waits, and says whether ctx goes on.
func sleep(ctx context.Context, d time.Duration) bool {
	wait := time.NewTimer(d)
	defer wait.Stop()
	select {
	case <-wait.C:
		return true
	case <-ctx.Done():
		return false
	}
}
