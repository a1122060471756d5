package appservice

import (
	"context"
	"errors"
	"net/http"
	"net/url"
	"slices"
	"time"

	"porchlight/server/matrix"
)

const (
	// queryTimeout is how long all services together may take for a query, for which a
	// client waits; queryTry is how long one of them may take at a time.
	queryTimeout = 30 * time.Second
	queryTry     = 10 * time.Second
	// queryTries is how often a service that does not answer is asked, queryPause how long
	// it is left alone in between.
	queryTries = 3
	queryPause = time.Second
)

// QueryUser asks the services in whose namespaces a user is to make the user; true if there
// may be one now (spec: application service API, querying). by is who asks, nil for an
// ordinary client; a service is not asked for what it could make itself. The error, with
// status 408, says that a service did not answer. It must not be called in a transaction.
func (k *Keeper) QueryUser(ctx context.Context, user matrix.UserID, by *Service) (bool, error) {
	return k.query(ctx, "users/"+url.PathEscape(string(user)), by,
		func(s *Service) bool { return user != s.Sender && s.HasUser(user) },
		func(s *Service) bool { return s.Owns(user) })
}

// QueryAlias is QueryUser for an alias and its room.
func (k *Keeper) QueryAlias(ctx context.Context, alias matrix.RoomAlias, by *Service) (bool, error) {
	return k.query(ctx, "rooms/"+url.PathEscape(string(alias)), by,
		func(s *Service) bool { return s.HasAlias(alias) },
		func(s *Service) bool { return within(s.aliases, string(alias), true) })
}

// query asks the services concerned until one says yes, first the one that it is reserved
// for.
//
// Of those who ask for the same name at the same time, one asks the services; the others wait
// for the answer.
func (k *Keeper) query(ctx context.Context, path string, by *Service, concerns, owns func(*Service) bool) (bool, error) {
	asked := k.asked(by, concerns, owns)
	if len(asked) == 0 {
		return false, nil
	}
	name := path
	if by != nil {
		name = by.ID + " " + path // it is not asked itself, and may be asking while it is
	}
	return k.queries.once(ctx, name, func(ctx context.Context) (bool, error) { return k.queryAll(ctx, path, asked) })
}

// asked are the services that a query goes to, in order.
func (k *Keeper) asked(by *Service, concerns, owns func(*Service) bool) (asked []*Service) {
	for _, s := range k.Services() {
		switch {
		case s.URL == "" || s == by || !concerns(s):
		case owns(s):
			asked = slices.Insert(asked, 0, s)
		default:
			asked = append(asked, s)
		}
	}
	return asked
}

func (k *Keeper) queryAll(ctx context.Context, path string, asked []*Service) (bool, error) {
	ctx, cancel := context.WithTimeout(ctx, queryTimeout)
	defer cancel()
	silent := false
	for _, s := range asked {
		err := k.queryOne(ctx, s, path)
		var bad *badStatus
		switch {
		case err == nil:
			return true, nil
		case !errors.As(err, &bad):
			silent = true
			fallthrough
		case bad.status != http.StatusNotFound:
			k.Log.Info("application service did not answer a query", "service", s.ID, "error", err)
		}
	}
	if silent {
		return false, matrix.Unknown(http.StatusRequestTimeout, "the application service that may have this does not answer")
	}
	return false, nil
}

// queryOne asks one service, several times if it does not answer.
func (k *Keeper) queryOne(ctx context.Context, s *Service, path string) (err error) {
	for n := range queryTries {
		if n > 0 && !wait(ctx, queryPause) {
			return err
		}
		try, cancel := context.WithTimeout(ctx, queryTry)
		_, err = k.call(try, s, http.MethodGet, nil, "/_matrix/app/v1/"+path, "/"+path)
		cancel()
		if bad := new(badStatus); err == nil || errors.As(err, &bad) {
			return err
		}
	}
	return err
}

// wait waits; false if ctx ended first.
func wait(ctx context.Context, d time.Duration) bool {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
		return true
	case <-ctx.Done():
		return false
	}
}
