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
	"log/slog"

	"porchlight/kv"
	"porchlight/media"
	"porchlight/server/accounts"
	"porchlight/server/appservice"
	"porchlight/server/e2ee"
	"porchlight/server/ephemeral"
	"porchlight/server/history"
	"porchlight/server/matrix"
	"porchlight/server/notices"
	"porchlight/server/push"
	"porchlight/server/reports"
	"porchlight/server/rooms"
	"porchlight/server/search"
	"porchlight/server/slidingsync"
	"porchlight/server/syncv2"
)

// Config is everything that the operations work on. The keepers have to be there; the
// zero value of any other field is its default.
type Config struct {
	DB        *kv.DB
	Accounts  *accounts.Keeper
	Rooms     *rooms.Keeper
	History   *history.Keeper
	Search    *search.Keeper
	Ephemeral *ephemeral.Keeper
	E2EE      *e2ee.Keeper
	Push      *push.Keeper
	Sync      *syncv2.View
	Sliding   *slidingsync.View
	Media     *media.Keeper
	Reports   *reports.Keeper
	Notices   *notices.Keeper
	Services  *appservice.Keeper

	// Registration is who may make an account; empty: closed.
	Registration Registration
	// Guests lets anybody make a guest's account.
	Guests bool
	// Terms are what whoever makes an account has to accept; nil: nothing.
	Terms *accounts.Terms
	// Mail sends mails; nil: addresses cannot be validated.
	Mail Mailer
	// RegistrationEmail says whether an address is asked of whoever makes an account.
	RegistrationEmail EmailUse
	// NextLinkHosts are where links in mails may lead on to; empty: anywhere.
	NextLinkHosts []string
	// AllUsers lets the user directory find everybody, not only who can be met in rooms.
	AllUsers bool
	// Support is what well-known tells of who runs the house.
	Support Support
	// PolicyKey is the public key of the owner's policy server, in base64; empty: none.
	PolicyKey string
	// SharedSecret offers registration by shared secret; empty: it is not there.
	SharedSecret string
	// PublicURL is what well-known tells clients, without a slash at the end; empty: it
	// tells each client the address at which that client asked.
	PublicURL string
	// EncryptionHint is "on" or "off" for what well-known tells clients about encrypting
	// new rooms; empty: nothing.
	EncryptionHint string
	// MediaElsewhere is where all media can be had besides, without a slash at the end, for
	// those who follow redirects; empty: nowhere.
	MediaElsewhere string
	// Turn is the TURN server for a user who asked at base, as "http://house.local:8008";
	// nil, itself or what it returns: there is none.
	Turn func(user matrix.UserID, base string) *TurnServer
	// RoomVersion is the default that capabilities tell of; empty: roomver.Default.
	RoomVersion string
	// BoardUser is the board's own user, for whom nobody speaks; empty: there is none.
	BoardUser matrix.UserID
	// Log hears of what no client is told; nil: slog.Default().
	Log *slog.Logger
}

// API is the operations. Its keepers are reached through the embedded Config: a.DB.
type API struct {
	Config
	nonces nonces
}

// New makes the operations ready.
func New(c Config) *API {
	if c.Log == nil {
		c.Log = slog.Default()
	}
	return &API{Config: c}
}
