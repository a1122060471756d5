package clientapi

import (
	"errors"
	"io"
	"net/http"
	"net/url"

	"porchlight/server/accounts"
	"porchlight/server/matrix"
	"porchlight/server/web"
)

type authFallbackIn struct {
	Stage   string `path:"stage"`
	Session string `query:"session,required"`
}

// authFallback is the page for a stage that a client does not know (spec: client-server
// API, fallback).
func (a *API) authFallback(c *web.Call, in authFallbackIn) error {
	f, err := a.Accounts.FallbackSession(in.Session, in.Stage)
	if err != nil {
		return showRefusal(c, err)
	}
	return showStage(c, in.Stage, f, nil)
}

type authFallbackDoneIn struct {
	authFallbackIn
	Body io.Reader `body:"stream"`
}

// maxFormBody is more than any form of these pages has, in bytes.
const maxFormBody = 8 << 10

// authFallbackDone takes what the person has typed into that page.
func (a *API) authFallbackDone(c *web.Call, in authFallbackDoneIn) error {
	f, err := a.Accounts.FallbackSession(in.Session, in.Stage)
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
		User: form.Get("user"), Password: form.Get("password"), Token: form.Get("token"), IP: c.IP,
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
	data := pageData{Stage: stage, AskUser: f.User == ""}
	if f.Terms != nil {
		data.Documents = f.Terms.Documents
	}
	status := http.StatusOK
	if refused != nil {
		data.Problem, status = refused.Message, refused.Status
	}
	switch {
	case f.Done:
		return show(c, http.StatusOK, "done", data, "")
	case stage == accounts.StageEmail:
		return showRefusal(c, matrix.NotFound("this step is done by the link in the mail"))
	}
	return show(c, status, "stage", data, "")
}

// loginFallback is the page by which clients log in that know no other way (spec:
// client-server API, login fallback).
func (a *API) loginFallback(c *web.Call, _ web.Empty) error {
	return show(c, http.StatusOK, "login", pageData{House: string(a.Accounts.ServerName())}, "")
}
