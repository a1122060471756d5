package device

import (
	"bytes"
	"encoding/binary"
	"fmt"
)

// jpegSplitter cuts a byte stream into JPEG pictures.
// spec: ITU-T T.81 annex B
type jpegSplitter struct {
	buf  []byte
	scan int  // where to go on looking for the end of the picture at the start of buf
	data bool // scan is in coded data, not among the segments before it
}

// Markers beside those of convert.go.
const (
	markerEOI  = 0xD9
	markerTEM  = 0x01
	markerRST0 = 0xD0
	markerRST7 = 0xD7
)

// add takes more of the stream. Too large a picture is an error: the stream is no JPEG.
func (s *jpegSplitter) add(data []byte) error {
	s.skip()
	if len(s.buf)+len(data) > 2*maxAccessUnit {
		return fmt.Errorf("device: more than %d bytes of JPEG without the end of a picture", 2*maxAccessUnit)
	}
	s.buf = append(s.buf, data...)
	return nil
}

// newest returns the last whole picture of those that have come, and drops the others; nil
// if none is whole. It is valid until the next add.
func (s *jpegSplitter) newest() (picture []byte) {
	for {
		next := s.next()
		if next == nil {
			return picture
		}
		picture = next
	}
}

// skip drops what is no picture, up to where one may begin.
func (s *jpegSplitter) skip() {
	if s.scan > 0 {
		return
	}
	at := bytes.Index(s.buf, []byte{0xFF, markerSOI})
	if at < 0 {
		at = len(s.buf)
		if at > 0 && s.buf[at-1] == 0xFF {
			at-- // the other half may come
		}
	}
	s.buf = s.buf[at:]
}

// next takes the first picture off, if it is whole.
func (s *jpegSplitter) next() []byte {
	for {
		if s.skip(); s.scan == 0 {
			if len(s.buf) < 2 {
				return nil
			}
			s.scan = 2
		}
		if s.data { // up to a marker that is neither a stuffed byte nor a restart
			at := bytes.IndexByte(s.buf[s.scan:], 0xFF)
			if at < 0 {
				s.scan = len(s.buf)
				return nil
			}
			if s.scan += at; s.scan+1 >= len(s.buf) {
				return nil
			}
			if m := s.buf[s.scan+1]; m == 0 || m >= markerRST0 && m <= markerRST7 {
				s.scan += 2
				continue
			}
			s.data = false
		}
		if s.scan+2 > len(s.buf) {
			return nil
		}
		switch m := s.buf[s.scan+1]; {
		case s.buf[s.scan] != 0xFF || m == markerSOI: // broken: a new picture may begin here
			s.buf, s.scan = s.buf[s.scan:], 0
		case m == 0xFF: // filled up
			s.scan++
		case m == markerEOI:
			return s.cut(s.scan + 2)
		case m == markerTEM || m >= markerRST0 && m <= markerRST7:
			s.scan += 2
		default:
			if s.scan+4 > len(s.buf) {
				return nil
			}
			length := int(binary.BigEndian.Uint16(s.buf[s.scan+2:]))
			if s.scan+2+length > len(s.buf) {
				return nil
			}
			s.scan += 2 + max(length, 2)
			s.data = m == markerSOS
		}
	}
}

// cut takes the first n bytes off the stream.
func (s *jpegSplitter) cut(n int) []byte {
	picture := s.buf[:n:n]
	s.buf, s.scan, s.data = s.buf[n:], 0, false
	return picture
}
