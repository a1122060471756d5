package thumb

import (
	"bufio"
	"encoding/binary"
	"errors"
	"image"
	"image/color"
	"io"
)

// Info is what a picture's header says.
type Info struct {
	Type          string // content type
	Width, Height int    // pixels, as stored
	// Orientation is 1 to 8 as in EXIF; 0: it says nothing.
	Orientation int
	Animated    bool

	frames      int // of a GIF
	framePixels int // of all frames of a GIF together
}

func (i Info) sideways() bool { return i.Orientation >= 5 }

// Inspect reads the header of a picture, from its beginning, and leaves the reader
// anywhere. The error is ErrNoPicture, ErrTooLarge, or what reading returns.
func Inspect(r io.ReadSeeker) (Info, error) {
	if _, err := r.Seek(0, io.SeekStart); err != nil {
		return Info{}, err
	}
	watched := &watcher{r: r}
	config, format, err := image.DecodeConfig(watched)
	if watched.err != nil {
		return Info{}, watched.err
	}
	animatedWebP := err != nil && format == "" // x/image does not know it
	if err != nil && !animatedWebP {
		return Info{}, ErrNoPicture
	}
	info := Info{Type: "image/" + format, Width: config.Width, Height: config.Height}
	if _, err := r.Seek(0, io.SeekStart); err != nil {
		return Info{}, err
	}
	need, err := info.look(bufio.NewReader(watched), config.ColorModel)
	switch {
	case watched.err != nil:
		return Info{}, watched.err
	case err != nil || info.Width <= 0 || info.Height <= 0:
		return Info{}, ErrNoPicture
	case int64(info.Width)*int64(info.Height) > MaxPixels || need > MaxBytes:
		return Info{}, ErrTooLarge
	}
	return info, nil
}

// look reads on as the format wants it, and reckons how many bytes decoding needs.
func (i *Info) look(r *bufio.Reader, model color.Model) (need int64, err error) {
	pixels := int64(i.Width) * int64(i.Height)
	switch i.Type {
	case "image/jpeg":
		perPixel, err := i.lookJPEG(r)
		return pixels * perPixel / 4, err
	case "image/png":
		interlaced, err := i.lookPNG(r)
		need = pixels * bytesOf(model)
		if interlaced {
			need *= 2
		}
		return need, err
	case "image/gif":
		return pixels, i.lookGIF(r)
	default:
		return i.lookWebP(r)
	}
}

// bytesOf is how much Go takes for a pixel.
func bytesOf(model color.Model) int64 {
	switch model {
	case color.RGBA64Model, color.NRGBA64Model:
		return 8
	case color.Gray16Model:
		return 2
	case color.GrayModel:
		return 1
	}
	if _, ok := model.(color.Palette); ok {
		return 1
	}
	return 4
}

// lookJPEG reads the segments before the picture: its orientation, and how many quarters
// of a byte a pixel takes.
func (i *Info) lookJPEG(r *bufio.Reader) (quarters int64, err error) {
	if _, err := r.Discard(2); err != nil {
		return 0, err
	}
	for {
		marker, err := nextMarker(r)
		if err != nil {
			return 0, err
		}
		if marker == 0x01 || marker >= 0xd0 && marker <= 0xd7 {
			continue // without a length
		}
		var length [2]byte
		if _, err := io.ReadFull(r, length[:]); err != nil {
			return 0, err
		}
		n := int(binary.BigEndian.Uint16(length[:])) - 2
		if n < 0 || marker == 0xda || marker == 0xd9 {
			return 0, ErrNoPicture
		}
		segment := make([]byte, n)
		if _, err := io.ReadFull(r, segment); err != nil {
			return 0, err
		}
		switch {
		case marker == 0xe1 && i.Orientation == 0:
			i.Orientation = Orientation(segment)
		case marker >= 0xc0 && marker <= 0xc2:
			return quartersPerPixel(segment, marker == 0xc2), nil
		}
	}
}

func nextMarker(r *bufio.Reader) (byte, error) {
	b, err := r.ReadByte()
	for err == nil && b != 0xff {
		b, err = r.ReadByte() // Go's decoder is as patient
	}
	for err == nil && b == 0xff {
		b, err = r.ReadByte()
	}
	if b == 0 && err == nil {
		return nextMarker(r)
	}
	return b, err
}

