package bridge

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"net"
	"net/netip"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/pion/transport/v5"
	"github.com/pion/webrtc/v4"

	"porchlight/voip/call"
	"porchlight/voip/device"
)

// Media is what the bridge needs of the board's devices; *device.Board is one.
type Media interface {
	// VideoCodecs and AudioCodecs list what can be had, the best first.
	VideoCodecs() []device.VideoCodec
	AudioCodecs() []device.AudioCodec
	OpenVideo(ctx context.Context, codec device.VideoCodec) (device.VideoStream, error)
	OpenAudio(ctx context.Context, codec device.AudioCodec) (device.AudioStream, error)
	OpenSpeaker(ctx context.Context) (device.Speaker, error)
}

const (
	// DefaultMaxSessions is how many calls go on at once at most.
	DefaultMaxSessions = 8
	// DefaultVideoBitrate is what a good connection is sent, in bits per second.
	DefaultVideoBitrate = 500_000
	// DefaultMinVideoBitrate is what a picture is not lowered below, in bits per second: a
	// line that carries less gets fewer pictures.
	DefaultMinVideoBitrate = 100_000
	// maxPlayoutDelay is what the header extension can express: 40.95 s.
	maxPlayoutDelay = 4095 * 10 * time.Millisecond
	// addressLook is how often the machine's addresses are looked at while there are calls.
	addressLook = 2 * time.Second
)

var (
	// ErrClosed says that the bridge or the session has ended.
	ErrClosed = errors.New("bridge: closed")
	// ErrBusy says that Config.MaxSessions sessions are open. It wraps call.ErrBusy.
	ErrBusy = fmt.Errorf("bridge: %w", call.ErrBusy)
)

// Config says how a Bridge is to work. Only Media is required.
type Config struct {
	Media Media
	// Port is the number of the UDP ports and of the TCP port; 0 takes any.
	Port int
	// Interfaces are the network interfaces to use; empty: all that are up.
	Interfaces []string
	// Loopback also offers the addresses of the loopback interface: for tests.
	Loopback bool
	// NoTCP leaves the TCP port closed.
	NoTCP bool
	// MaxSessions bounds the calls at once; 0 is DefaultMaxSessions.
	MaxSessions int
	// VideoBitrate in bits per second is what the picture is to take on a good
	// connection; 0 is DefaultVideoBitrate. It is lowered to what the line carries, but not
	// below MinVideoBitrate; 0 is DefaultMinVideoBitrate.
	VideoBitrate, MinVideoBitrate int
	// PlayoutDelay is the most that a receiver may hold a picture back to smooth
	// it. 0 shows each at once, best on a cable; Wi-Fi gains from some 100 ms.
	PlayoutDelay time.Duration
	// Log takes what happens; nil discards it.
	Log *slog.Logger
	// Now is the clock; nil is time.Now.
	Now func() time.Time

	// net is the network; nil is the machine's own. Tests put a virtual one here.
	net transport.Net
}

// Bridge makes sessions. Its Run has to be running for Open to succeed.
type Bridge struct {
	cfg    Config
	ports  *ports
	api    *webrtc.API
	lines  *estimators
	jobs   chan job
	closed chan struct{} // closed when Run has ended or Close was called
	once   sync.Once
	format atomic.Pointer[device.H264Format] // what the camera codes by itself, as far as it was seen

	mu       sync.Mutex
	sessions map[*Session]bool // that run
}

// job is an Open on its way to Run.
type job struct {
	answer chan<- opened
}

type opened struct {
	session *Session
	err     error
}

