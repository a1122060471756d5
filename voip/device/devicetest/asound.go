//go:build cgo && linux

package devicetest

/*
#include <stddef.h>
#include <sys/ioctl.h>
#include <sound/asound.h>

enum {
	offsetof_intervals = offsetof(struct snd_pcm_hw_params, intervals),
	offsetof_rmask = offsetof(struct snd_pcm_hw_params, rmask),
	offsetof_fifo_size = offsetof(struct snd_pcm_hw_params, fifo_size),
	offsetof_avail_min = offsetof(struct snd_pcm_sw_params, avail_min),
	offsetof_start_threshold = offsetof(struct snd_pcm_sw_params, start_threshold),
	offsetof_stop_threshold = offsetof(struct snd_pcm_sw_params, stop_threshold),
	offsetof_boundary = offsetof(struct snd_pcm_sw_params, boundary),
	access_rw_interleaved = (int)SNDRV_PCM_ACCESS_RW_INTERLEAVED,
	format_s16 = (int)SNDRV_PCM_FORMAT_S16_LE,
	format_s32 = (int)SNDRV_PCM_FORMAT_S32_LE,
};
*/
import "C"

// SoundABI is what the C compiler makes of <sound/asound.h> on this machine, by
// the names of the header: sizes and offsets in bytes, and ioctl numbers.
func SoundABI() map[string]uintptr {
	return map[string]uintptr{
		"sizeof snd_pcm_hw_params":        C.sizeof_struct_snd_pcm_hw_params,
		"offsetof hw intervals":           C.offsetof_intervals,
		"offsetof hw rmask":               C.offsetof_rmask,
		"offsetof hw fifo_size":           C.offsetof_fifo_size,
		"sizeof snd_pcm_sw_params":        C.sizeof_struct_snd_pcm_sw_params,
		"offsetof sw avail_min":           C.offsetof_avail_min,
		"offsetof sw start_threshold":     C.offsetof_start_threshold,
		"offsetof sw stop_threshold":      C.offsetof_stop_threshold,
		"offsetof sw boundary":            C.offsetof_boundary,
		"SNDRV_PCM_IOCTL_HW_REFINE":       C.SNDRV_PCM_IOCTL_HW_REFINE,
		"SNDRV_PCM_IOCTL_HW_PARAMS":       C.SNDRV_PCM_IOCTL_HW_PARAMS,
		"SNDRV_PCM_IOCTL_SW_PARAMS":       C.SNDRV_PCM_IOCTL_SW_PARAMS,
		"SNDRV_PCM_IOCTL_DELAY":           C.SNDRV_PCM_IOCTL_DELAY,
		"SNDRV_PCM_IOCTL_PREPARE":         C.SNDRV_PCM_IOCTL_PREPARE,
		"SNDRV_PCM_IOCTL_START":           C.SNDRV_PCM_IOCTL_START,
		"SNDRV_PCM_IOCTL_DROP":            C.SNDRV_PCM_IOCTL_DROP,
		"SNDRV_PCM_ACCESS_RW_INTERLEAVED": C.access_rw_interleaved,
		"SNDRV_PCM_HW_PARAM_CHANNELS":     C.SNDRV_PCM_HW_PARAM_CHANNELS - C.SNDRV_PCM_HW_PARAM_FIRST_INTERVAL,
		"SNDRV_PCM_HW_PARAM_RATE":         C.SNDRV_PCM_HW_PARAM_RATE - C.SNDRV_PCM_HW_PARAM_FIRST_INTERVAL,
		"SNDRV_PCM_HW_PARAM_PERIOD_SIZE":  C.SNDRV_PCM_HW_PARAM_PERIOD_SIZE - C.SNDRV_PCM_HW_PARAM_FIRST_INTERVAL,
		"SNDRV_PCM_HW_PARAM_BUFFER_SIZE":  C.SNDRV_PCM_HW_PARAM_BUFFER_SIZE - C.SNDRV_PCM_HW_PARAM_FIRST_INTERVAL,
		"SNDRV_PCM_FORMAT_S16_LE":         C.format_s16,
		"SNDRV_PCM_FORMAT_S32_LE":         C.format_s32,
	}
}
