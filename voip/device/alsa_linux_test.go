//go:build cgo

package device

import (
	"testing"
	"unsafe"

	"porchlight/voip/device/devicetest"
)

// The kernel sees what the C header says.
func TestSoundABI(t *testing.T) {
	var hw pcmHWParams
	var sw pcmSWParams
	got := map[string]uintptr{
		"sizeof snd_pcm_hw_params":        unsafe.Sizeof(hw),
		"offsetof hw intervals":           unsafe.Offsetof(hw.intervals),
		"offsetof hw rmask":               unsafe.Offsetof(hw.requested),
		"offsetof hw fifo_size":           unsafe.Offsetof(hw.fifoSize),
		"sizeof snd_pcm_sw_params":        unsafe.Sizeof(sw),
		"offsetof sw avail_min":           unsafe.Offsetof(sw.availMin),
		"offsetof sw start_threshold":     unsafe.Offsetof(sw.startThreshold),
		"offsetof sw stop_threshold":      unsafe.Offsetof(sw.stopThreshold),
		"offsetof sw boundary":            unsafe.Offsetof(sw.boundary),
		"SNDRV_PCM_IOCTL_HW_REFINE":       ioctlHWRefine,
		"SNDRV_PCM_IOCTL_HW_PARAMS":       ioctlHWParams,
		"SNDRV_PCM_IOCTL_SW_PARAMS":       ioctlSWParams,
		"SNDRV_PCM_IOCTL_DELAY":           ioctlDelay,
		"SNDRV_PCM_IOCTL_PREPARE":         ioctlPrepare,
		"SNDRV_PCM_IOCTL_START":           ioctlStart,
		"SNDRV_PCM_IOCTL_DROP":            ioctlDrop,
		"SNDRV_PCM_ACCESS_RW_INTERLEAVED": accessRWInterleaved,
		"SNDRV_PCM_HW_PARAM_CHANNELS":     intervalChannels,
		"SNDRV_PCM_HW_PARAM_RATE":         intervalRate,
		"SNDRV_PCM_HW_PARAM_PERIOD_SIZE":  intervalPeriodSize,
		"SNDRV_PCM_HW_PARAM_BUFFER_SIZE":  intervalBufferSize,
		"SNDRV_PCM_FORMAT_S16_LE":         formatS16,
		"SNDRV_PCM_FORMAT_S32_LE":         formatS32,
	}
	want := devicetest.SoundABI()
	if len(got) != len(want) {
		t.Errorf("%d values compared with %d", len(got), len(want))
	}
	for name, w := range want {
		if got[name] != w {
			t.Errorf("%s is %#x here and %#x in C", name, got[name], w)
		}
	}
}

// The sizes by hand, for builds without a C compiler at hand.
func TestSoundStructSizes(t *testing.T) {
	hw, sw := unsafe.Sizeof(pcmHWParams{}), unsafe.Sizeof(pcmSWParams{})
	if unsafe.Sizeof(uintptr(0)) == 8 && (hw != 608 || sw != 136) {
		t.Error("64 bits:", hw, sw)
	}
	if unsafe.Sizeof(uintptr(0)) == 4 && (hw != 604 || sw != 104) {
		t.Error("32 bits:", hw, sw)
	}
}
