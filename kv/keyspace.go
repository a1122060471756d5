package kv

// Keyspace is one line of the ledger: a table as it lies on disk.
type Keyspace struct {
	Tag     byte      // first byte of every key; 1 to 254, never reused
	Name    string    // plural, snake_case
	Key     []KeyPart // in order
	Owner   string    // the one package that has the table
	Bucket  bucket    // where the rows lie
	Caption string    // what one row says
}

// KeyPart is a named part of a key.
type KeyPart struct {
	Name string
	Kind Part
}

// bucket is a bbolt bucket. Rows that one message touches share a bucket, since
// each further bucket costs a commit about three pages; keys that fall at random
// places have one of their own, so that they do not tear the appended ones apart.
type bucket byte

const (
	main   bucket = iota // everything that appends or is written rarely
	random               // hashes and other random keys
)

var bucketNames = []string{"main", "random"}

func (b bucket) name() []byte          { return []byte(bucketNames[b]) }
func (b bucket) key(key []byte) string { return string(append([]byte{byte(b)}, key...)) }

// The ledger. A tag, once given, is never given again, also when its table is gone.
var (
	// Meta: the file's own affairs.
	metaSpace = &Keyspace{1, "meta", parts("name", Text), "kv", main, "format version and other facts about the file"}

	// setup.
	Settings = &Keyspace{2, "settings", parts("name", Text), "server/setup", main, "one setting of the house, as JSON"}

	// changes.
	Changes      = &Keyspace{5, "changes", parts("position", Number), "server/changes", main, "what happened at a position"}
	Incarnations = &Keyspace{125, "incarnations", parts("first", Number), "server/changes", main, "that the database came back from an older copy, and the first position after that"}
	Cursors      = &Keyspace{6, "cursors", parts("follower", Text), "server/changes", main, "how far a follower has read"}

	// accounts.
	Users         = &Keyspace{10, "users", parts("user", Text), "server/accounts", main, "an account: password hash, state, profile"}
	Devices       = &Keyspace{11, "devices", parts("user", Text, "device", Text), "server/accounts", main, "a device and when it was last seen"}
	AccessTokens  = &Keyspace{12, "access_tokens", parts("hash", Hash), "server/accounts", random, "the device that a token's hash stands for"}
	RefreshTokens = &Keyspace{13, "refresh_tokens", parts("hash", Hash), "server/accounts", random, "the device that a refresh token's hash stands for"}
	DeviceTokens  = &Keyspace{14, "device_tokens", parts("user", Text, "device", Text, "hash", Hash), "server/accounts", main, "which tokens a device has"}
	AccountData   = &Keyspace{15, "account_data", parts("user", Text, "room", Text, "type", Text), "server/accounts", main, "account data; room is empty for the global kind"}
	Filters       = &Keyspace{16, "filters", parts("user", Text, "filter", Text), "server/accounts", main, "a stored filter, as JSON"}
	OnceAnswers   = &Keyspace{17, "once_answers", parts("user", Text, "device", Text, "path", Hash), "server/accounts", main, "the answer to a transaction ID that was seen before"}
	RegTokens     = &Keyspace{19, "registration_tokens", parts("token", Text), "server/accounts", main, "a registration token: uses and expiry"}
	Threepids     = &Keyspace{20, "threepids", parts("medium", Text, "address", Text), "server/accounts", main, "whose third-party identifier this is"}
	LoginTokens   = &Keyspace{21, "login_tokens", parts("hash", Hash), "server/accounts", random, "a short-lived token for m.login.token"}
	OpenIDTokens  = &Keyspace{22, "openid_tokens", parts("hash", Hash), "server/accounts", random, "a token that proves to others who a user is"}
	Validations   = &Keyspace{23, "validations", parts("session", Text), "server/accounts", random, "an address that is being validated"}

	AccountDataSizes = &Keyspace{136, "account_data_sizes", parts("user", Text), "server/accounts", main, "how many bytes of account data a user has"}

	// rooms.
	Rooms        = &Keyspace{30, "rooms", parts("room", Text), "server/rooms", main, "a room: version, creator, type"}
	Events       = &Keyspace{31, "events", parts("room", Text, "position", Number), "server/rooms", main, "an event at its place in the room's timeline"}
	EventIDs     = &Keyspace{32, "event_ids", parts("event", Text), "server/rooms", random, "the room and position of an event"}
	State        = &Keyspace{33, "state", parts("room", Text, "type", Text, "state_key", Text), "server/rooms", main, "the position of the current state event"}
	StateHistory = &Keyspace{34, "state_history", parts("room", Text, "type", Text, "state_key", Text, "position", Number), "server/rooms", main, "that a state event took effect at a position"}
	Memberships  = &Keyspace{35, "memberships", parts("user", Text, "room", Text), "server/rooms", main, "a user's membership of a room"}
	Aliases      = &Keyspace{36, "aliases", parts("alias", Text), "server/rooms", main, "the room of an alias and who made it"}
	RoomAliases  = &Keyspace{37, "room_aliases", parts("room", Text, "alias", Text), "server/rooms", main, "the aliases of a room"}
	PublicRooms  = &Keyspace{38, "public_rooms", parts("room", Text), "server/rooms", main, "that a room is in the directory"}
	RoomTasks    = &Keyspace{140, "room_tasks", parts("kind", Text, "subject", Text), "server/rooms", main, "a change of many rooms or members that is not done yet, and how far it is"}
	Relations    = &Keyspace{39, "relations", parts("event", Text, "position", Number), "server/rooms", main, "an event that relates to this one, and how"}

	RoomSizes = &Keyspace{135, "room_sizes", parts("room", Text), "server/rooms", main, "how many bytes the current state of a room has"}

	// search.
	SearchWords = &Keyspace{40, "search_words", parts("word", Text, "position", Number), "server/search", random, "that the event at a position has a word"}
	SearchTexts = &Keyspace{41, "search_texts", parts("position", Number), "server/search", main, "the room and the words of an event that can be searched for"}

	// reports and notices.
	Reports     = &Keyspace{46, "reports", parts("number", Number), "server/reports", main, "what somebody reported as inappropriate"}
	NoticeRooms = &Keyspace{47, "notice_rooms", parts("user", Text), "server/notices", main, "the room in which the house writes to a user"}

	// ephemeral.
	Receipts = &Keyspace{50, "receipts", parts("room", Text, "user", Text, "type", Text, "thread", Text), "server/ephemeral", main, "how far a user has read"}

	// e2ee.
	DeviceKeys    = &Keyspace{60, "device_keys", parts("user", Text, "device", Text), "server/e2ee", main, "a device's identity keys, as JSON"}
	OneTimeKeys   = &Keyspace{61, "one_time_keys", parts("user", Text, "device", Text, "algorithm", Text, "batch", Number, "key", Text), "server/e2ee", main, "a one-time key that nobody has claimed; batch is the upload it came in"}
	FallbackKeys  = &Keyspace{62, "fallback_keys", parts("user", Text, "device", Text, "algorithm", Text), "server/e2ee", main, "a fallback key and whether it was used"}
	CrossSigning  = &Keyspace{63, "cross_signing_keys", parts("user", Text, "usage", Text), "server/e2ee", main, "a cross-signing key, as JSON"}
	KeySignatures = &Keyspace{64, "key_signatures", parts("user", Text, "key", Text, "signer", Text, "signing_key", Text), "server/e2ee", main, "a signature that was uploaded later"}
	ToDevice      = &Keyspace{65, "to_device", parts("user", Text, "device", Text, "position", Number), "server/e2ee", main, "a message that a device has not taken yet"}
	KeyCounts     = &Keyspace{66, "one_time_key_counts", parts("user", Text, "device", Text, "algorithm", Text), "server/e2ee", main, "how many one-time keys a device has left, and which were claimed last"}
	BackupVersion = &Keyspace{67, "key_backup_versions", parts("user", Text, "version", Number), "server/e2ee", main, "a version of a key backup"}
	BackupKeys    = &Keyspace{68, "key_backup_keys", parts("user", Text, "version", Number, "room", Text, "session", Text), "server/e2ee", main, "a backed-up session"}

	InboxSizes  = &Keyspace{137, "to_device_sizes", parts("user", Text, "device", Text, "sender", Text), "server/e2ee", main, "how many bytes of messages of a sender wait for a device; of all under the empty name"}
	BackupSizes = &Keyspace{138, "key_backup_sizes", parts("user", Text, "version", Number), "server/e2ee", main, "how many bytes the keys of a backup have"}

	Dehydrated = &Keyspace{96, "dehydrated_devices", parts("user", Text), "server/e2ee", main, "the user's dehydrated device and what its keys are, encrypted, as JSON (MSC3814)"}

	// push.
	PushRules   = &Keyspace{75, "push_rules", parts("user", Text), "server/push", main, "what a user changed of the push rules"}
	Pushers     = &Keyspace{76, "pushers", parts("user", Text, "app", Text, "pushkey", Text), "server/push", main, "where a user's notifications are sent, and from which event on they still have to be"}
	PushSecrets = &Keyspace{77, "push_secrets", parts("hash", Hash), "server/push", random, "whose device may listen to the topics of this house"}
	PushTopics  = &Keyspace{78, "push_topics", parts("number", Number), "server/push", main, "a message of a topic, as JSON"}
	PushOwners  = &Keyspace{110, "push_topic_owners", parts("topic", Text), "server/push", main, "who listens to a topic that an app has made up, and nobody else may"}
	PushKeys    = &Keyspace{79, "push_keys", parts("name", Text), "server/push", main, "a key of the house's own, such as that for Web Push"}

	// media.
	MediaItems    = &Keyspace{80, "media", parts("server", Text, "media_id", Text), "media", main, "an item of the content repository: type, name, size, blob"}
	MediaBlobs    = &Keyspace{81, "media_blobs", parts("sha256", Hash), "media", random, "where a blob lies and how often it is used"}
	MediaUsage    = &Keyspace{82, "media_usage", parts("who", Text), "media", main, "how much a user keeps; all together under the empty name"}
	MediaPending  = &Keyspace{83, "media_pending", parts("user", Text, "media_id", Text), "media", main, "a media ID that waits for its content, and until when"}
	MediaThumbs   = &Keyspace{84, "media_thumbnails", parts("sha256", Hash, "variant", Text), "media", random, "a thumbnail of a blob: its type and its own blob"}
	MediaPreviews = &Keyspace{85, "media_previews", parts("url_sha256", Hash), "media", random, "what a page says of itself, and when it was fetched"}

	// voip.
	BoardSettings = &Keyspace{90, "board_settings", parts("name", Text), "voip/agent", main, "a setting of the board's own user, as JSON"}
	BoardSongs    = &Keyspace{100, "board_songs", parts("name", Text), "voip/agent", main, "a song that the board can play: where its sound lies"}
	BoardUploads  = &Keyspace{101, "board_uploads", parts("made", Number, "uri", Text), "voip/agent", main, "a picture or clip that the board made by itself, and its size in bytes"}
	BoardCalls    = &Keyspace{92, "board_calls", parts("room", Text, "call", Text), "voip/agent", main, "a call that the board is in, and its party ID: hung up if the house is killed"}

	BoardTold = &Keyspace{115, "board_told", parts("what", Text, "whom", Text), "voip/agent", main, "when the board said something that it says once, such as in an encrypted room"}

	// appservice.
	Appservices      = &Keyspace{93, "appservices", parts("service", Text), "server/appservice", main, "the registration of an application service; its own token as a hash"}
	AppserviceQueues = &Keyspace{94, "appservice_queues", parts("service", Text), "server/appservice", main, "how far a service was told, and the positions of the transaction under way"}
	AppserviceRooms  = &Keyspace{95, "appservice_rooms", parts("service", Text, "network", Text, "room", Text), "server/appservice", main, "that a room is in the directory of a service's network"}
)

