package relay

import (
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"testing"
	"time"

	"github.com/pion/stun/v4"
	"github.com/pion/turn/v5"
)

// rawClient speaks TURN by single messages.
type rawClient struct {
	t     *testing.T
	conn  net.Conn
	cred  Credentials
	nonce stun.Nonce
}

func newRawClient(t *testing.T, r *Relay, network, user string) *rawClient {
	t.Helper()
	conn, err := net.Dial(network+"4", r.url(t))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = conn.Close() }) // maybe closed by the test
	c := &rawClient{t: t, conn: conn, cred: r.Credentials(user)}
	first := stun.MustBuild(stun.TransactionID, stun.NewType(stun.MethodAllocate, stun.ClassRequest))
	if err := c.nonce.GetFrom(c.exchange(first)); err != nil {
		t.Fatal(err)
	}
	return c
}

// as is the client with other credentials, on the same socket.
func (c *rawClient) as(cred Credentials) *rawClient {
	other := *c
	other.cred = cred
	return &other
}

func attribute(kind stun.AttrType, value ...byte) stun.Setter {
	return stun.RawAttribute{Type: kind, Value: value}
}

// ask sends a signed request and returns the answer.
func (c *rawClient) ask(method stun.Method, more ...stun.Setter) *stun.Message {
	c.t.Helper()
	all := []stun.Setter{
		stun.TransactionID, stun.NewType(method, stun.ClassRequest),
		stun.NewUsername(c.cred.Username), stun.NewRealm(realm), c.nonce,
	}
	all = append(all, more...)
	key := turn.GenerateAuthKey(c.cred.Username, realm, c.cred.Password)
	m, err := stun.Build(append(all, stun.MessageIntegrity(key), stun.Fingerprint)...)
	if err != nil {
		c.t.Fatal(err)
	}
	answer := c.exchange(m)
	if code := errorCode(answer); code != stun.CodeUnauthorized && code != stun.CodeStaleNonce {
		if err := stun.MessageIntegrity(key).Check(answer); err != nil {
			c.t.Errorf("the answer to %s is not signed: %v", method, err)
		}
	}
	return answer
}

// exchange sends a message and waits for its answer.
func (c *rawClient) exchange(m *stun.Message) *stun.Message {
	c.t.Helper()
	if _, err := c.conn.Write(m.Raw); err != nil {
		c.t.Fatal(err)
	}
	if err := c.conn.SetReadDeadline(time.Now().Add(patience)); err != nil {
		c.t.Fatal(err)
	}
	for {
		buf := make([]byte, 1500)
		n, err := c.conn.Read(buf)
		if errors.Is(err, os.ErrDeadlineExceeded) || errors.Is(err, io.EOF) {
			c.t.Fatalf("no answer to %s", m.Type)
		}
		if err != nil {
			c.t.Fatal(err)
		}
		answer := &stun.Message{Raw: buf[:n]}
		if err := answer.Decode(); err != nil {
			c.t.Fatal(err)
		}
		if answer.TransactionID != m.TransactionID {
			continue
		}
		if answer.Type.Method != m.Type.Method {
			c.t.Errorf("%s was answered as %s", m.Type, answer.Type)
		}
		return answer
	}
}

// errorCode is that of an answer; 0: success.
func errorCode(m *stun.Message) stun.ErrorCode {
	var code stun.ErrorCodeAttribute
	if m.Type.Class == stun.ClassSuccessResponse || code.GetFrom(m) != nil {
		return 0
	}
	return code.Code
}

