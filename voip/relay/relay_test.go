package relay

import (
	"bytes"
	"context"
	"net"
	"net/netip"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/pion/turn/v5"

	"porchlight/voip/pionlog"
)

// patience is how long a test waits for a packet before it gives up.
const patience = 10 * time.Second

var secret = []byte("sixteen bytes, or more")

// start runs a relay on the loopback interface.
func start(t *testing.T, change func(*Config)) *Relay {
	t.Helper()
	cfg := Config{Secret: secret, Loopback: true}
	if change != nil {
		change(&cfg)
	}
	r, err := New(cfg)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	ran := make(chan error)
	go func() { ran <- r.Run(ctx) }()
	t.Cleanup(func() {
		cancel()
		if err := <-ran; err != nil {
			t.Error(err)
		}
		if s := r.Stats(); s.Allocations != 0 || s.TCPConnections != 0 {
			t.Errorf("after the end: %+v", s)
		}
	})
	<-r.Ready()
	return r
}

func (r *Relay) url(t *testing.T) string {
	t.Helper()
	port, ok := r.Port()
	if !ok {
		t.Fatal("no port is open")
	}
	return net.JoinHostPort("127.0.0.1", strconv.Itoa(port))
}

// client is one that talks to the relay by "udp" or "tcp".
func client(t *testing.T, r *Relay, network string, c Credentials) *turn.Client {
	t.Helper()
	var packets net.PacketConn
	if network == "tcp" {
		tcp, err := net.Dial("tcp4", r.url(t))
		if err != nil {
			t.Fatal(err)
		}
		packets = turn.NewSTUNConn(tcp)
	} else {
		var err error
		if packets, err = net.ListenPacket("udp4", "127.0.0.1:0"); err != nil {
			t.Fatal(err)
		}
	}
	cl, err := turn.NewClient(&turn.ClientConfig{
		TURNServerAddr: r.url(t), Conn: packets, Username: c.Username, Password: c.Password, Realm: realm,
		RTO: 100 * time.Millisecond, LoggerFactory: pionlog.New(r.log),
	})
	if err != nil {
		t.Fatal(err)
	}
	if err := cl.Listen(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		cl.Close()
		_ = packets.Close() // maybe closed by the client
	})
	return cl
}

func allocate(t *testing.T, r *Relay, network, user string) net.PacketConn {
	t.Helper()
	conn, err := client(t, r, network, r.Credentials(user)).Allocate()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = conn.Close() }) // maybe closed by the test
	return conn
}

// hears sends from one socket until the other has it.
func hears(t *testing.T, from, to net.PacketConn, addr net.Addr) net.Addr {
	t.Helper()
	text := []byte("from " + from.LocalAddr().String())
	got := make(chan net.Addr, 1)
	go func() {
		buf := make([]byte, 1500)
		for {
			n, sender, err := to.ReadFrom(buf)
			if err != nil {
				close(got)
				return
			}
			if bytes.Equal(buf[:n], text) {
				got <- sender
				return
			}
		}
	}()
	for deadline := time.After(patience); ; {
		if _, err := from.WriteTo(text, addr); err != nil {
			t.Fatal(err)
		}
		select {
		case sender, ok := <-got:
			if !ok {
				t.Fatal("the socket was closed")
			}
			return sender
		case <-time.After(50 * time.Millisecond): // both ends need a permission first
		case <-deadline:
			t.Fatalf("nothing came from %s to %s", from.LocalAddr(), addr)
		}
	}
}

// until waits for what the relay does in its own time.
func until(t *testing.T, what string, ok func() bool) {
	t.Helper()
	tick := time.NewTicker(time.Millisecond)
	defer tick.Stop()
	for deadline := time.After(patience); !ok(); {
		select {
		case <-tick.C:
		case <-deadline:
			t.Fatalf("waited in vain for %s", what)
		}
	}
}

func udp(t *testing.T) *net.UDPConn {
	t.Helper()
	c, err := net.ListenUDP("udp4", &net.UDPAddr{IP: net.IPv4(127, 0, 0, 1)})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = c.Close() })
	return c
}

