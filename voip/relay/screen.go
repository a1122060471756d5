package relay

import (
	"encoding/binary"
	"net"
	"sync"

	"github.com/pion/stun/v4"
	"github.com/pion/turn/v5"
)

// Pion leaves some requests without any answer, so that a client waits for its own timeout,
// and carries out some that the standard has refused. A screen sees each request before pion
// does, and each answer of pion's before the client does, and mends both.

const (
	// transportUDP is the only protocol by which peers are reached here.
	transportUDP = 17
	// familyIPv6 is the only family that a second address may be asked for.
	familyIPv6 = 2
	// minChannel and maxChannel are the numbers that a channel may have.
	// spec: RFC 8656 section 12
	minChannel, maxChannel = 0x4000, 0x4fff
	// evenPortReserve is the bit of EVEN-PORT that asks for the port after it, too.
	evenPortReserve = 0x80
	// attrAdditionalFamily asks for a second address. spec: RFC 8656 section 18.12
	attrAdditionalFamily stun.AttrType = 0x8000
)

// owners are the allocations there are, by the addresses at both ends: whose each is.
type owners struct {
	mu    sync.Mutex
	users map[string]string
}

func tuple(client, server net.Addr) string {
	return client.Network() + " " + client.String() + " " + server.String()
}

func (o *owners) add(client, server net.Addr, user string) {
	o.mu.Lock()
	defer o.mu.Unlock()
	if o.users == nil {
		o.users = map[string]string{}
	}
	o.users[tuple(client, server)] = user
}

func (o *owners) remove(client, server net.Addr) {
	o.mu.Lock()
	defer o.mu.Unlock()
	delete(o.users, tuple(client, server))
}

func (o *owners) of(client, server net.Addr) (user string, ok bool) {
	o.mu.Lock()
	defer o.mu.Unlock()
	user, ok = o.users[tuple(client, server)]
	return user, ok
}

// events tells the owners of allocations that come and go.
func (r *Relay) events() turn.EventHandler {
	return turn.EventHandler{
		OnAuth: r.onAuth,
		OnAllocationCreated: func(client, server net.Addr, _, user, _ string, _ net.Addr, _ int) {
			r.owners.add(client, server, user)
		},
		OnAllocationDeleted: func(client, server net.Addr, _, _, _ string) { r.owners.remove(client, server) },
	}
}

// screen is for one socket. Pion reads from it and deals with what it has read before it
// reads again.
type screen struct {
	r     *Relay
	local net.Addr

	mu   sync.Mutex
	open *request // that pion has been given last, if it is one of a client's to be answered
}

// request is one that is signed as it has to be.
type request struct {
	message  *stun.Message
	from     net.Addr
	user     string
	key      stun.MessageIntegrity
	answered bool
}

// judge looks at what has come before pion sees it. A reply takes its place: then pion is
// not to see it at all.
func (s *screen) judge(raw []byte, from net.Addr) (reply []byte) {
	q := s.r.signed(raw, from)
	s.mu.Lock()
	s.open = q
	s.mu.Unlock()
	if q == nil {
		return nil
	}
	if code := s.forbidden(q); code != 0 {
		s.mu.Lock()
		s.open = nil
		s.mu.Unlock()
		return q.refuse(code)
	}
	return nil
}

// signed reads a request for an allocation that is there or to be made; nil if it is none,
// or is not signed well: then pion says what has to be said.
func (r *Relay) signed(raw []byte, from net.Addr) *request {
	if !stun.IsMessage(raw) {
		return nil
	}
	m := &stun.Message{Raw: append([]byte(nil), raw...)}
	if err := m.Decode(); err != nil || m.Type.Class != stun.ClassRequest || m.Type.Method == stun.MethodBinding {
		return nil
	}
	var name stun.Username
	var realm stun.Realm
	if name.GetFrom(m) != nil || realm.GetFrom(m) != nil {
		return nil
	}
	user, key, ok := r.key(string(name), string(realm), m.Type.Method)
	if !ok || stun.MessageIntegrity(key).Check(m) != nil {
		return nil
	}
	return &request{message: m, from: from, user: user, key: key}
}

// forbidden is the error of a request that pion would carry out, or refuse with another one;
// 0: none.
//
// spec: RFC 8656 sections 7.2 and 12.2
func (s *screen) forbidden(q *request) stun.ErrorCode {
	owner, has := s.r.owners.of(q.from, s.local)
	switch q.message.Type.Method {
	case stun.MethodChannelBind:
		number, err := q.message.Get(stun.AttrChannelNumber)
		if !has || owner != q.user || err != nil || len(number) < 2 {
			return 0
		}
		if n := binary.BigEndian.Uint16(number); n < minChannel || n > maxChannel {
			return stun.CodeBadRequest
		}
	case stun.MethodAllocate:
		if !has {
			return q.badAllocate()
		}
	}
	return 0
}

