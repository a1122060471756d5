// Package clip puts coded pictures and sound into a short film that browsers and phones
// play: WebM for VP8, MP4 for H.264, each with Opus for the sound.
//
// It codes and decodes nothing, and reads no clock: frames go in, bytes come out.
package clip
