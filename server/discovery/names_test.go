package discovery

import (
	"context"
	"net"
	"net/netip"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/pion/mdns/v2"
	"golang.org/x/net/dns/dnsmessage"

	"porchlight/voip/pionlog"
)

// patience is how long a test waits for a packet before it gives up.
const patience = 20 * time.Second

func TestLocalNames(t *testing.T) {
	for label, ok := range map[string]bool{
		"house": true, "House-2": true, "a": true, strings.Repeat("a", 60): true,
		"": false, "-a": false, "a-": false, "a.b": false, "käse": false, "a b": false, strings.Repeat("a", 61): false,
	} {
		names, err := LocalNames(label)
		if (err == nil) != ok {
			t.Errorf("%q: %v", label, err)
		}
		if ok && (len(names) != maxSuffix || names[0] != strings.ToLower(label)+".local" || names[1] != strings.ToLower(label)+"-2.local") {
			t.Errorf("%q: %v", label, names)
		}
	}
}

// run has a board with a name on the loopback interface.
func run(t *testing.T, label string) *Names {
	t.Helper()
	n, err := NewNames(NamesConfig{
		Label: label, Instance: "Porchlight of " + label, Loopback: true,
		Services: func(name string) []Service {
			return []Service{{Type: "_https._tcp", Port: 8443, Text: [][2]string{{"path", "/"}, {"name", name}}}}
		},
	})
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	ran := make(chan error)
	go func() { ran <- n.Run(ctx) }()
	t.Cleanup(func() {
		cancel()
		if err := <-ran; err != nil {
			t.Error(err)
		}
	})
	return n
}

func settle(t *testing.T, n *Names) {
	t.Helper()
	select {
	case <-n.Settled():
	case <-time.After(patience):
		t.Fatal("no name")
	}
}

// other is another device: something else on the loopback interface.
func other(t *testing.T) *wire {
	t.Helper()
	links, err := findLinks(true)
	if err != nil {
		t.Skip(err)
	}
	w, err := openWire(links)
	if err != nil {
		t.Skip("no multicast here: ", err)
	}
	t.Cleanup(w.close)
	return w
}

// foreign is a response that gives a name to an address of somebody else.
func foreign(name string) dnsmessage.Message {
	l := link{addrs: []netip.Addr{netip.MustParseAddr("192.0.2.9")}}
	return dnsmessage.Message{
		Header:  dnsmessage.Header{Response: true, Authoritative: true},
		Answers: l.records(name, recordTTL, dnsmessage.ClassINET|cacheFlush),
	}
}

// TestNameAndServices asks as others do: with the library's own client.
func TestNameAndServices(t *testing.T) {
	other(t)
	n := run(t, "porch-test-a")
	settle(t, n)
	v4, v6, err := listen()
	if err != nil {
		t.Fatal(err)
	}
	client, err := mdns.NewServer(v4, v6, mdns.WithIncludeLoopback(true), mdns.WithLoggerFactory(pionlog.New(n.Log)))
	if err != nil {
		t.Fatal(err)
	}
	defer client.Close()
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	_, addr, err := client.QueryAddr(ctx, "Porch-Test-A.local")
	if err != nil {
		t.Fatal(err)
	}
	if !addr.IsLoopback() {
		t.Errorf("the name has the address %s", addr)
	}
	found := make(chan mdns.ServiceInstance, 1)
	client.OnServiceDiscovered(func(e mdns.ServiceEvent) {
		if e.Instance.Instance == "Porchlight of porch-test-a" {
			select {
			case found <- e.Instance:
			default:
			}
		}
	})
	if err := client.Browse(ctx, "_https._tcp"); err != nil {
		t.Fatal(err)
	}
	select {
	case s := <-found:
		if s.Port != 8443 || s.Host != "porch-test-a.local." || len(s.Text) != 2 || string(s.Text[1].Value) != "porch-test-a.local" {
			t.Errorf("the service is %+v", s)
		}
	case <-ctx.Done():
		t.Fatal("no service")
	}
}

// defend plays another device that has a name: it says so whenever somebody asks.
func defend(t *testing.T, w *wire, name string) {
	t.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	heard := make(chan packet, maxHeard)
	var reading sync.WaitGroup
	w.read(ctx, &reading, heard)
	done := make(chan struct{})
	go func() {
		defer close(done)
		for {
			select {
			case p := <-heard:
				if w.understand(p, name).asks {
					w.send(w.links[0], foreign(name))
				}
			case <-ctx.Done():
				return
			}
		}
	}()
	t.Cleanup(func() {
		cancel()
		w.close()
		reading.Wait()
		<-done
	})
}