// badAllocate is the error of an Allocate request; 0: none.
func (q *request) badAllocate() stun.ErrorCode {
	m := q.message
	if protocol, err := m.Get(stun.AttrRequestedTransport); err == nil && len(protocol) == 4 && protocol[0] != transportUDP {
		return stun.CodeUnsupportedTransProto
	}
	token, family := m.Contains(stun.AttrReservationToken), m.Contains(stun.AttrRequestedAddressFamily)
	port, portErr := m.Get(stun.AttrEvenPort)
	more, moreErr := m.Get(attrAdditionalFamily)
	switch {
	case token && (family || portErr == nil || moreErr == nil):
		return stun.CodeBadRequest
	case moreErr == nil && (family || len(more) != 4 || more[0] != familyIPv6):
		return stun.CodeBadRequest
	case moreErr == nil && portErr == nil && len(port) > 0 && port[0]&evenPortReserve != 0:
		return stun.CodeBadRequest
	}
	return 0
}

// settle is called when pion is done with what it has read. The reply is to a request that
// it has left unanswered; nil: there is none.
//
// spec: RFC 8656 section 5: without an allocation, a request is rejected with 437
func (s *screen) settle() (reply []byte, to net.Addr) {
	s.mu.Lock()
	q := s.open
	s.open = nil
	s.mu.Unlock()
	if q == nil || q.answered {
		return nil, nil
	}
	owner, has := s.r.owners.of(q.from, s.local)
	switch {
	case !has && q.message.Type.Method != stun.MethodAllocate:
		return q.refuse(stun.CodeAllocMismatch), q.from
	case has && owner != q.user:
		return q.refuse(stun.CodeWrongCredentials), q.from
	}
	return q.refuse(stun.CodeBadRequest), q.from
}

// answer sees what pion sends, and gives back what is to be sent.
//
// spec: RFC 8656 section 12.2: a channel to a peer that is not permitted is forbidden
func (s *screen) answer(raw []byte, to net.Addr) []byte {
	if !stun.IsMessage(raw) {
		return raw
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	q := s.open
	if q == nil || q.from.String() != to.String() {
		return raw
	}
	m := &stun.Message{Raw: append([]byte(nil), raw...)}
	if m.Decode() != nil || m.TransactionID != q.message.TransactionID {
		return raw
	}
	q.answered = true
	var code stun.ErrorCodeAttribute
	// Other ones of 401 are about the signature, and have none themselves.
	if m.Contains(stun.AttrMessageIntegrity) && code.GetFrom(m) == nil && code.Code == stun.CodeUnauthorized {
		return q.refuse(stun.CodeForbidden)
	}
	return raw
}

// refuse is an error response.
func (q *request) refuse(code stun.ErrorCode) []byte {
	m, err := stun.Build(stun.NewTransactionIDSetter(q.message.TransactionID),
		stun.NewType(q.message.Type.Method, stun.ClassErrorResponse), code, q.key, stun.Fingerprint)
	if err != nil {
		return nil // it fits always
	}
	return m.Raw
}

// screenedUDP is a UDP socket behind a screen.
type screenedUDP struct {
	net.PacketConn
	screen screen
}

// ReadFrom implements net.PacketConn.
func (c *screenedUDP) ReadFrom(p []byte) (int, net.Addr, error) {
	if reply, to := c.screen.settle(); reply != nil {
		c.reply(reply, to)
	}
	for {
		n, from, err := c.PacketConn.ReadFrom(p)
		if err != nil {
			return n, from, err
		}
		reply := c.screen.judge(p[:n], from)
		if reply == nil {
			return n, from, nil
		}
		c.reply(reply, from)
	}
}

// WriteTo implements net.PacketConn.
func (c *screenedUDP) WriteTo(p []byte, to net.Addr) (int, error) {
	if _, err := c.PacketConn.WriteTo(c.screen.answer(p, to), to); err != nil {
		return 0, err
	}
	return len(p), nil
}

func (c *screenedUDP) reply(p []byte, to net.Addr) {
	if _, err := c.PacketConn.WriteTo(p, to); err != nil {
		c.screen.r.log.Debug("relay: an answer could not be sent", "error", err)
	}
}
