package server

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"porchlight/kv"
	"porchlight/server/accounts"
	"porchlight/server/matrix"
	"porchlight/server/setup"
)

// Do carries out an order and returns lines for a person.
func (s *Server) Do(ctx context.Context, o Order) ([]string, error) {
	order, ok := s.orders()[o.Do]
	if !ok {
		return nil, fmt.Errorf("there is no order %q", o.Do)
	}
	return order(ctx, o)
}

// orders is what can be ordered.
func (s *Server) orders() map[string]func(context.Context, Order) ([]string, error) {
	return map[string]func(context.Context, Order) ([]string, error){
		"user add":          s.orderUserAdd,
		"user list":         s.orderUserList,
		"user passwd":       s.orderUserPasswd,
		"user deactivate":   s.orderUserDeactivate,
		"user lock":         s.orderUserIs("locked", s.Accounts.SetLocked, true),
		"user unlock":       s.orderUserIs("no longer locked", s.Accounts.SetLocked, false),
		"user suspend":      s.orderUserIs("suspended", s.Accounts.SetSuspended, true),
		"user unsuspend":    s.orderUserIs("no longer suspended", s.Accounts.SetSuspended, false),
		"user admin":        s.orderUserAdmin,
		"user owner":        s.orderUserOwner,
		"token add":         s.orderTokenAdd,
		"token list":        s.orderTokenList,
		"token remove":      s.orderTokenRemove,
		"report list":       s.orderReportList,
		"report remove":     s.orderReportRemove,
		"appservice add":    s.orderServiceAdd,
		"appservice list":   s.orderServiceList,
		"appservice remove": s.orderServiceRemove,
		"media list":        s.orderMediaList,
		"media quarantine":  s.orderMediaQuarantine,
		"media delete":      s.orderMediaDelete,
		"ring":              s.orderRing,
		"board get":         s.orderBoardGet,
		"board set":         s.orderBoardSet,
		"board unset":       s.orderBoardUnset,
		"check":             s.orderCheck,
		"identity":          s.orderIdentity,
	}
}

// madeUp is a password that a person can type: 80 random bits.
func madeUp() string {
	text := strings.ToLower(rand.Text())
	return text[0:4] + "-" + text[4:8] + "-" + text[8:12] + "-" + text[12:16]
}

func (s *Server) orderUserAdd(ctx context.Context, o Order) ([]string, error) {
	password := o.Password
	if password == "" {
		password = madeUp()
	}
	hash, err := s.Accounts.HashPassword(ctx, password, o.User, accounts.Asker{})
	if err != nil {
		return nil, err
	}
	var user matrix.UserID
	err = s.DB.Update(ctx, func(tx *kv.WriteTx) error {
		if o.Owner && s.Setup.Owner(tx) != "" {
			return matrix.Forbidden("this house has an owner already")
		}
		user, err = s.Accounts.Create(tx, accounts.NewUser{Localpart: o.User, PasswordHash: hash, Admin: o.Admin || o.Owner})
		if err != nil || !o.Owner {
			return err
		}
		return s.MakeOwner(tx, user)
	})
	if err != nil {
		return nil, err
	}
	lines := []string{"made " + string(user)}
	if o.Password == "" {
		lines = append(lines, "password: "+password)
	}
	return lines, nil
}

func (s *Server) orderUserList(ctx context.Context, _ Order) (lines []string, err error) {
	err = s.DB.View(ctx, func(tx *kv.ReadTx) error {
		owner := s.Setup.Owner(tx)
		for user, row := range s.Accounts.Users(tx) {
			line := string(user)
			for word, holds := range map[string]bool{
				"owner": user == owner, "board": user == s.BoardUser(), "admin": row.Admin,
				"closed": row.Deactivated, "locked": row.Locked, "suspended": row.Suspended,
				"guest": row.Guest,
			} {
				if holds {
					line += " " + word
				}
			}
			words := strings.Fields(line)
			slices.Sort(words[1:])
			lines = append(lines, strings.Join(words, " "))
		}
		return nil
	})
	return lines, err
}

func (s *Server) orderUserPasswd(ctx context.Context, o Order) ([]string, error) {
	password := o.Password
	if password == "" {
		password = madeUp()
	}
	hash, err := s.Accounts.HashPassword(ctx, password, o.User, accounts.Asker{})
	if err != nil {
		return nil, err
	}
	var user matrix.UserID
	err = s.DB.Update(ctx, func(tx *kv.WriteTx) error {
		user = s.Accounts.Resolve(tx, o.User)
		if user == s.BoardUser() {
			return matrix.Forbidden("the board's user has no password")
		}
		if err := s.Accounts.SetPasswordHash(tx, user, hash); err != nil || o.KeepLogins {
			return err
		}
		return s.Accounts.DeleteAllDevices(tx, user, "")
	})
	if err != nil {
		return nil, err
	}
	lines := []string{"the password of " + string(user) + " is another one now"}
	if o.Password == "" {
		lines = append(lines, "password: "+password)
	}
	return lines, nil
}

func (s *Server) orderUserDeactivate(ctx context.Context, o Order) ([]string, error) {
	var user matrix.UserID
	err := s.DB.Update(ctx, func(tx *kv.WriteTx) error {
		user = s.Accounts.Resolve(tx, o.User)
		return s.Accounts.Deactivate(tx, user, o.Erase)
	})
	if err != nil {
		return nil, err
	}
	return []string{"closed " + string(user)}, nil
}