// Ledger is every keyspace that a file of this release may hold.
func Ledger() []*Keyspace {
	return []*Keyspace{
		metaSpace, Settings, Changes, Cursors, Incarnations,
		Users, Devices, AccessTokens, RefreshTokens, DeviceTokens, AccountData, Filters,
		OnceAnswers, RegTokens, Threepids, LoginTokens, OpenIDTokens, Validations, AccountDataSizes,
		Rooms, Events, EventIDs, State, StateHistory, Memberships, Aliases, RoomAliases, PublicRooms, Relations, RoomSizes, RoomTasks,
		SearchWords, SearchTexts,
		Reports, NoticeRooms, Receipts,
		DeviceKeys, OneTimeKeys, FallbackKeys, CrossSigning, KeySignatures, ToDevice, KeyCounts, BackupVersion, BackupKeys, InboxSizes, BackupSizes, Dehydrated,
		PushRules, Pushers, PushSecrets, PushTopics, PushKeys, MediaItems, MediaBlobs, MediaUsage, MediaPending, MediaThumbs, MediaPreviews, BoardSettings, BoardSongs, BoardUploads, BoardCalls, BoardTold,
		PushOwners,
		Appservices, AppserviceQueues, AppserviceRooms,
	}
}

// parts pairs names with kinds.
func parts(namesAndKinds ...any) []KeyPart {
	all := make([]KeyPart, 0, len(namesAndKinds)/2)
	for i := 0; i < len(namesAndKinds); i += 2 {
		all = append(all, KeyPart{namesAndKinds[i].(string), namesAndKinds[i+1].(Part)})
	}
	return all
}