func TestNameTaken(t *testing.T) {
	w := other(t)
	defend(t, w, "porch-test-b.local")
	n := run(t, "porch-test-b")
	settle(t, n)
	if n.Name() != "porch-test-b-2.local" || n.Wanted() != "porch-test-b.local" {
		t.Errorf("the name is %s", n.Name())
	}
}

// TestNameTakenLater has somebody come who insists on the name.
func TestNameTakenLater(t *testing.T) {
	w := other(t)
	n := run(t, "porch-test-c")
	settle(t, n)
	if n.Name() != "porch-test-c.local" {
		t.Fatalf("the name is %s", n.Name())
	}
	defend(t, w, "porch-test-c.local")
	w.send(w.links[0], foreign("porch-test-c.local"))
	tick := time.NewTicker(10 * time.Millisecond)
	defer tick.Stop()
	for deadline := time.After(patience); n.Name() != "porch-test-c-2.local"; {
		select {
		case <-tick.C:
		case <-deadline:
			t.Fatalf("the name is still %s", n.Name())
		}
	}
}

// TestUnderstand is the reading of packets, on a machine with the address 10.0.0.5.
func TestUnderstand(t *testing.T) {
	mine, theirs := netip.MustParseAddr("10.0.0.5"), netip.MustParseAddr("192.0.2.9")
	w := &wire{links: []link{{Interface: net.Interface{Index: 1}, addrs: []netip.Addr{mine}}}}
	record := func(name string, a netip.Addr, ttl uint32) []dnsmessage.Resource {
		return link{addrs: []netip.Addr{a}}.records(name, ttl, dnsmessage.ClassINET)
	}
	ask := []dnsmessage.Question{{Name: dnsName("House.local"), Type: dnsmessage.TypeALL, Class: dnsmessage.ClassINET}}
	response := dnsmessage.Header{Response: true}
	for name, test := range map[string]struct {
		m    dnsmessage.Message
		want said
	}{
		"somebody has it":        {dnsmessage.Message{Header: response, Answers: record("HOUSE.local", theirs, 120)}, said{claims: true}},
		"beside something else":  {dnsmessage.Message{Header: response, Additionals: record("house.local", theirs, 120)}, said{claims: true}},
		"our own":                {dnsmessage.Message{Header: response, Answers: record("house.local", mine, 120)}, said{}},
		"another name":           {dnsmessage.Message{Header: response, Answers: record("tree.local", theirs, 120)}, said{}},
		"somebody gives it up":   {dnsmessage.Message{Header: response, Answers: record("house.local", theirs, 0)}, said{}},
		"a question":             {dnsmessage.Message{Questions: ask}, said{asks: true}},
		"a probe":                {dnsmessage.Message{Questions: ask, Authorities: record("house.local", theirs, 120)}, said{asks: true, wants: theirs}},
		"our own probe":          {dnsmessage.Message{Questions: ask, Authorities: record("house.local", mine, 120)}, said{asks: true}},
		"answers in a question":  {dnsmessage.Message{Answers: record("house.local", theirs, 120)}, said{}},
		"a question in a answer": {dnsmessage.Message{Header: response, Questions: ask}, said{}},
	} {
		raw, err := test.m.Pack()
		if err != nil {
			t.Fatal(err)
		}
		if got := w.understand(packet{1, raw}, "house.local"); got != test.want {
			t.Errorf("%s: %+v, want %+v", name, got, test.want)
		}
	}
	if w.highest(1) != mine || w.highest(0) != mine || w.highest(2).IsValid() {
		t.Error("our highest address")
	}
}

func FuzzUnderstand(f *testing.F) {
	w := &wire{links: []link{{addrs: []netip.Addr{netip.MustParseAddr("10.0.0.5")}}}}
	m := foreign("house.local")
	raw, err := m.Pack()
	if err != nil {
		f.Fatal(err)
	}
	f.Add(raw)
	f.Add([]byte{})
	f.Fuzz(func(t *testing.T, raw []byte) {
		if s := w.understand(packet{0, raw}, "house.local"); s.wants.IsValid() && !s.asks {
			t.Errorf("%+v", s)
		}
	})
}
