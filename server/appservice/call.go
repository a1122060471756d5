package appservice

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"strings"
	"time"

	"porchlight/server/matrix"
)

const (
	// callTimeout is how long a service may take for a transaction.
	callTimeout = time.Minute
	// pingTimeout is how long it may take for a ping or a query, for which a client waits.
	pingTimeout = 10 * time.Second
	// maxAnswer is how much of an answer is read, in bytes.
	maxAnswer = 64 << 10
	// maxShownAnswer is how much of the answer to a ping is passed on, in bytes.
	maxShownAnswer = 4 << 10
)

// badStatus is the error of a service that answers and refuses.
type badStatus struct {
	status int
	body   string
}

func (e *badStatus) Error() string {
	return fmt.Sprintf("the application service answered with status %d", e.status)
}

// call asks a service at the first path, and at the following ones if it does not know that
// one (spec: application service API, legacy routes).
func (k *Keeper) call(ctx context.Context, s *Service, method string, body []byte, paths ...string) (err error) {
	ctx, cancel := context.WithTimeout(ctx, callTimeout)
	defer cancel()
	for i, path := range paths {
		again := k.callOne(ctx, s, method, path, body)
		if i == 0 || again == nil {
			err = again // what the path of the standard answers tells most
		}
		var bad *badStatus
		if !errors.As(again, &bad) || bad.status != http.StatusNotFound && bad.status != http.StatusMethodNotAllowed {
			break
		}
	}
	return err
}

func (k *Keeper) callOne(ctx context.Context, s *Service, method, path string, body []byte) error {
	req, err := http.NewRequestWithContext(ctx, method, s.URL+path, bytes.NewReader(body))
	if err != nil {
		return errors.New("the address of the application service is no good")
	}
	req.Header.Set("Authorization", "Bearer "+s.HouseToken)
	if len(body) > 0 {
		req.Header.Set("Content-Type", "application/json")
	}
	res, err := k.Client.Do(req)
	if err != nil {
		return err
	}
	defer res.Body.Close()
	answer, err := io.ReadAll(io.LimitReader(res.Body, maxAnswer))
	if err != nil {
		return err
	}
	if res.StatusCode < 200 || res.StatusCode > 299 {
		return &badStatus{res.StatusCode, string(answer)}
	}
	return nil
}

// Ping asks a service whether it can be reached and returns how long that took. A success
// ends a back-off. The errors are those of MSC2659 (spec: client-server API, POST
// appservice ping).
func (k *Keeper) Ping(ctx context.Context, s *Service, transaction *string) (time.Duration, error) {
	if s.URL == "" {
		return 0, matrix.Refusal(http.StatusBadRequest, "M_URL_NOT_SET", "the registration of this application service has no URL")
	}
	body, err := json.Marshal(struct {
		Transaction *string `json:"transaction_id,omitempty"`
	}{transaction})
	if err != nil {
		return 0, err
	}
	ctx, cancel := context.WithTimeout(ctx, pingTimeout)
	defer cancel()
	begun := time.Now()
	err = k.call(ctx, s, http.MethodPost, body, "/_matrix/app/v1/ping", "/_matrix/app/unstable/fi.mau.msc2659/ping")
	if err == nil {
		k.answers(s.ID)
		return time.Since(begun), nil
	}
	return 0, pingError(err)
}

// pingError is what a service is told of a ping that failed.
func pingError(err error) error {
	var bad *badStatus
	if errors.As(err, &bad) {
		shown := strings.ToValidUTF8(bad.body[:min(len(bad.body), maxShownAnswer)], "\uFFFD")
		return matrix.Refusal(http.StatusBadGateway, "M_BAD_STATUS", fmt.Sprintf("the ping was answered with status %d", bad.status)).
			With("status", bad.status).With("body", shown)
	}
	var slow net.Error
	if errors.As(err, &slow) && slow.Timeout() || errors.Is(err, context.DeadlineExceeded) {
		return matrix.Refusal(http.StatusGatewayTimeout, "M_CONNECTION_TIMEOUT", "the application service took too long")
	}
	return matrix.Refusal(http.StatusBadGateway, "M_CONNECTION_FAILED", "the application service cannot be reached: "+err.Error())
}

// QueryUser asks the service that a user is reserved for to make the user; true if there
// may be one now (spec: application service API, querying). It must not be called in a
// transaction.
func (k *Keeper) QueryUser(ctx context.Context, user matrix.UserID) bool {
	return k.query(ctx, "users/"+url.PathEscape(string(user)), func(s *Service) bool { return user != s.Sender && s.HasUser(user) })
}

// QueryAlias is QueryUser for an alias and its room.
func (k *Keeper) QueryAlias(ctx context.Context, alias matrix.RoomAlias) bool {
	return k.query(ctx, "rooms/"+url.PathEscape(string(alias)), func(s *Service) bool { return s.HasAlias(alias) })
}

// query asks the services concerned until one says yes.
func (k *Keeper) query(ctx context.Context, path string, concerns func(*Service) bool) bool {
	ctx, cancel := context.WithTimeout(ctx, pingTimeout)
	defer cancel()
	for _, s := range k.Services() {
		if s.URL == "" || !concerns(s) {
			continue
		}
		if err := k.call(ctx, s, http.MethodGet, nil, "/_matrix/app/v1/"+path, "/"+path); err == nil {
			return true
		} else if bad := new(badStatus); !errors.As(err, &bad) || bad.status != http.StatusNotFound {
			k.Log.Info("application service did not answer a query", "service", s.ID, "error", err)
		}
	}
	return false
}
