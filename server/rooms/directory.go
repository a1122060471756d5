package rooms

import (
	"cmp"
	"slices"
	"strconv"
	"strings"

	"porchlight/kv"
	"porchlight/server/matrix"
)

// Resolve is the room that an alias of this server leads to.
func (k *Keeper) Resolve(r kv.Reader, alias matrix.RoomAlias) (matrix.RoomID, bool) {
	row, ok := k.aliases.Get(r, alias)
	return row.Room, ok
}

// SetAlias makes an alias lead to a room. The error is M_INVALID_PARAM for another
// server's alias, 409 M_UNKNOWN for a taken one, M_FORBIDDEN when the user is not in the
// room.
func (k *Keeper) SetAlias(tx *kv.WriteTx, alias matrix.RoomAlias, room matrix.RoomID, user matrix.UserID) error {
	if alias.Server() != k.Server {
		return matrix.InvalidParam("an alias made here has to end in \":" + string(k.Server) + "\"")
	}
	if k.aliases.Has(tx, alias) {
		return matrix.AliasInUse("the alias " + string(alias) + " is taken")
	}
	if k.Membership(tx, room, user) != "join" {
		return notInRoom()
	}
	k.putAlias(tx, alias, room, user)
	return nil
}

func (k *Keeper) putAlias(tx *kv.WriteTx, alias matrix.RoomAlias, room matrix.RoomID, user matrix.UserID) {
	k.aliases.Put(tx, alias, AliasRow{Room: room, Creator: user})
	k.roomAliases.Put(tx, roomAliasKey{room, alias}, none{})
}

// DeleteAlias removes an alias. Its maker, members with the power to set the canonical
// alias, and the owner of the house (admin) may. M_NOT_FOUND, M_FORBIDDEN.
func (k *Keeper) DeleteAlias(tx *kv.WriteTx, alias matrix.RoomAlias, user matrix.UserID, admin bool) error {
	row, ok := k.aliases.Get(tx, alias)
	if !ok {
		return matrix.NotFound("there is no alias " + string(alias))
	}
	if row.Creator != user && !admin {
		levels := k.Power(tx, row.Room)
		mayName := levels.User(user) >= levels.Event("m.room.canonical_alias", true)
		if !mayName || k.Membership(tx, row.Room, user) != "join" {
			return matrix.Forbidden("only who made the alias or who may set the room's main alias can delete it")
		}
	}
	k.aliases.Delete(tx, alias)
	k.roomAliases.Delete(tx, roomAliasKey{row.Room, alias})
	return nil
}

// Aliases are the aliases of a room on this server, in order.
func (k *Keeper) Aliases(r kv.Reader, room matrix.RoomID) []matrix.RoomAlias {
	all := []matrix.RoomAlias{}
	for key := range k.roomAliases.Keys(r, kv.Prefix(room)) {
		all = append(all, key.Alias)
	}
	return all
}

// SetPublic shows a room in the directory, or no longer.
func (k *Keeper) SetPublic(tx *kv.WriteTx, room matrix.RoomID, public bool) {
	if public {
		k.public.Put(tx, room, none{})
		return
	}
	k.public.Delete(tx, room)
}

// IsPublic says whether the directory shows the room.
func (k *Keeper) IsPublic(r kv.Reader, room matrix.RoomID) bool { return k.public.Has(r, room) }

// DirectoryArgs asks for a page of the directory (spec: client-server API, POST
// publicRooms).
type DirectoryArgs struct {
	Since  string // token of an earlier page; empty: the first page
	Limit  int    // rooms wanted; 0: DefaultDirectoryPage
	Search string // what name, topic or aliases contain; empty: anything
	// Types are the room types wanted, "" for rooms without one; nil: all.
	Types []string
	// Others are rooms to be shown though they may not be in the directory; OthersOnly shows
	// no further ones.
	Others     []matrix.RoomID
	OthersOnly bool
}

// DirectoryPage is a page of the directory.
type DirectoryPage struct {
	Chunk []Shown `json:"chunk"`
	Next  string  `json:"next_batch,omitempty"`
	Prev  string  `json:"prev_batch,omitempty"`
	Total int     `json:"total_room_count_estimate"`
}

const (
	// DefaultDirectoryPage is how many rooms a page of the directory has if nobody says.
	DefaultDirectoryPage = 50
	// MaxDirectoryPage is how many rooms a page of the directory has at most.
	MaxDirectoryPage = 500
	// MaxSearchBytes is the longest text to look for in the directory.
	MaxSearchBytes = 1024
)

// place is a room's place in the directory: the largest room first, rooms of one size by
// their IDs. It stays good when rooms come and go.
type place struct {
	joined int
	room   matrix.RoomID
}

