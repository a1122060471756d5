package device

import (
	"math"
	"time"
)

const (
	// playoutIdle is how long nothing may come before a stream is taken as paused.
	playoutIdle = 2 * time.Second
	// playoutEarly and playoutLate are how far the playing may be off its time before a piece
	// is played twice or left out, and playoutJump from when on it jumps; in samples. Early is
	// worse: what comes late is missed then.
	playoutEarly = soundRate * 1 / 1000
	playoutLate  = soundRate * 9 / 1000
	playoutJump  = soundRate * 300 / 1000
	// playoutFar is how far it may be off until a piece is found whose neighbour is like it.
	playoutFar = soundRate * 20 / 1000
	// joinSlack is by how much timestamps may be off what was decoded so far.
	joinSlack = soundRate * 2 / 1000
)

// playout makes an even stream of blocks of what comes unevenly: it waits as long as the
// jitter needs, repairs and conceals losses, and follows the sender's clock, which is never
// quite ours, by leaving out or repeating whole periods of the sound. It is for one goroutine, and has no clock.
type playout struct {
	jitter  jitterBuffer
	dec     soundDecoder
	fill    concealer
	codec   AudioCodec
	started bool
	heard   time.Time // when a packet came last
	fifo    []int16   // decoded and not played yet
	at      int64     // the time of the first of those
	lastSeq uint16    // of the last packet that was decoded
	haveSeq bool
	packets uint64 // decoded
	failed  uint64
	made    uint64 // blocks of 20 ms that were made up, begun ones included
	jumps   uint64
	block   [blockSamples]int16 // that was played last
}

// put takes a packet that came at now.
func (p *playout) put(packet AudioPacket, now time.Time) {
	played := p.decoded()
	if !p.started {
		played = math.MinInt64
	}
	streams := p.jitter.streams
	p.jitter.put(packet, now, played)
	if p.jitter.streams != streams {
		p.started, p.fifo = false, p.fifo[:0]
	}
	p.heard = now
}

// decoded is the time up to which the sound is decoded.
func (p *playout) decoded() int64 { return p.at + int64(len(p.fifo)) }

// tick returns the next block of sound, valid until the next call; nil while there is none
// to play. It is to be called every PacketDuration.
func (p *playout) tick(now time.Time) []int16 {
	if p.heard.IsZero() || now.Sub(p.heard) > playoutIdle {
		p.started = false
		if next := p.jitter.next(); next != nil {
			p.jitter.drop() // nobody will want it
		}
		return nil
	}
	due := p.jitter.due(now)
	if !p.started {
		next := p.jitter.next()
		if next == nil || due < next.at {
			return nil
		}
		p.started, p.haveSeq = true, false
		p.fifo, p.at = p.fifo[:0], next.at
	}
	off := due - p.at
	if off > playoutJump || off < -playoutJump {
		p.jumps++
		p.fifo, p.at, off = p.fifo[:0], due, 0
	}
	for len(p.fifo) < blockSamples {
		p.fifo = append(p.fifo, p.decode()...)
	}
	n := p.play(off)
	p.fifo = p.fifo[:copy(p.fifo, p.fifo[n:])]
	p.at += int64(n)
	return p.block[:]
}

// play makes the next block of what is decoded and returns how much of that is played with it:
// more if the playing is late, less if it is early.
func (p *playout) play(off int64) int {
	switch {
	case off > playoutLate:
		for len(p.fifo) < blockSamples+longestPiece && p.jitter.next() != nil {
			p.fifo = append(p.fifo, p.decode()...)
		}
		if n := leaveOut(p.block[:], p.fifo, int(off+playoutEarly), off > playoutFar); n > 0 {
			return blockSamples + n
		}
	case off < -playoutEarly:
		if n := playTwice(p.block[:], p.fifo, off < -playoutFar); n > 0 {
			return blockSamples - n
		}
	}
	copy(p.block[:], p.fifo)
	return blockSamples
}

// levelOf is the RMS of some sound in dBFS.
func levelOf(pcm []int16) float64 {
	var sum float64
	for _, s := range pcm {
		sum += float64(s) * float64(s)
	}
	if sum == 0 || len(pcm) == 0 {
		return SilenceLevel
	}
	return max(SilenceLevel, 20*math.Log10(math.Sqrt(sum/float64(len(pcm)))/math.MaxInt16))
}

// decode makes the sound that follows what is decoded: of the packet that is due, or of
// what can be had in its place. It is never empty.
func (p *playout) decode() []int16 {
	at := p.decoded()
	for {
		next := p.jitter.next()
		if next == nil {
			return p.makeUp(blockSamples)
		}
		gap := next.at - at
		switch {
		case gap < -joinSlack:
			p.jitter.counts.late++
			p.jitter.drop()
			continue
		case gap > joinSlack:
			return p.fillGap(next, int(min(gap, maxPacketSamples)))
		}
		packet := next.AudioPacket
		p.jitter.drop()
		if pcm := p.run(packet); len(pcm) > 0 {
			return pcm
		}
		return p.makeUp(blockSamples)
	}
}

// fillGap makes sound for the time before a packet that is there.
func (p *playout) fillGap(next *waiting, gap int) []int16 {
	if missing := next.Sequence - p.lastSeq; !p.haveSeq || missing <= 1 {
		return p.pause(min(gap, blockSamples))
	}
	p.jitter.counts.lost++
	// Only the packet right before tells of the one that is missing.
	if gap <= blockSamples+joinSlack && p.dec != nil && p.codec == next.Codec {
		if pcm, err := p.dec.recover(next.Payload, wholeSteps(gap)); err == nil && len(pcm) > 0 {
			p.jitter.counts.recovered++
			p.fill.heard(pcm)
			return pcm
		}
	}
	return p.makeUp(min(gap, blockSamples))
}

// wholeSteps is a length as libopus wants it: in steps of 2.5 ms.
func wholeSteps(samples int) int {
	const step = soundRate / 400
	return max(samples/step, 1) * step
}

// pause makes n samples for a time in which the sender sends nothing, and nothing is missing.
func (p *playout) pause(n int) []int16 {
	if p.dec != nil {
		if pcm, err := p.dec.quiet(wholeSteps(n)); err == nil {
			p.fill.heard(pcm)
			return pcm
		}
	}
	return make([]int16, n)
}

// makeUp conceals n samples. The decoder is not asked: what libopus makes up of a tone is weak,
// and so is what it decodes after it.
func (p *playout) makeUp(n int) []int16 {
	p.made++
	return p.fill.conceal(n)
}

// run decodes a packet; nil if it is no good.
func (p *playout) run(packet AudioPacket) []int16 {
	if p.dec == nil || p.codec != packet.Codec {
		p.close()
		dec, err := newDecoder(packet.Codec)
		if err != nil {
			p.failed++
			return nil
		}
		p.dec, p.codec = dec, packet.Codec
	}
	p.lastSeq, p.haveSeq = packet.Sequence, true
	pcm, err := p.dec.decode(packet.Payload)
	if err != nil {
		p.failed++
		return nil
	}
	p.packets++
	p.fill.heard(pcm)
	return pcm
}

func (p *playout) close() {
	if p.dec != nil {
		p.dec.close()
		p.dec = nil
	}
}
