package device

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"runtime"
	"slices"
	"sync"
	"time"
)

// What Config's zero values stand for, and its bounds.
const (
	defaultWidth, defaultHeight = 640, 480
	defaultFPS                  = 15
	defaultVideoBitrate         = 500_000
	minVideoBitrate             = 50_000
	maxPictureSide              = 4096
	maxFPS                      = 120
	defaultCPUUsed              = -8
	defaultCPUUsedARM           = -12
)

// Board is the devices of one machine. Its streams can be opened while Run is
// running; opened earlier they wait for it.
type Board struct {
	cfg Config

	sightMu sync.RWMutex // guards these, which change when a camera is plugged in
	found   []string     // for Describe
	video   *feed        // nil if there is no camera
	tuner   tuner        // nil: the camera has no controls
	// noCamera is what Describe says of a camera that was not found; empty: one was, or none
	// was looked for.
	noCamera string

	plugs     []string // the video devices that were there at the last look; Run's own
	plugLooks int      // how often they are still tried

	audio   *feed                                     // nil if there is no microphone
	speaker func(ctx context.Context) (player, error) // opens the loudspeaker; nil if there is none
	still   func(ctx context.Context) ([]byte, error) // takes a JPEG while video is not in use; may be nil
	shared  bool                                      // the loudspeaker takes any number of callers

	jobs   chan func(ctx context.Context) // taken by Run
	closed chan struct{}                  // closed when Run has ended or Close was called
	once   sync.Once

	tuned tuning

	duck  ducker
	floor floor
	echo  echoPath
	// voices is that of callers at the board, own that of the board for them.
	voices, own volume

	mu       sync.Mutex
	speaking bool   // an exclusive loudspeaker plays a caller
	playing  player // an exclusive loudspeaker that is open; nil if it is not
	players  int    // who plays on it

	memory     memory // guarded by mu
	recordings int    // films that are being made; guarded by mu

	liveMu sync.Mutex // held while Config.Live is told
	live   int        // sources that run
}

// New looks for the devices of cfg. It fails if a device that was named is not
// there or a setting makes no sense; what Auto does not find is no failure.
func New(cfg Config) (*Board, error) {
	if err := cfg.complete(); err != nil {
		return nil, err
	}
	b := &Board{cfg: cfg, duck: ducker{now: cfg.Now}, floor: floor{now: cfg.Now}, jobs: make(chan func(context.Context)), closed: make(chan struct{})}
	for _, find := range []func() error{b.findCamera, b.findMicrophone, b.findLoudspeaker} {
		if err := find(); err != nil {
			return nil, err
		}
	}
	return b, nil
}

// complete fills in what was left out and checks the rest.
func (cfg *Config) complete() error {
	fallback := func(v *int, d int) {
		if *v == 0 {
			*v = d
		}
	}
	fallback(&cfg.Width, defaultWidth)
	fallback(&cfg.Height, defaultHeight)
	fallback(&cfg.FPS, defaultFPS)
	fallback(&cfg.Bitrate, defaultVideoBitrate)
	if runtime.GOARCH == "arm" || runtime.GOARCH == "arm64" {
		fallback(&cfg.CPUUsed, defaultCPUUsedARM)
	}
	fallback(&cfg.CPUUsed, defaultCPUUsed)
	for _, s := range []*string{&cfg.Camera, &cfg.Microphone, &cfg.Loudspeaker} {
		if *s == "" {
			*s = Auto
		}
	}
	if cfg.Log == nil {
		cfg.Log = slog.New(slog.DiscardHandler)
	}
	if cfg.Now == nil {
		cfg.Now = time.Now
	}
	switch {
	case cfg.Width < 16 || cfg.Width > maxPictureSide || cfg.Height < 16 || cfg.Height > maxPictureSide || cfg.Width%2+cfg.Height%2 > 0:
		return fmt.Errorf("device: a picture of %d×%d is not possible: both sides must be even and from 16 to %d", cfg.Width, cfg.Height, maxPictureSide)
	case cfg.FPS < 1 || cfg.FPS > maxFPS:
		return fmt.Errorf("device: %d pictures a second are not possible: 1 to %d are", cfg.FPS, maxFPS)
	case cfg.Bitrate < minVideoBitrate:
		return fmt.Errorf("device: %d bit/s are too few for a picture: at least %d are needed", cfg.Bitrate, minVideoBitrate)
	case cfg.CPUUsed < -16 || cfg.CPUUsed > -1:
		return fmt.Errorf("device: cpu-used %d is out of range: -16 to -1", cfg.CPUUsed)
	}
	return nil
}

// Run runs the sources that viewers ask for until ctx ends or the Board is
// closed, and returns when all of them have stopped.
func (b *Board) Run(ctx context.Context) error {
	ctx, cancel := context.WithCancel(ctx)
	var running sync.WaitGroup
	defer running.Wait()
	defer cancel()
	defer b.Close()
	look := time.NewTicker(hotplugLook)
	defer look.Stop()
	for {
		select {
		case <-look.C:
			b.lookForCamera()
		case job := <-b.jobs:
			running.Go(func() { job(ctx) })
		case <-b.closed:
			return nil
		case <-ctx.Done():
			return nil
		}
	}
}

// spawn has Run run fn.
func (b *Board) spawn(ctx context.Context, fn func(context.Context)) error {
	select {
	case b.jobs <- fn:
		return nil
	case <-b.closed:
		return ErrClosed
	case <-ctx.Done():
		return ctx.Err()
	}
}