func (p place) compare(q place) int {
	return cmp.Or(cmp.Compare(q.joined, p.joined), cmp.Compare(p.room, q.room))
}

// token is the place between pages: forwards, the rooms behind it; else, those before it.
func (p place) token(forwards bool) string {
	direction := "p"
	if forwards {
		direction = "n"
	}
	return direction + strconv.Itoa(p.joined) + "_" + string(p.room)
}

func parsePlace(token string) (p place, forwards bool, err error) {
	bad := matrix.InvalidParam("that is no token of the directory's pages")
	if token == "" || token[0] != 'n' && token[0] != 'p' {
		return p, false, bad
	}
	joined, room, found := strings.Cut(token[1:], "_")
	if p.joined, err = strconv.Atoi(joined); err != nil || !found {
		return p, false, bad
	}
	if p.room, err = matrix.ParseRoomID(room); err != nil {
		return p, false, bad
	}
	if forwards = token[0] == 'n'; p.token(forwards) != token {
		return p, false, bad
	}
	return p, forwards, nil
}

// Directory is a page of the rooms in the directory. The error is M_INVALID_PARAM.
func (k *Keeper) Directory(r kv.Reader, a DirectoryArgs) (DirectoryPage, error) {
	if a.Limit < 0 || len(a.Search) > MaxSearchBytes {
		return DirectoryPage{}, matrix.InvalidParam("limit must not be negative, and the search term not longer than " + strconv.Itoa(MaxSearchBytes) + " bytes")
	}
	limit := min(cmp.Or(a.Limit, DefaultDirectoryPage), MaxDirectoryPage)
	all := k.listed(r, a)
	from, to := 0, min(limit, len(all))
	var since place
	if a.Since != "" {
		var forwards bool
		var err error
		if since, forwards, err = parsePlace(a.Since); err != nil {
			return DirectoryPage{}, err
		}
		at, found := slices.BinarySearchFunc(all, since, place.compare)
		if forwards {
			if found {
				at++
			}
			from, to = at, min(at+limit, len(all))
		} else {
			from, to = max(at-limit, 0), at
		}
	}
	page := DirectoryPage{Chunk: []Shown{}, Total: len(all)}
	for _, p := range all[from:to] {
		page.Chunk = append(page.Chunk, k.Shown(r, p.room))
	}
	if to < len(all) && to > from {
		page.Next = all[to-1].token(true)
	}
	switch {
	case from == 0:
	case from < len(all):
		page.Prev = all[from].token(false)
	default: // the rooms behind the token are gone
		page.Prev = since.token(false)
	}
	return page, nil
}

// listed are the places of the rooms that match, in order.
func (k *Keeper) listed(r kv.Reader, a DirectoryArgs) []place {
	var all []place
	term := strings.ToLower(a.Search)
	shown := map[matrix.RoomID]bool{}
	for _, room := range a.Others {
		shown[room] = true
	}
	if !a.OthersOnly {
		for room := range k.public.Keys(r, kv.All()) {
			shown[room] = true
		}
	}
	for room := range shown {
		row, _ := k.rooms.Get(r, room)
		if a.Types != nil && !slices.Contains(a.Types, row.Type) || term != "" && !k.mentions(r, room, term) {
			continue
		}
		all = append(all, place{k.JoinedCount(r, room), room})
	}
	slices.SortFunc(all, place.compare)
	return all
}

// mentions says whether name, topic or an alias of a room contain a text in small letters.
func (k *Keeper) mentions(r kv.Reader, room matrix.RoomID, term string) bool {
	texts := []string{
		k.stateText(r, room, "m.room.name", "name"), k.plainTopic(r, room),
		k.stateText(r, room, "m.room.canonical_alias", "alias"),
	}
	for _, alias := range k.Aliases(r, room) {
		texts = append(texts, string(alias))
	}
	return slices.ContainsFunc(texts, func(s string) bool { return strings.Contains(strings.ToLower(s), term) })
}

// SetVisibility shows a room in the directory or takes it out, for somebody who may set the
// room's main alias, or the owner of the house (admin). M_NOT_FOUND, M_FORBIDDEN.
func (k *Keeper) SetVisibility(tx *kv.WriteTx, room matrix.RoomID, user matrix.UserID, admin, public bool) error {
	if !k.Exists(tx, room) {
		return matrix.NotFound("this server does not know that room")
	}
	if !admin {
		if k.Membership(tx, room, user) != "join" {
			return notInRoom()
		}
		levels := k.Power(tx, room)
		if levels.User(user) < levels.Event("m.room.canonical_alias", true) {
			return matrix.Forbidden("only who may set the room's main alias can show it in the directory")
		}
	}
	if k.IsPublic(tx, room) != public {
		k.SetPublic(tx, room, public)
	}
	return nil
}
