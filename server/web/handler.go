package web

import (
	"context"
	"net/http"
	"reflect"
	"time"

	"porchlight/kv"
	"porchlight/server/matrix"
)

// Call is what a handler knows about its request besides the decoded input.
type Call struct {
	Ctx context.Context // ends when the client goes away

	// Who asks; empty where nobody is signed in.
	User   matrix.UserID
	Device matrix.DeviceID
	Guest  bool
	Owner  bool // owner of the house
	// Suspended is for operations of which suspended users may do a part.
	Suspended bool
	// Service is the ID of the application service that acts for User; empty: none.
	Service   string
	unlimited bool
	exchange  *exchange // nil in tests of handlers alone

	Now time.Time // when the request came in
	IP  string    // the client's address, without port; empty if unknown
	// Base is where this client reached the house, as "https://house.example:8448"; empty
	// if the request does not say. A client can make it up: it is for that client only.
	Base string

	// TxnID is the path's {txnId}, if it has one.
	TxnID string

	// Status is what the handler wants a successful answer to have, if not 200.
	Status int

	R *http.Request
	// W is for Stream handlers. Others may set headers on it before they return, and
	// nothing more.
	W http.ResponseWriter
}

// Empty is the answer {} and the input of operations that take none.
type Empty struct{}

// Handler answers one operation. Read, Write, WriteAfter, WriteWith, Plain and Stream make
// it; the zero Handler is refused by New.
type Handler struct {
	in    reflect.Type
	kind  kind
	serve func(x *exchange) error
}

type kind int

const (
	readKind kind = iota + 1
	writeKind
	plainKind
	streamKind
)

// Read makes a handler that runs in one read transaction.
func Read[In, Out any](fn func(c *Call, tx *kv.ReadTx, in In) (Out, error)) Handler {
	return Handler{in: reflect.TypeFor[In](), kind: readKind, serve: func(x *exchange) error {
		var in In
		if err := x.decode(&in); err != nil {
			return err
		}
		var out Out
		err := x.server.db.View(x.call.Ctx, func(tx *kv.ReadTx) (err error) {
			out, err = fn(&x.call, tx, in)
			return err
		})
		if err != nil {
			return err
		}
		x.answer, err = encode(out)
		return err
	}}
}

// ReadSized is Read for an operation whose answer may be large: size says about how many bytes
// it has, by what is counted and not by reading it. It is charged before it is built, as by
// Call.Expect.
func ReadSized[In, Out any](size func(c *Call, tx *kv.ReadTx, in In) int64, fn func(c *Call, tx *kv.ReadTx, in In) (Out, error)) Handler {
	h := Read(fn)
	serve := h.serve
	h.serve = func(x *exchange) error {
		var in In
		if err := x.decode(&in); err != nil {
			return err
		}
		var n int64
		err := x.server.db.View(x.call.Ctx, func(tx *kv.ReadTx) error {
			n = size(&x.call, tx, in)
			return nil
		})
		if err != nil {
			return err
		}
		if err := x.call.Expect(n); err != nil {
			return err
		}
		return serve(x) // it has no body, so that it can be decoded twice
	}
	return h
}

// Write makes a handler that runs in one write transaction. It answers once its rows
// are synced to disk; if it returns an error, nothing is written.
func Write[In, Out any](fn func(c *Call, tx *kv.WriteTx, in In) (Out, error)) Handler {
	return WriteWith(func(_ *Call, in In) (In, error) { return in, nil }, fn)
}

// WriteAfter is Write for an operation that has to do something first that takes long, such
// as asking others: prepare, which runs in no transaction. An error of it refuses the request.
func WriteAfter[In, Out any](prepare func(c *Call, in In) error, fn func(c *Call, tx *kv.WriteTx, in In) (Out, error)) Handler {
	return WriteWith(func(c *Call, in In) (In, error) { return in, prepare(c, in) }, fn)
}

// WriteWith is Write for an operation whose input takes long to check, as signatures do:
// prepare does it, in no transaction, and fn gets what it makes of the input. An error of
// prepare refuses the request.
func WriteWith[In, Ready, Out any](prepare func(c *Call, in In) (Ready, error), fn func(c *Call, tx *kv.WriteTx, ready Ready) (Out, error)) Handler {
	return Handler{in: reflect.TypeFor[In](), kind: writeKind, serve: func(x *exchange) error {
		var in In
		if err := x.decode(&in); err != nil {
			return err
		}
		ready, err := prepare(&x.call, in)
		if err != nil {
			return err
		}
		if err := x.server.writers.enter(x.call.Ctx, x.client()); err != nil {
			return err
		}
		defer x.server.writers.leave(x.client())
		return x.server.db.Update(x.call.Ctx, func(tx *kv.WriteTx) (err error) {
			defer recoverTo(&err) // here, while the stack still tells where
			if err := x.authenticate(tx); err != nil {
				return err
			}
			if x.answered(tx) {
				return nil
			}
			out, err := fn(&x.call, tx, ready)
			if err != nil {
				return err
			}
			if x.answer, err = encode(out); err != nil {
				return err
			}
			if x.op.route.Once {
				x.server.once.Remember(tx, x.onceKey(), x.answer, x.call.Now)
			}
			return nil
		})
	}}
}

// Plain makes a handler that runs in no transaction and may open its own: for what
// hashes passwords, waits, or talks to others.
func Plain[In, Out any](fn func(c *Call, in In) (Out, error)) Handler {
	return Handler{in: reflect.TypeFor[In](), kind: plainKind, serve: func(x *exchange) error {
		var in In
		if err := x.decode(&in); err != nil {
			return err
		}
		out, err := fn(&x.call, in)
		if err != nil {
			return err
		}
		x.answer, err = encode(out)
		return err
	}}
}

// Stream makes a handler that writes its answer to Call.W itself, such as a download
// or a redirect. An error that it returns before the first byte is answered as usual;
// later, the connection is cut so that the client does not take half for the whole.
func Stream[In any](fn func(c *Call, in In) error) Handler {
	return Handler{in: reflect.TypeFor[In](), kind: streamKind, serve: func(x *exchange) error {
		var in In
		if err := x.decode(&in); err != nil {
			return err
		}
		if err := fn(&x.call, in); err != nil {
			return err
		}
		if !x.w.begun {
			x.w.WriteHeader(http.StatusOK)
		}
		return nil
	}}
}
