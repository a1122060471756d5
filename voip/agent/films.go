package agent

import (
	"context"
	"encoding/json"
	"fmt"
	"strings"
	"time"

	"porchlight/server/matrix"
)

// filmTime is how long making and keeping a film may take beyond its length.
const filmTime = 30 * time.Second

// postedFilm is a film that is in the content repository.
type postedFilm struct {
	Film       // without its Data
	uri, name  string
	size       int
	thumbnail  *posted // may be nil
	recordedAt time.Time
}

// film makes a film and keeps it. It is slow: not for Run's goroutine.
func (a *Agent) film(ctx context.Context, length time.Duration) (*postedFilm, error) {
	if a.Devices == nil {
		return nil, errNoCamera
	}
	ctx, cancel := context.WithTimeout(ctx, length+filmTime)
	defer cancel()
	at := a.Now()
	f, err := a.Devices.Record(ctx, length)
	if err != nil {
		return nil, err
	}
	p := &postedFilm{name: at.Format("2006-01-02-150405") + f.Ending, size: len(f.Data), recordedAt: at}
	if p.uri, err = a.upload(ctx, f.Type, p.name, f.Data); err != nil {
		return nil, err
	}
	f.Data = nil
	p.Film = f
	return p, nil
}

// thumbnail takes a picture that stands for a film; nil if none can be had.
func (a *Agent) thumbnail(ctx context.Context) *posted {
	p, err := a.snapshot(ctx)
	if err != nil {
		a.Log.Info("a clip goes out without a thumbnail", "error", err)
		return nil
	}
	return p
}

// commandClip records a clip, which whoever is near the board hears. The owner is told if
// somebody else asked for it.
func (a *Agent) commandClip(ctx context.Context, r *request, rest string) {
	settings := a.Settings.Current()
	length := settings.ClipLength
	if rest != "" {
		var err error
		if length, err = time.ParseDuration(strings.ReplaceAll(rest, " ", "")); err != nil || length < minClip || length > settings.ClipMax {
			a.reply(ctx, r, fmt.Sprintf("Write for how long, from %s to %s: \"clip 10s\".", minClip, settings.ClipMax))
			return
		}
	}
	if a.Devices == nil {
		a.reply(ctx, r, "I could not make a clip: "+errNoCamera.Error()+".")
		return
	}
	a.privacyTone(ctx)
	a.reply(ctx, r, fmt.Sprintf("I record for %s.", length))
	a.note(ctx, r.Room, string(r.Sender)+" has a clip made.")
	a.aside(ctx, func(ctx context.Context) func(context.Context) {
		thumbnail := a.thumbnail(ctx)
		p, err := a.film(ctx, length)
		return func(ctx context.Context) {
			if err != nil {
				a.Log.Warn("no clip could be made", "error", err)
				a.reply(ctx, r, "I could not make a clip: "+sentence(err)+".")
				return
			}
			p.thumbnail = thumbnail
			if room, ok := a.answerRoom(ctx, r); ok {
				a.postFilm(ctx, room, *p, "A clip from "+p.recordedAt.Format("15:04:05")+".")
			}
		}
	})
}

// alertClip sends a clip behind an alert. One is recorded at a time: what a second alert
// would show is in the first one's. thumbnail is asked, on Run's goroutine, when it is over.
func (a *Agent) alertClip(ctx context.Context, text string, thumbnail func() *posted) {
	if a.filming {
		return
	}
	a.filming = true
	length := a.Settings.Current().ClipLength
	a.aside(ctx, func(ctx context.Context) func(context.Context) {
		p, err := a.film(ctx, length)
		return func(ctx context.Context) {
			a.filming = false
			if err != nil {
				a.Log.Warn("an alert has no clip", "error", err)
				return
			}
			p.thumbnail = thumbnail()
			for _, user := range a.alertPeople(ctx) {
				if room, ok := a.ownRoom(ctx, user); ok {
					a.postFilm(ctx, room, *p, "Clip: "+text)
				}
			}
		}
	})
}

// remember keeps the last moments of what runs for alerts anyway, so that their clips show
// what led to them.
func (a *Agent) remember(ctx context.Context) {
	for ctx.Err() == nil {
		changed, s := a.Settings.Changed(), a.Settings.Current()
		wait := time.Duration(0)
		if s.AlertClip && s.ClipBefore > 0 && (s.SoundAlert || s.MotionAlert) {
			during, cancel := a.until(ctx, changed)
			if err := a.Devices.Remember(during, s.MotionAlert, s.SoundAlert, s.ClipBefore); during.Err() == nil {
				a.Log.Info("the last moments are not remembered", "error", err)
				wait = senseRetry
			}
			cancel()
		}
		a.pause(ctx, changed, wait)
	}
}

// until is a context that ends with ctx, or when a channel is closed.
func (a *Agent) until(ctx context.Context, closed <-chan struct{}) (context.Context, context.CancelFunc) {
	during, cancel := context.WithCancel(ctx)
	a.helpers.Go(func() {
		defer cancel()
		select {
		case <-closed:
		case <-during.Done():
		}
	})
	return during, cancel
}

// pause waits until a channel is closed, ctx ends, or a time that is not 0 is over.
func (a *Agent) pause(ctx context.Context, closed <-chan struct{}, d time.Duration) {
	var over <-chan time.Time
	if d > 0 {
		t := time.NewTimer(d)
		defer t.Stop()
		over = t.C
	}
	select {
	case <-closed:
	case <-over:
	case <-ctx.Done():
	}
}

// postFilm puts a film into a room with words to it. spec: m.video, m.audio, media captions
func (a *Agent) postFilm(ctx context.Context, room matrix.RoomID, p postedFilm, caption string) {
	type picture struct {
		Type   string `json:"mimetype"`
		Size   int    `json:"size"`
		Width  int    `json:"w"`
		Height int    `json:"h"`
	}
	type info struct {
		Type         string   `json:"mimetype"`
		Size         int      `json:"size"`
		Duration     int64    `json:"duration"` // milliseconds
		Width        int      `json:"w,omitempty"`
		Height       int      `json:"h,omitempty"`
		ThumbnailURL string   `json:"thumbnail_url,omitempty"`
		Thumbnail    *picture `json:"thumbnail_info,omitempty"`
	}
	about := info{Type: p.Type, Size: p.size, Duration: p.Length.Milliseconds(), Width: p.Width, Height: p.Height}
	kind := "m.audio"
	if p.Width > 0 {
		kind = "m.video"
		if t := p.thumbnail; t != nil {
			about.ThumbnailURL, about.Thumbnail = t.uri, &picture{"image/jpeg", t.size, t.width, t.height}
		}
	}
	content, err := json.Marshal(struct {
		Type string `json:"msgtype"`
		Body string `json:"body"`
		Name string `json:"filename"`
		URL  string `json:"url"`
		Info info   `json:"info"`
	}{kind, caption, p.name, p.uri, about})
	if err == nil {
		err = a.House.Send(ctx, room, "m.room.message", content)
	}
	if err != nil {
		a.Log.Error("a clip could not be sent", "room", room, "error", err)
	}
}
