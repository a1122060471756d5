//go:build cgo

package device

import (
	"fmt"
	"io"

	"github.com/pion/mediadevices/pkg/codec"
	"github.com/pion/mediadevices/pkg/codec/opus"
	"github.com/pion/mediadevices/pkg/io/audio"
	"github.com/pion/mediadevices/pkg/prop"
	"github.com/pion/mediadevices/pkg/wave"
)

// haveOpusEncoder says that this build can encode Opus.
const haveOpusEncoder = true

// opusBitrate is ample for speech of full bandwidth, in bits per second.
const opusBitrate = 32000

// opusEncoder codes blocks of sound as Opus. It is for one goroutine.
type opusEncoder struct {
	enc   codec.ReadCloser
	block *wave.Int16Interleaved // what the encoder reads next; nil if it has had it
}

func newOpusEncoder() (*opusEncoder, error) {
	params, err := opus.NewParams()
	if err != nil {
		return nil, fmt.Errorf("device: Opus encoder: %w", err)
	}
	params.BitRate = opusBitrate
	params.Latency = opus.Latency20ms
	e := &opusEncoder{}
	e.enc, err = params.BuildAudioEncoder(audio.ReaderFunc(e.pull), prop.Media{Audio: prop.Audio{SampleRate: soundRate, ChannelCount: 1}})
	if err != nil {
		return nil, fmt.Errorf("device: Opus encoder: %w", err)
	}
	return e, nil
}

// pull is how mediadevices' encoder asks for sound.
func (e *opusEncoder) pull() (wave.Audio, func(), error) {
	if e.block == nil {
		return nil, nil, io.ErrNoProgress
	}
	b := e.block
	e.block = nil
	return b, func() {}, nil
}

// encode codes one block of blockSamples.
func (e *opusEncoder) encode(block []int16) ([]byte, error) {
	e.block = &wave.Int16Interleaved{Data: block, Size: wave.ChunkInfo{Len: len(block), Channels: 1, SamplingRate: soundRate}}
	packet, release, err := e.enc.Read()
	if err != nil {
		return nil, fmt.Errorf("device: Opus encoder: %w", err)
	}
	defer release()
	return append([]byte(nil), packet...), nil
}

func (e *opusEncoder) close() error { return e.enc.Close() }
