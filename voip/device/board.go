package device

import (
	"context"
	"log/slog"
	"sync"
	"time"
)

// Board is the devices of one machine. Its streams can be opened while Run is
// running; opened earlier they wait for it.
type Board struct {
	cfg Config

	jobs   chan func(ctx context.Context) // sources to run, taken by Run
	closed chan struct{}                  // closed when Run has ended or Close was called
	once   sync.Once
}

// New looks for the devices of cfg. It fails if a device that was named is not
// there or a setting makes no sense; what Auto does not find is no failure.
func New(cfg Config) (*Board, error) {
	if cfg.Log == nil {
		cfg.Log = slog.New(slog.DiscardHandler)
	}
	if cfg.Now == nil {
		cfg.Now = time.Now
	}
	return &Board{cfg: cfg, jobs: make(chan func(context.Context)), closed: make(chan struct{})}, nil
}

// Run runs the sources that viewers ask for until ctx ends or the Board is
// closed, and returns when all of them have stopped.
func (b *Board) Run(ctx context.Context) error {
	ctx, cancel := context.WithCancel(ctx)
	var running sync.WaitGroup
	defer running.Wait()
	defer cancel()
	defer b.Close()
	for {
		select {
		case job := <-b.jobs:
			running.Go(func() { job(ctx) })
		case <-b.closed:
			return nil
		case <-ctx.Done():
			return nil
		}
	}
}

// Close ends all streams and makes Run return. It does not wait for Run.
func (b *Board) Close() error {
	b.once.Do(func() { close(b.closed) })
	return nil
}

// VideoCodecs lists the codecs in which the picture can be had now, the best
// first; none if there is no camera. A camera that gives one format at a time
// and is giving it lists only that.
func (b *Board) VideoCodecs() []VideoCodec { return nil }

// AudioCodecs lists the codecs in which the sound can be had, the best first;
// none if there is no microphone.
func (b *Board) AudioCodecs() []AudioCodec { return nil }

// SpeakerCodecs lists the codecs that a Speaker can decode, the best first;
// none if there is no loudspeaker.
func (b *Board) SpeakerCodecs() []AudioCodec { return nil }

// OpenVideo starts the camera if need be and returns a stream of its picture.
// ctx bounds the opening only. The stream is the caller's to Close.
func (b *Board) OpenVideo(ctx context.Context, codec VideoCodec) (VideoStream, error) {
	return nil, ErrUnsupported
}

// OpenAudio starts the microphone if need be and returns a stream of its sound.
// ctx bounds the opening only. The stream is the caller's to Close.
func (b *Board) OpenAudio(ctx context.Context, codec AudioCodec) (AudioStream, error) {
	return nil, ErrUnsupported
}

// OpenSpeaker opens the loudspeaker. It plays one caller at a time: while
// another Speaker is open the answer is ErrBusy. ctx bounds the opening only.
func (b *Board) OpenSpeaker(ctx context.Context) (Speaker, error) {
	return nil, ErrUnsupported
}

// Describe says in plain sentences what was found and what is lacking.
func (b *Board) Describe() []string { return nil }