// Attributes of requests.
var (
	overUDP  = attribute(stun.AttrRequestedTransport, transportUDP, 0, 0, 0)
	overTCP  = attribute(stun.AttrRequestedTransport, 6, 0, 0, 0)
	overSCTP = attribute(stun.AttrRequestedTransport, 132, 0, 0, 0)
	token    = attribute(stun.AttrReservationToken, 1, 2, 3, 4, 5, 6, 7, 8)
	ipv4     = attribute(stun.AttrRequestedAddressFamily, 1, 0, 0, 0)
	ipv6     = attribute(stun.AttrRequestedAddressFamily, 2, 0, 0, 0)
	noFamily = attribute(stun.AttrRequestedAddressFamily, 9, 0, 0, 0)
	moreIPv6 = attribute(attrAdditionalFamily, 2, 0, 0, 0)
	moreIPv4 = attribute(attrAdditionalFamily, 1, 0, 0, 0)
	evenPort = attribute(stun.AttrEvenPort, 0)
	evenPair = attribute(stun.AttrEvenPort, evenPortReserve)
	unknown  = attribute(0x7001, 1)
)

func lifetime(seconds byte) stun.Setter { return attribute(stun.AttrLifetime, 0, 0, 0, seconds) }

func channel(n uint16) stun.Setter {
	return attribute(stun.AttrChannelNumber, byte(n>>8), byte(n), 0, 0)
}

// peerAt is the address of a peer.
type peerAt struct{ ip string }

func (p peerAt) AddTo(m *stun.Message) error {
	return stun.XORMappedAddress{IP: net.ParseIP(p.ip), Port: 4000}.AddToAs(m, stun.AttrXORPeerAddress)
}

// Each request that RFC 8656 has refused is refused so, and none is left without an answer.
func TestErrorsOfTheStandard(t *testing.T) {
	const ok, alloc, refresh, permit, bind = 0, stun.MethodAllocate, stun.MethodRefresh, stun.MethodCreatePermission, stun.MethodChannelBind
	local := peerAt{"127.0.0.1"}
	type step struct {
		method stun.Method
		with   []stun.Setter
		want   stun.ErrorCode
	}
	with := func(s ...stun.Setter) []stun.Setter { return s }
	for _, tt := range []struct {
		name  string
		steps []step // after an Allocate that succeeded, if has
		has   bool
	}{
		{"5: no allocation", []step{
			{refresh, nil, 437}, {refresh, with(lifetime(0)), 437}, {permit, with(local), 437}, {permit, nil, 437},
			{bind, with(channel(0x4000), local), 437}, {bind, nil, 437}, {stun.MethodConnect, with(local), 437},
		}, false},
		{"5: the allocation is over", []step{{refresh, with(lifetime(0)), ok}, {refresh, nil, 437}, {permit, with(local), 437}}, true},
		{"7.2: 2nd allocation", []step{{alloc, with(overUDP), 437}, {alloc, with(overTCP), 437}, {alloc, nil, 437}}, true},
		{"7.2: transport", []step{{alloc, nil, 400}, {alloc, with(attribute(stun.AttrRequestedTransport, 17)), 400},
			{alloc, with(overTCP), 442}, {alloc, with(overSCTP), 442}}, false},
		{"7.2: unknown attribute", []step{{alloc, with(overUDP, unknown), 420},
			{alloc, with(overUDP, attribute(stun.AttrDontFragment)), 420}}, false},
		{"7.2: reservation", []step{
			{alloc, with(overUDP, token, evenPort), 400}, {alloc, with(overUDP, token, ipv4), 400}, {alloc, with(overUDP, token, moreIPv6), 400},
			{alloc, with(overUDP, token), 508},
		}, false},
		{"7.2: families", []step{
			{alloc, with(overUDP, noFamily), 440}, {alloc, with(overUDP, ipv4, moreIPv6), 400}, {alloc, with(overUDP, moreIPv4), 400},
			{alloc, with(overUDP, evenPair, moreIPv6), 400}, {alloc, with(overUDP, attribute(stun.AttrRequestedAddressFamily, 1)), 400},
		}, false},
		{"8.2: refresh", []step{{refresh, with(ipv6), 443}, {refresh, with(noFamily), 443}, {refresh, with(ipv4), ok}, {refresh, with(unknown), 420}}, true},
		{"10.2: permission", []step{
			{permit, nil, 400}, {permit, with(peerAt{"::1"}), 443}, {permit, with(peerAt{"192.0.2.1"}), 403}, {permit, with(local), ok},
			{permit, with(attribute(stun.AttrXORPeerAddress, 0, 1)), 400},
		}, true},
		{"12.2: channel", []step{
			{bind, nil, 400}, {bind, with(channel(0x4000)), 400}, {bind, with(local), 400}, {bind, with(channel(0x4000), peerAt{"::1"}), 443},
			{bind, with(channel(0x4000), peerAt{"192.0.2.1"}), 403},
			{bind, with(channel(0), local), 400}, {bind, with(channel(0x100), local), 400}, {bind, with(channel(0x3fff), local), 400},
			{bind, with(channel(0x5000), local), 400}, {bind, with(channel(0x7fff), local), 400}, {bind, with(channel(0xffff), local), 400},
			{bind, with(channel(0x4000), local), ok}, {bind, with(channel(0x4000), local), ok}, {bind, with(channel(0x4001), local), 400},
		}, true},
	} {
		for _, network := range []string{"udp", "tcp"} {
			t.Run(tt.name+" "+network, func(t *testing.T) {
				r := start(t, nil)
				c := newRawClient(t, r, network, "@a:h")
				if tt.has {
					if code := errorCode(c.ask(alloc, overUDP)); code != 0 {
						t.Fatalf("no allocation: %d", code)
					}
				}
				for i, s := range tt.steps {
					if got := errorCode(c.ask(s.method, s.with...)); got != s.want {
						t.Errorf("step %d, %s: %d, want %d", i, s.method, got, s.want)
					}
				}
				if r.Stats().Allocations > 1 {
					t.Errorf("%d allocations", r.Stats().Allocations)
				}
			})
		}
	}
}

