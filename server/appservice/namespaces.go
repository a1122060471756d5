package appservice

import (
	"net/http"
	"slices"

	"porchlight/kv"
	"porchlight/server/matrix"
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

// Owns says whether nobody else may have that user: its own, and those of its exclusive
// namespaces.
func (s *Service) Owns(user matrix.UserID) bool {
	return user == s.Sender || user.Server() == s.Sender.Server() && within(s.users, string(user), true)
}

// HasAlias says whether an alias is in the service's namespaces.
func (s *Service) HasAlias(alias matrix.RoomAlias) bool {
	return within(s.aliases, string(alias), false)
}

// HasProtocol says whether the service bridges to a network of this name.
func (s *Service) HasProtocol(name string) bool {
	return slices.Contains(s.Protocols, name)
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
	return k.MayDeleteAlias(alias, by)
}

// MayDeleteAlias refuses, with M_EXCLUSIVE, what is reserved for another service than by
// (nil: an ordinary client).
func (k *Keeper) MayDeleteAlias(alias matrix.RoomAlias, by *Service) error {
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
