package agent

import (
	"context"
	"encoding/json"
	"errors"
	"time"

	"porchlight/server/matrix"
)

// snapshotTime is how long taking and keeping a picture may take.
const snapshotTime = 15 * time.Second

// errNoCamera is a sentence for whoever asks for a picture.
var errNoCamera = errors.New("there is no camera")

// posted is a picture that is in the content repository.
type posted struct {
	uri           string
	name          string
	size          int
	width, height int
}

// snapshot takes a picture and keeps it. It is slow: not for Run's goroutine.
func (a *Agent) snapshot(ctx context.Context) (*posted, error) {
	if a.Devices == nil {
		return nil, errNoCamera
	}
	ctx, cancel := context.WithTimeout(ctx, snapshotTime)
	defer cancel()
	pic, err := a.Devices.Snapshot(ctx)
	if err != nil {
		return nil, err
	}
	name := a.Now().Format("2006-01-02-150405") + ".jpg"
	uri, err := a.upload(ctx, "image/jpeg", name, pic.JPEG)
	if err != nil {
		return nil, err
	}
	return &posted{uri: uri, name: name, size: len(pic.JPEG), width: pic.Width, height: pic.Height}, nil
}

// takePicture has Run's goroutine do something with a picture, when there is one; without
// a camera nothing happens.
func (a *Agent) takePicture(ctx context.Context, then func(context.Context, *posted)) {
	if a.Devices == nil {
		return
	}
	a.aside(ctx, func(ctx context.Context) func(context.Context) {
		p, err := a.snapshot(ctx)
		if err != nil {
			a.Log.Warn("no picture could be taken", "error", err)
			return nil
		}
		return func(ctx context.Context) { then(ctx, p) }
	})
}

// post puts a picture into a room with words to it. spec: m.image, media captions
func (a *Agent) post(ctx context.Context, room matrix.RoomID, p posted, caption string) {
	type info struct {
		Type   string `json:"mimetype"`
		Size   int    `json:"size"`
		Width  int    `json:"w"`
		Height int    `json:"h"`
	}
	content, err := json.Marshal(struct {
		Type string `json:"msgtype"`
		Body string `json:"body"`
		Name string `json:"filename"`
		URL  string `json:"url"`
		Info info   `json:"info"`
	}{"m.image", caption, p.name, p.uri, info{"image/jpeg", p.size, p.width, p.height}})
	if err == nil {
		err = a.House.Send(ctx, room, "m.room.message", content)
	}
	if err != nil {
		a.Log.Error("a picture could not be sent", "room", room, "error", err)
	}
}
