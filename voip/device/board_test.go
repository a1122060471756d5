package device

import (
	"context"
	"errors"
	"slices"
	"testing"
	"time"
)

// run makes a Board of cfg that runs until the end of the test.
func run(t *testing.T, cfg Config) *Board {
	t.Helper()
	b, err := New(cfg)
	if err != nil {
		t.Fatal(err)
	}
	ended := make(chan error, 1)
	go func() { ended <- b.Run(context.Background()) }()
	t.Cleanup(func() {
		b.Close()
		if err := <-ended; err != nil {
			t.Error("Run:", err)
		}
	})
	return b
}

func testBoard(t *testing.T) *Board {
	return run(t, Config{Camera: Test, Microphone: Test, Loudspeaker: MeterOnly})
}

func within(t *testing.T, d time.Duration) context.Context {
	ctx, cancel := context.WithTimeout(context.Background(), d)
	t.Cleanup(cancel)
	return ctx
}

func TestConfig(t *testing.T) {
	for _, tc := range []struct {
		name string
		cfg  Config
		ok   bool
	}{
		{"nothing set", Config{}, true},
		{"odd width", Config{Width: 641}, false},
		{"too small", Config{Height: 8}, false},
		{"too large", Config{Width: 8192}, false},
		{"too fast", Config{FPS: 500}, false},
		{"too few bits", Config{Bitrate: 1000}, false},
		{"cpu-used", Config{CPUUsed: 3}, false},
		{"no such camera", Config{Camera: "/dev/porchlight-no-such-camera"}, false},
		{"nonsense camera", Config{Camera: "front door"}, false},
		{"no such microphone", Config{Microphone: "hw:31,7"}, false},
		{"nonsense microphone", Config{Microphone: "ear"}, false},
		{"no such loudspeaker", Config{Loudspeaker: "hw:31,7"}, false},
		{"nothing wanted", Config{Camera: None, Microphone: None, Loudspeaker: None}, true},
	} {
		t.Run(tc.name, func(t *testing.T) {
			b, err := New(tc.cfg)
			if (err == nil) != tc.ok {
				t.Fatalf("New: %v", err)
			}
			if tc.ok && len(b.Describe()) < 3 {
				t.Errorf("Describe says too little: %q", b.Describe())
			}
		})
	}
}

func TestNothingThere(t *testing.T) {
	b := run(t, Config{Camera: None, Microphone: None, Loudspeaker: None})
	ctx := within(t, 10*time.Second)
	if len(b.VideoCodecs())+len(b.AudioCodecs())+len(b.SpeakerCodecs()) != 0 {
		t.Error("codecs without devices")
	}
	if _, err := b.OpenVideo(ctx, VP8); !errors.Is(err, ErrUnsupported) {
		t.Error("OpenVideo:", err)
	}
	if _, err := b.OpenAudio(ctx, PCMU); !errors.Is(err, ErrUnsupported) {
		t.Error("OpenAudio:", err)
	}
	if _, err := b.OpenSpeaker(ctx); !errors.Is(err, ErrUnsupported) {
		t.Error("OpenSpeaker:", err)
	}
}

// The sound that goes in at one end is that which comes out at the other.
func TestSoundThroughCodecs(t *testing.T) {
	b := testBoard(t)
	ctx := within(t, 20*time.Second)
	if !slices.Contains(b.AudioCodecs(), PCMU) || slices.Contains(b.AudioCodecs(), Opus) != haveOpusEncoder {
		t.Fatal("AudioCodecs:", b.AudioCodecs())
	}
	for _, codec := range b.AudioCodecs() {
		t.Run(string(codec), func(t *testing.T) {
			mic, err := b.OpenAudio(ctx, codec)
			if err != nil {
				t.Fatal(err)
			}
			defer mic.Close()
			out, err := b.OpenSpeaker(ctx)
			if err != nil {
				t.Fatal(err)
			}
			defer out.Close()
			var said rtpCounter
			// The tone pauses once a second, and a busy machine may stumble: some 100 ms have
			// to be the tone alone.
			var m Meter
			heard := func() bool {
				m = out.Meter()
				return m.Packets >= 5 && m.ToneHz > toneHz-5 && m.ToneHz < toneHz+5 && m.Level > toneLevel-1.5 && m.Level < toneLevel+1.5
			}
			for n := 0; !heard(); n++ {
				if n == 500 {
					t.Fatalf("heard %+v", m)
				}
				p, err := mic.ReadPacket(ctx)
				if err != nil {
					t.Fatal(err)
				}
				if p.Duration != PacketDuration {
					t.Errorf("a packet of %v", p.Duration)
				}
				if err := out.Write(said.packet(mic.Codec(), p.Data)); err != nil {
					t.Fatal(err)
				}
			}
			if m.Failed > 0 {
				t.Errorf("heard %+v", m)
			}
			if _, at := out.Level(); at != out.Meter().At || at.IsZero() {
				t.Error("Level and Meter differ")
			}
		})
	}
}

// A stream ends when it is closed, when the board is, and never before.
func TestClose(t *testing.T) {
	b := testBoard(t)
	ctx := within(t, 20*time.Second)
	one, err := b.OpenAudio(ctx, PCMU)
	if err != nil {
		t.Fatal(err)
	}
	two, err := b.OpenAudio(ctx, PCMA)
	if err != nil {
		t.Fatal(err)
	}
	one.Close()
	one.Close()
	if _, err := one.ReadPacket(ctx); !errors.Is(err, ErrClosed) {
		t.Error("closed stream:", err)
	}
	if _, err := two.ReadPacket(ctx); err != nil {
		t.Error("the other stream:", err)
	}
	two.Close()
	// The microphone has stopped; it starts again for the next.
	three, err := b.OpenAudio(ctx, PCMU)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := three.ReadPacket(ctx); err != nil {
		t.Error("started again:", err)
	}
	b.Close()
	for err == nil {
		_, err = three.ReadPacket(ctx)
	}
	if !errors.Is(err, ErrClosed) {
		t.Error("closed board:", err)
	}
	if _, err := b.OpenAudio(ctx, PCMU); !errors.Is(err, ErrClosed) {
		t.Error("open on a closed board:", err)
	}
	if _, err := b.OpenSpeaker(ctx); !errors.Is(err, ErrClosed) {
		t.Error("speaker on a closed board:", err)
	}
}

func TestSpeakerRefuses(t *testing.T) {
	b := testBoard(t)
	s, err := b.OpenSpeaker(context.Background())
	if err != nil {
		t.Fatal(err)
	}
	for _, tc := range []struct {
		codec   AudioCodec
		payload []byte
	}{{Opus, nil}, {PCMU, nil}, {PCMU, make([]byte, maxPayload+1)}, {"G722", []byte{1}}} {
		if err := s.Write(AudioPacket{Codec: tc.codec, Payload: tc.payload}); err == nil {
			t.Errorf("%s %d bytes: no error", tc.codec, len(tc.payload))
		}
	}
	if m := s.Meter(); m.Failed != 4 || m.Packets != 0 || m.Level != SilenceLevel || m.ToneHz != 0 {
		t.Errorf("meter %+v", m)
	}
	first, again := s.Close(), s.Close()
	if first != nil || again != nil || !errors.Is(s.Write(AudioPacket{Codec: PCMU, Payload: []byte{1}}), ErrClosed) {
		t.Error("Close")
	}
}
