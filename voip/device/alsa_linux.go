package device

import (
	"errors"
	"fmt"
	"log/slog"
	"os"
	"syscall"
	"time"
	"unsafe"
)

// The kernel's sound interface, as of <sound/asound.h>. The sizes are part of
// the ioctl numbers and differ on 32-bit machines: 608 and 136 bytes, or 604 and 104.
type (
	pcmInterval struct {
		min, max uint32
		flags    uint32
	}

	pcmHWParams struct {
		flags     uint32
		masks     [3][8]uint32
		_         [5][8]uint32
		intervals [12]pcmInterval
		_         [9]pcmInterval
		requested uint32 // rmask
		changed   uint32
		info      uint32
		msbits    uint32
		rateNum   uint32
		rateDen   uint32
		fifoSize  uintptr
		_         [64]byte
	}

	pcmSWParams struct {
		tstampMode       int32
		periodStep       uint32
		sleepMin         uint32
		availMin         uintptr
		xferAlign        uintptr
		startThreshold   uintptr
		stopThreshold    uintptr
		silenceThreshold uintptr
		silenceSize      uintptr
		boundary         uintptr
		proto            uint32
		tstampType       uint32
		_                [56]byte
	}
)

// Parameters: masks by their number, intervals by their number less 8.
const (
	maskAccess = 0
	maskFormat = 1

	intervalChannels   = 10 - 8
	intervalRate       = 11 - 8
	intervalPeriodSize = 13 - 8
	intervalBufferSize = 17 - 8

	flagInteger = 1 << 2

	accessRWInterleaved = 3
	formatS16           = 2
	formatS32           = 10
)

// ioctl numbers: direction, size, 'A', number.
const (
	iocRead      = 2 << 30
	iocReadWrite = 3 << 30

	ioctlHWRefine = iocReadWrite | unsafe.Sizeof(pcmHWParams{})<<16 | 'A'<<8 | 0x10
	ioctlHWParams = iocReadWrite | unsafe.Sizeof(pcmHWParams{})<<16 | 'A'<<8 | 0x11
	ioctlSWParams = iocReadWrite | unsafe.Sizeof(pcmSWParams{})<<16 | 'A'<<8 | 0x13
	ioctlDelay    = iocRead | unsafe.Sizeof(uintptr(0))<<16 | 'A'<<8 | 0x21
	ioctlPrepare  = 'A'<<8 | 0x40
	ioctlStart    = 'A'<<8 | 0x42
	ioctlDrop     = 'A'<<8 | 0x43
)

const (
	// alsaBlocks is the wanted size of the card's buffer, in blocks of PacketDuration.
	alsaBlocks = 5
	// alsaStartBlocks must be there before a loudspeaker starts or starts again:
	// what evens out the network's unevenness.
	alsaStartBlocks = 3
	// alsaStall is how long a card may take for its next block.
	alsaStall = 2 * time.Second
)

// pcm is an open sound device, set up and ready to start.
type pcm struct {
	file   *os.File
	log    *slog.Logger
	format pcmFormat
	raw    []byte
	xruns  int // how often it ran dry or over
}

// openPCM opens a sound device and settles with it on the format that needs the
// least conversion.
func openPCM(path string, playback bool, log *slog.Logger) (*pcm, error) {
	// Without O_NONBLOCK the open waits until another program gives the device
	// back; with it, reading and writing wait in Go's poller.
	file, err := os.OpenFile(path, os.O_RDWR|syscall.O_NONBLOCK, 0)
	if errors.Is(err, syscall.EBUSY) {
		return nil, fmt.Errorf("%w by another program: %s", ErrBusy, path)
	}
	if err != nil {
		return nil, fmt.Errorf("device: sound: %w", err)
	}
	d := &pcm{file: file, log: log}
	if err := d.setUp(playback); err != nil {
		_ = file.Close()
		return nil, fmt.Errorf("device: sound device %s: %w", path, err)
	}
	return d, nil
}

func (d *pcm) ioctl(request uintptr, arg unsafe.Pointer) error {
	conn, err := d.file.SyscallConn()
	if err != nil {
		return err
	}
	var errno syscall.Errno
	err = conn.Control(func(fd uintptr) {
		for {
			_, _, errno = syscall.Syscall(syscall.SYS_IOCTL, fd, request, uintptr(arg))
			if errno != syscall.EINTR {
				return
			}
		}
	})
	if err != nil {
		return err
	}
	if errno != 0 {
		return errno
	}
	return nil
}

