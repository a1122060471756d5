package appservice

import (
	"net/http"

	"porchlight/kv"
	"porchlight/server/matrix"
	"porchlight/server/rooms"
)

// exclusive is what whoever reaches into what is reserved for a service is told.
func exclusive(what string) error {
	return matrix.Refusal(http.StatusBadRequest, "M_EXCLUSIVE", what)
}

func within(list []namespace, id string, exclusiveOnly bool) bool {
	for _, n := range list {
		if (n.Exclusive || !exclusiveOnly) && n.match.MatchString(id) {
			return true
		}
	}
	return false
}

// HasUser says whether the service may act for a user: its own, and those of its
// namespaces, all of this house.
func (s *Service) HasUser(user matrix.UserID) bool {
	return user == s.Sender || user.Server() == s.Sender.Server() && within(s.users, string(user), false)
}

// HasAlias says whether an alias is in the service's namespaces.
func (s *Service) HasAlias(alias matrix.RoomAlias) bool {
	return within(s.aliases, string(alias), false)
}

// HasProtocol says whether the service bridges to a network of this name.
func (s *Service) HasProtocol(name string) bool {
	for _, p := range s.Protocols {
		if p == name {
			return true
		}
	}
	return false
}

// MayCreateUser refuses, with M_EXCLUSIVE, a new user whose name is reserved for another
// service than by (nil: an ordinary client), or outside of what by may create.
func (k *Keeper) MayCreateUser(user matrix.UserID, by *Service) error {
	if by != nil && !by.HasUser(user) {
		return exclusive("that user name is not in the namespaces of this application service")
	}
	for _, s := range k.Services() {
		if (by == nil || s.ID != by.ID) && (user == s.Sender || within(s.users, string(user), true)) {
			return exclusive("that user name is reserved for an application service")
		}
	}
	return nil
}

// MayCreateAlias is MayCreateUser for an alias.
func (k *Keeper) MayCreateAlias(alias matrix.RoomAlias, by *Service) error {
	if by != nil && !by.HasAlias(alias) {
		return exclusive("that alias is not in the namespaces of this application service")
	}
	for _, s := range k.Services() {
		if (by == nil || s.ID != by.ID) && within(s.aliases, string(alias), true) {
			return exclusive("that alias is reserved for an application service")
		}
	}
	return nil
}

// Assert is whom a request of a service is by: the user and device that it names, or its own
// user (spec: application service API, identity assertion). The errors are M_FORBIDDEN and
// M_UNKNOWN_DEVICE.
func (k *Keeper) Assert(r kv.Reader, s *Service, user matrix.UserID, device matrix.DeviceID) (matrix.UserID, error) {
	if user == "" {
		user = s.Sender
	}
	if !s.HasUser(user) {
		return "", matrix.Forbidden("that user is not in the namespaces of this application service")
	}
	if !k.Accounts.Exists(r, user) {
		return "", matrix.Forbidden("this application service has not registered that user")
	}
	if device != "" {
		if row, ok := k.Accounts.Device(r, user, device); !ok || row.Dehydrated {
			return "", matrix.Refusal(http.StatusBadRequest, "M_UNKNOWN_DEVICE", "that user has no device of that name")
		}
	}
	return user, nil
}

// interest remembers, while one transaction is put together, whether the service has to do
// with a room.
type interest struct {
	keeper  *Keeper
	service *Service
	known   map[matrix.RoomID]bool
}

// in says whether the service is to be told an event.
func (i *interest) in(r kv.Reader, e *rooms.Event) bool {
	if i.service.HasUser(e.Sender) || e.Type == "m.room.member" && e.StateKey != nil && i.service.HasUser(matrix.UserID(*e.StateKey)) {
		return true
	}
	interested, ok := i.known[e.Room]
	if !ok {
		interested = i.room(r, e.Room)
		i.known[e.Room] = interested
	}
	return interested
}

// room says whether a room, one of its aliases or somebody in it is the service's.
func (i *interest) room(r kv.Reader, room matrix.RoomID) bool {
	if within(i.service.rooms, string(room), false) {
		return true
	}
	for _, alias := range i.keeper.Rooms.Aliases(r, room) {
		if i.service.HasAlias(alias) {
			return true
		}
	}
	for user, membership := range i.keeper.Rooms.Members(r, room) {
		if membership == "join" && i.service.HasUser(user) {
			return true
		}
	}
	return false
}
