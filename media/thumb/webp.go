package thumb

import (
	"bufio"
	"bytes"
	"encoding/binary"
	"image"
	"io"

	"golang.org/x/image/webp"
)

const (
	// webpBytes is what decoding a pixel takes at most.
	webpBytes = 8
	// webpHead is how much of a frame says how large it is.
	webpHead = 10
)

// riff reads the chunks of a RIFF file of the kind WEBP.
type riff struct{ r *bufio.Reader }

func openRIFF(r *bufio.Reader) (riff, error) {
	var head [12]byte
	if _, err := io.ReadFull(r, head[:]); err != nil || string(head[:4]) != "RIFF" || string(head[8:]) != "WEBP" {
		return riff{}, ErrNoPicture
	}
	return riff{r}, nil
}

// next gives the next chunk's name and length; its body has to be read, or skipped, with
// the filling byte.
func (f riff) next() (name string, n int64, err error) {
	var head [8]byte
	if _, err := io.ReadFull(f.r, head[:]); err != nil {
		return "", 0, err
	}
	return string(head[:4]), int64(binary.LittleEndian.Uint32(head[4:])), nil
}

// lookWebP finds the size of the canvas and of the first frame, of which decoding needs
// the larger.
func (i *Info) lookWebP(r *bufio.Reader) (need int64, err error) {
	file, err := openRIFF(r)
	if err != nil {
		return 0, err
	}
	i.Type = "image/webp"
	for {
		name, n, err := file.next()
		if err != nil {
			return 0, ErrNoPicture
		}
		switch name {
		case "VP8X":
			head := make([]byte, webpHead)
			if _, err := io.ReadFull(r, head); err != nil || n < webpHead {
				return 0, ErrNoPicture
			}
			i.Animated = head[0]&2 != 0
			i.Width, i.Height = 1+uint24(head[4:]), 1+uint24(head[7:])
			n -= webpHead
		case "ANMF":
			head := make([]byte, 16)
			if _, err := io.ReadFull(r, head); err != nil {
				return 0, ErrNoPicture
			}
			continue // its chunks follow
		case "VP8 ", "VP8L":
			head := make([]byte, webpHead)
			if _, err := io.ReadFull(r, head); err != nil {
				return 0, ErrNoPicture
			}
			w, h := frameSize(name, head)
			if i.Width == 0 {
				i.Width, i.Height = w, h
			}
			return webpBytes * int64(max(w, i.Width)) * int64(max(h, i.Height)), nil
		}
		if err := skip(r, n+n&1); err != nil {
			return 0, ErrNoPicture
		}
	}
}

func uint24(b []byte) int { return int(b[0]) | int(b[1])<<8 | int(b[2])<<16 }

func frameSize(name string, head []byte) (width, height int) {
	if name == "VP8L" {
		bits := binary.LittleEndian.Uint32(head[1:])
		return 1 + int(bits&0x3fff), 1 + int(bits>>14&0x3fff)
	}
	return int(binary.LittleEndian.Uint16(head[6:]) & 0x3fff), int(binary.LittleEndian.Uint16(head[8:]) & 0x3fff)
}

// firstOfWebP decodes the first frame of a moving picture: what is in its ANMF chunk is a
// picture of its own.
func firstOfWebP(r io.Reader) (image.Image, error) {
	buffered := bufio.NewReader(r)
	file, err := openRIFF(buffered)
	if err != nil {
		return nil, err
	}
	for {
		name, n, err := file.next()
		if err != nil || name != "ANMF" && skip(buffered, n+n&1) != nil {
			return nil, ErrNoPicture
		}
		if name != "ANMF" {
			continue
		}
		if n < 16 || n > MaxBytes || skip(buffered, 16) != nil {
			return nil, ErrNoPicture
		}
		return alone(io.LimitReader(buffered, n-16))
	}
}

// alone decodes the chunks of a frame as a file; the alpha of a lossy one is left out.
func alone(r io.Reader) (image.Image, error) {
	file := riff{bufio.NewReader(r)}
	for {
		name, n, err := file.next()
		if err != nil || n > MaxBytes {
			return nil, ErrNoPicture
		}
		if name != "VP8 " && name != "VP8L" {
			if skip(file.r, n+n&1) != nil {
				return nil, ErrNoPicture
			}
			continue
		}
		body, err := io.ReadAll(io.LimitReader(file.r, n))
		if err != nil || int64(len(body)) != n {
			return nil, ErrNoPicture
		}
		var out bytes.Buffer
		out.WriteString("RIFF")
		out.Write(binary.LittleEndian.AppendUint32(nil, uint32(12+n+n&1)))
		out.WriteString("WEBP" + name)
		out.Write(binary.LittleEndian.AppendUint32(nil, uint32(n)))
		out.Write(body)
		if n&1 != 0 {
			out.WriteByte(0)
		}
		return webp.Decode(&out)
	}
}
