package eventauth

import "porchlight/server/roomver"

// rule is one of the rules that refuse, whatever its number in a room version.
type rule int

const (
	createHasParents rule = iota
	createRoomID
	createVersion
	createNoCreator
	createAdditional
	roomUnknown
	authDuplicate
	authUnexpected
	authRejected
	authNoCreate
	authOtherRoom
	notFederated
	aliasesNoKey
	aliasesOfOther
	memberIncomplete
	memberUnsigned
	joinOther
	joinBanned
	joinNotAuthorised
	joinNotInvited
	thirdPartyBanned
	thirdPartyUnsigned
	thirdPartyIncomplete
	thirdPartyTarget
	thirdPartyToken
	thirdPartySender
	thirdPartySignature
	inviteNotJoined
	inviteTarget
	inviteLevel
	leaveAbsent
	leaveNotJoined
	leaveUnban
	leaveLevel
	banNotJoined
	banLevel
	knockRule
	knockOther
	knockNotOutside
	memberUnknown
	senderNotJoined
	thirdPartyLevel
	levelTooLow
	stateOfOther
	levelsSingle
	levelsMaps
	levelsUsers
	levelsCreator
	levelsBefore
	levelsAfter
	levelsMapBefore
	levelsMapAfter
	levelsUserBefore
	levelsUserAfter
	redactionLevel
)

// numbering is the text that a room version takes its authorisation rules from:
// versions in between have the same rules with the same numbers.
type numbering int

const (
	asV1 numbering = iota // and 2
	asV3                  // to 5
	asV6
	asV7
	asV8 // and 9
	asV10
	asV11
	asV12
	numberings
)

// number is the name of a rule in a room version, such as "v6 4.2.3".
func number(v roomver.Version, r rule) string {
	text := asV12
	switch {
	case v.RedactionAuthRule:
		text = asV1
	case v.AliasesAuthRule:
		text = asV3
	case !v.Knock:
		text = asV6
	case !v.Restricted:
		text = asV7
	case !v.IntegerPowerLevels:
		text = asV8
	case !v.ImplicitRoomCreator:
		text = asV10
	case !v.RoomIDIsHash:
		text = asV11
	}
	return "v" + v.ID + " " + numbers(r)[text]
}

