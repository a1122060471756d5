package web

import (
	"bytes"
	"cmp"
	"context"
	"crypto/rand"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"net/http"
	"runtime/debug"
	"slices"
	"strconv"
	"strings"
	"time"

	"porchlight/kv"
	"porchlight/server/matrix"
)

const (
	// answerTimeout is how long a client may take to accept a short answer.
	answerTimeout = time.Minute
	// slowestClient is how fast it has to take a long one, in bytes per second.
	slowestClient = 4 << 10
)

// response notes what was sent.
type response struct {
	http.ResponseWriter
	begun  bool
	status int
	bytes  int64
}

// WriteHeader sends the status once.
func (w *response) WriteHeader(status int) {
	if w.begun {
		return
	}
	if status >= http.StatusOK { // 1xx may come several times
		w.begun, w.status = true, status
	}
	w.ResponseWriter.WriteHeader(status)
}

// Write sends bytes, and status 200 before the first.
func (w *response) Write(p []byte) (int, error) {
	w.WriteHeader(http.StatusOK)
	n, err := w.ResponseWriter.Write(p)
	w.bytes += int64(n)
	return n, err
}

// Unwrap is for http.ResponseController.
func (w *response) Unwrap() http.ResponseWriter { return w.ResponseWriter }

// encode writes JSON as clients want it: no HTML escapes, no trailing newline.
func encode(v any) ([]byte, error) {
	var b bytes.Buffer
	e := json.NewEncoder(&b)
	e.SetEscapeHTML(false)
	if err := e.Encode(v); err != nil {
		return nil, fmt.Errorf("encode the answer: %w", err)
	}
	return bytes.TrimSuffix(b.Bytes(), []byte("\n")), nil
}

// writePiece is how much of an answer is written before the client counts as having moved, in
// bytes.
const writePiece = 64 << 10

// smallAnswer is the size in bytes up to which answers are not counted.
const smallAnswer = 4 << 10

// buildFactor is how many times the size of an answer is in memory while it is built: as rows
// and as JSON.
const buildFactor = 2

// Expect charges an answer of about n bytes before it is built, and waits a moment for room.
// Call it outside of any transaction. An answer that could not be held even alone is refused
// with M_TOO_LARGE; the other errors are M_LIMIT_EXCEEDED.
func (c *Call) Expect(n int64) error {
	x := c.exchange
	if n <= smallAnswer || x == nil {
		return nil
	}
	most := x.server.answers.most()
	if n > buildFactor*most { // the filter may leave out some, but not so much
		return matrix.TooLarge(fmt.Sprintf("This answer would have about %d MiB, and the server holds %d MiB of answers at most: ask for less at a time, for instance with a filter or sliding sync.", n>>20, most>>20))
	}
	x.sending = x.server.answers.hold(x.client(), nil)
	return x.sending.grow(c.Ctx, min(n*buildFactor, most))
}

// answerHold charges an answer to the budget of those under way; nil if it is small. What a
// transaction has done is told to the client in any case.
func (x *exchange) answerHold(size int) (*hold, error) {
	h := x.sending // what was expected
	if size <= smallAnswer {
		h.release()
		return nil, nil
	}
	if h == nil {
		h = x.server.answers.hold(x.client(), nil)
	}
	var err error
	if x.op == nil || x.op.route.Handler.kind == writeKind {
		h.force(int64(size) - h.size)
	} else {
		h.shrink(int64(size))
		err = h.grow(x.call.Ctx, int64(size)-h.size)
	}
	rc := http.NewResponseController(x.w.ResponseWriter)
	h.start(func() { _ = rc.SetWriteDeadline(longAgo) })
	return h, err
}

// writeAnswer writes the JSON that a handler made.
func (x *exchange) writeAnswer() error {
	h, err := x.answerHold(len(x.answer))
	defer h.release()
	if err != nil {
		return err
	}
	x.sending = h
	x.writeJSON(cmp.Or(x.call.Status, http.StatusOK), x.answer)
	return nil
}

func (x *exchange) writeJSON(status int, body []byte) {
	rc := http.NewResponseController(x.w.ResponseWriter)
	if x.call.R.ContentLength != 0 {
		// net/http reads what is left of the body before it answers; not for ever. It
		// takes the deadline off again before the next request.
		_ = rc.SetReadDeadline(time.Now().Add(bodyTimeout))
	}
	h := x.w.Header()
	h.Set("Content-Type", "application/json")
	h.Set("Content-Length", strconv.Itoa(len(body)))
	if h.Get("Cache-Control") == "" {
		h.Set("Cache-Control", "no-store")
	}
	x.w.WriteHeader(status)
	if x.call.R.Method == http.MethodHead {
		return
	}
	patience := answerTimeout + time.Duration(len(body)/slowestClient)*time.Second
	timed := rc.SetWriteDeadline(time.Now().Add(patience)) == nil // the network's clock
	// An error here means that the client has gone; nobody is left to tell.
	for piece := range slices.Chunk(body, writePiece) {
		n, err := x.w.Write(piece)
		x.sending.progress(n)
		if err != nil {
			break
		}
	}
	x.sending.settle() // from here on the deadline is the connection's again
	if timed {
		_ = rc.Flush()
		_ = rc.SetWriteDeadline(time.Time{})
	}
}