// TestRelays is a call with the board, and one between two people.
func TestRelays(t *testing.T) {
	for _, network := range []string{"udp", "tcp"} {
		t.Run(network, func(t *testing.T) {
			board := udp(t)
			r := start(t, func(c *Config) {
				c.Peers = func() []netip.AddrPort { return []netip.AddrPort{addrPort(board.LocalAddr())} }
			})
			ada, ben := allocate(t, r, network, "@ada:house"), allocate(t, r, "udp", "@ben:house")
			from := hears(t, ada, board, board.LocalAddr())
			if from.String() != ada.LocalAddr().String() {
				t.Errorf("the board hears %s, not %s", from, ada.LocalAddr())
			}
			hears(t, board, ada, from)
			// Each has to have a permission for the other.
			if _, err := ben.WriteTo([]byte("hello"), ada.LocalAddr()); err != nil {
				t.Fatal(err)
			}
			hears(t, ada, ben, ben.LocalAddr())
			hears(t, ben, ada, ada.LocalAddr())
			s := r.Stats()
			if s.Allocations != 2 || s.Allocated != 2 || s.Packets == 0 || s.Bytes == 0 || s.PeersRefused != 0 {
				t.Errorf("counted %+v", s)
			}
			if network == "tcp" && s.TCPConnections != 1 {
				t.Errorf("%d TCP connections", s.TCPConnections)
			}
		})
	}
}

// TestNoOpenRelay tries everything that is no call of the house.
func TestNoOpenRelay(t *testing.T) {
	board, other := udp(t), udp(t)
	r := start(t, func(c *Config) {
		c.Peers = func() []netip.AddrPort { return []netip.AddrPort{addrPort(board.LocalAddr())} }
	})
	cl := client(t, r, "udp", r.Credentials("@ada:house"))
	conn, err := cl.Allocate()
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	for _, host := range []string{"192.0.2.1", "10.0.0.1", "224.0.0.251", "255.255.255.255", "0.0.0.0"} {
		if err := cl.CreatePermission(&net.UDPAddr{IP: net.ParseIP(host), Port: 53}); err == nil {
			t.Errorf("a permission for %s", host)
		}
	}
	if s := r.Stats(); s.PeersRefused < 5 {
		t.Errorf("%d peers refused", s.PeersRefused)
	}
	// Another program on the board's own address: permissions know no ports, packets do.
	if _, err := conn.WriteTo([]byte("to another program"), other.LocalAddr()); err != nil {
		t.Fatal(err)
	}
	if _, err := other.WriteTo([]byte("from another program"), conn.LocalAddr()); err != nil {
		t.Fatal(err)
	}
	hears(t, conn, board, board.LocalAddr())
	until(t, "two packets to be dropped", func() bool { return r.Stats().Dropped >= 2 })
	if err := other.SetReadDeadline(time.Now()); err != nil {
		t.Fatal(err)
	}
	if n, _, err := other.ReadFrom(make([]byte, 100)); err == nil {
		t.Errorf("%d bytes reached another program", n)
	}
	// Allocations of TCP towards peers do not exist.
	tcp := client(t, r, "tcp", r.Credentials("@ada:house"))
	if a, err := tcp.AllocateTCP(); err == nil {
		t.Errorf("a TCP allocation at %s", a.Addr())
	}
}

func TestCredentials(t *testing.T) {
	now := time.Now()
	r := start(t, func(c *Config) { c.Now = func() time.Time { return now } })
	good := r.Credentials("@ada:house")
	if end, user, ok := splitName(good.Username); !ok || user != "@ada:house" || end.Unix() != now.Add(Lifetime).Unix() {
		t.Errorf("user name %q", good.Username)
	}
	if good.Lifetime < 600*time.Second {
		t.Errorf("credentials for %s: the SDK asks again too often", good.Lifetime)
	}
	old := strconv.FormatInt(now.Add(-time.Second).Unix(), 10) + ":@ada:house"
	late := strconv.FormatInt(now.Add(Lifetime+time.Hour).Unix(), 10) + ":@ada:house"
	for name, test := range map[string]struct {
		c  Credentials
		ok bool
	}{
		"good":                 {good, true},
		"wrong password":       {Credentials{Username: good.Username, Password: "x"}, false},
		"somebody else's name": {Credentials{Username: strings.Replace(good.Username, "ada", "ben", 1), Password: good.Password}, false},
		"a longer life":        {Credentials{Username: late, Password: good.Password}, false},
		"over":                 {Credentials{Username: old, Password: r.password(old)}, false},
		"no end":               {Credentials{Username: "@ada:house", Password: r.password("@ada:house")}, false},
		"no user":              {Credentials{Username: "99999999999", Password: r.password("99999999999")}, false},
	} {
		t.Run(name, func(t *testing.T) {
			before := r.Stats().Unauthorised
			conn, err := client(t, r, "udp", test.c).Allocate()
			if (err == nil) != test.ok {
				t.Fatal(err)
			}
			if test.ok {
				_ = conn.Close()
			} else if r.Stats().Unauthorised == before {
				t.Error("not counted")
			}
		})
	}
}