func (d *pcm) setUp(playback bool) error {
	p := anyParams()
	if err := d.ioctl(ioctlHWRefine, unsafe.Pointer(p)); err != nil {
		return fmt.Errorf("asking what it can do: %w", err)
	}
	if !d.try(p, func(p *pcmHWParams) { p.onlyMask(maskAccess, accessRWInterleaved) }) {
		return errors.New("it does not take interleaved samples")
	}
	switch {
	case d.try(p, func(p *pcmHWParams) { p.onlyMask(maskFormat, formatS16) }):
		d.format.bytes = 2
	case d.try(p, func(p *pcmHWParams) { p.onlyMask(maskFormat, formatS32) }):
		d.format.bytes = 4
	default:
		return errors.New("it takes samples of neither 16 nor 32 bits")
	}
	if !d.tryAny(p, intervalChannels, 1, 2) && !d.tryAny(p, intervalChannels, int(p.intervals[intervalChannels].min)) {
		return errors.New("it takes neither one channel nor two")
	}
	if !d.tryAny(p, intervalRate, soundRate, 44100, 16000, 32000, 8000) {
		return errors.New("it has none of the usual sampling rates")
	}
	block := int(p.intervals[intervalRate].min) / 50
	// These are wishes: a card has its own ideas of them.
	_ = d.tryAny(p, intervalPeriodSize, block, block/2)
	_ = d.tryAny(p, intervalBufferSize, alsaBlocks*block, 2*alsaBlocks*block)
	if err := d.ioctl(ioctlHWParams, unsafe.Pointer(p)); err != nil {
		return fmt.Errorf("setting the format: %w", err)
	}
	d.format.channels = int(p.intervals[intervalChannels].min)
	d.format.rate = int(p.intervals[intervalRate].min)
	buffer := uintptr(p.intervals[intervalBufferSize].min)
	sw := pcmSWParams{
		periodStep:     1,
		availMin:       uintptr(p.intervals[intervalPeriodSize].min),
		startThreshold: 1,
		stopThreshold:  buffer,
	}
	if playback {
		sw.startThreshold = min(buffer, uintptr(alsaStartBlocks*block))
	}
	if err := d.ioctl(ioctlSWParams, unsafe.Pointer(&sw)); err != nil {
		return fmt.Errorf("setting the thresholds: %w", err)
	}
	if err := d.ioctl(ioctlPrepare, nil); err != nil {
		return fmt.Errorf("preparing: %w", err)
	}
	d.raw = make([]byte, block*d.format.frameBytes())
	return nil
}

// anyParams is the widest choice there is.
func anyParams() *pcmHWParams {
	p := &pcmHWParams{requested: ^uint32(0), info: ^uint32(0)}
	for i := range p.masks {
		for j := range p.masks[i] {
			p.masks[i][j] = ^uint32(0)
		}
	}
	for i := range p.intervals {
		p.intervals[i].max = ^uint32(0)
	}
	return p
}

func (p *pcmHWParams) onlyMask(mask, bit int) {
	p.masks[mask] = [8]uint32{}
	p.masks[mask][bit/32] = 1 << (bit % 32)
}

// try narrows the choice if the device agrees, and leaves it as it was if not.
func (d *pcm) try(p *pcmHWParams, narrow func(*pcmHWParams)) bool {
	q := *p
	narrow(&q)
	q.requested, q.changed = ^uint32(0), 0
	if d.ioctl(ioctlHWRefine, unsafe.Pointer(&q)) != nil {
		return false
	}
	*p = q
	return true
}

// tryAny fixes an interval to the first of the values that the device agrees to.
func (d *pcm) tryAny(p *pcmHWParams, interval int, values ...int) bool {
	for _, v := range values {
		fix := func(p *pcmHWParams) {
			p.intervals[interval] = pcmInterval{min: uint32(v), max: uint32(v), flags: flagInteger}
		}
		if d.try(p, fix) {
			return true
		}
	}
	return false
}

// delay is how many samples of each channel are between what is written next and what is
// heard now; false if the device does not run.
func (d *pcm) delay() (int, bool) {
	var frames int // as C's long
	err := d.ioctl(ioctlDelay, unsafe.Pointer(&frames))
	return frames, err == nil && frames >= 0
}

// restart gets the device going again after it ran dry or over, or was asleep.
func (d *pcm) restart(err error) error {
	if errors.Is(err, syscall.EPIPE) || errors.Is(err, syscall.ESTRPIPE) {
		d.xruns++
		return d.ioctl(ioctlPrepare, nil)
	}
	return err
}

// empty forgets what waits in the device.
func (d *pcm) empty() error {
	_ = d.ioctl(ioctlDrop, nil) // it may not be running
	return d.ioctl(ioctlPrepare, nil)
}

func (d *pcm) close() error {
	_ = d.ioctl(ioctlDrop, nil) // it may not have been running
	d.log.Info("sound device stopped", "path", d.file.Name(), "rate", d.format.rate, "channels", d.format.channels, "xruns", d.xruns)
	return d.file.Close()
}
