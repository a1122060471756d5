package device

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"io"
	"math"

	"github.com/pion/opus"
)

// Bounds of an Ogg file.
const (
	// maxOggPacket is the longest packet of sound. spec: RFC 7845 section 6
	maxOggPacket = 61440
	// maxOggTags is how long what is told of a song may be, pictures included.
	maxOggTags = 16 << 20
	// maxBadPackets is how many packets in a row may fail to decode.
	maxBadPackets = 50
)

// oggOpus is a song in Opus in an Ogg file, which has one stream.
type oggOpus struct {
	r        io.Reader
	lacing   []byte // of the page at hand: what is left of its list of lengths
	serial   uint32
	begun    bool   // the first page has been read
	packet   []byte // the packet at hand
	decoder  *opus.Decoder
	gain     float64
	skip     int // samples still to be left out at the beginning
	pcm, out []int16
	bad      int
}

// openOgg reads up to the sound. spec: RFC 3533, RFC 7845
func openOgg(r io.Reader) (Song, error) {
	o := &oggOpus{r: r, pcm: make([]int16, maxPacketSamples)}
	if err := o.nextPacket(maxOggPacket); err != nil {
		return nil, fmt.Errorf("%w: %w", ErrSong, err)
	}
	p := o.packet
	if !bytes.HasPrefix(p, []byte("OpusHead")) || len(p) < 19 {
		return nil, fmt.Errorf("%w: the Ogg file has something else than Opus in it, such as Vorbis or FLAC", ErrSong)
	}
	if p[8]&0xf0 != 0 || p[9] < 1 || p[9] > 2 || p[18] != 0 {
		return nil, fmt.Errorf("%w: the Ogg Opus file has %d channels, or is of a version to come", ErrSong, p[9])
	}
	o.skip = int(binary.LittleEndian.Uint16(p[10:]))
	o.gain = math.Pow(10, float64(int16(binary.LittleEndian.Uint16(p[16:])))/256/20)
	if err := o.nextPacket(maxOggTags); err != nil {
		return nil, fmt.Errorf("%w: %w", ErrSong, err)
	}
	o.packet = nil // it may have been long
	return o, nil
}

// nextPacket puts the next packet together. The error is io.EOF at the end of the file.
func (o *oggOpus) nextPacket(most int) error {
	o.packet = o.packet[:0]
	for {
		for len(o.lacing) == 0 {
			err := o.nextPage()
			if err == io.EOF && len(o.packet) > 0 {
				err = io.ErrUnexpectedEOF
			}
			if err != nil {
				return err
			}
		}
		n := int(o.lacing[0])
		o.lacing = o.lacing[1:]
		if len(o.packet)+n > most {
			return fmt.Errorf("a packet of the Ogg file is longer than %d bytes", most)
		}
		at := len(o.packet)
		o.packet = append(o.packet, make([]byte, n)...)
		if _, err := io.ReadFull(o.r, o.packet[at:]); err != nil {
			return fmt.Errorf("the Ogg file ends in the middle: %w", io.ErrUnexpectedEOF)
		}
		if n < 255 {
			return nil
		}
	}
}

// nextPage reads the head of a page. The check sum is not looked at: what the content
// repository gives is what was uploaded.
func (o *oggOpus) nextPage() error {
	var head [27]byte
	if _, err := io.ReadFull(o.r, head[:]); err != nil {
		return err // io.EOF if there is nothing at all
	}
	if string(head[:4]) != "OggS" || head[4] != 0 {
		return fmt.Errorf("the Ogg file is damaged")
	}
	serial := binary.LittleEndian.Uint32(head[14:])
	if o.begun && serial != o.serial {
		return fmt.Errorf("the Ogg file has more than one stream in it")
	}
	o.serial, o.begun = serial, true
	o.lacing = make([]byte, head[26])
	if _, err := io.ReadFull(o.r, o.lacing); err != nil {
		return fmt.Errorf("the Ogg file ends in the middle: %w", io.ErrUnexpectedEOF)
	}
	return nil
}

// Read implements Song.
func (o *oggOpus) Read(block []int16) (int, error) {
	for len(o.out) < len(block) {
		err := o.nextPacket(maxOggPacket)
		if err == io.EOF {
			break
		}
		if err != nil {
			return 0, fmt.Errorf("%w: %w", ErrSong, err)
		}
		if err := o.decode(); err != nil {
			return 0, err
		}
	}
	n := copy(block, o.out)
	o.out = o.out[:copy(o.out, o.out[n:])]
	if n == 0 && len(block) > 0 {
		return 0, io.EOF
	}
	return n, nil
}

// decode adds the sound of the packet at hand. One that does not decode is left out, as
// long as it is not all of them.
func (o *oggOpus) decode() error {
	n, err := o.decodePacket()
	if err != nil {
		if o.bad++; o.bad > maxBadPackets {
			return fmt.Errorf("%w: %d packets of the Ogg file in a row do not decode, the last: %w", ErrSong, o.bad, err)
		}
		return nil
	}
	o.bad = 0
	pcm := o.pcm[:n]
	skip := min(o.skip, len(pcm))
	o.skip -= skip
	for _, s := range pcm[skip:] {
		o.out = append(o.out, clampInt16(float32(float64(s)*o.gain)))
	}
	return nil
}

// decodePacket guards against a decoder that breaks: then it is replaced.
func (o *oggOpus) decodePacket() (n int, err error) {
	if len(o.packet) == 0 {
		return 0, fmt.Errorf("the packet is empty")
	}
	if o.decoder == nil {
		d, err := opus.NewDecoderWithOutput(soundRate, 1)
		if err != nil {
			return 0, err
		}
		o.decoder = &d
	}
	defer func() {
		if r := recover(); r != nil {
			o.decoder = nil
			n, err = 0, fmt.Errorf("the packet broke the decoder: %v", r)
		}
	}()
	return o.decoder.DecodeToInt16(o.packet, o.pcm)
}
