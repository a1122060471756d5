package appservice

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"net/http"
	"strings"
	"time"

	"porchlight/server/matrix"
)

const (
	// pingTimeout is how long a service may take for a ping, for which it waits itself.
	pingTimeout = 10 * time.Second
	// maxShownAnswer is how much of the answer to a ping is passed on, in bytes.
	maxShownAnswer = 4 << 10
)

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
	begun := k.Now()
	_, err = k.call(ctx, s, http.MethodPost, body, "/_matrix/app/v1/ping", "/_matrix/app/unstable/fi.mau.msc2659/ping")
	if err == nil {
		k.answers(s.ID)
		return k.Now().Sub(begun), nil
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
