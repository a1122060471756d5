package appservice

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"time"
)

const (
	// callTimeout is how long a service may take for a transaction.
	callTimeout = time.Minute
	// maxAnswer is how much of an answer is read, in bytes.
	maxAnswer = 256 << 10
)

// badStatus is the error of a service that answers and refuses.
type badStatus struct {
	status int
	body   string
}

func (e *badStatus) Error() string {
	return fmt.Sprintf("the application service answered with status %d", e.status)
}

// old says whether a status may mean that the service knows an older path only (spec:
// application service API, legacy routes). The others mean that it knows this one.
func (e *badStatus) old() bool {
	switch e.status {
	case http.StatusNotFound, http.StatusMethodNotAllowed, http.StatusInternalServerError, http.StatusNotImplemented:
		return true
	}
	return false
}

// call asks a service at the first path, and at the following ones if it may not know that
// one, and returns the answer. It tries the first path each time, since the service may have
// been updated.
func (k *Keeper) call(ctx context.Context, s *Service, method string, body []byte, paths ...string) (answer []byte, err error) {
	ctx, cancel := context.WithTimeout(ctx, callTimeout)
	defer cancel()
	for i, path := range paths {
		answer, again := k.callOne(ctx, s, method, path, body)
		if again == nil {
			return answer, nil
		}
		if i == 0 {
			err = again // what the path of the standard answers tells most
		}
		var bad *badStatus
		if !errors.As(again, &bad) || !bad.old() {
			break
		}
	}
	return nil, err
}

func (k *Keeper) callOne(ctx context.Context, s *Service, method, path string, body []byte) ([]byte, error) {
	req, err := http.NewRequestWithContext(ctx, method, s.URL+path, bytes.NewReader(body))
	if err != nil {
		return nil, errors.New("the address of the application service is no good")
	}
	req.Header.Set("Authorization", "Bearer "+s.HouseToken)
	if len(body) > 0 {
		req.Header.Set("Content-Type", "application/json")
	}
	res, err := k.Client.Do(req)
	if err != nil {
		return nil, err
	}
	defer res.Body.Close()
	answer, err := io.ReadAll(io.LimitReader(res.Body, maxAnswer))
	if err != nil {
		return nil, err
	}
	if res.StatusCode < 200 || res.StatusCode > 299 {
		return nil, &badStatus{res.StatusCode, string(answer)}
	}
	return answer, nil
}
