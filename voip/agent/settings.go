package agent

import (
	"slices"
	"time"

	"porchlight/server/matrix"
	"porchlight/voip/alert"
)

// Settings are the board's settings as they are in force. A Settings that was handed out
// is never changed.
type Settings struct {
	RingPeople  []matrix.UserID // whom the button calls; empty: the owner
	RingInTurn  bool            // one after the other; else all at once
	RingTimeout time.Duration   // how long each is called
	RingPause   time.Duration   // in which a further press is the same visitor

	Allow      []matrix.UserID // who may call; empty: whom House.MayCall allows
	AutoAnswer []AnswerRule    // the first that fits holds; none: never
	Commands   []matrix.UserID // who may command; empty: who may call
	QuietHours []Hours
	QuietUntil time.Time // by the command; zero: not
	// QuietAlerts: alerts are sent in quiet times, too.
	QuietAlerts bool
	ListenOnly  bool // what callers say is not played at the board
	// CallLimit is after which time the board hangs up calls that came in, RingLimit those
	// that it placed; 0: never.
	CallLimit, RingLimit time.Duration
	Viewers              int // calls at once
	// PrivacyTone: who is near the board hears it when a call is answered by itself.
	PrivacyTone bool

	DoorPeople  []matrix.UserID // who may open; empty: the owner
	DoorCode    string          // dialled in a call; empty: none
	DoorPulse   time.Duration
	DoorConfirm bool // a message that opens is asked about first

	AlertPeople []matrix.UserID // who is told; empty: the ring list
	AlertPause  time.Duration   // between two alerts of a kind
	SoundAlert  bool
	SoundLevel  float64 // dBFS
	SoundAttack time.Duration
	// SoundHold is the longest pause that counts as none, SoundRelease how long it has to
	// be quiet behind it until all is forgotten.
	SoundHold, SoundRelease time.Duration
	MotionAlert             bool
	MotionShare             float64 // of the picture, in percent
	MotionMask              []alert.Rect
	AlertClip               bool // a clip follows an alert
	FaultAlert              bool // when camera or microphone die and come back
	// NetworkAlert: when the network was gone; NetworkChime: it is heard meanwhile.
	NetworkAlert, NetworkChime bool

	ClipLength time.Duration // where nothing else is said
	ClipMax    time.Duration
	ClipBefore time.Duration // what a clip shows of the time before it was wanted, while alerts are on

	Lullaby       string        // what is played where nothing else is said: a kind of noise, or a song's name
	LullabyVolume float64       // percent
	LullabyFor    time.Duration // where nothing else is said
	LullabyFade   time.Duration

	Night                  string // "auto": as the hours say; or "on" or "off"
	NightHours             []Hours
	NightCamera, DayCamera []CameraControl

	// KeepTime is how long pictures and clips are kept that the board made, KeepSpace how
	// many bytes of them; 0: no bound.
	KeepTime  time.Duration
	KeepSpace int64

	LoudspeakerVolume, MicrophoneVolume float64 // percent: of callers at the board, of the board for them

	Echo string // what is done against callers hearing themselves: off, duck or cancel
}

// AnswerRule says how the calls of somebody are answered.
type AnswerRule struct {
	Who   matrix.UserID // empty: everybody else who may call
	Never bool
	After time.Duration
	Audio bool // sound is sent
	Video bool // pictures are sent
}

// Hours are a time of day that may reach over midnight, in minutes from midnight.
type Hours struct{ From, To int }

// Bounds of settings.
const (
	MaxPeople      = 16
	minRingTimeout = 5 * time.Second
	maxRingTimeout = 5 * time.Minute
	maxRingPause   = 10 * time.Minute
	maxAnswerAfter = 2 * time.Minute
	maxQuiet       = 7 * 24 * time.Hour
	minDoorCode    = 4
	maxDoorCode    = 12
	maxMasks       = 16
	maxHours       = 8
	maxCallLimit   = 24 * time.Hour
	minCallLimit   = 10 * time.Second
	MaxViewers     = 16 // calls at once
	minClip        = time.Second
	maxClip        = 2 * time.Minute
	maxClipBefore  = 30 * time.Second
)

// DefaultSettings are in force where nothing else was set; after is how long a call rings.
func DefaultSettings(after time.Duration) Settings {
	return Settings{
		RingTimeout: time.Minute, RingPause: 5 * time.Second,
		AutoAnswer: []AnswerRule{{After: after, Audio: true, Video: true}}, PrivacyTone: true,
		DoorPulse: 3 * time.Second, DoorConfirm: true,
		AlertPause: 2 * time.Minute, SoundLevel: -40, SoundAttack: time.Second, SoundHold: 500 * time.Millisecond, SoundRelease: 2 * time.Second,
		MotionShare: 2, FaultAlert: true, NetworkAlert: true, Echo: "duck", LoudspeakerVolume: 100, MicrophoneVolume: 100, RingLimit: 10 * time.Minute, Viewers: DefaultMaxCalls,
		AlertClip: true, ClipLength: 10 * time.Second, ClipMax: time.Minute, ClipBefore: 5 * time.Second,
		KeepTime: 30 * 24 * time.Hour, KeepSpace: 1 << 30, Night: "auto", Lullaby: "pink", LullabyVolume: 30, LullabyFor: 30 * time.Minute, LullabyFade: 20 * time.Second,
	}
}

// answers is the rule for a caller.
func (s *Settings) answers(peer matrix.UserID) AnswerRule {
	for _, r := range s.AutoAnswer {
		if r.Who == peer {
			return r
		}
	}
	for _, r := range s.AutoAnswer {
		if r.Who == "" {
			return r
		}
	}
	return AnswerRule{Never: true}
}

// quiet says whether people are to be left alone at a time.
func (s *Settings) quiet(now time.Time) bool {
	if now.Before(s.QuietUntil) {
		return true
	}
	return within24(s.QuietHours, now)
}

// within24 says whether a time is inside of hours.
func within24(all []Hours, now time.Time) bool {
	minute := now.Hour()*60 + now.Minute()
	return slices.ContainsFunc(all, func(h Hours) bool {
		if h.From <= h.To {
			return minute >= h.From && minute < h.To
		}
		return minute >= h.From || minute < h.To
	})
}

// alerts says whether an alert may be sent at a time.
func (s *Settings) alerts(now time.Time) bool { return s.QuietAlerts || !s.quiet(now) }
