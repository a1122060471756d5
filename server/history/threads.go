package history

import (
	"porchlight/kv"
	"porchlight/server/changes"
	"porchlight/server/matrix"
	"porchlight/server/rooms"
)

// ThreadsArgs asks for the threads of a room.
type ThreadsArgs struct {
	Room         matrix.RoomID
	Participated bool   // only those that the viewer has taken part in
	From         string // a token; empty: the newest reply
	Limit        *int   // threads wanted; nil: DefaultPage
}

// Threads is a page of the events at which threads start, that with the newest reply first
// (spec: client-server API, GET /rooms/{roomId}/threads).
type Threads struct {
	Chunk []matrix.ClientEvent `json:"chunk"`
	Next  string               `json:"next_batch,omitempty"` // where the next page starts; empty: there is none
}

// Threads is a page of the threads of a room, as far as the viewer may see them. It reads
// the timeline backwards: the first reply that it meets of a thread is the newest.
func (k *Keeper) Threads(r kv.Reader, v rooms.Viewer, a ThreadsArgs) (Threads, error) {
	horizon, err := k.Horizon(r, a.Room, v.User)
	if err != nil {
		return Threads{}, err
	}
	bounds := PageArgs{Room: a.Room, From: a.From, Backwards: true, Limit: a.Limit}
	limit, err := k.pageLimit(bounds)
	if err == nil && limit == 0 {
		err = matrix.InvalidParam("The limit has to be greater than zero.")
	}
	if err != nil {
		return Threads{}, err
	}
	_, from, err := window(bounds)
	if err != nil {
		return Threads{}, err
	}
	page := Threads{Chunk: []matrix.ClientEvent{}}
	sight := k.Rooms.Sight(r, v.User, a.Room)
	seen := map[matrix.EventID]bool{}
	read := 0
	for e := range k.Rooms.Backwards(r, a.Room, min(from, horizon)) {
		if read++; read > k.ScanLimit {
			page.Next = Token(e.Position)
			break
		}
		root := e.ThreadRoot()
		if root == "" || seen[root] || sight.Ignores(e.Sender) || !sight.SeesEvent(e) {
			continue
		}
		seen[root] = true
		shown, ok, err := k.thread(r, v, a, sight, root, e.Position)
		if err != nil {
			return Threads{}, err
		}
		if ok && len(page.Chunk) == limit {
			page.Next = Token(e.Position)
			break
		}
		if ok {
			page.Chunk = append(page.Chunk, shown)
		}
	}
	return page, nil
}

// thread is the event at which a thread starts whose newest reply stands at a position;
// false if the thread is not to be told of, or not here.
func (k *Keeper) thread(r kv.Reader, v rooms.Viewer, a ThreadsArgs, sight *rooms.Sight, id matrix.EventID, at changes.Position) (shown matrix.ClientEvent, ok bool, err error) {
	root, ok := k.Rooms.Event(r, id)
	if !ok || root.Room != a.Room || !k.Rooms.Visible(r, v.User, root) {
		return shown, false, nil
	}
	shown = k.Rooms.ClientEvent(r, root, v)
	if shown.Unsigned.Relations == nil || shown.Unsigned.Relations.Thread == nil {
		return shown, false, nil // nothing of it that the viewer sees
	}
	thread := shown.Unsigned.Relations.Thread
	latest, ok := k.Rooms.Event(r, thread.Latest.EventID)
	if !ok || latest.Position != at || a.Participated && !thread.Participated {
		return shown, false, nil // a page before this one had it
	}
	if sight.Ignores(root.Sender) && !root.IsState() {
		if root, err = k.Rooms.Redacted(r, root); err != nil {
			return shown, false, err
		}
		relations := shown.Unsigned.Relations
		relations.Replace = nil // it tells what is hidden
		plain := v
		plain.Plain = true
		shown = k.Rooms.ClientEvent(r, root, plain)
		shown.Unsigned.Relations = relations
	}
	return shown, true, nil
}
