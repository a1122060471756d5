package agent

import (
	"context"
	"crypto/rand"
	"io"
	"log/slog"
	"sync"
	"sync/atomic"
	"time"

	"porchlight/server/matrix"
	"porchlight/voip/call"
)

const (
	// DefaultMaxCalls is how many calls the board keeps track of at once; further ones
	// are refused as busy.
	DefaultMaxCalls = 6
	// retryAfter is how long the agent waits when the house cannot be read.
	retryAfter = time.Second
	// hangUpTime is what sending the hangups may take when the house stops.
	hangUpTime = time.Second
	// maxReports is how many reports of sessions and timers may wait.
	maxReports = 64
	// maxJobs is how many jobs for Run's goroutine may wait.
	maxJobs = 16
)

// Config is what an Agent is made with. House, Bridge and Self have to be there.
type Config struct {
	House  House
	Bridge Bridge
	Self   matrix.UserID // the board's user
	// Devices are what the board sees and hears with apart from calls; nil: nothing.
	Devices Devices
	// Door opens the door; nil: there is none.
	Door Door
	// Network says whether the board has its network now; nil: nobody looks.
	Network func() bool
	// Settings are the board's; nil: DefaultSettings, which last as long as the Agent.
	Settings *Store
	// Journal remembers the calls that go on; nil: nothing does, and a crash leaves callers
	// waiting.
	Journal *Journal
	// MaxCalls is how many calls are taken at once; 0: as many as the settings say.
	MaxCalls int
	// About are plain sentences on the board's devices, told to who asks for the status; nil:
	// none.
	About func() []string
	// News are further sentences for the status, asked for each time; nil: none.
	News func() []string
	Log  *slog.Logger     // nil: slog.Default()
	Now  func() time.Time // nil: time.Now
	// Random makes party IDs; nil: crypto/rand.
	Random io.Reader
}

// Agent is the board's user at work.
type Agent struct {
	Config
	reports chan report
	jobs    chan func(context.Context) // for Run's goroutine
	helpers sync.WaitGroup             // what Run started and waits for

	// Run's own.
	calls   map[callKey]*activeCall
	ringing *ring // nil: the board rings nobody
	rangAt  time.Time
	door    doorGuard
	asked   map[matrix.UserID]time.Time // who has to confirm that the door is opened, and until when
	faults  map[string]*fault           // senses that have failed, by name
	filming bool                        // the clip of an alert is being made
	playing *lullaby                    // nil: nothing
	offline time.Time                   // since when the network has been gone; zero: it is there
	listens map[matrix.UserID]time.Time // who asked to listen, and until when they may call for it
	sounds  map[matrix.RoomID]sound
	singing atomic.Bool // something is playing; for those who listen

	stale   bool    // the calls have changed since they were published
	refused limiter // calls that are answered though they are not taken
	noise   limiter // lines in the log on what is malformed
	strange limiter // answers to those who may not command

	mu     sync.Mutex
	status []CallStatus // as of the last look
	live   map[callKey]Session
}

// callKey names a call: its ID is unique in a room only.
type callKey struct {
	room matrix.RoomID
	id   string
}

// report is something that a call's timer or session has to say.
type report struct {
	call  *activeCall
	input call.Input
	digit rune
}

// New makes an agent. Run makes it work.
func New(c Config) *Agent {
	if c.Log == nil {
		c.Log = slog.Default()
	}
	if c.Now == nil {
		c.Now = time.Now
	}
	if c.Random == nil {
		c.Random = rand.Reader
	}
	if c.Settings == nil {
		c.Settings = NewStore(nil, DefaultSettings(0), c.Log)
	}
	if c.Devices != nil {
		c.Settings.mu.Lock()
		c.Settings.vet = vetCamera(c.Devices)
		c.Settings.mu.Unlock()
	}
	few := limiter{each: refusals, inAll: refusalsInAll, every: refusalTime}
	return &Agent{
		refused: few, noise: few, strange: limiter{each: 1, inAll: strangersInAll, every: strangersTime},
		Config: c, reports: make(chan report, maxReports), jobs: make(chan func(context.Context), maxJobs),
		calls: map[callKey]*activeCall{}, live: map[callKey]Session{}, asked: map[matrix.UserID]time.Time{}, faults: map[string]*fault{}, sounds: map[matrix.RoomID]sound{}, listens: map[matrix.UserID]time.Time{},
	}
}

