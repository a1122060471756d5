//go:build guest

package devices

import (
	"encoding/binary"
	"net"
	"syscall"
	"testing"
	"time"
	"unsafe"
)

// mostLost is the share of the packets of sound that may be lost on any network of this test.
const mostLost = 0.12

// wanted is what a call has to give over a network.
type wanted struct {
	pictures float64       // a second, of 15
	freeze   time.Duration // at most
	tone     float64       // the share of power that the tone has at the loudspeaker
}

func badNetwork(t *testing.T, b *bench) {
	tones := play(t, intoMicrophone, micTone, rate, 1)
	defer tones.stop()
	room := record(t, outOfLoudspeaker)
	defer room.stop()
	p := b.client.call(t)
	defer p.hangUp()
	p.sees(t, 10)
	defer badness{}.apply(t)
	for _, network := range []struct {
		name string
		badness
		wanted
	}{
		{"a good network", badness{}, wanted{8, 2 * time.Second, clear}},
		{"5 % lost, 60 ± 50 ms late", badness{lost: 0.05, delay: 60 * time.Millisecond, jitter: 50 * time.Millisecond}, wanted{8, 2 * time.Second, clear / 2}},
	} {
		t.Run(network.name, func(t *testing.T) {
			network.apply(t)
			endure(t, p, room, network.wanted)
		})
	}
}

// endure watches a call for a while and tells how it went.
func endure(t *testing.T, p *peer, room *recorder, want wanted) {
	p.hears(t, soundCheck) // from now on everything comes this way
	p.reset()
	from, before := time.Now(), room.heard()
	p.hears(t, 4*soundCheck)
	p.sees(t, 20)
	took := time.Since(from).Seconds()
	s, h, up := p.senses()
	rateOf := func(n int) float64 { return float64(n) / took }
	t.Logf("seen in %.1f s: %.1f pictures a second, %d freezes of more than %v, longest %v, %d pictures broken, %d key frames asked for, %.0f kbit/s", took,
		rateOf(s.frames), s.freezes, freeze, s.longest.Round(time.Millisecond), s.broken, s.keys, rateOf(8*s.bytes)/1000)
	there := loudestTone(p.last(1000))
	t.Logf("heard by the peer: %d packets, %d lost in %d gaps, %.0f kbit/s, %v", h.packets, h.lost, h.gaps, rateOf(8*h.bytes)/1000, there)
	here := loudestTone(room.last(1000))
	t.Logf("heard by the loudspeaker: %v; its card gave %.1f s of sound", here, float64(room.heard()-before)/rate)
	if !up {
		t.Error("the call is not up any more")
	}
	if rateOf(s.frames) < want.pictures || s.longest > want.freeze {
		t.Errorf("the picture is no good: %.1f a second, longest pause %v", rateOf(s.frames), s.longest)
	}
	if lost := float64(h.lost) / float64(h.lost+h.packets); lost > mostLost || !there.is(micTone, clear) {
		t.Errorf("the peer hears too little: %.0f %% lost, %v", 100*lost, there)
	}
	if here.level < -40 || !here.is(peerTone, want.tone) {
		t.Errorf("the loudspeaker plays %v", here)
	}
}

// badness is what the network does to every packet on its way. The zero value is a good one.
type badness struct {
	lost          float64 // share of packets that never arrive
	delay, jitter time.Duration
}

// What the kernel calls these. spec: linux/pkt_sched.h, linux/rtnetlink.h
const (
	tcaKind          = 1
	tcaOptions       = 2
	tcaNetemLatency  = 10 // in nanoseconds
	tcaNetemJitter   = 11
	tcHandleRoot     = 0xFFFFFFFF
	netemMostPackets = 1000
)

// apply makes the loopback interface so, for everything in this machine: the kernel's netem.
func (b badness) apply(t *testing.T) {
	t.Helper()
	lo, err := net.InterfaceByName("lo")
	if err != nil {
		t.Fatal(err)
	}
	// struct tcmsg: family, index, handle, parent, info.
	body := make([]byte, 20)
	binary.NativeEndian.PutUint32(body[4:], uint32(lo.Index))
	binary.NativeEndian.PutUint32(body[12:], tcHandleRoot)
	// struct tc_netem_qopt: latency, limit, loss, gap, duplicate, jitter.
	options := make([]byte, 24)
	binary.NativeEndian.PutUint32(options[4:], netemMostPackets)
	binary.NativeEndian.PutUint32(options[8:], uint32(b.lost*(1<<32)))
	number := func(d time.Duration) []byte { return binary.NativeEndian.AppendUint64(nil, uint64(d.Nanoseconds())) }
	options = append(options, attribute(tcaNetemLatency, number(b.delay))...)
	options = append(options, attribute(tcaNetemJitter, number(b.jitter))...)
	body = append(body, attribute(tcaKind, []byte("netem\x00"))...)
	body = append(body, attribute(tcaOptions, options)...)
	if err := tellNetwork(syscall.RTM_NEWQDISC, syscall.NLM_F_CREATE|syscall.NLM_F_REPLACE, body); err != nil {
		t.Fatal("the network could not be made worse or better:", err)
	}
}

// attribute is one of netlink's, padded to four bytes.
func attribute(kind int, data []byte) []byte {
	a := binary.NativeEndian.AppendUint16(nil, uint16(4+len(data)))
	a = binary.NativeEndian.AppendUint16(a, uint16(kind))
	a = append(a, data...)
	for len(a)%4 != 0 {
		a = append(a, 0)
	}
	return a
}

// tellNetwork sends one order by netlink and waits until it is carried out.
func tellNetwork(kind, flags uint16, body []byte) error {
	socket, err := syscall.Socket(syscall.AF_NETLINK, syscall.SOCK_RAW|syscall.SOCK_CLOEXEC, syscall.NETLINK_ROUTE)
	if err != nil {
		return err
	}
	defer syscall.Close(socket)
	message := binary.NativeEndian.AppendUint32(nil, uint32(syscall.SizeofNlMsghdr+len(body)))
	message = binary.NativeEndian.AppendUint16(message, kind)
	message = binary.NativeEndian.AppendUint16(message, flags|syscall.NLM_F_REQUEST|syscall.NLM_F_ACK)
	message = append(message, make([]byte, 8)...) // sequence number, port
	message = append(message, body...)
	if err := syscall.Sendto(socket, message, 0, &syscall.SockaddrNetlink{Family: syscall.AF_NETLINK}); err != nil {
		return err
	}
	answer := make([]byte, 4096)
	n, _, err := syscall.Recvfrom(socket, answer, 0)
	if err != nil {
		return err
	}
	if n < syscall.SizeofNlMsghdr+int(unsafe.Sizeof(int32(0))) {
		return syscall.EBADMSG
	}
	if code := int32(binary.NativeEndian.Uint32(answer[syscall.SizeofNlMsghdr:])); code != 0 {
		return syscall.Errno(-code)
	}
	return nil
}