// Somebody else's credentials do not touch an allocation, wrong ones do not get so far, and
// what is not signed is asked to be.
func TestErrorsOfCredentials(t *testing.T) {
	for _, network := range []string{"udp", "tcp"} {
		t.Run(network, func(t *testing.T) {
			r := start(t, nil)
			c := newRawClient(t, r, network, "@a:h")
			if code := errorCode(c.ask(stun.MethodAllocate, overUDP)); code != 0 {
				t.Fatal(code)
			}
			other := c.as(r.Credentials("@b:h"))
			wrong := c.cred
			wrong.Password = "guessed"
			stale := *c
			stale.nonce = stun.NewNonce("0123456789abcdef0123456789abcdef0123456789abcdef")
			for _, method := range []stun.Method{stun.MethodRefresh, stun.MethodCreatePermission, stun.MethodChannelBind} {
				for name, of := range map[string]struct {
					client *rawClient
					want   stun.ErrorCode
				}{"another's": {other, 441}, "wrong": {c.as(wrong), 401}, "stale": {&stale, 438}} {
					if got := errorCode(of.client.ask(method, channel(0x4000), peerAt{"127.0.0.1"})); got != of.want {
						t.Errorf("%s with %s credentials: %d, want %d", method, name, got, of.want)
					}
				}
				bare := stun.MustBuild(stun.TransactionID, stun.NewType(method, stun.ClassRequest))
				if got := errorCode(c.exchange(bare)); got != 401 {
					t.Errorf("%s without credentials: %d, want 401", method, got)
				}
			}
			if code := errorCode(c.ask(stun.MethodRefresh)); code != 0 {
				t.Errorf("the allocation is gone: %d", code)
			}
		})
	}
}

// A relay that has been started again tells clients of the old one that their allocations
// are gone.
func TestAfterARestart(t *testing.T) {
	r := start(t, nil)
	c := newRawClient(t, r, "udp", "@a:h")
	c.nonce = stun.NewNonce(fmt.Sprintf("%048d", 0)) // as of another start
	answer := c.ask(stun.MethodRefresh)
	if code := errorCode(answer); code != 438 {
		t.Fatalf("with an old nonce: %d", code)
	}
	if err := c.nonce.GetFrom(answer); err != nil {
		t.Fatal(err)
	}
	if code := errorCode(c.ask(stun.MethodRefresh)); code != 437 {
		t.Errorf("with the new one: %d, want 437", code)
	}
}
