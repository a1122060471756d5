package clientapi

import (
	"errors"
	"io"
	"net/http"
	"net/url"
	"time"

	"porchlight/server/accounts"
	"porchlight/server/matrix"
	"porchlight/server/web"
)

// askedFor is what each operation with interactive authentication does, as its fallback page
// says it, by operationId. An operation that is missing here has no page: nobody may confirm
// what they cannot read.
var askedFor = map[string]string{
	"add3PID":                "add an e-mail address to your account, by which its password can be reset",
	"changePassword":         "set a new password for your account",
	"deactivateAccount":      "close your account for good",
	"deleteDevice":           "sign a device out of your account",
	"deleteDevices":          "sign devices out of your account",
	"generateLoginToken":     "sign another device in to your account",
	"register":               "make an account",
	"uploadCrossSigningKeys": "replace the keys by which others know that messages are yours",
}

type authFallbackIn struct {
	Stage   string `path:"stage"`
	Session string `query:"session,required"`
}

// authFallback is the page for a stage that a client does not know (spec: client-server
// API, fallback).
func (a *API) authFallback(c *web.Call, in authFallbackIn) error {
	f, err := a.fallback(c, in)
	if err != nil {
		return showRefusal(c, err)
	}
	return showStage(c, in.Stage, f, nil)
}

// fallback finds the session of a page that may be shown.
func (a *API) fallback(c *web.Call, in authFallbackIn) (accounts.Fallback, error) {
	f, err := a.Accounts.FallbackSession(c.Ctx, in.Session, in.Stage)
	if err == nil && askedFor[f.Operation] == "" {
		err = matrix.Forbidden("this page cannot show what is asked for: please use another client")
	}
	return f, err
}

type authFallbackDoneIn struct {
	authFallbackIn
	Body io.Reader `body:"stream"`
}

// maxFormBody is more than any form of these pages has, in bytes.
const maxFormBody = 8 << 10

// authFallbackDone takes what the person has typed into that page.
func (a *API) authFallbackDone(c *web.Call, in authFallbackDoneIn) error {
	f, err := a.fallback(c, in.authFallbackIn)
	if err != nil {
		return showRefusal(c, err)
	}
	if f.Done {
		return showStage(c, in.Stage, f, nil)
	}
	raw, err := io.ReadAll(in.Body)
	if err != nil {
		return err
	}
	form, err := url.ParseQuery(string(raw))
	if err != nil {
		return showRefusal(c, matrix.InvalidParam("the form is not as it should be"))
	}
	err = a.Accounts.CompleteFallback(c.Ctx, in.Session, in.Stage, accounts.FallbackAnswer{
		Password: form.Get("password"), Token: form.Get("token"), NewUser: matrix.UserID(form.Get("new_user")), IP: c.IP,
	})
	var refused *matrix.Error
	if err != nil && !errors.As(err, &refused) {
		return err
	}
	f.Done = err == nil
	return showStage(c, in.Stage, f, refused)
}

// showStage shows the form of a stage, or that it is done.
func showStage(c *web.Call, stage string, f accounts.Fallback, refused *matrix.Error) error {
	data := pageData{
		Stage: stage, Asked: askedFor[f.Operation], User: f.User, NewUser: f.NewUser, Device: f.Device, DeviceName: f.DeviceName,
		IP: f.IP, Ago: c.Now.Sub(f.Began).Truncate(time.Minute),
	}
	if f.Terms != nil {
		data.Documents = f.Terms.Documents
	}
	status := http.StatusOK
	if refused != nil {
		data.Problem, status = refused.Message, refused.Status
	}
	if f.Done {
		return show(c, http.StatusOK, "done", data, "")
	}
	return show(c, status, "stage", data, "")
}

// loginFallback is the page by which clients log in that know no other way (spec:
// client-server API, login fallback).
func (a *API) loginFallback(c *web.Call, _ web.Empty) error {
	return show(c, http.StatusOK, "login", pageData{House: string(a.Accounts.ServerName())}, "")
}