// numbers is where a rule stands in each of the texts; empty where it does not
// (spec: rooms/v1 to rooms/v12, authorisation rules).
func numbers(r rule) [numberings]string {
	return [...][numberings]string{
		//                     v1         v3         v6         v7         v8         v10        v11        v12
		createHasParents:     {"1.1", "1.1", "1.1", "1.1", "1.1", "1.1", "1.1", "1.1"},
		createRoomID:         {"1.2", "1.2", "1.2", "1.2", "1.2", "1.2", "1.2", "1.2"},
		createVersion:        {"1.3", "1.3", "1.3", "1.3", "1.3", "1.3", "1.3", "1.3"},
		createNoCreator:      {"1.4", "1.4", "1.4", "1.4", "1.4", "1.4", "", ""},
		createAdditional:     {"", "", "", "", "", "", "", "1.4"},
		roomUnknown:          {"", "", "", "", "", "", "", "2"},
		authDuplicate:        {"2.1", "2.1", "2.1", "2.1", "2.1", "2.1", "2.1", "3.1"},
		authUnexpected:       {"2.2", "2.2", "2.2", "2.2", "2.2", "2.2", "2.2", "3.2"},
		authRejected:         {"2.3", "2.3", "2.3", "2.3", "2.3", "2.3", "2.3", "3.3"},
		authNoCreate:         {"2.4", "2.4", "2.4", "2.4", "2.4", "2.4", "2.4", ""},
		authOtherRoom:        {"2.5", "2.5", "2.5", "2.5", "2.5", "2.5", "2.5", "3.5"},
		notFederated:         {"3", "3", "3", "3", "3", "3", "3", "4"},
		aliasesNoKey:         {"4.1", "4.1", "", "", "", "", "", ""},
		aliasesOfOther:       {"4.2", "4.2", "", "", "", "", "", ""},
		memberIncomplete:     {"5.1", "5.1", "4.1", "4.1", "4.1", "4.1", "4.1", "5.1"},
		memberUnsigned:       {"", "", "", "", "4.2.1", "4.2.1", "4.2.1", "5.2.1"},
		joinOther:            {"5.2.2", "5.2.2", "4.2.2", "4.2.2", "4.3.2", "4.3.2", "4.3.2", "5.3.2"},
		joinBanned:           {"5.2.3", "5.2.3", "4.2.3", "4.2.3", "4.3.3", "4.3.3", "4.3.3", "5.3.3"},
		joinNotAuthorised:    {"", "", "", "", "4.3.5.2", "4.3.5.2", "4.3.5.2", "5.3.5.2"},
		joinNotInvited:       {"5.2.6", "5.2.6", "4.2.6", "4.2.6", "4.3.7", "4.3.7", "4.3.7", "5.3.7"},
		thirdPartyBanned:     {"5.3.1.1", "5.3.1.1", "4.3.1.1", "4.3.1.1", "4.4.1.1", "4.4.1.1", "4.4.1.1", "5.4.1.1"},
		thirdPartyUnsigned:   {"5.3.1.2", "5.3.1.2", "4.3.1.2", "4.3.1.2", "4.4.1.2", "4.4.1.2", "4.4.1.2", "5.4.1.2"},
		thirdPartyIncomplete: {"5.3.1.3", "5.3.1.3", "4.3.1.3", "4.3.1.3", "4.4.1.3", "4.4.1.3", "4.4.1.3", "5.4.1.3"},
		thirdPartyTarget:     {"5.3.1.4", "5.3.1.4", "4.3.1.4", "4.3.1.4", "4.4.1.4", "4.4.1.4", "4.4.1.4", "5.4.1.4"},
		thirdPartyToken:      {"5.3.1.5", "5.3.1.5", "4.3.1.5", "4.3.1.5", "4.4.1.5", "4.4.1.5", "4.4.1.5", "5.4.1.5"},
		thirdPartySender:     {"5.3.1.6", "5.3.1.6", "4.3.1.6", "4.3.1.6", "4.4.1.6", "4.4.1.6", "4.4.1.6", "5.4.1.6"},
		thirdPartySignature:  {"5.3.1.8", "5.3.1.8", "4.3.1.8", "4.3.1.8", "4.4.1.8", "4.4.1.8", "4.4.1.8", "5.4.1.8"},
		inviteNotJoined:      {"5.3.2", "5.3.2", "4.3.2", "4.3.2", "4.4.2", "4.4.2", "4.4.2", "5.4.2"},
		inviteTarget:         {"5.3.3", "5.3.3", "4.3.3", "4.3.3", "4.4.3", "4.4.3", "4.4.3", "5.4.3"},
		inviteLevel:          {"5.3.5", "5.3.5", "4.3.5", "4.3.5", "4.4.5", "4.4.5", "4.4.5", "5.4.5"},
		leaveAbsent:          {"5.4.1", "5.4.1", "4.4.1", "4.4.1", "4.5.1", "4.5.1", "4.5.1", "5.5.1"},
		leaveNotJoined:       {"5.4.2", "5.4.2", "4.4.2", "4.4.2", "4.5.2", "4.5.2", "4.5.2", "5.5.2"},
		leaveUnban:           {"5.4.3", "5.4.3", "4.4.3", "4.4.3", "4.5.3", "4.5.3", "4.5.3", "5.5.3"},
		leaveLevel:           {"5.4.5", "5.4.5", "4.4.5", "4.4.5", "4.5.5", "4.5.5", "4.5.5", "5.5.5"},
		banNotJoined:         {"5.5.1", "5.5.1", "4.5.1", "4.5.1", "4.6.1", "4.6.1", "4.6.1", "5.6.1"},
		banLevel:             {"5.5.3", "5.5.3", "4.5.3", "4.5.3", "4.6.3", "4.6.3", "4.6.3", "5.6.3"},
		knockRule:            {"", "", "", "4.6.1", "4.7.1", "4.7.1", "4.7.1", "5.7.1"},
		knockOther:           {"", "", "", "4.6.2", "4.7.2", "4.7.2", "4.7.2", "5.7.2"},
		knockNotOutside:      {"", "", "", "4.6.4", "4.7.4", "4.7.4", "4.7.4", "5.7.4"},
		memberUnknown:        {"5.6", "5.6", "4.6", "4.7", "4.8", "4.8", "4.8", "5.8"},
		senderNotJoined:      {"6", "6", "5", "5", "5", "5", "5", "6"},
		thirdPartyLevel:      {"7.1", "7.1", "6.1", "6.1", "6.1", "6.1", "6.1", "7.1"},
		levelTooLow:          {"8", "8", "7", "7", "7", "7", "7", "8"},
		stateOfOther:         {"9", "9", "8", "8", "8", "8", "8", "9"},
		levelsSingle:         {"", "", "", "", "", "9.1", "9.1", "10.1"},
		levelsMaps:           {"", "", "", "", "", "9.2", "9.2", "10.2"},
		levelsUsers:          {"10.1", "10.1", "9.1", "9.1", "9.1", "9.3", "9.3", "10.3"},
		levelsCreator:        {"", "", "", "", "", "", "", "10.4"},
		levelsBefore:         {"10.3.1", "10.3.1", "9.3.1", "9.3.1", "9.3.1", "9.5.1", "9.5.1", "10.6.1"},
		levelsAfter:          {"10.3.2", "10.3.2", "9.3.2", "9.3.2", "9.3.2", "9.5.2", "9.5.2", "10.6.2"},
		levelsMapBefore:      {"10.4.1", "10.4.1", "9.4.1", "9.4.1", "9.4.1", "9.6.1", "9.6.1", "10.7.1"},
		levelsMapAfter:       {"10.5.1", "10.5.1", "9.5.1", "9.5.1", "9.5.1", "9.7.1", "9.7.1", "10.8.1"},
		levelsUserBefore:     {"10.6.1", "10.6.1", "9.6.1", "9.6.1", "9.6.1", "9.8.1", "9.8.1", "10.9.1"},
		levelsUserAfter:      {"10.7.1", "10.7.1", "9.7.1", "9.7.1", "9.7.1", "9.9.1", "9.9.1", "10.10.1"},
		redactionLevel:       {"11.3", "", "", "", "", "", "", ""},
	}[r]
}
