package web

// Access says who may use an operation.
type Access int

// The kinds of access.
const (
	// Anyone may use the operation; an access token is not looked at.
	Anyone Access = iota
	// Optional operations work without an access token, but one that is given has
	// to be good.
	Optional
	// User operations need an access token.
	User
)

// Route is one operation of a door: what is asked how, by whom, and what answers.
type Route struct {
	Op     string // the operationId of the spec
	Method string // GET also serves HEAD
	// Path is the operation's path with {names} for its parameters. A path below
	// /_matrix/…/v3 is also served below r0 and v1 where nothing else is there.
	Path string
	// Aliases are further paths, with the same parameters.
	Aliases []string
	// EmptyLast lets the last parameter be empty: "…/state/{eventType}/{stateKey}"
	// then also serves "…/state/x/" and "…/state/x".
	EmptyLast bool

	Access Access
	Guests bool // guest accounts may use it (spec: client-server API, guest access)
	Locked bool // locked accounts may use it (spec: client-server API, account locking)
	// NotSuspended operations are refused to suspended accounts, which may read and leave
	// (spec: client-server API, account suspension).
	NotSuspended bool

	// RateLimited operations are counted against Limit, or against General if that
	// is empty.
	RateLimited bool
	Limit       Class

	// Once makes repeated requests return the first one's answer without doing
	// anything; the path has to hold {txnId}, the handler has to be a Write (spec:
	// client-server API, transaction identifiers).
	Once bool

	// MaxBody is the largest body in bytes; 0 is Config.MaxBody. A negative number
	// leaves the bound to a handler that reads the body as a stream.
	MaxBody int64

	Handler Handler
}
