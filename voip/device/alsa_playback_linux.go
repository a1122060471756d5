package device

import (
	"context"
	"fmt"
	"log/slog"
	"time"
)

// playbackQueue is how many packets wait for the card, besides those in its own
// buffer. What comes faster pushes out the oldest.
const playbackQueue = 5

// playbackVoice is how long after a voice began a block of a song still belongs before it:
// somebody had it in hand then.
const playbackVoice = 200 * time.Millisecond

// playbackRetry is how long a loudspeaker that failed is left alone.
const playbackRetry = time.Second

// playback is a loudspeaker. It implements player.
type playback struct {
	*pcm
	path     func() string // of the device, wherever it is now
	log      *slog.Logger
	heard    func([]int16)
	resample *resampler
	drift    drift
	queue    chan []int16 // of voices
	songs    chan []int16 // of who waits for the card
	quit     context.CancelFunc
	done     chan struct{} // closed when the device is closed
}

// openPlayback opens a loudspeaker, which spawn runs. heard is told what the card is given.
func openPlayback(ctx context.Context, path func() string, log *slog.Logger, heard func([]int16), spawn func(context.Context, func(context.Context)) error) (player, error) {
	d, err := openPCM(path(), true, log)
	if err != nil {
		return nil, err
	}
	runCtx, quit := context.WithCancel(context.Background())
	p := &playback{
		pcm:      d,
		path:     path,
		log:      log,
		heard:    heard,
		resample: newResampler(soundRate, d.format.rate),
		queue:    make(chan []int16, playbackQueue),
		songs:    make(chan []int16, playbackQueue),
		quit:     quit,
		done:     make(chan struct{}),
	}
	job := func(ctx context.Context) {
		defer close(p.done)
		stop := context.AfterFunc(ctx, quit)
		defer stop()
		p.run(runCtx)
	}
	if err := spawn(ctx, job); err != nil {
		quit()
		return nil, fmt.Errorf("%w, %v", err, d.close())
	}
	return p, nil
}

// play implements player.
func (p *playback) play(pcm []int16) bool {
	block := append([]int16(nil), pcm...)
	select {
	case p.queue <- block:
		return true
	default:
	}
	select {
	case <-p.queue: // the oldest makes room
	default:
	}
	select {
	case p.queue <- block:
	default:
	}
	return false
}

// playNext implements pacer.
func (p *playback) playNext(ctx context.Context, pcm []int16) error {
	select {
	case p.songs <- append([]int16(nil), pcm...):
		return nil
	case <-p.done:
		return ErrClosed
	case <-ctx.Done():
		return fmt.Errorf("device: the loudspeaker takes no sound: %w", ctx.Err())
	}
}

// close stops the sound and returns when the card is free again.
func (p *playback) close() error {
	p.quit()
	<-p.done
	return nil
}

// run plays until ctx ends. A card that fails, as one that is unplugged, is opened again as
// soon as it is back; what is said in the meantime is not heard.
func (p *playback) run(ctx context.Context) {
	for {
		err := p.feed(ctx)
		if cerr := p.pcm.close(); err == nil {
			err = cerr
		}
		if err != nil {
			p.log.Error("loudspeaker failed", "device", p.path(), "err", err)
		}
		if !p.reopen(ctx) {
			return
		}
		p.log.Info("the loudspeaker works again", "device", p.path())
	}
}

// reopen opens the card again, when it can be; false means that ctx has ended.
func (p *playback) reopen(ctx context.Context) bool {
	tick := time.NewTicker(playbackRetry)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return false
		case <-tick.C:
		}
		d, err := openPCM(p.path(), true, p.log)
		if err != nil {
			continue
		}
		p.pcm, p.resample = d, newResampler(soundRate, d.format.rate)
		p.drift.reset()
		forget(p.queue)
		return true
	}
}

// forget empties a queue of what nobody wants to hear any more.
func forget(queue chan []int16) {
	for {
		select {
		case <-queue:
		default:
			return
		}
	}
}

// feed writes what is queued to the card until ctx ends.
func (p *playback) feed(ctx context.Context) error {
	var pcm []int16
	var raw []byte
	song := false          // it is a song that waits in the card
	var overSong time.Time // when a voice cut one off
	for {
		var block []int16
		paced := false
		select {
		case <-ctx.Done():
			return nil
		case block = <-p.queue:
		case block = <-p.songs:
			if time.Since(overSong) < playbackVoice {
				overSong = time.Time{} // there is but one
				continue
			}
			paced = true
		}
		if song && !paced {
			// Of a song there is as much as there is room for: a voice does not wait so long.
			forget(p.songs)
			if err := p.empty(); err != nil {
				return err
			}
			overSong = time.Now()
		}
		song = paced
		p.heard(block)
		pcm = p.resample.process(pcm[:0], block)
		raw = p.format.encode(raw[:0], p.fit(pcm, paced))
		if err := p.write(ctx, raw); err != nil {
			return err
		}
	}
}

// fit follows the card's clock, unless the sound does so itself: then there is always as much
// as the card has room for.
func (p *playback) fit(pcm []int16, paced bool) []int16 {
	delay, running := p.delay()
	if paced || !running || len(pcm) == 0 {
		p.drift.reset()
		return pcm
	}
	block := p.format.rate / 50
	return p.drift.fit(pcm, delay+len(p.queue)*block, alsaStartBlocks*block)
}

// write gives the card one packet. If the card ran dry it starts again when
// enough has come together.
func (p *playback) write(ctx context.Context, raw []byte) error {
	for len(raw) > 0 && ctx.Err() == nil {
		if err := p.file.SetWriteDeadline(time.Now().Add(alsaStall)); err != nil {
			return err
		}
		n, err := p.file.Write(raw)
		raw = raw[n:]
		if err != nil {
			if err := p.restart(err); err != nil {
				return err
			}
		}
	}
	return nil
}