// New binds the ports. It fails if one of them is taken.
func New(cfg Config) (*Bridge, error) {
	if cfg.Media == nil {
		return nil, errors.New("bridge: no media")
	}
	if cfg.Port < 0 || cfg.Port > 65535 {
		return nil, fmt.Errorf("bridge: %d is no port", cfg.Port)
	}
	if cfg.PlayoutDelay < 0 || cfg.PlayoutDelay > maxPlayoutDelay {
		return nil, fmt.Errorf("bridge: a playout delay of %s is not possible: 0 to %s are", cfg.PlayoutDelay, maxPlayoutDelay)
	}
	if cfg.MaxSessions <= 0 {
		cfg.MaxSessions = DefaultMaxSessions
	}
	if cfg.VideoBitrate <= 0 {
		cfg.VideoBitrate = DefaultVideoBitrate
	}
	if cfg.MinVideoBitrate <= 0 {
		cfg.MinVideoBitrate = DefaultMinVideoBitrate
	}
	cfg.MinVideoBitrate = min(cfg.MinVideoBitrate, cfg.VideoBitrate)
	if cfg.Log == nil {
		cfg.Log = slog.New(slog.DiscardHandler)
	}
	if cfg.Now == nil {
		cfg.Now = time.Now
	}
	p, err := bind(cfg)
	if err != nil {
		return nil, err
	}
	return &Bridge{cfg: cfg, ports: p, jobs: make(chan job), closed: make(chan struct{}), sessions: map[*Session]bool{}}, nil
}

// Port is the number of the ports in use.
func (b *Bridge) Port() int { return b.ports.number }

// Addresses are where the media of calls goes by UDP, for a relay that carries it there.
func (b *Bridge) Addresses() []netip.AddrPort {
	var list []netip.AddrPort
	for _, a := range b.ports.GetListenAddresses() {
		if udp, ok := a.(*net.UDPAddr); ok {
			list = append(list, udp.AddrPort())
		}
	}
	return list
}

// Run carries the sessions until ctx ends or the Bridge is closed. It returns
// when all sessions have ended and the ports are closed again.
func (b *Bridge) Run(ctx context.Context) error {
	ctx, cancel := context.WithCancel(ctx)
	defer b.Close()
	b.ports.start()
	defer b.ports.stop()
	b.lines = &estimators{cfg: b.cfg}
	api, err := newAPI(b.cfg, b.ports, b.lines)
	if err != nil {
		cancel()
		return err
	}
	b.api = api
	var running sync.WaitGroup
	defer running.Wait()
	defer cancel()
	free := make(chan struct{}, b.cfg.MaxSessions)
	look := time.NewTicker(addressLook)
	defer look.Stop()
	for {
		select {
		case <-look.C:
			if len(b.running()) > 0 {
				b.followAddresses()
			}
		case j := <-b.jobs:
			select {
			case free <- struct{}{}:
			default:
				j.answer <- opened{err: ErrBusy}
				continue
			}
			s, err := b.newSession(ctx)
			if err != nil {
				<-free
				j.answer <- opened{err: err}
				continue
			}
			b.mu.Lock()
			b.sessions[s] = true
			b.mu.Unlock()
			running.Go(func() {
				defer func() { <-free }()
				s.run()
				b.mu.Lock()
				delete(b.sessions, s)
				b.mu.Unlock()
			})
			j.answer <- opened{session: s}
		case <-b.closed:
			return nil
		case <-ctx.Done():
			return nil
		}
	}
}

// running are the sessions that have not ended.
func (b *Bridge) running() []*Session {
	b.mu.Lock()
	defer b.mu.Unlock()
	return slices.Collect(maps.Keys(b.sessions))
}

// followAddresses opens the ports on the addresses that the machine has by now, and tells
// the calls that go on if it has got others, as from another access point or by a new lease.
func (b *Bridge) followAddresses() {
	now, more, less := b.ports.refresh()
	if !more && !less {
		return
	}
	b.cfg.Log.Info("bridge: the addresses of this machine have changed", "addresses", now)
	for _, s := range b.running() {
		s.moved(now, more)
	}
}

// Open begins the media of one call. ctx bounds the opening only; the Session is
// the caller's to Close.
func (b *Bridge) Open(ctx context.Context) (*Session, error) {
	answer := make(chan opened, 1)
	select {
	case b.jobs <- job{answer}:
	case <-b.closed:
		return nil, ErrClosed
	case <-ctx.Done():
		return nil, ctx.Err()
	}
	o := <-answer // Run answers at once whatever it took
	return o.session, o.err
}

// Close makes Run return, and frees the ports if Run never ran. It does not wait.
func (b *Bridge) Close() error {
	b.once.Do(func() {
		close(b.closed)
		b.ports.abandon()
	})
	return nil
}
