// Package clientapi is the client-server API: its operations, one short handler each,
// in files named after the files of the spec's OpenAPI description.
//
// To add an operation:
//
//  1. add its line to routes.go, below the heading of its file; Op is the operationId;
//  2. write the method of API that is called like the operationId, in the file that is
//     named like the OpenAPI file; its types are sendMessageIn and sendMessageOut;
//  3. if it needs a keeper that is not in Config yet, add the field there;
//  4. give it its test cases: without a token, wrong user, bad input, right.
//
// Handlers decode nothing, check no token and write no error: package web does (its
// Route and the tags of the input types say how). They hold no rules either: what may
// be done, the keepers decide. A handler translates between the two.
package clientapi

import (
	"porchlight/kv"
	"porchlight/media"
	"porchlight/server/accounts"
	"porchlight/server/e2ee"
	"porchlight/server/ephemeral"
	"porchlight/server/history"
	"porchlight/server/push"
	"porchlight/server/reports"
	"porchlight/server/rooms"
	"porchlight/server/syncv2"
)

// Config is everything that the operations work on. The keepers have to be there; the
// zero value of any other field is its default.
type Config struct {
	DB        *kv.DB
	Accounts  *accounts.Keeper
	Rooms     *rooms.Keeper
	History   *history.Keeper
	Ephemeral *ephemeral.Keeper
	E2EE      *e2ee.Keeper
	Push      *push.Keeper
	Sync      *syncv2.View
	Media     *media.Keeper
	Reports   *reports.Keeper

	// Registration is who may make an account; empty: closed.
	Registration Registration
	// SharedSecret offers registration by shared secret; empty: it is not there.
	SharedSecret string
	// PublicURL is what well-known tells clients, without a slash at the end; empty:
	// it tells nothing.
	PublicURL string
	// RoomVersion is the default that capabilities tell of; empty: roomver.Default.
	RoomVersion string
}

// API is the operations. Its keepers are reached through the embedded Config: a.DB.
type API struct {
	Config
	nonces nonces
}

// New makes the operations ready.
func New(c Config) *API { return &API{Config: c} }
