package clientapi

import (
	"encoding/json"
	"fmt"

	"porchlight/kv"
	"porchlight/server/accounts"
	"porchlight/server/matrix"
	"porchlight/server/web"
)

// maxProfileBody lets a field in that makes the profile too large, so that the client
// is told M_PROFILE_TOO_LARGE.
const maxProfileBody = 2 * accounts.MaxProfileBytes

// own refuses to touch what is another user's.
func own(c *web.Call, user matrix.UserID) error {
	if user != c.User {
		return matrix.Forbidden("that is another user's: you can only do this for yourself")
	}
	return nil
}

type userIn struct {
	User matrix.UserID `path:"userId"`
}

// mayLookUp refuses strangers while registration is closed, which could learn who has an account
// otherwise (spec: client-server API, GET profile/{userId}, 403).
func (a *API) mayLookUp(c *web.Call) error {
	if c.User == "" && a.registrationFlows() == nil {
		return matrix.Forbidden("this server tells only those who are signed in about its users")
	}
	return nil
}

// getUserProfile: spec: client-server API, GET profile/{userId}.
func (a *API) getUserProfile(c *web.Call, in userIn) (profile map[string]json.RawMessage, err error) {
	if err := a.mayLookUp(c); err != nil {
		return nil, err
	}
	look := func(tx *kv.ReadTx) (err error) {
		profile, err = a.Accounts.Profile(tx, in.User)
		return err
	}
	err = a.DB.View(c.Ctx, look)
	if matrix.IsCode(err, "M_NOT_FOUND") && c.User != "" { // a query makes a user, and asks others
		made, failed := a.Services.QueryUser(c.Ctx, in.User, a.service(c))
		switch {
		case failed != nil:
			err = failed
		case made:
			err = a.DB.View(c.Ctx, look)
		}
	}
	return profile, err
}

type profileFieldIn struct {
	userIn
	Field string `path:"keyName"`
}

// getProfileField: spec: client-server API, GET profile/{userId}/{keyName}.
func (a *API) getProfileField(c *web.Call, tx *kv.ReadTx, in profileFieldIn) (map[string]json.RawMessage, error) {
	if err := a.mayLookUp(c); err != nil {
		return nil, err
	}
	value, err := a.Accounts.ProfileField(tx, in.User, in.Field)
	return map[string]json.RawMessage{in.Field: value}, err
}

// mayEditProfile refuses what is another user's, and what guests may not do.
func mayEditProfile(c *web.Call, in profileFieldIn) error {
	if err := own(c, in.User); err != nil {
		return err
	}
	if c.Guest && in.Field != accounts.FieldDisplayName { // spec: guest access, client behaviour
		return matrix.Refusal(403, "M_GUEST_ACCESS_FORBIDDEN", "guests can only set their display name")
	}
	return nil
}

type setProfileFieldIn struct {
	profileFieldIn
	Body json.RawMessage `body:"raw"`
}

// setProfileField: spec: client-server API, PUT profile/{userId}/{keyName}.
func (a *API) setProfileField(c *web.Call, tx *kv.WriteTx, in setProfileFieldIn) (web.Empty, error) {
	if err := mayEditProfile(c, in.profileFieldIn); err != nil {
		return web.Empty{}, err
	}
	if err := accounts.CheckProfileField(in.Field); err != nil {
		return web.Empty{}, err
	}
	body, err := matrix.ParseObject(in.Body)
	if err != nil {
		return web.Empty{}, err
	}
	if !body.Has(in.Field) {
		return web.Empty{}, matrix.MissingParam(fmt.Sprintf("the body has no %q", in.Field))
	}
	return web.Empty{}, a.Accounts.SetProfileField(tx, c.User, in.Field, body[in.Field])
}

// deleteProfileField: spec: client-server API, DELETE profile/{userId}/{keyName}.
func (a *API) deleteProfileField(c *web.Call, tx *kv.WriteTx, in profileFieldIn) (web.Empty, error) {
	if err := mayEditProfile(c, in); err != nil {
		return web.Empty{}, err
	}
	return web.Empty{}, a.Accounts.DeleteProfileField(tx, c.User, in.Field)
}
