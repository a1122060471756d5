package matrix

import (
	"errors"
	"fmt"
	"math"
	"net/http"
	"time"
)

// Error is what a client is told when its request is refused: the standard
// error response (spec: client-server API, standard error response). Keepers
// and handlers return it; only server/web writes it out.
type Error struct {
	Status  int            // HTTP status code
	Code    string         // errcode, "M_…"
	Message string         // a sentence for a person
	Extra   map[string]any // further top-level fields of the answer, or nil
	// Retry is how long the client has to wait, for M_LIMIT_EXCEEDED only.
	Retry time.Duration
	// Rule names the authorisation rule that refused, such as "v6 5.3.3"; it is
	// for tests and the log and does not leave the server.
	Rule string
}

// Error is the errcode and the sentence.
func (e *Error) Error() string {
	if e.Rule != "" {
		return fmt.Sprintf("%s: %s (rule %s)", e.Code, e.Message, e.Rule)
	}
	return e.Code + ": " + e.Message
}

// With returns a copy that carries one more top-level field.
func (e *Error) With(key string, value any) *Error {
	c := *e
	c.Extra = make(map[string]any, len(e.Extra)+1)
	for k, v := range e.Extra {
		c.Extra[k] = v
	}
	c.Extra[key] = value
	return &c
}

// Is makes errors.Is compare by errcode and status.
func (e *Error) Is(target error) bool {
	t, ok := target.(*Error)
	return ok && t.Code == e.Code && t.Status == e.Status
}

// IsCode says whether err is, or wraps, an Error with this errcode.
func IsCode(err error, code string) bool {
	var e *Error
	return errors.As(err, &e) && e.Code == code
}

func refuse(status int, code, message string) *Error {
	return &Error{Status: status, Code: code, Message: message}
}

// BadJSON is 400 M_BAD_JSON: JSON of the wrong shape.
func BadJSON(msg string) *Error { return refuse(http.StatusBadRequest, "M_BAD_JSON", msg) }

// NotJSON is 400 M_NOT_JSON: no JSON at all.
func NotJSON(msg string) *Error { return refuse(http.StatusBadRequest, "M_NOT_JSON", msg) }

// InvalidParam is 400 M_INVALID_PARAM.
func InvalidParam(msg string) *Error { return refuse(http.StatusBadRequest, "M_INVALID_PARAM", msg) }

// MissingParam is 400 M_MISSING_PARAM.
func MissingParam(msg string) *Error { return refuse(http.StatusBadRequest, "M_MISSING_PARAM", msg) }

// Forbidden is 403 M_FORBIDDEN.
func Forbidden(msg string) *Error { return refuse(http.StatusForbidden, "M_FORBIDDEN", msg) }

// NotFound is 404 M_NOT_FOUND.
func NotFound(msg string) *Error { return refuse(http.StatusNotFound, "M_NOT_FOUND", msg) }

// Unrecognized is M_UNRECOGNIZED with status 404 (no such operation) or 405
// (operation exists, method does not).
func Unrecognized(status int, msg string) *Error { return refuse(status, "M_UNRECOGNIZED", msg) }

// MissingToken is 401 M_MISSING_TOKEN.
func MissingToken() *Error {
	return refuse(http.StatusUnauthorized, "M_MISSING_TOKEN", "this needs an access token: please log in")
}

// UnknownToken is 401 M_UNKNOWN_TOKEN; soft tells the client to keep its keys
// (spec: client-server API, soft logout).
func UnknownToken(soft bool) *Error {
	e := refuse(http.StatusUnauthorized, "M_UNKNOWN_TOKEN", "that token is not, or no longer, valid")
	if soft {
		return e.With("soft_logout", true)
	}
	return e
}

// LimitExceeded is 429 M_LIMIT_EXCEEDED; retry is sent as Retry-After, in whole
// seconds rounded up, and as retry_after_ms for older clients.
func LimitExceeded(retry time.Duration) *Error {
	e := refuse(http.StatusTooManyRequests, "M_LIMIT_EXCEEDED",
		fmt.Sprintf("too many requests: please wait %d s", int(math.Ceil(retry.Seconds()))))
	e.Retry = retry
	return e
}

// TooLarge is 413 M_TOO_LARGE.
func TooLarge(msg string) *Error {
	return refuse(http.StatusRequestEntityTooLarge, "M_TOO_LARGE", msg)
}

// ResourceLimit is 403 M_RESOURCE_LIMIT_EXCEEDED: a bound of what is stored is reached. The
// answer also needs an admin_contact, which server/web adds (spec: client-server API, common
// error codes).
func ResourceLimit(msg string) *Error {
	return refuse(http.StatusForbidden, "M_RESOURCE_LIMIT_EXCEEDED", msg)
}

// UserInUse is 400 M_USER_IN_USE.
func UserInUse() *Error {
	return refuse(http.StatusBadRequest, "M_USER_IN_USE", "that user name is taken")
}

// InvalidUsername is 400 M_INVALID_USERNAME.
func InvalidUsername(msg string) *Error {
	return refuse(http.StatusBadRequest, "M_INVALID_USERNAME", msg)
}

// WeakPassword is 400 M_WEAK_PASSWORD.
func WeakPassword(msg string) *Error { return refuse(http.StatusBadRequest, "M_WEAK_PASSWORD", msg) }

// UserDeactivated is 403 M_USER_DEACTIVATED.
func UserDeactivated() *Error {
	return refuse(http.StatusForbidden, "M_USER_DEACTIVATED", "this account has been closed")
}

// UserLocked is 401 M_USER_LOCKED; the client keeps its session
// (spec: client-server API, account locking).
func UserLocked() *Error {
	return refuse(http.StatusUnauthorized, "M_USER_LOCKED", "this account is locked").With("soft_logout", true)
}

// UserSuspended is 403 M_USER_SUSPENDED.
func UserSuspended() *Error {
	return refuse(http.StatusForbidden, "M_USER_SUSPENDED", "this account is suspended and can only read and leave")
}

// RoomInUse is 400 M_ROOM_IN_USE: the alias is taken.
func RoomInUse(msg string) *Error { return refuse(http.StatusBadRequest, "M_ROOM_IN_USE", msg) }

// AliasInUse is 409 M_UNKNOWN, as the directory operation asks.
func AliasInUse(msg string) *Error { return refuse(http.StatusConflict, "M_UNKNOWN", msg) }

// InvalidRoomState is 400 M_INVALID_ROOM_STATE.
func InvalidRoomState(msg string) *Error {
	return refuse(http.StatusBadRequest, "M_INVALID_ROOM_STATE", msg)
}

// UnsupportedRoomVersion is 400 M_UNSUPPORTED_ROOM_VERSION.
func UnsupportedRoomVersion(version string) *Error {
	return refuse(http.StatusBadRequest, "M_UNSUPPORTED_ROOM_VERSION",
		fmt.Sprintf("this server does not know room version %q", shorten(version)))
}

// BadState is 400 M_BAD_STATE.
func BadState(msg string) *Error { return refuse(http.StatusBadRequest, "M_BAD_STATE", msg) }

// Unknown is M_UNKNOWN with the status given.
func Unknown(status int, msg string) *Error { return refuse(status, "M_UNKNOWN", msg) }

// Refusal is an Error with any status and errcode, for the operations whose
// errcode no other constructor of this package has.
func Refusal(status int, code, msg string) *Error { return refuse(status, code, msg) }