// quartersPerPixel reckons what Go's decoder takes, in quarters of a byte: one byte for
// each sample, four more if the picture comes in passes, and four per pixel if it has
// four colours.
func quartersPerPixel(frame []byte, passes bool) int64 {
	if len(frame) < 6 || len(frame) < 6+3*int(frame[5]) {
		return 16
	}
	var samples, most int64 = 0, 1
	for c := range int(frame[5]) {
		factors := frame[6+3*c+1]
		area := int64(factors>>4) * int64(factors&15)
		samples += area
		most = max(most, area)
	}
	quarters := (4*samples + most - 1) / most
	if passes {
		quarters *= 5
	}
	if frame[5] == 4 {
		quarters += 16
	}
	return quarters
}

// Orientation finds the orientation in a JPEG's APP1 segment; 0 if it is not there.
func Orientation(segment []byte) int {
	const head = "Exif\x00\x00"
	if len(segment) < len(head)+8 || string(segment[:len(head)]) != head {
		return 0
	}
	tiff := segment[len(head):]
	var order binary.ByteOrder
	switch string(tiff[:4]) {
	case "II*\x00":
		order = binary.LittleEndian
	case "MM\x00*":
		order = binary.BigEndian
	default:
		return 0
	}
	at := uint64(order.Uint32(tiff[4:]))
	if at+2 > uint64(len(tiff)) {
		return 0
	}
	entries := tiff[at+2:]
	for range order.Uint16(tiff[at:]) {
		if len(entries) < 12 {
			return 0
		}
		const tag, short = 0x0112, 3
		if order.Uint16(entries) == tag && order.Uint16(entries[2:]) == short {
			if value := int(order.Uint16(entries[8:])); value >= 1 && value <= 8 {
				return value
			}
			return 0
		}
		entries = entries[12:]
	}
	return 0
}

// lookPNG reads the chunks before the picture.
func (i *Info) lookPNG(r *bufio.Reader) (interlaced bool, err error) {
	if _, err := r.Discard(8); err != nil {
		return false, err
	}
	for {
		var head [8]byte
		if _, err := io.ReadFull(r, head[:]); err != nil {
			return interlaced, ignoreEnd(err)
		}
		n := int64(binary.BigEndian.Uint32(head[:]))
		switch string(head[4:]) {
		case "IDAT", "IEND":
			return interlaced, nil
		case "acTL":
			i.Animated = true
		case "IHDR":
			header := make([]byte, 13)
			if n != int64(len(header)) {
				return false, ErrNoPicture
			}
			if _, err := io.ReadFull(r, header); err != nil {
				return false, err
			}
			interlaced, n = header[12] != 0, 0
		}
		if err := skip(r, n+4); err != nil { // and the checksum
			return interlaced, ignoreEnd(err)
		}
	}
}

// ignoreEnd: what the header says counts; decoding will tell of the missing rest.
func ignoreEnd(err error) error {
	if errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) {
		return nil
	}
	return err
}

func skip(r *bufio.Reader, n int64) error {
	_, err := io.CopyN(io.Discard, r, n)
	return err
}

// lookGIF counts the frames.
func (i *Info) lookGIF(r *bufio.Reader) error {
	var head [13]byte
	if _, err := io.ReadFull(r, head[:]); err != nil {
		return err
	}
	if err := skipColours(r, head[10]); err != nil {
		return ignoreEnd(err)
	}
	for {
		block, err := r.ReadByte()
		if err != nil || block == 0x3b {
			return ignoreEnd(err)
		}
		switch block {
		case 0x21: // an extension: its label, then its blocks
			_, err = r.Discard(1)
		case 0x2c:
			var frame [9]byte
			if _, err := io.ReadFull(r, frame[:]); err != nil {
				return ignoreEnd(err)
			}
			i.frames++
			i.framePixels += int(binary.LittleEndian.Uint16(frame[4:])) * int(binary.LittleEndian.Uint16(frame[6:]))
			i.Animated = i.frames > 1
			if i.frames > maxFrames || i.framePixels > maxFramePixels {
				return nil // enough to know
			}
			if err = skipColours(r, frame[8]); err == nil {
				_, err = r.Discard(1)
			}
		default:
			return nil // no block: decoding will tell
		}
		if err == nil {
			err = skipBlocks(r)
		}
		if err != nil {
			return ignoreEnd(err)
		}
	}
}

func skipColours(r *bufio.Reader, flags byte) error {
	if flags&0x80 == 0 {
		return nil
	}
	_, err := r.Discard(3 << (flags&7 + 1))
	return err
}

func skipBlocks(r *bufio.Reader) error {
	for {
		n, err := r.ReadByte()
		if err != nil || n == 0 {
			return err
		}
		if _, err := r.Discard(int(n)); err != nil {
			return err
		}
	}
}
