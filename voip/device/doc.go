// Package device is the board's eyes, ears and mouth: camera, microphone,
// loudspeaker and the codecs between them and a call.
//
// It owns the hardware. A source starts with its first viewer and stops with
// its last; all viewers of one codec share one encoder and its frames. Nobody
// here waits for a slow viewer: queues are bounded, what does not fit is
// dropped and counted, and a picture resumes at the next key frame.
//
// Where hardware is missing there is a stand-in that shows itself as such: a
// test picture with the time burnt in, a test tone, and a loudspeaker that only
// measures what it is given. Describe says in plain sentences which is which.
//
// Built without cgo the package has no VP8 and no Opus encoder: the picture is
// then H.264 from a camera that makes it itself, or none, and the sound G.711.
//
// It knows nothing of calls, of networks or of the homeserver.
package device
