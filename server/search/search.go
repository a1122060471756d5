package search

import (
	"porchlight/kv"
	"porchlight/server/matrix"
	"porchlight/server/rooms"
)

// Results is one page of what was found (spec: client-server API, POST /search).
type Results struct {
	Count      int                                    `json:"count"`
	Highlights []string                               `json:"highlights"`
	Results    []Result                               `json:"results"`
	State      map[matrix.RoomID][]matrix.ClientEvent `json:"state,omitempty"`
	Groups     map[string]map[string]*Group           `json:"groups,omitempty"` // key → value
	NextBatch  string                                 `json:"next_batch,omitempty"`
}

// Result is an event that was found.
type Result struct {
	Rank    float64            `json:"rank"`
	Event   matrix.ClientEvent `json:"result"`
	Context *Context           `json:"context,omitempty"`
}

// Context is what stands around a result.
type Context struct {
	Start    string                     `json:"start"`
	End      string                     `json:"end"`
	Before   []matrix.ClientEvent       `json:"events_before"` // newest first
	After    []matrix.ClientEvent       `json:"events_after"`
	Profiles map[matrix.UserID]*Profile `json:"profile_info,omitempty"`
}

// Profile is what a sender was called when the result was sent.
type Profile struct {
	DisplayName string `json:"displayname,omitempty"`
	AvatarURL   string `json:"avatar_url,omitempty"`
}

// Group is the results of one room or sender on this page.
type Group struct {
	Order     int              `json:"order"` // of groups, best first, from 1
	Results   []matrix.EventID `json:"results"`
	NextBatch string           `json:"next_batch,omitempty"` // more of this group; empty: there are none
}

// Search finds events in the rooms that the viewer is or has been in. Every word of the term
// has to be in the text. A term without letters and digits finds nothing.
func (k *Keeper) Search(r kv.Reader, v rooms.Viewer, a Args) (Results, error) {
	out := Results{Highlights: []string{}, Results: []Result{}}
	if err := a.check(); err != nil {
		return out, err
	}
	last := uint64(k.Changes.Last(r))
	from := token{Order: a.OrderBy, Through: last, As: last}
	if a.From != "" {
		var err error
		if from, err = parseToken(a.From, a.OrderBy); err != nil {
			return out, err
		}
	}
	term := read(a.Term)
	if len(term.runs) == 0 {
		return out, nil
	}
	if len(term.runs) > maxTermWords {
		return out, matrix.InvalidParam("The search term has too many words.")
	}
	f := k.newFinder(r, v.User, &a, from, term)
	for _, run := range f.runs {
		out.Highlights = append(out.Highlights, run.text)
	}
	found := f.all()
	out.Count = from.Seen + len(found)
	rest := found
	for len(rest) > 0 && !from.behind(rest[0]) {
		rest = rest[1:]
	}
	limit := a.Filter.Max(DefaultPage, MaxPage)
	page := rest[:min(limit, len(rest))]
	rest = rest[len(page):]
	if limit > 0 {
		out.NextBatch = f.next(len(found), page, len(rest) > 0)
	}
	out.Groups = f.groups(page, rest)
	for _, m := range page {
		result := Result{Rank: m.rank, Event: k.Rooms.ClientEvent(r, m.event, v)}
		if a.Context != nil {
			result.Context = f.context(v, m.event)
		}
		out.Results = append(out.Results, result)
	}
	if a.State {
		return out, f.states(v, page, &out)
	}
	return out, nil
}

// next is the token of the next page, "" if there is none. Where the search was cut short, it
// goes on there once all that it found is shown.
func (f *finder) next(found int, page []match, more bool) string {
	switch {
	case more && len(page) > 0:
		next := f.after(page[len(page)-1], len(page))
		return next.encode()
	case f.cut:
		if f.from.Order == ByRecent {
			found = len(page)
		}
		next := f.onward(found)
		return next.encode()
	}
	return ""
}

// groups parts the page; rest is what comes behind it.
func (f *finder) groups(page, rest []match) map[string]map[string]*Group {
	if len(f.args.GroupBy) == 0 {
		return nil
	}
	all := map[string]map[string]*Group{}
	for _, key := range f.args.GroupBy {
		all[key] = map[string]*Group{}
		last := map[string]match{}
		for _, m := range page {
			value := group(key, m.event)
			g := all[key][value]
			if g == nil {
				g = &Group{Order: len(all[key]) + 1}
				all[key][value] = g
			}
			g.Results = append(g.Results, m.event.ID)
			last[value] = m
		}
		more := map[string]bool{}
		for _, m := range rest {
			more[group(key, m.event)] = true
		}
		for value, g := range all[key] {
			if f.from.Group != "" && f.from.Group != key {
				continue // a token names one group; these are parts of another one
			}
			var next token
			switch {
			case more[value], f.cut && f.from.Order == ByRecent:
				next = f.after(last[value], len(g.Results))
			case f.cut:
				next = f.onward(len(g.Results))
			default:
				continue
			}
			next.Group, next.Value = key, value
			g.NextBatch = next.encode()
		}
	}
	return all
}

// context is what stands around a result.
func (f *finder) context(v rooms.Viewer, e *rooms.Event) *Context {
	earlier, later, start, end := f.around(e)
	c := &Context{Start: start, End: end, Before: f.shown(v, earlier), After: f.shown(v, later)}
	if !f.args.Context.Profiles {
		return c
	}
	c.Profiles = map[matrix.UserID]*Profile{}
	sight := f.rooms[e.Room]
	for _, near := range append(append([]*rooms.Event{e}, earlier...), later...) {
		if c.Profiles[near.Sender] != nil {
			continue
		}
		p := &Profile{}
		if member, ok := sight.StateAt(near.Position, "m.room.member", string(near.Sender)); ok {
			if content, err := matrix.ParseObject(member.Content); err == nil {
				p.DisplayName, _ = content.Text("displayname")
				p.AvatarURL, _ = content.Text("avatar_url")
			}
		}
		c.Profiles[near.Sender] = p
	}
	return c
}

func (f *finder) shown(v rooms.Viewer, events []*rooms.Event) []matrix.ClientEvent {
	all := make([]matrix.ClientEvent, len(events))
	for i, e := range events {
		all[i] = f.k.Rooms.ClientEvent(f.r, e, v)
	}
	return all
}

// states adds the state of the rooms of the page: of those left, as it was then.
func (f *finder) states(v rooms.Viewer, page []match, out *Results) error {
	out.State = map[matrix.RoomID][]matrix.ClientEvent{}
	for _, m := range page {
		if _, done := out.State[m.event.Room]; done {
			continue
		}
		state, err := f.k.history.State(f.r, v, m.event.Room)
		if err != nil {
			return err
		}
		out.State[m.event.Room] = state
	}
	return nil
}
