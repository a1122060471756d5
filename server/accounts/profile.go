package accounts

import (
	"bytes"
	"encoding/json"
	"fmt"
	"maps"
	"net/http"
	"regexp"
	"strings"

	"porchlight/kv"
	"porchlight/server/changes"
	"porchlight/server/matrix"
)

// The fields of a profile that the standard gives a form.
const (
	FieldDisplayName = "displayname"
	FieldAvatarURL   = "avatar_url"
	FieldTimeZone    = "m.tz"
)

const (
	// MaxProfileBytes is the bound for a whole profile as JSON (spec: PUT /profile).
	MaxProfileBytes = 64 << 10
	// MaxProfileKeyBytes is the longest name of a field (spec: PUT /profile).
	MaxProfileKeyBytes = 255
	// MaxDisplayNameBytes is the longest display name: it is copied into every
	// membership event.
	MaxDisplayNameBytes = 256
	// MaxAvatarURLBytes is the longest avatar address, for the same reason.
	MaxAvatarURLBytes = 1000
	// maxTimeZoneBytes is more than the longest name of the time zone database.
	maxTimeZoneBytes = 64
)

// namespacedID is the common namespaced identifier grammar with at least one dot
// (spec: PUT /profile, keyName).
var namespacedID = regexp.MustCompile(`^[a-z][a-z0-9_]*(\.[a-z][a-z0-9_]*)+$`)

// CheckProfileField says whether a profile may have a field of this name: the error is
// M_KEY_TOO_LARGE or M_INVALID_PARAM.
func CheckProfileField(field string) error {
	if len(field) > MaxProfileKeyBytes {
		return matrix.Refusal(http.StatusBadRequest, "M_KEY_TOO_LARGE",
			fmt.Sprintf("the name of a profile field may have at most %d bytes", MaxProfileKeyBytes))
	}
	if field != FieldDisplayName && field != FieldAvatarURL && !namespacedID.MatchString(field) {
		return matrix.InvalidParam("a profile field is called displayname, avatar_url, m.tz, or like org.example.field")
	}
	return nil
}

// Profile is the whole profile of a user; M_NOT_FOUND if there is no such user.
func (k *Keeper) Profile(r kv.Reader, user matrix.UserID) (map[string]json.RawMessage, error) {
	row, ok := k.users.Get(r, user)
	if !ok {
		return nil, matrix.NotFound("there is no such user here")
	}
	return row.profile(), nil
}

// ProfileField is one field of a profile; M_NOT_FOUND if there is no such user or field.
func (k *Keeper) ProfileField(r kv.Reader, user matrix.UserID, field string) (json.RawMessage, error) {
	profile, err := k.Profile(r, user)
	if err != nil {
		return nil, err
	}
	value, ok := profile[field]
	if !ok {
		return nil, matrix.NotFound("that user's profile has no such field")
	}
	return value, nil
}

// DisplayProfile is the display name and the avatar's mxc URI, each empty if not set:
// what membership events carry.
func (k *Keeper) DisplayProfile(r kv.Reader, user matrix.UserID) (displayName, avatarURL string) {
	row, _ := k.users.Get(r, user)
	return row.DisplayName, row.AvatarURL
}

func (u UserRow) profile() map[string]json.RawMessage {
	all := maps.Clone(u.Fields)
	if all == nil {
		all = map[string]json.RawMessage{}
	}
	o := matrix.Object(all)
	if u.DisplayName != "" {
		o.SetText(FieldDisplayName, u.DisplayName)
	}
	if u.AvatarURL != "" {
		o.SetText(FieldAvatarURL, u.AvatarURL)
	}
	return all
}

// SetProfileField sets one field of a profile to a JSON value. An empty display name
// or avatar unsets it. The errors are those of CheckProfileField, M_BAD_JSON and
// M_INVALID_PARAM for a value of the wrong form, M_PROFILE_TOO_LARGE, M_NOT_FOUND.
func (k *Keeper) SetProfileField(tx *kv.WriteTx, user matrix.UserID, field string, value json.RawMessage) error {
	if err := CheckProfileField(field); err != nil {
		return err
	}
	value, err := matrix.CanonicalLenient(value)
	if err != nil {
		return err
	}
	text, err := checkProfileValue(field, value)
	if err != nil {
		return err
	}
	return k.editProfile(tx, user, field, func(u *UserRow) error {
		switch field {
		case FieldDisplayName:
			u.DisplayName = text
		case FieldAvatarURL:
			u.AvatarURL = text
		default:
			u.Fields = maps.Clone(u.Fields)
			if u.Fields == nil {
				u.Fields = map[string]json.RawMessage{}
			}
			u.Fields[field] = value
		}
		if len(matrix.Object(u.profile()).Encode()) >= MaxProfileBytes {
			return matrix.Refusal(http.StatusBadRequest, "M_PROFILE_TOO_LARGE",
				fmt.Sprintf("a profile has to stay below %d bytes", MaxProfileBytes))
		}
		return nil
	})
}

// DeleteProfileField removes one field; one that is not there is no error. The errors
// are those of CheckProfileField and M_NOT_FOUND.
func (k *Keeper) DeleteProfileField(tx *kv.WriteTx, user matrix.UserID, field string) error {
	if err := CheckProfileField(field); err != nil {
		return err
	}
	return k.editProfile(tx, user, field, func(u *UserRow) error {
		switch field {
		case FieldDisplayName:
			u.DisplayName = ""
		case FieldAvatarURL:
			u.AvatarURL = ""
		default:
			u.Fields = maps.Clone(u.Fields)
			delete(u.Fields, field)
		}
		return nil
	})
}

// editProfile writes a profile and tells of it, if the edit changes anything.
func (k *Keeper) editProfile(tx *kv.WriteTx, user matrix.UserID, field string, edit func(*UserRow) error) error {
	row, ok := k.users.Get(tx, user)
	if !ok || row.Deactivated {
		return matrix.NotFound("there is no such user here")
	}
	before := row.profile()[field]
	if err := edit(&row); err != nil {
		return err
	}
	if after := row.profile()[field]; bytes.Equal(before, after) {
		return nil
	}
	k.users.Put(tx, user, row)
	k.changes.Append(tx, changes.Change{Kind: changes.Profile, User: user, Key: field})
	if field != FieldDisplayName && field != FieldAvatarURL {
		return nil
	}
	for _, w := range k.profileWitnesses {
		if err := w.ProfileChanged(tx, user); err != nil {
			return err
		}
	}
	return nil
}

// checkProfileValue checks the form of a value and returns its text, if it is one.
func checkProfileValue(field string, value json.RawMessage) (string, error) {
	text, isText := matrix.Object{field: value}.Text(field)
	most := 0
	switch field {
	case FieldDisplayName:
		most = MaxDisplayNameBytes
	case FieldAvatarURL:
		most = MaxAvatarURLBytes
	case FieldTimeZone:
		most = maxTimeZoneBytes
	default:
		return text, nil
	}
	switch {
	case !isText:
		return "", matrix.BadJSON(fmt.Sprintf("%s has to be a string", field))
	case len(text) > most:
		return "", matrix.InvalidParam(fmt.Sprintf("%s may have at most %d bytes", field, most))
	case field == FieldAvatarURL && text != "" && !strings.HasPrefix(text, "mxc://"):
		return "", matrix.InvalidParam("avatar_url has to be an mxc:// address: upload the picture first")
	}
	return text, nil
}