// orderUserIs is an order that sets something of an account that is so or not.
func (s *Server) orderUserIs(what string, set func(*kv.WriteTx, matrix.UserID, bool) error, value bool) func(context.Context, Order) ([]string, error) {
	return func(ctx context.Context, o Order) ([]string, error) {
		var user matrix.UserID
		err := s.DB.Update(ctx, func(tx *kv.WriteTx) error {
			user = s.Accounts.Resolve(tx, o.User)
			return set(tx, user, value)
		})
		if err != nil {
			return nil, err
		}
		return []string{string(user) + " is " + what}, nil
	}
}

func (s *Server) orderUserAdmin(ctx context.Context, o Order) ([]string, error) {
	what := "an administrator"
	if !o.Admin {
		what = "no administrator"
	}
	return s.orderUserIs(what, s.Accounts.SetAdmin, o.Admin)(ctx, o)
}

// orderUserOwner makes another account the owner of the server. It gets a room of its own with the
// board, in which settings are made from now on; whoever was the owner administers no longer.
func (s *Server) orderUserOwner(ctx context.Context, o Order) ([]string, error) {
	var user, before matrix.UserID
	err := s.DB.Update(ctx, func(tx *kv.WriteTx) error {
		user, before = s.Accounts.Resolve(tx, o.User), s.Setup.Owner(tx)
		row, ok := s.Accounts.User(tx, user)
		switch {
		case !ok:
			return matrix.NotFound("there is no account " + o.User)
		case user == before:
			return matrix.Forbidden(string(user) + " is the owner already")
		case user == s.BoardUser() || row.Deactivated || row.Locked || row.Suspended || row.Guest:
			return matrix.Forbidden(string(user) + " cannot be the owner: the account is closed, locked, suspended, a guest's or the board's")
		}
		if before != "" {
			if err := s.Accounts.SetAdmin(tx, before, false); err != nil {
				return err
			}
			// The room of the former owner stays theirs.
			if err := setup.Set(s.Setup, tx, boardRoomOf(before), s.ownRoom(tx, before)); err != nil {
				return err
			}
		}
		if err := s.Accounts.SetAdmin(tx, user, true); err != nil {
			return err
		}
		setup.Unset(s.Setup, tx, boardRoom)
		setup.Unset(s.Setup, tx, boardRoomOf(user)) // in that of a guest of the board no settings can be made
		return s.MakeOwner(tx, user)
	})
	if err != nil {
		return nil, err
	}
	lines := []string{string(user) + " is the owner now"}
	if before != "" {
		lines = append(lines, string(before)+" is an ordinary account now; \"user admin\" lets it administer")
	}
	return lines, nil
}

func (s *Server) orderTokenAdd(ctx context.Context, o Order) ([]string, error) {
	// A server that is not running does not know how it will be started.
	if !s.Config.dataOnly && s.Config.Registration == RegistrationClosed {
		return nil, errors.New("registration is closed, so nobody could use a token: start the server with " +
			"--registration token first, or make the account yourself with user add")
	}
	var token string
	err := s.DB.Update(ctx, func(tx *kv.WriteTx) (err error) {
		var expires time.Time
		if o.Life > 0 {
			expires = s.Config.Now().Add(o.Life)
		}
		token, err = s.Accounts.CreateRegistrationToken(tx, o.Token, o.Uses, expires)
		return err
	})
	if err != nil {
		return nil, err
	}
	return []string{token}, nil
}

func (s *Server) orderTokenList(ctx context.Context, _ Order) (lines []string, err error) {
	err = s.DB.View(ctx, func(tx *kv.ReadTx) error {
		for token, row := range s.Accounts.RegistrationTokens(tx) {
			uses, until := "any number of uses", "for ever"
			if row.Uses > 0 {
				uses = fmt.Sprintf("%d of %d uses", row.Used, row.Uses)
			}
			if row.Expires > 0 {
				until = "until " + time.UnixMilli(row.Expires).Format(time.RFC3339)
			}
			lines = append(lines, fmt.Sprintf("%s  %s, %s", token, uses, until))
		}
		return nil
	})
	return lines, err
}

func (s *Server) orderTokenRemove(ctx context.Context, o Order) ([]string, error) {
	err := s.DB.Update(ctx, func(tx *kv.WriteTx) error { return s.Accounts.DeleteRegistrationToken(tx, o.Token) })
	if err != nil {
		return nil, err
	}
	return []string{"removed " + o.Token}, nil
}

// identityName precedes the server's name in the first line of its identity.
const identityName = "server name: "

func (s *Server) orderIdentity(ctx context.Context, _ Order) (lines []string, err error) {
	lines = []string{identityName + string(s.Setup.ServerName())}
	err = s.DB.View(ctx, func(tx *kv.ReadTx) error {
		if owner := s.Setup.Owner(tx); owner != "" {
			lines = append(lines, "owner: "+string(owner))
		}
		return nil
	})
	return lines, err
}

func (s *Server) orderCheck(ctx context.Context, o Order) ([]string, error) {
	if err := s.DB.Flush(); err != nil && !errors.Is(err, kv.ErrClosed) {
		return nil, err
	}
	problems, err := s.DB.Check(ctx)
	if err != nil {
		return problems, err
	}
	if len(problems) > 0 {
		return problems, ErrProblems
	}
	lines := []string{"everything is in order"}
	if o.Repair {
		n, err := s.Media.Repair(ctx)
		if err != nil {
			return lines, err
		}
		lines = append(lines, fmt.Sprintf("removed %d contents that no upload refers to", n))
	}
	return lines, nil
}
