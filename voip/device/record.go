package device

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"time"

	"porchlight/voip/clip"
)

const (
	// firstFrame is how long the camera may take to give its first picture.
	firstFrame = 10 * time.Second
	// MaxRecord is the longest film, what is remembered left out.
	MaxRecord = 2 * time.Minute
	// MaxRemember is the most that can be remembered.
	MaxRemember = 30 * time.Second
	// maxRecordings is how many films are made at once.
	maxRecordings = 2
)

// memory is the reels that remember; nil ones do not run. It is guarded by Board.mu.
type memory struct {
	video, audio *reel
	keep         time.Duration // how much was asked for
}

// filmVideo is the codec in which the picture is recorded; empty: there is none. It is the
// one beside which plain pictures can be had, so that nobody who watches is disturbed.
func (b *Board) filmVideo() VideoCodec {
	codecs := b.VideoCodecs()
	if len(codecs) == 0 {
		return ""
	}
	if eye := b.eye(); eye.raw != nil && slices.Contains(codecs, VideoCodec(eye.raw.mode)) {
		return VideoCodec(eye.raw.mode)
	}
	return codecs[0]
}

// Remember keeps the last moments of the picture, of the sound or of both until ctx ends
// or a device fails, and returns why. What Record makes in the meantime begins with them.
// Both devices run all the while. One that is not there is left out, and so is a camera
// that gives no plain pictures (in builds that cannot decode H.264): nobody could look for
// motion in it, so that it would run for this alone.
func (b *Board) Remember(ctx context.Context, video, audio bool, keep time.Duration) error {
	keep = min(keep, MaxRemember)
	ctx, cancel := context.WithCancel(ctx)
	var work sync.WaitGroup
	defer work.Wait()
	defer cancel()
	ended := make(chan error, 2)
	b.remember(func(m *memory) { m.keep = keep })
	if codec := b.filmVideo(); video && codec != "" && b.eye().raw != nil {
		s, err := b.OpenVideo(ctx, codec)
		if err != nil {
			return err
		}
		defer s.Close()
		r := &reel{codec: string(codec), keep: keep}
		b.remember(func(m *memory) { m.video = r })
		defer b.remember(func(m *memory) { m.video = nil })
		work.Go(func() { ended <- r.run(ctx, s.ReadFrame, s.RequestKeyFrame) })
	}
	if audio && slices.Contains(b.AudioCodecs(), Opus) {
		s, err := b.OpenAudio(ctx, Opus)
		if err != nil {
			return err
		}
		defer s.Close()
		// The picture reaches back further than asked for, to a key frame.
		r := &reel{codec: string(Opus), keep: keep + 2*keptKeyEvery}
		b.remember(func(m *memory) { m.audio = r })
		defer b.remember(func(m *memory) { m.audio = nil })
		work.Go(func() { ended <- r.run(ctx, s.ReadPacket, func() {}) })
	}
	select {
	case err := <-ended:
		return err
	case <-ctx.Done():
		return ctx.Err()
	}
}

func (b *Board) remember(change func(*memory)) {
	b.mu.Lock()
	defer b.mu.Unlock()
	change(&b.memory)
}

// Record makes a film of picture and sound from now on for a while, which begins with what
// is remembered. It shares the encoders of those who watch. Without a camera, or with one
// that fails to start, the film has only sound. The error wraps ErrUnsupported if this
// board can make no film, and ErrBusy if it is making too many.
func (b *Board) Record(ctx context.Context, length time.Duration) (clip.File, error) {
	length = min(length, MaxRecord)
	if err := b.beginRecording(); err != nil {
		return clip.File{}, err
	}
	defer b.endRecording()
	asked := time.Now()
	b.mu.Lock()
	earliest := asked.Add(-b.memory.keep)
	b.mu.Unlock()
	codec := b.filmVideo()
	sound := slices.Contains(b.AudioCodecs(), Opus)
	if codec == "" && !sound {
		return clip.File{}, fmt.Errorf("%w: there is neither a camera nor a microphone of which this build can make a film%s", ErrUnsupported, withoutC())
	}
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	var video, audio *recording
	var failed error
	if codec != "" {
		video, failed = b.recordVideo(ctx, codec)
	}
	if sound {
		var err error
		if audio, err = b.recordAudio(ctx); err != nil {
			b.cfg.Log.Warn("a film has no sound", "err", err)
		}
		failed = errors.Join(failed, err)
	}
	if video != nil {
		if err := video.awaitFirst(ctx); err != nil {
			failed, video = errors.Join(failed, err), nil
		}
	}
	if ctx.Err() != nil {
		return clip.File{}, ctx.Err()
	}
	if codec != "" && video == nil {
		b.cfg.Log.Warn("a film has no picture", "err", failed)
	}
	if video == nil && audio == nil {
		return clip.File{}, failed
	}
	if err := awaitEnd(ctx, length, video, audio); err != nil {
		return clip.File{}, err
	}
	film := develop(asked, earliest, video.frames(), audio.frames())
	film.Codec = clip.Codec(codec)
	return film.File()
}