// Run hangs up what a crash has left, and follows the house until ctx ends. Then it hangs up all calls and waits until their
// media has stopped.
func (a *Agent) Run(ctx context.Context) error {
	defer a.hangUpAll(context.WithoutCancel(ctx))
	a.hangUpLeft(ctx)
	a.watch(ctx)
	for {
		news := a.House.Wait()
		events, err := a.House.Read(ctx)
		if err != nil {
			if ctx.Err() != nil {
				return nil
			}
			a.Log.Error("the board's user cannot read its rooms, will try again", "error", err)
			news = after(retryAfter)
		}
		for _, e := range a.trustedFirst(ctx, events) {
			if !a.serve(ctx) {
				return nil
			}
			a.take(ctx, e)
		}
		a.caughtUp(ctx)
		if !a.work(ctx, news) {
			return nil
		}
	}
}

// trustedFirst puts what people say who may call or command before what others say, each in
// its order: others may say much.
func (a *Agent) trustedFirst(ctx context.Context, events []Event) []Event {
	if len(events) < 2 {
		return events
	}
	may := map[matrix.UserID]bool{a.Self: true}
	all, others := make([]Event, 0, len(events)), []Event(nil)
	for _, e := range events {
		trusted, known := may[e.Sender]
		if !known {
			trusted = a.mayTalk(ctx, e.Sender)
			may[e.Sender] = trusted
		}
		if trusted {
			all = append(all, e)
		} else {
			others = append(others, e)
		}
	}
	return append(all, others...)
}

// serve does what waits already: the bell and the door come before what is said in rooms.
// False when ctx has ended.
func (a *Agent) serve(ctx context.Context) bool {
	for range maxJobs + maxReports {
		select {
		case job := <-a.jobs:
			job(ctx)
			continue
		default:
		}
		select {
		case r := <-a.reports:
			a.hear(ctx, r)
			continue
		default:
		}
		break
	}
	a.publish()
	return ctx.Err() == nil
}

// work handles jobs and reports until there is news; false when ctx has ended.
func (a *Agent) work(ctx context.Context, news <-chan struct{}) bool {
	for a.serve(ctx) {
		select {
		case <-ctx.Done():
			return false
		case <-news:
			return a.serve(ctx)
		case job := <-a.jobs:
			job(ctx)
		case r := <-a.reports:
			a.hear(ctx, r)
		}
	}
	return false
}

// hear takes what a call's timer or session has to say.
func (a *Agent) hear(ctx context.Context, r report) {
	if r.digit != 0 {
		a.dialled(ctx, r.call, r.digit)
		return
	}
	a.step(ctx, r.call, r.input)
}

// later has Run's goroutine do a job. It gives up when ctx ends.
func (a *Agent) later(ctx context.Context, job func(context.Context)) bool {
	select {
	case a.jobs <- job:
		return true
	case <-ctx.Done():
		return false
	}
}

// aside does slow work away from Run's goroutine, which then does what the work returns.
func (a *Agent) aside(ctx context.Context, work func(context.Context) func(context.Context)) {
	a.helpers.Go(func() {
		if then := work(ctx); then != nil {
			a.later(ctx, then)
		}
	})
}

func after(d time.Duration) <-chan struct{} {
	c := make(chan struct{})
	time.AfterFunc(d, func() { close(c) })
	return c
}

// take hands one event of a room to whoever it is for.
func (a *Agent) take(ctx context.Context, e Event) {
	switch {
	case e.Type == "m.room.member" && e.StateKey != nil:
		a.member(ctx, e)
	case call.Known(e.Type) && e.StateKey == nil:
		a.callEvent(ctx, e)
	case e.Type == "m.room.message" && e.StateKey == nil && e.Sender != a.Self:
		a.message(ctx, e)
	case (e.Type == "m.room.encrypted" || e.Type == "m.room.encryption") && e.Sender != a.Self:
		a.unreadable(ctx, e)
	case e.Type == SettingType && e.StateKey != nil && e.Sender != a.Self:
		a.settingEvent(ctx, e)
	}
}

// hangUpAll ends every call properly, since the other side would wait otherwise, and
// waits until the media has stopped.
func (a *Agent) hangUpAll(ctx context.Context) {
	ctx, cancel := context.WithTimeout(ctx, hangUpTime)
	defer cancel()
	a.stopRing()
	for _, c := range a.calls {
		a.step(ctx, c, call.HangUp{})
		if !c.over {
			a.ended(c, call.Ended{Why: call.WhyHungUp})
		}
	}
	a.publish()
	a.helpers.Wait()
}
