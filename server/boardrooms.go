package server

import (
	"context"
	"encoding/json"
	"slices"

	"porchlight/kv"
	"porchlight/server/matrix"
	"porchlight/server/rooms"
	"porchlight/server/setup"
	"porchlight/voip/agent"
)

// movedText is the first message of a room that takes the place of one that the board has
// shared with the person until now.
const movedText = "From now on I call you and write to you here. Others could read our earlier room or get into it, " +
	"it is encrypted, or it was replaced."

// movedOwnerText is added for the owner.
const movedOwnerText = " The settings are made here, too."

// boardRoomOf is the room that the board made for one person, in which it calls and writes of
// its own accord. Which room that is never follows from who is in it, since anybody can
// prepare a room of any members.
func boardRoomOf(user matrix.UserID) setup.Setting[matrix.RoomID] {
	return setup.NewSetting("board_room "+string(user), matrix.RoomID(""))
}

// ownRoom is the room that is recorded for a person; empty: there is none. Whether the board
// still controls it is for boardControls to say.
func (s *Server) ownRoom(r kv.Reader, user matrix.UserID) matrix.RoomID {
	if room := setup.Get(s.Setup, r, boardRoomOf(user)); room != "" {
		return room
	}
	if user != "" && user == s.Setup.Owner(r) {
		return setup.Get(s.Setup, r, boardRoom) // recorded by a release that knew no other
	}
	return ""
}

// recordRoom has a room be the person's from now on.
func (s *Server) recordRoom(tx *kv.WriteTx, user matrix.UserID, room matrix.RoomID) error {
	if user == s.Setup.Owner(tx) {
		if err := setup.Set(s.Setup, tx, boardRoom, room); err != nil {
			return err
		}
	}
	return setup.Set(s.Setup, tx, boardRoomOf(user), room)
}

// boardControls says whether a room is fit for what the board begins of its own accord for a
// person: the board made it and governs it, nobody else is in it or was let in, nobody can
// come in or look in without being asked by the two, and the board can read what is answered.
func (s *Server) boardControls(r kv.Reader, room matrix.RoomID, user matrix.UserID) bool {
	self := s.BoardUser()
	row, ok := s.Rooms.Room(r, room)
	if !ok || row.Creator != self || s.Rooms.Membership(r, room, self) != "join" {
		return false
	}
	if s.Rooms.JoinRule(r, room) != "invite" || s.Rooms.WorldReadable(r, room) || s.Rooms.Encrypted(r, room) {
		return false
	}
	if _, replaced := s.Rooms.State(r, room, "m.room.tombstone", ""); replaced {
		return false
	}
	// Whoever sent one of these can come in by it, also after having left.
	for e := range s.Rooms.StateOfType(r, room, "m.room.third_party_invite") {
		if content, err := matrix.ParseObject(e.Content); err != nil || len(content) > 0 {
			return false
		}
	}
	for member, state := range s.Rooms.Members(r, room) {
		switch {
		case member == self:
		case member == user && state == "ban", member != user && (state == "join" || state == "invite" || state == "knock"):
			return false
		}
	}
	return s.boardGoverns(r, room)
}

// boardGoverns says whether the board has the power to keep a room as it is, and to write in it.
func (s *Server) boardGoverns(r kv.Reader, room matrix.RoomID) bool {
	power := s.Rooms.Power(r, room)
	needed := []int64{power.Invite, power.Kick, power.Ban}
	for _, kind := range []string{"m.room.power_levels", "m.room.join_rules", "m.room.history_visibility"} {
		needed = append(needed, power.Event(kind, true))
	}
	for _, kind := range []string{"m.room.message", "m.call.invite"} {
		needed = append(needed, power.Event(kind, false))
	}
	return power.User(s.BoardUser()) >= slices.Max(needed)
}

// earlierRooms are rooms that releases before this one made for a person, which may go on.
func (s *Server) earlierRooms(r kv.Reader, user matrix.UserID) []matrix.RoomID {
	raw, _ := s.Accounts.AccountData(r, s.BoardUser(), "", "m.direct")
	direct := map[matrix.UserID][]matrix.RoomID{}
	if json.Unmarshal(raw, &direct) != nil {
		return nil
	}
	return direct[user]
}

// findRoom is the person's room, if there is one that the board still controls. before is
// what is recorded, and shared says that the two are in some room together.
func (s *Server) findRoom(r kv.Reader, user matrix.UserID) (room, before matrix.RoomID, shared bool) {
	before = s.ownRoom(r, user)
	if before != "" && s.boardControls(r, before, user) {
		return before, before, true
	}
	for _, earlier := range s.earlierRooms(r, user) {
		if s.boardControls(r, earlier, user) {
			return earlier, before, true
		}
	}
	return "", before, before != "" || s.Rooms.SharesRoom(r, s.BoardUser(), user)
}