// fail answers an error.
func (x *exchange) fail(err error) {
	if x.w.begun {
		x.server.log.Warn("an answer broke off", "op", x.name(), "error", err)
		panic(http.ErrAbortHandler) // cuts the connection
	}
	e := x.refusal(err)
	h := x.w.Header()
	h.Del("Cache-Control")
	h.Del("Etag")
	h.Del("Content-Disposition")
	fields := maps.Clone(e.Extra)
	if fields == nil {
		fields = map[string]any{}
	}
	// The first answer of user-interactive authentication has no errcode.
	if e.Code != "" {
		fields["errcode"], fields["error"] = e.Code, asSentence(e.Message)
	}
	if _, told := fields["admin_contact"]; e.Code == "M_RESOURCE_LIMIT_EXCEEDED" && !told && x.server.space != nil {
		fields["admin_contact"] = x.server.space.Contact()
	}
	if e.Retry > 0 {
		seconds := (e.Retry + time.Second - 1) / time.Second
		h.Set("Retry-After", strconv.FormatInt(int64(seconds), 10))
		fields["retry_after_ms"] = (e.Retry + time.Millisecond - 1).Milliseconds()
	}
	body, encErr := encode(fields)
	if encErr != nil {
		body, _ = encode(map[string]string{"errcode": "M_UNKNOWN", "error": x.internal(encErr).Message})
		e = &matrix.Error{Status: http.StatusInternalServerError}
	}
	x.writeJSON(e.Status, body)
}

// asSentence makes a sentence of a message that is written as Go's errors are, since
// clients show it to people: "the room is full" becomes "The room is full.". What
// begins with an identifier keeps it as it is.
func asSentence(message string) string {
	word, _, _ := strings.Cut(message, " ")
	if word != "" && strings.Trim(word, "abcdefghijklmnopqrstuvwxyz") == "" {
		message = strings.ToUpper(message[:1]) + message[1:]
	}
	if message != "" && !strings.ContainsAny(message[len(message)-1:], ".!?") {
		message += "."
	}
	return message
}

// refusal is what the client is told of an error.
func (x *exchange) refusal(err error) *matrix.Error {
	var refused *matrix.Error
	var method *wrongMethod
	var tooLarge *http.MaxBytesError
	var panicked *panicError
	switch {
	case errors.As(err, &refused) && refused.Status >= http.StatusBadRequest:
		return refused
	case errors.As(err, &method):
		x.w.Header().Set("Allow", method.allow)
		return matrix.Unrecognized(http.StatusMethodNotAllowed, "This operation does not know the method "+strconv.Quote(x.call.R.Method)+".")
	case errors.As(err, &tooLarge):
		return matrix.TooLarge(fmt.Sprintf("The request body is larger than %d bytes.", tooLarge.Limit))
	case errors.As(err, &panicked) && panicked.value == http.ErrAbortHandler:
		panic(http.ErrAbortHandler)
	case errors.Is(err, context.Canceled) && x.call.Ctx.Err() != nil:
		return matrix.Unknown(http.StatusServiceUnavailable, "The request was cancelled.")
	case isUnwritable(err):
		return matrix.Unknown(http.StatusServiceUnavailable,
			"This server cannot store anything at the moment. What is there can still be read; the owner has to look at its disk.")
	case errors.Is(err, kv.ErrClosed):
		return matrix.Unknown(http.StatusServiceUnavailable, "The server is stopping.")
	}
	if x.server.space != nil {
		if full := x.server.space.Failed(err); full != nil {
			return full
		}
	}
	return x.internal(err)
}

// isUnwritable: the database is only read, see kv.UnwritableError.
func isUnwritable(err error) bool {
	_, is := errors.AsType[*kv.UnwritableError](err)
	return is
}

// internal logs an error that is nobody's business and makes up what the client sees.
func (x *exchange) internal(err error) *matrix.Error {
	reference := rand.Text()[:10]
	attrs := []any{"op", x.name(), "reference", reference, "error", err}
	var panicked *panicError
	if errors.As(err, &panicked) {
		attrs = append(attrs, "stack", string(panicked.stack))
	}
	x.server.log.Error("internal error", attrs...)
	if x.server.onError != nil {
		x.server.onError(err, reference)
	}
	return matrix.Unknown(http.StatusInternalServerError, "Internal server error. The server's log knows it as "+reference+".")
}

// panicError is a panic that was caught on its way out of a handler.
type panicError struct {
	value any
	stack []byte
}

func (e *panicError) Error() string { return fmt.Sprintf("panic: %v", e.value) }

// recoverTo, deferred, turns a panic into an error.
func recoverTo(err *error) {
	if v := recover(); v != nil {
		*err = &panicError{value: v, stack: debug.Stack()}
	}
}

// name is the operation for the log; the path itself may hold what is private.
func (x *exchange) name() string {
	if x.op == nil {
		return "unrecognized"
	}
	return x.op.route.Op
}

// logRequest writes the request's one line, at debug level.
func (x *exchange) logRequest() {
	x.server.log.LogAttrs(context.WithoutCancel(x.call.Ctx), slog.LevelDebug, "request",
		slog.String("op", x.name()),
		slog.String("method", x.call.R.Method),
		slog.Int("status", x.w.status),
		slog.Int64("bytes", x.w.bytes),
		slog.Duration("took", x.server.now().Sub(x.call.Now)),
		slog.String("user", string(x.call.User)),
		slog.String("ip", x.call.IP),
	)
}
