package agent

import (
	"context"
	"encoding/json"
	"image"
	"io"
	"time"

	"porchlight/server/matrix"
	"porchlight/voip/call"
)

// House is what the agent needs of the homeserver.
type House interface {
	// Wait returns a channel that is closed when there may be something new. Take it
	// before Read, so that nothing is missed.
	Wait() <-chan struct{}
	// Read returns what happened in the rooms of the board's user since the last Read,
	// oldest first, and notes that it has been read. It may return a part of it; then Wait's
	// channel is closed already.
	Read(ctx context.Context) ([]Event, error)
	// Send puts an event into a room, as the board's user.
	Send(ctx context.Context, room matrix.RoomID, eventType string, content json.RawMessage) error
	// Join accepts an invitation.
	Join(ctx context.Context, room matrix.RoomID) error
	// Joined are the users that are joined to a room.
	Joined(ctx context.Context, room matrix.RoomID) ([]matrix.UserID, error)
	// MayCall says whether the board answers this user's calls.
	MayCall(ctx context.Context, user matrix.UserID) (bool, error)
	// Owner is whose house it is; empty: nobody's yet.
	Owner(ctx context.Context) (matrix.UserID, error)
	// ControlRoom is the room that is recorded as the owner's, in which settings are made; empty:
	// there is none yet. What is to be written to the owner goes into DirectRoom's.
	ControlRoom(ctx context.Context) (matrix.RoomID, error)
	// DirectRoom is the room that the board made for one user, as long as nobody else can read
	// it or get into it; else another one is made. What the board begins of its own accord goes
	// nowhere else. Ask for it anew each time.
	DirectRoom(ctx context.Context, user matrix.UserID) (matrix.RoomID, error)
	// Audience says who can read what is sent to a room.
	Audience(ctx context.Context, room matrix.RoomID) (Audience, error)
	// Upload keeps a picture or the like in the content repository, as the board's, and
	// returns its URI.
	Upload(ctx context.Context, contentType, name string, data []byte) (uri string, err error)
	// Delete takes something out of the content repository.
	Delete(ctx context.Context, uri string) error
	// Content reads what is in the content repository.
	Content(ctx context.Context, uri string) (io.Reader, error)
	// Event finds an event of a room that the board's user is in.
	Event(ctx context.Context, room matrix.RoomID, id matrix.EventID) (e Event, found bool, err error)
}

// Audience is who can read what is sent to a room.
type Audience struct {
	People []matrix.UserID // joined or invited, besides the board
	Joined int             // how many are joined, with the board
	Open   bool            // others can read it or come in, too, without being invited
	Public bool            // anybody can come in
	// Encrypted: what is said there cannot be read by the board.
	Encrypted bool
}

// Devices are the board's senses and its voice, apart from calls.
type Devices interface {
	// Snapshot takes a picture.
	Snapshot(ctx context.Context) (Picture, error)
	// Chime plays the privacy tone at the board and returns when it is over.
	Chime(ctx context.Context) error
	// OpenSound and OpenPictures listen and watch for alerts.
	OpenSound(ctx context.Context) (SoundStream, error)
	OpenPictures(ctx context.Context) (PictureStream, error)
	// CameraFault and MicrophoneFault say what is wrong with them, also while nobody uses them:
	// they are unplugged, or failed when they were used last. Nil: nothing, or there is none.
	CameraFault() error
	MicrophoneFault() error
	// Record makes a film of picture and sound from now on for a while, with what is
	// remembered from before.
	Record(ctx context.Context, length time.Duration) (Film, error)
	// Remember keeps the last moments of the picture, of the sound or of both, until ctx
	// ends or a device fails.
	Remember(ctx context.Context, picture, sound bool, keep time.Duration) error
	// CheckSong says whether a file can be played; the error is a sentence.
	CheckSong(r io.Reader) error
	// Play plays a tune until it is over or ctx ends. It gives way to callers' voices.
	Play(ctx context.Context, t Tune) error
	// CheckCamera says in a sentence what the camera cannot do of controls.
	CheckCamera(controls []CameraControl) error
	// TuneCamera sets the camera's controls; those that were set before and are not named
	// go back to what they were.
	TuneCamera(ctx context.Context, controls []CameraControl) error
	// SetNight has a lamp lit while the camera runs, or not.
	SetNight(on bool)
	// SetEcho does something against callers hearing themselves: off, duck or cancel, as the
	// setting says. An error says that another way had to be taken.
	SetEcho(how string) error
	// SetVolume sets how loud callers are at the board and the board is for them, in percent.
	SetVolume(loudspeaker, microphone int)
}