// DirectRoom implements agent.House.
func (h *boardHouse) DirectRoom(ctx context.Context, user matrix.UserID) (room matrix.RoomID, err error) {
	s := h.s
	var before matrix.RoomID
	ready, shared := false, false
	err = s.DB.View(ctx, func(tx *kv.ReadTx) error {
		room, before, shared = s.findRoom(tx, user)
		in := s.Rooms.Membership(tx, room, user)
		ready = room != "" && room == setup.Get(s.Setup, tx, boardRoomOf(user)) && (in == "join" || in == "invite")
		return nil
	})
	if err != nil || ready {
		return room, err
	}
	err = s.DB.Update(ctx, func(tx *kv.WriteTx) error {
		if row, ok := s.Accounts.User(tx, user); !ok || row.Deactivated || user == s.BoardUser() {
			return matrix.NotFound(string(user) + " has no account here")
		}
		if room == "" {
			room, err = s.makeRoom(tx, user)
			if err != nil || !shared {
				return err
			}
			return h.greet(tx, room, user)
		}
		if room != before || setup.Get(s.Setup, tx, boardRoomOf(user)) == "" {
			if err := s.recordRoom(tx, user, room); err != nil {
				return err
			}
		}
		if in := s.Rooms.Membership(tx, room, user); in == "join" || in == "invite" {
			return nil
		}
		_, err := s.Rooms.SetMembership(tx, rooms.MemberArgs{
			Room: room, Sender: s.BoardUser(), Target: user, Membership: "invite", IsDirect: true,
		})
		return err
	})
	return room, err
}

// greet says why there is a further room.
func (h *boardHouse) greet(tx *kv.WriteTx, room matrix.RoomID, user matrix.UserID) error {
	text := movedText
	if user == h.s.Setup.Owner(tx) {
		text += movedOwnerText
	}
	content, err := json.Marshal(map[string]string{"msgtype": "m.notice", "body": text})
	if err != nil {
		return err
	}
	_, err = h.s.Rooms.Send(tx, rooms.SendArgs{Room: room, Sender: h.s.BoardUser(), Type: "m.room.message", Content: content})
	return err
}

// makeRoom makes the room of the board and one person, and records it. The owner, who makes
// settings in it, is in it at once and has the board's power; others are invited and can let
// nobody in.
func (s *Server) makeRoom(tx *kv.WriteTx, user matrix.UserID) (matrix.RoomID, error) {
	self, owner := s.BoardUser(), user == s.Setup.Owner(tx)
	args := rooms.CreateArgs{
		Creator: self, Preset: "private_chat", Invite: []matrix.UserID{user}, IsDirect: true,
		PowerLevels: json.RawMessage(`{"invite":50}`),
	}
	if owner {
		args.Preset, args.PowerLevels = "trusted_private_chat", nil
	}
	room, err := s.Rooms.Create(tx, args)
	if err != nil {
		return "", err
	}
	if owner {
		_, err := s.Rooms.SetMembership(tx, rooms.MemberArgs{Room: room, Sender: user, Target: user, Membership: "join"})
		if err != nil {
			return "", err
		}
		if err := s.markDirect(tx, user, self, room); err != nil {
			return "", err
		}
	}
	if err := s.markDirect(tx, self, user, room); err != nil {
		return "", err
	}
	return room, s.recordRoom(tx, user, room)
}

// Audience implements agent.House.
func (h *boardHouse) Audience(ctx context.Context, room matrix.RoomID) (in agent.Audience, err error) {
	s, self := h.s, h.s.BoardUser()
	err = s.DB.View(ctx, func(tx *kv.ReadTx) error {
		for user, state := range s.Rooms.Members(tx, room) {
			if state == "join" {
				in.Joined++
			}
			if user != self && (state == "join" || state == "invite") {
				in.People = append(in.People, user)
			}
		}
		switch s.Rooms.JoinRule(tx, room) {
		case "invite", "knock", "private": // nobody comes in unless somebody in the room asks
		case "public":
			in.Open, in.Public = true, true
		default:
			in.Open = true
		}
		for e := range s.Rooms.StateOfType(tx, room, "m.room.third_party_invite") {
			if content, err := matrix.ParseObject(e.Content); err != nil || len(content) > 0 {
				in.Open = true
			}
		}
		in.Open, in.Encrypted = in.Open || s.Rooms.WorldReadable(tx, room), s.Rooms.Encrypted(tx, room)
		return nil
	})
	return in, err
}