// withoutC adds what a build without C lacks.
func withoutC() string {
	if haveVP8 {
		return ""
	}
	return " (without C it encodes neither VP8 nor Opus)"
}

func (b *Board) beginRecording() error {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.recordings >= maxRecordings {
		return fmt.Errorf("%w: %d films are being made", ErrBusy, b.recordings)
	}
	b.recordings++
	return nil
}

func (b *Board) endRecording() {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.recordings--
}

// recording is one kind of frames that is being recorded.
type recording struct {
	from *reel
	to   *taker
}

// frames ends the recording.
func (r *recording) frames() []moment {
	if r == nil {
		return nil
	}
	return r.from.leave(r.to)
}

// awaitFirst waits for the first frame.
func (r *recording) awaitFirst(ctx context.Context) error {
	late := time.NewTimer(firstFrame)
	defer late.Stop()
	for {
		first, over, err := r.from.state(r.to)
		if !first.IsZero() {
			return nil
		}
		if over {
			return err
		}
		select {
		case <-r.to.wake:
		case <-late.C:
			return fmt.Errorf("device: there was no picture for %s", firstFrame)
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

func (b *Board) recordVideo(ctx context.Context, codec VideoCodec) (*recording, error) {
	b.mu.Lock()
	r := b.memory.video
	b.mu.Unlock()
	if r != nil && r.codec == string(codec) {
		return &recording{r, r.join()}, nil
	}
	s, err := b.OpenVideo(ctx, codec)
	if err != nil {
		return nil, err
	}
	return b.recordStream(ctx, string(codec), s.ReadFrame, s.Close)
}

func (b *Board) recordAudio(ctx context.Context) (*recording, error) {
	b.mu.Lock()
	r := b.memory.audio
	b.mu.Unlock()
	if r != nil {
		return &recording{r, r.join()}, nil
	}
	s, err := b.OpenAudio(ctx, Opus)
	if err != nil {
		return nil, err
	}
	return b.recordStream(ctx, string(Opus), s.ReadPacket, s.Close)
}

// recordStream records a stream until ctx ends, and closes it then.
func (b *Board) recordStream(ctx context.Context, codec string, read func(context.Context) (EncodedFrame, error), closeStream func() error) (*recording, error) {
	r := &reel{codec: codec}
	rec := &recording{r, r.join()}
	err := b.spawn(ctx, func(context.Context) {
		defer closeStream() // of a stream, never fails
		_ = r.run(ctx, read, func() {})
	})
	if err != nil {
		_ = closeStream()
		return nil, err
	}
	return rec, nil
}

// awaitEnd waits until the length has passed, or none of the recordings goes on.
func awaitEnd(ctx context.Context, length time.Duration, all ...*recording) error {
	end := time.NewTimer(length)
	defer end.Stop()
	for {
		running := 0
		var wakes [2]chan struct{} // nil ones block
		for i, r := range all {
			if r == nil {
				continue
			}
			if _, over, _ := r.from.state(r.to); !over {
				running++
				wakes[i] = r.to.wake
			}
		}
		if running == 0 {
			return ctx.Err() // with ctx the devices end, too; without it the film is what there is
		}
		select {
		case <-wakes[0]:
		case <-wakes[1]:
		case <-end.C:
			return nil
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

// develop puts the frames of both kinds on one line of time. It begins with the first
// picture, unless only the sound was remembered from before the film was asked for: then
// the sound goes back to the earliest time, and the first picture stands meanwhile.
func develop(asked, earliest time.Time, video, audio []moment) clip.Film {
	soundFirst := len(audio) > 0 && audio[0].at.Before(asked) && (len(video) == 0 || !video[0].at.Before(asked))
	begin := asked
	switch {
	case soundFirst && audio[0].at.Before(earliest):
		begin = earliest
	case soundFirst || len(video) == 0 && len(audio) > 0:
		begin = audio[0].at
	case len(video) > 0:
		begin = video[0].at
	}
	var f clip.Film
	f.Video, f.Length = line(begin, video)
	f.Audio, _ = line(begin, audio)
	if n := len(f.Audio); n > 0 {
		// One behind a pause lasts no longer than others.
		f.Length = max(f.Length, f.Audio[n-1].At+PacketDuration)
	}
	return f
}

// line reckons when each frame is shown: the first when it came, the others by their own
// lengths, which are steadier. end is when the last one is over.
func line(begin time.Time, frames []moment) (all []clip.Frame, end time.Duration) {
	var at time.Duration
	for i, m := range frames {
		if i == 0 {
			at = m.at.Sub(begin)
		} else {
			at += m.Duration
		}
		if at < 0 {
			continue // sound from before the first picture
		}
		all = append(all, clip.Frame{At: at, Data: m.Data, Key: m.Key})
		end = at + max(m.Duration, time.Millisecond)
	}
	return all, end
}