// Picture is a picture as JPEG, with its size in pixels.
type Picture struct {
	JPEG          []byte
	Width, Height int
}

// Film is a short film as a file, or only its sound.
type Film struct {
	Data          []byte
	Type          string // MIME type
	Ending        string // of its file's name, with the dot
	Width, Height int    // in pixels; 0: it has no pictures
	Length        time.Duration
}

// Tune is what is to be played, and how.
type Tune struct {
	Noise  string                                       // a kind of noise, or else
	Open   func(ctx context.Context) (io.Reader, error) // begins a file anew
	Loop   bool
	For    time.Duration // 0: until it is over
	Fade   time.Duration
	Volume func() float64 // from 0 to 1; asked again and again
}

// SoundStream is the sound of the board's microphone, mono at alert.SoundRate.
type SoundStream interface {
	// ReadSound blocks until there is some; an error says that the microphone failed.
	ReadSound(ctx context.Context) ([]int16, error)
	Close() error
}

// PictureStream is the sight of the board's camera, a few pictures a second.
type PictureStream interface {
	// ReadPicture blocks until there is one; an error says that the camera failed.
	ReadPicture(ctx context.Context) (*image.YCbCr, error)
	Close() error
}

// Door is the relay of the door.
type Door interface {
	// OpenDoor holds it open for a while.
	OpenDoor(ctx context.Context, d time.Duration) error
}

// Event is an event in a room that the board's user is in or invited to.
type Event struct {
	Room     matrix.RoomID
	Sender   matrix.UserID
	Type     string
	StateKey *string
	Content  json.RawMessage
	// Age is how long ago the homeserver got the event, by its own clock.
	Age time.Duration
}

// Bridge makes the media of calls.
type Bridge interface {
	// Open begins the media of one call. Its error wraps call.ErrBusy if there are as many
	// calls as there may be.
	Open(ctx context.Context) (Session, error)
}

// Session is the media of one call; voip/bridge has the contract in full.
type Session interface {
	// Withhold keeps sound or pictures back for the whole call; it comes before any Order.
	Withhold(audio, video bool)
	// Deafen keeps the peer's sound from being played for the whole call; digits are heard.
	Deafen()
	// Order carries out what voip/call orders; it never blocks.
	Order(o call.Output)
	// Reports is closed when the session has ended.
	Reports() <-chan Report
	// Stats says how the media is doing.
	Stats() MediaStats
	Close() error
}

// Report is one thing that a Session tells: an input for the call, or a dialled digit.
type Report struct {
	Input call.Input
	Digit rune
}

// MediaStats is how the media of a call is doing.
type MediaStats struct {
	AudioCodec    string        `json:"audio_codec,omitempty"`
	VideoCodec    string        `json:"video_codec,omitempty"`
	AudioSent     uint64        `json:"audio_sent"`     // frames
	VideoSent     uint64        `json:"video_sent"`     // frames
	AudioReceived uint64        `json:"audio_received"` // packets
	VideoReceived uint64        `json:"video_received"` // packets
	Digits        uint64        `json:"digits"`         // that the peer dialled
	Bitrate       int           `json:"bitrate"`        // of the picture, bits per second
	Loss          float64       `json:"loss"`           // fraction
	Connected     time.Duration `json:"connected_ns"`   // from opening to the first connection
	// HeardLevel is the loudness of the caller in dBFS, HeardHz its strongest tone.
	HeardLevel float64 `json:"heard_level_dbfs"`
	HeardHz    float64 `json:"heard_hz"`
}
