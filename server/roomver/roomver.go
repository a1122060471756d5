// Package roomver says what is different from one room version to the next.
//
// Each Version answers named questions, so that no other package compares version
// numbers: code asks "may one knock?", never "is it 7 or more?". Room versions are
// names, not numbers, and are in no order (spec: rooms, index).
package roomver

// Default is the version of new rooms (spec: rooms, complete list of room versions).
const Default = "12"

// EventIDFormat is how an event comes by its ID.
type EventIDFormat int

const (
	// EventIDGiven: the sending server chose it, "$opaque:server", and it is a
	// field of the event (spec: rooms/v1, event IDs).
	EventIDGiven EventIDFormat = iota
	// EventIDBase64: "$" and the reference hash in base64 (spec: rooms/v3, event IDs).
	EventIDBase64
	// EventIDURLSafe: "$" and the reference hash in URL-safe base64 (spec: rooms/v4, event IDs).
	EventIDURLSafe
)

// StateResolution is how conflicting state is settled.
type StateResolution int

const (
	// StateResolution1 is that of spec: rooms/v1, state resolution.
	StateResolution1 StateResolution = iota
	// StateResolution2 is that of spec: rooms/v2, state resolution.
	StateResolution2
	// StateResolution21 starts from an empty state and adds the conflicted
	// subgraph (spec: rooms/v12, state resolution).
	StateResolution21
)

// Version is one room version: its name and the answers to what others ask of it.
type Version struct {
	// ID is the name that stands in the create event, such as "12".
	ID string
	// Stable is whether rooms may safely be created in it.
	Stable bool

	// EventID is how events come by their IDs.
	EventID EventIDFormat
	// StateResolution is the algorithm for conflicting state.
	StateResolution StateResolution

	// HashedReferences: auth_events and prev_events are pairs of ID and reference
	// hash instead of plain IDs (spec: rooms/v1 and rooms/v3, event format).
	HashedReferences bool
	// EventIDServerSigns: the server named in the event ID has to sign, too
	// (spec: rooms/v3, authorisation rules).
	EventIDServerSigns bool
	// RedactionAuthRule: redactions are judged by the authorisation rules; later
	// versions judge them when they take effect (spec: rooms/v1 auth 11 and
	// rooms/v3, handling redactions).
	RedactionAuthRule bool
	// AliasesAuthRule: m.room.aliases has an authorisation rule of its own, and
	// keeps its aliases when redacted (spec: rooms/v1 auth 4, rooms/v6).
	AliasesAuthRule bool

	// EnforceSigningKeyValidity: a signing key has to be valid at the event's
	// origin_server_ts (spec: rooms/v5, signing key validity period).
	EnforceSigningKeyValidity bool
	// StrictCanonicalJSON: events with floats or integers beyond 2^53-1 are
	// refused (spec: rooms/v6, canonical JSON).
	StrictCanonicalJSON bool
	// LimitNotificationsPowerLevels: changes of "notifications" in the power
	// levels are checked as those of "events" are (spec: rooms/v6 auth 9.4).
	LimitNotificationsPowerLevels bool

	// Knock: users may ask to be let in (spec: rooms/v7, authorisation rules).
	Knock bool
	// Restricted: the join rule "restricted" exists (spec: rooms/v8).
	Restricted bool
	// RedactionKeepsJoinAuthoriser: a redacted membership keeps
	// join_authorised_via_users_server (spec: rooms/v9, redactions).
	RedactionKeepsJoinAuthoriser bool
	// KnockRestricted: the join rule "knock_restricted" exists (spec: rooms/v10).
	KnockRestricted bool
	// IntegerPowerLevels: power levels have to be integers, not strings
	// (spec: rooms/v10 auth 9.1). Where this is false they may be strings and,
	// without StrictCanonicalJSON, floats.
	IntegerPowerLevels bool

	// ImplicitRoomCreator: the creator is the sender of the create event, whose
	// content has no "creator" (spec: rooms/v11, event format).
	ImplicitRoomCreator bool
	// UpdatedRedactionRules: what survives redaction is the list of spec:
	// rooms/v11, redactions.
	UpdatedRedactionRules bool
	// RedactsInContent: "redacts" stands in the content of a redaction instead of
	// at its top level (spec: rooms/v11, event format).
	RedactsInContent bool

	// RoomIDIsHash: the room ID is the ID of the create event with another sigil;
	// the create event itself has no room_id (spec: rooms/v12, event format).
	RoomIDIsHash bool
	// PrivilegedCreators: creators stand above all power levels, and there may be
	// additional_creators (spec: rooms/v12, authorisation rules).
	PrivilegedCreators bool
	// AuthEventsWithoutCreate: the create event is not among the auth_events,
	// since the room ID implies it (spec: rooms/v12 auth 3.2).
	AuthEventsWithoutCreate bool
}

// MaxDepth is the largest depth an event may have (spec: rooms/v1 and rooms/v6,
// event format).
func (v Version) MaxDepth() int64 {
	if v.StrictCanonicalJSON {
		return 1<<53 - 1
	}
	return 1<<63 - 1
}

// Get finds a version by its name.
func Get(id string) (Version, bool) {
	for _, v := range All() {
		if v.ID == id {
			return v, true
		}
	}
	return Version{}, false
}

// All are the versions this server knows, oldest first.
func All() []Version {
	v1 := Version{
		ID: "1", Stable: true,
		EventID: EventIDGiven, StateResolution: StateResolution1,
		HashedReferences: true, EventIDServerSigns: true,
		RedactionAuthRule: true, AliasesAuthRule: true,
	}
	v2 := next(v1, "2")
	v2.StateResolution = StateResolution2

	v3 := next(v2, "3")
	v3.EventID = EventIDBase64
	v3.HashedReferences = false
	v3.EventIDServerSigns = false
	v3.RedactionAuthRule = false

	v4 := next(v3, "4")
	v4.EventID = EventIDURLSafe

	v5 := next(v4, "5")
	v5.EnforceSigningKeyValidity = true

	v6 := next(v5, "6")
	v6.AliasesAuthRule = false
	v6.StrictCanonicalJSON = true
	v6.LimitNotificationsPowerLevels = true

	v7 := next(v6, "7")
	v7.Knock = true

	v8 := next(v7, "8")
	v8.Restricted = true

	v9 := next(v8, "9")
	v9.RedactionKeepsJoinAuthoriser = true

	v10 := next(v9, "10")
	v10.KnockRestricted = true
	v10.IntegerPowerLevels = true

	v11 := next(v10, "11")
	v11.ImplicitRoomCreator = true
	v11.UpdatedRedactionRules = true
	v11.RedactsInContent = true

	v12 := next(v11, "12")
	v12.StateResolution = StateResolution21
	v12.RoomIDIsHash = true
	v12.PrivilegedCreators = true
	v12.AuthEventsWithoutCreate = true

	return []Version{v1, v2, v3, v4, v5, v6, v7, v8, v9, v10, v11, v12}
}

// next is a version that builds on another.
func next(v Version, id string) Version {
	v.ID = id
	return v
}