// Close ends all streams and makes Run return. It does not wait for Run.
func (b *Board) Close() error {
	b.once.Do(func() { close(b.closed) })
	return nil
}

// VideoCodecs lists the codecs in which the picture can be had now, the best
// first; none if there is no camera. A camera that gives one format at a time
// and is giving it lists only that. H.264 with B-frames is not listed, once they were seen.
func (b *Board) VideoCodecs() []VideoCodec {
	eye := b.eye()
	if eye == nil {
		return nil
	}
	active := eye.active()
	var codecs []VideoCodec
	for _, h := range eye.hubs {
		if h.reorder != nil && h.reorder.seen.Load() {
			continue // receivers would show its pictures in the order in which they come
		}
		if !eye.exclusive || active == "" || active == h.codec {
			codecs = append(codecs, VideoCodec(h.codec))
		}
	}
	return codecs
}

// AudioCodecs lists the codecs in which the sound can be had, the best first;
// none if there is no microphone.
func (b *Board) AudioCodecs() []AudioCodec {
	if b.audio == nil {
		return nil
	}
	var codecs []AudioCodec
	for _, h := range b.audio.hubs {
		codecs = append(codecs, AudioCodec(h.codec))
	}
	return codecs
}

// SpeakerCodecs lists the codecs that a Speaker can decode, the best first;
// none if there is no loudspeaker.
func (b *Board) SpeakerCodecs() []AudioCodec {
	if b.speaker == nil {
		return nil
	}
	return []AudioCodec{Opus, PCMU, PCMA}
}

// OpenVideo starts the camera if need be and returns a stream of its picture.
// ctx bounds the opening only. The stream is the caller's to Close.
func (b *Board) OpenVideo(ctx context.Context, codec VideoCodec) (VideoStream, error) {
	eye := b.eye()
	if eye == nil {
		return nil, ErrUnsupported
	}
	v, err := eye.join(ctx, string(codec))
	if err != nil {
		return nil, err
	}
	return videoViewer{v}, nil
}

// OpenAudio starts the microphone if need be and returns a stream of its sound.
// ctx bounds the opening only. The stream is the caller's to Close.
func (b *Board) OpenAudio(ctx context.Context, codec AudioCodec) (AudioStream, error) {
	if b.audio == nil {
		return nil, ErrUnsupported
	}
	v, err := b.audio.join(ctx, string(codec))
	if err != nil {
		return nil, err
	}
	return audioViewer{v}, nil
}

// OpenSpeaker opens the loudspeaker. A real one plays one caller at a time:
// while another Speaker is open the answer is ErrBusy. One that only measures
// takes any number. ctx bounds the opening only.
func (b *Board) OpenSpeaker(ctx context.Context) (Speaker, error) {
	if b.speaker == nil {
		return nil, ErrUnsupported
	}
	select {
	case <-b.closed:
		return nil, ErrClosed
	default:
	}
	if b.shared {
		s := newSpeaker(b.cfg.Now, nil, func() {})
		return s, s.begin(ctx, b.spawn)
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.speaking {
		return nil, fmt.Errorf("%w: the loudspeaker plays another caller", ErrBusy)
	}
	p, err := b.borrowPlayer(ctx)
	if err != nil {
		return nil, err
	}
	b.speaking = true
	s := newSpeaker(b.cfg.Now, voice{p, &b.floor}, func() {
		b.mu.Lock()
		defer b.mu.Unlock()
		b.speaking = false
	})
	s.heard, s.volume = b.duck.played, &b.voices
	if err := s.begin(ctx, b.spawn); err != nil {
		b.speaking = false
		return nil, errors.Join(err, b.dropPlayer())
	}
	return s, nil
}

// borrowPlayer gives the loudspeaker to one more who plays on it, and opens it for the
// first. mu is held.
func (b *Board) borrowPlayer(ctx context.Context) (player, error) {
	if b.playing == nil {
		p, err := b.speaker(ctx)
		if err != nil {
			return nil, err
		}
		b.playing = p
	}
	b.players++
	p := borrowed{b.playing, b.returnPlayer}
	if waits, ok := b.playing.(pacer); ok {
		return paced{p, waits}, nil
	}
	return p, nil
}

// returnPlayer closes the loudspeaker after the last who played on it.
func (b *Board) returnPlayer() error {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.dropPlayer()
}

// dropPlayer is returnPlayer with mu held.
func (b *Board) dropPlayer() error {
	if b.players--; b.players > 0 {
		return nil
	}
	p := b.playing
	b.playing = nil
	return p.close()
}

// borrowed is a player that others may play on, too.
type borrowed struct {
	player
	giveBack func() error
}

func (p borrowed) close() error { return p.giveBack() }

// paced is a borrowed player that can wait.
type paced struct {
	borrowed
	pacer
}

// countCamera follows whether the camera runs.
func (b *Board) countCamera(change int) {
	b.countLive(change)
	if b.cfg.Watched != nil {
		b.cfg.Watched(change > 0)
	}
}

// countLive follows how many sources run.
func (b *Board) countLive(change int) {
	b.liveMu.Lock()
	defer b.liveMu.Unlock()
	before := b.live > 0
	b.live += change
	if after := b.live > 0; after != before && b.cfg.Live != nil {
		b.cfg.Live(after)
	}
}

// Describe says in plain sentences what was found and what is lacking.
func (b *Board) Describe() []string {
	b.sightMu.RLock()
	defer b.sightMu.RUnlock()
	return slices.Clone(b.found)
}

func (b *Board) say(format string, args ...any) {
	b.found = append(b.found, fmt.Sprintf(format, args...))
}
