package device

import (
	"encoding/binary"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
)

// soundCard is one direction of one device of a sound card.
type soundCard struct {
	card, device int
	playback     bool
	name         string // what the card calls itself
}

// String names the device as ALSA does.
func (c soundCard) String() string { return fmt.Sprintf("hw:%d,%d", c.card, c.device) }

// path is the device's file below dir.
func (c soundCard) path(dir string) string {
	suffix := "c"
	if c.playback {
		suffix = "p"
	}
	return filepath.Join(dir, fmt.Sprintf("pcmC%dD%d%s", c.card, c.device, suffix))
}

// parsePCMName reads the name of a device's file, such as pcmC0D0p.
func parsePCMName(name string) (soundCard, bool) {
	var c soundCard
	var direction string
	n, err := fmt.Sscanf(name, "pcmC%dD%d%1s", &c.card, &c.device, &direction)
	if err != nil || n != 3 || c.card < 0 || c.device < 0 {
		return soundCard{}, false
	}
	c.playback = direction == "p"
	return c, filepath.Base(c.path("/")) == name
}

// parseHW reads a name such as "hw:1,0" or "hw:1". The card may also be given
// by the name that it has in procDir (/proc/asound), as numbers change when
// USB devices are plugged in another order.
func parseHW(name, procDir string) (soundCard, error) {
	rest, ok := strings.CutPrefix(name, "hw:")
	card, device, _ := strings.Cut(rest, ",")
	if !ok || card == "" || strings.ContainsAny(card, "/.") {
		return soundCard{}, fmt.Errorf("device: %q names no sound device: write hw:CARD,DEVICE such as hw:1,0", name)
	}
	if link, err := os.Readlink(filepath.Join(procDir, card)); err == nil {
		card = strings.TrimPrefix(link, "card")
	}
	var c soundCard
	if device == "" {
		device = "0"
	}
	if _, err := fmt.Sscanf(card+" "+device+"\n", "%d %d\n", &c.card, &c.device); err != nil || c.card < 0 || c.device < 0 {
		return soundCard{}, fmt.Errorf("device: there is no sound card %q", name)
	}
	return c, nil
}

// listSoundCards lists the devices of one direction, the most likely one first:
// one that can both hear and speak, and a screen's loudspeaker last of all.
func listSoundCards(devDir, procDir string, playback bool) []soundCard {
	entries, err := os.ReadDir(devDir)
	if err != nil {
		return nil // no sound system at all
	}
	var found []soundCard
	both := make(map[int]bool)
	for _, e := range entries {
		c, ok := parsePCMName(e.Name())
		if !ok {
			continue
		}
		if c.playback != playback {
			both[c.card] = true
			continue
		}
		id, err := os.ReadFile(filepath.Join(procDir, fmt.Sprintf("card%d", c.card), "id"))
		if err == nil {
			c.name = strings.TrimSpace(string(id))
		}
		found = append(found, c)
	}
	rank := func(c soundCard) int {
		switch {
		case strings.Contains(strings.ToLower(c.name), "hdmi"):
			return 2
		case both[c.card]:
			return 0
		}
		return 1
	}
	slices.SortStableFunc(found, func(a, b soundCard) int {
		if d := rank(a) - rank(b); d != 0 {
			return d
		}
		if a.card != b.card {
			return a.card - b.card
		}
		return a.device - b.device
	})
	return found
}

// again is the same card's device where it is now: a card that is unplugged may come back
// with another number, but has its name. It is c itself if no card has that name.
func (c soundCard) again(devDir, procDir string) soundCard {
	now := c
	for _, found := range listSoundCards(devDir, procDir, c.playback) {
		switch {
		case found.name != c.name || found.device != c.device:
		case found.card == c.card:
			return c // of several of one name
		default:
			now = found
		}
	}
	return now
}

// pcmFormat is how a sound card wants its samples: little-endian, interleaved.
type pcmFormat struct {
	rate     int // samples per second of each channel
	channels int
	bytes    int // of a sample: 2 or 4
}

func (f pcmFormat) frameBytes() int { return f.channels * f.bytes }

// decode appends the samples of whole frames to dst, the channels mixed to one.
func (f pcmFormat) decode(dst []int16, data []byte) []int16 {
	for ; len(data) >= f.frameBytes(); data = data[f.frameBytes():] {
		sum := 0
		for c := range f.channels {
			// The upper 16 bits are what counts in either size.
			sum += int(int16(binary.LittleEndian.Uint16(data[(c+1)*f.bytes-2:])))
		}
		dst = append(dst, int16(sum/f.channels))
	}
	return dst
}

// encode appends mono samples to dst, the same in each channel.
func (f pcmFormat) encode(dst []byte, pcm []int16) []byte {
	for _, s := range pcm {
		for range f.channels {
			if f.bytes == 4 {
				dst = append(dst, 0, 0)
			}
			dst = binary.LittleEndian.AppendUint16(dst, uint16(s))
		}
	}
	return dst
}
