package clientapi

import (
	"context"
	"fmt"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"time"

	"porchlight/kv"
	"porchlight/server/accounts"
	"porchlight/server/mail"
	"porchlight/server/matrix"
	"porchlight/server/web"
)

// Mailer sends mails. server/mail has one.
type Mailer interface {
	Send(ctx context.Context, m mail.Message) error
}

const (
	// validatePath is the page behind the link in the mails.
	validatePath = "/_porchlight/validate_email"
	// maxClientSecretBytes is the standard's bound for a client_secret.
	maxClientSecretBytes = 255
	// maxNextLinkBytes bounds what is kept of a client's link.
	maxNextLinkBytes = 2000
)

type emailTokenIn struct {
	Secret   string `json:"client_secret" required:"true"`
	Email    string `json:"email" required:"true"`
	Attempt  int64  `json:"send_attempt" required:"true"`
	NextLink string `json:"next_link"`
}

type tokenOut struct {
	SID string `json:"sid"`
}

// checkClientSecret holds a client_secret to its grammar.
func checkClientSecret(s string) error {
	ok := s != "" && len(s) <= maxClientSecretBytes && !strings.ContainsFunc(s, func(c rune) bool {
		return !(c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z' || c >= '0' && c <= '9' || strings.ContainsRune(".=_-", c))
	})
	if !ok {
		return matrix.InvalidParam(fmt.Sprintf("client_secret has 1 to %d letters, digits and . = _ -", maxClientSecretBytes))
	}
	return nil
}

// checkNextLink lets links to web pages through, on the owner's list if there is one.
func (a *API) checkNextLink(s string) error {
	if s == "" {
		return nil
	}
	u, err := url.Parse(s)
	if err != nil || u.Scheme != "https" && u.Scheme != "http" || u.User != nil || len(s) > maxNextLinkBytes {
		return matrix.InvalidParam("next_link has to begin with https:// or http://")
	}
	if _, err := matrix.ParseServerName(u.Host); err != nil {
		return matrix.InvalidParam("next_link names no host")
	}
	if len(a.NextLinkHosts) > 0 && !slices.Contains(a.NextLinkHosts, u.Hostname()) {
		return matrix.InvalidParam("this server does not lead on to that host")
	}
	return nil
}

// canonicalEmail is the one form of an address in which it is compared, stored and written to
// (spec: appendices, 3PID types). Under it, addresses that look different are the same: a mail
// to any other form could reach somebody else.
func canonicalEmail(given string) (string, error) {
	address, err := mail.ParseAddress(given)
	if err == nil {
		address, err = mail.ParseAddress(accounts.CanonicalEmail(address))
	}
	if err != nil {
		return "", matrix.InvalidParam("that is not an e-mail address")
	}
	return address, nil
}

// asking is the user who asks to have an address validated; empty if the client does not say:
// the operation takes no token, but some clients send theirs.
func (a *API) asking(c *web.Call, r kv.Reader) matrix.UserID {
	s, err := a.Accounts.Authenticate(r, c.Token(), c.Now)
	if err != nil || s.Locked {
		return ""
	}
	return s.User
}

// requestEmailToken opens a session for an address and sends the mail.
func (a *API) requestEmailToken(c *web.Call, purpose accounts.Purpose, in emailTokenIn) (out tokenOut, err error) {
	if err := checkClientSecret(in.Secret); err != nil {
		return out, err
	}
	if a.Mail == nil {
		return out, mediumNotSupported("this server cannot validate e-mail addresses")
	}
	if err := a.checkNextLink(in.NextLink); err != nil {
		return out, err
	}
	address, err := canonicalEmail(in.Email)
	if err != nil {
		return out, err
	}
	m := mail.Message{To: address}
	err = a.DB.Update(c.Ctx, func(tx *kv.WriteTx) error {
		user, taken := a.Accounts.ThreepidOwner(tx, accounts.MediumEmail, address)
		switch {
		case purpose == accounts.PurposeAdd && taken:
			return matrix.Refusal(http.StatusBadRequest, "M_THREEPID_IN_USE", "that address belongs to an account already")
		case purpose == accounts.PurposeReset && !taken:
			return matrix.Refusal(http.StatusBadRequest, "M_THREEPID_NOT_FOUND", "no account has that address")
		}
		if purpose == accounts.PurposeAdd {
			user = a.asking(c, tx)
		} else if purpose == accounts.PurposeRegister {
			user = "" // there is none yet; whoever has the address is told otherwise
		}
		sid, token, err := a.Accounts.BeginValidation(tx, accounts.NewValidation{
			Purpose: purpose, Address: address, Secret: in.Secret, Attempt: in.Attempt, NextLink: in.NextLink, IP: c.IP, User: user,
		})
		out.SID, m.Text = sid, ""
		if token == "" {
			return err
		}
		m.Subject, m.Text = a.letter(purpose, taken, user, c.IP, sid, token)
		return err
	})
	if err != nil || m.Text == "" {
		return out, err
	}
	if err := a.Mail.Send(c.Ctx, m); err != nil {
		a.Log.Error("a mail was not sent", "error", err)
		err = a.DB.Update(context.WithoutCancel(c.Ctx), func(tx *kv.WriteTx) error {
			a.Accounts.AbandonValidation(tx, out.SID)
			return nil
		})
		if err != nil {
			return tokenOut{}, err
		}
		return tokenOut{}, matrix.Unknown(http.StatusBadGateway, "the mail could not be sent: please try again later")
	}
	return out, nil
}

// letter is the mail for a purpose. Whoever has an account is not told how to make one,
// and whoever asked learns nothing of that.
func (a *API) letter(purpose accounts.Purpose, taken bool, user matrix.UserID, ip, sid, token string) (subject, text string) {
	house := string(a.Accounts.ServerName())
	if purpose == accounts.PurposeRegister && taken {
		return "You have an account at " + house, fmt.Sprintf("Hello,\n\nsomebody asked to make an account at %s with this address. "+
			"There is one already. If you cannot log in to it, ask your client to reset the password.\n\n"+
			"If it was not you, you need not do anything.\n", house)
	}
	what := map[accounts.Purpose]string{
		accounts.PurposeRegister: "make an account at " + house + " with this address",
		accounts.PurposeAdd:      "add this address to an account at " + house,
		accounts.PurposeReset:    fmt.Sprintf("set another password for your account %s", user),
	}[purpose]
	link := a.PublicURL + validatePath + "?" + url.Values{"sid": {sid}, "token": {token}}.Encode()
	return "Please confirm: " + what, fmt.Sprintf("Hello,\n\nsomebody asked, from the address %s, to %s. "+
		"If it was you, open this page within an hour:\n\n%s\n\n"+
		"Then go back to your client. If it was not you, do not open it; you need not do anything.\n", ip, what, link)
}

type validateEmailIn struct {
	SID   string `query:"sid,required"`
	Token string `query:"token,required"`
}

// validateEmail shows the page behind the link in a mail. It changes nothing: programs
// that look at mails follow links.
func (a *API) validateEmail(c *web.Call, in validateEmailIn) error {
	var v accounts.Validation
	err := a.DB.View(c.Ctx, func(tx *kv.ReadTx) (err error) {
		v, err = a.Accounts.PendingValidation(tx, in.SID, in.Token)
		return err
	})
	if err != nil {
		return showRefusal(c, err)
	}
	next := ""
	if u, err := url.Parse(v.NextLink); err == nil && v.NextLink != "" {
		next = u.Scheme + "://" + u.Host // where the answer to the form leads
	}
	data := pageData{Address: v.Address, Purpose: string(v.Purpose), House: string(a.Accounts.ServerName()), User: v.User, IP: v.IP}
	if !v.Asked.IsZero() {
		data.Ago = c.Now.Sub(v.Asked).Truncate(time.Minute)
	}
	return show(c, http.StatusOK, "validate", data, next)
}

// confirmEmail is what the page of validateEmail sends.
func (a *API) confirmEmail(c *web.Call, in validateEmailIn) error {
	var v accounts.Validation
	err := a.DB.Update(c.Ctx, func(tx *kv.WriteTx) (err error) {
		v, err = a.Accounts.ConfirmValidation(tx, in.SID, in.Token)
		return err
	})
	if err != nil {
		return showRefusal(c, err)
	}
	if v.NextLink != "" {
		c.W.Header().Set("Location", v.NextLink)
		c.W.WriteHeader(http.StatusSeeOther)
		return nil
	}
	return show(c, http.StatusOK, "validated", pageData{Address: v.Address}, "")
}