// TestQuota has one user take all that a user may have, and then all users all there is.
func TestQuota(t *testing.T) {
	r := start(t, func(c *Config) { c.PerUser, c.Total = 2, 3 })
	first := allocate(t, r, "udp", "@ada:house")
	allocate(t, r, "tcp", "@ada:house")
	refused := func(user string) {
		t.Helper()
		if _, err := client(t, r, "udp", r.Credentials(user)).Allocate(); err == nil {
			t.Errorf("one too many for %s", user)
		}
	}
	refused("@ada:house")
	allocate(t, r, "udp", "@ben:house")
	refused("@ben:house")
	if s := r.Stats(); s.OverQuota != 2 || s.Allocations != 3 {
		t.Errorf("counted %+v", s)
	}
	if err := first.Close(); err != nil {
		t.Fatal(err)
	}
	// Closing is a request of its own.
	until(t, "the allocation to go", func() bool { return r.Stats().Allocations == 2 })
	allocate(t, r, "udp", "@ben:house")
}

// TestTCPBounds opens more connections than one address may have, and says nonsense.
func TestTCPBounds(t *testing.T) {
	r := start(t, nil)
	dial := func() net.Conn {
		c, err := net.Dial("tcp4", r.url(t))
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = c.Close() })
		if err := c.SetReadDeadline(time.Now().Add(patience)); err != nil {
			t.Fatal(err)
		}
		return c
	}
	for range maxTCPPerAddress {
		dial()
	}
	until(t, "all connections to be accepted", func() bool { return r.Stats().TCPConnections == maxTCPPerAddress })
	if _, err := dial().Read(make([]byte, 1)); err == nil || isTimeout(err) {
		t.Errorf("one connection too many: %v", err)
	}
}

func TestNonsenseByTCP(t *testing.T) {
	r := start(t, nil)
	for _, nonsense := range [][]byte{[]byte("GET / HTTP/1.1\r\n\r\n"), {0, 1, 0xff, 0xff}, {0x40, 0, 0xff, 0xff}, {0xff, 0, 0, 0}} {
		c, err := net.Dial("tcp4", r.url(t))
		if err != nil {
			t.Fatal(err)
		}
		if _, err := c.Write(nonsense); err != nil {
			t.Fatal(err)
		}
		if err := c.SetReadDeadline(time.Now().Add(patience)); err != nil {
			t.Fatal(err)
		}
		if _, err := c.Read(make([]byte, 1)); err == nil || isTimeout(err) {
			t.Errorf("after %q: %v", nonsense, err)
		}
		_ = c.Close()
	}
}

func isTimeout(err error) bool {
	n, ok := err.(net.Error)
	return ok && n.Timeout()
}

// TestPortTaken has another program on the port: the house goes on without a relay.
func TestPortTaken(t *testing.T) {
	taken, err := net.Listen("tcp4", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer taken.Close()
	r := start(t, func(c *Config) { c.Port = taken.Addr().(*net.TCPAddr).Port })
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.doors[netip.MustParseAddr("127.0.0.1")] != nil {
		t.Error("the relay took a port that is taken")
	}
}

func TestConfig(t *testing.T) {
	for name, c := range map[string]Config{
		"no secret":    {},
		"short secret": {Secret: []byte("short")},
		"no port":      {Secret: secret, Port: 70000},
	} {
		if _, err := New(c); err == nil {
			t.Errorf("%s is taken", name)
		}
	}
}

func FuzzName(f *testing.F) {
	for _, s := range []string{"1:@a:b", "", ":", "99999999999999999999:x", "-1:x", "1:", strings.Repeat("1", 400)} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		end, user, ok := splitName(s)
		if ok && (user == "" || len(s) > maxName || end.Unix() < 0) {
			t.Errorf("%q: %v %q", s, end, user)
		}
	})
}

func FuzzFrameSize(f *testing.F) {
	f.Add([]byte{0, 1, 0, 0})
	f.Add([]byte{0x40, 0, 0, 3})
	f.Add([]byte{0xff, 0xff, 0xff, 0xff})
	f.Fuzz(func(t *testing.T, head []byte) {
		if len(head) < channelHeader {
			return
		}
		if size, ok := frameSize([channelHeader]byte(head)); ok && (size < channelHeader || size > maxFrame) {
			t.Errorf("% x: %d bytes", head[:4], size)
		}
	})
}
