package clientapi_test

import (
	"testing"

	"porchlight/server/servertest"
)

// Clients go on asking by the names that an operation had before it was accepted.
func TestUnstableNames(t *testing.T) {
	h := servertest.New(t)
	alice := h.User("alice")
	h.User("bob").Must("PUT", "v3/profile/{@bob}/displayname", `{"displayname":"Bob"}`, nil)
	var room struct {
		ID string `json:"room_id"`
	}
	alice.Must("POST", "v3/createRoom", `{"preset":"public_chat","room_version":"11","room_alias_name":"hall"}`, &room)
	h.Set("room", room.ID)
	h.User("bob").Must("POST", "v3/join/{room}", `{}`, nil)
	var sent struct {
		ID string `json:"event_id"`
	}
	alice.Must("PUT", "v3/rooms/{room}/send/m.room.message/1", `{"msgtype":"m.text","body":"hello"}`, &sent)
	h.Set("event", sent.ID)
	alice.Must("PUT", "v3/rooms/{room}/send/m.room.message/2", `{"msgtype":"m.text","body":"yes?","m.relates_to":{"rel_type":"m.thread","event_id":"{event}"}}`, nil)
	const u = "/_matrix/client/unstable/"
	h.Run(t, []servertest.Case{
		{Name: "mutual rooms", Who: "alice", Method: "GET", Path: u + "uk.half-shot.msc2666/user/mutual_rooms?user_id={@bob}", Status: 200, Want: `{"joined":["{room}"],"count":1}`},
		{Name: "mutual rooms, next page", Who: "alice", Method: "GET", Path: u + "uk.half-shot.msc2666/user/mutual_rooms?user_id={@bob}&batch_token=x", Status: 400, Errcode: "M_INVALID_PARAM"},
		{Name: "relations", Who: "alice", Method: "GET", Path: u + "rooms/{room}/relations/{event}", Status: 200, Want: `{"chunk":[{"content":{"body":"yes?"}}]}`},
		{Name: "relations of a kind", Who: "alice", Method: "GET", Path: u + "rooms/{room}/relations/{event}/m.thread", Status: 200, Want: `{"chunk":[{"content":{"body":"yes?"}}]}`},
		{Name: "relations of a kind and type", Who: "alice", Method: "GET", Path: u + "rooms/{room}/relations/{event}/m.thread/m.reaction", Status: 200, Want: `{"chunk":[]}`},
		{Name: "threads", Who: "alice", Method: "GET", Path: u + "org.matrix.msc3856/rooms/{room}/threads", Status: 200, Want: `{"chunk":[{"event_id":"{event}"}]}`},
		{Name: "hierarchy", Who: "alice", Method: "GET", Path: u + "org.matrix.msc2946/rooms/{room}/hierarchy", Status: 200, Want: `{"rooms":[{"room_id":"{room}"}]}`},
		{Name: "event at a time", Who: "alice", Method: "GET", Path: u + "org.matrix.msc3030/rooms/{room}/timestamp_to_event?dir=b&ts=9999999999999", Status: 200, Want: `{"event_id":"$*"}`},
		{Name: "summary", Who: "alice", Method: "GET", Path: u + "im.nheko.summary/summary/{room}", Status: 200, Want: `{"room_id":"{room}"}`},
		{Name: "aliases", Who: "alice", Method: "GET", Path: u + "org.matrix.msc2432/rooms/{room}/aliases", Status: 200, Want: `{"aliases":["#hall:{server}"]}`},
		{Name: "knocking on an open door", Who: "alice", Method: "POST", Path: u + "xyz.amorgan.knock/knock/{room}", Body: `{}`, Status: 403, Errcode: "M_FORBIDDEN"},
		{Name: "refresh", Method: "POST", Path: u + "org.matrix.msc2918/refresh", Body: `{"refresh_token":"x"}`, Status: 401, Errcode: "M_UNKNOWN_TOKEN"},
		{Name: "cross-signing keys", Who: "alice", Method: "POST", Path: u + "keys/device_signing/upload", Body: `{}`, Status: 400, Errcode: "M_MISSING_PARAM"},
		{Name: "signatures", Who: "alice", Method: "POST", Path: u + "keys/signatures/upload", Body: `{}`, Status: 200},
		{Name: "profile", Who: "alice", Method: "GET", Path: u + "uk.tcpip.msc4133/profile/{@bob}/displayname", Status: 200, Want: `{"displayname":"Bob"}`},
		{Name: "limits of media", Who: "alice", Method: "GET", Path: u + "org.matrix.msc3916/media/config", Status: 200, Want: `{"m.upload.size":52428800}`},
		{Name: "media", Who: "alice", Method: "GET", Path: u + "org.matrix.msc3916/media/download/{server}/none", Status: 404, Errcode: "M_NOT_FOUND"},
		{Name: "named media", Who: "alice", Method: "GET", Path: u + "org.matrix.msc3916/media/download/{server}/none/a.png", Status: 404, Errcode: "M_NOT_FOUND"},
		{Name: "thumbnail", Who: "alice", Method: "GET", Path: u + "org.matrix.msc3916/media/thumbnail/{server}/none?width=32&height=32", Status: 404, Errcode: "M_NOT_FOUND"},
		{Name: "preview", Who: "alice", Method: "GET", Path: u + "org.matrix.msc3916/media/preview_url?url=nonsense", Status: 400, Errcode: "M_INVALID_PARAM"},
		{Name: "report of a room", Who: "alice", Method: "POST", Path: u + "org.matrix.msc4151/rooms/{room}/report", Body: `{"reason":"noise"}`, Status: 200},
		{Name: "report of a user", Who: "alice", Method: "POST", Path: u + "org.matrix.msc4260/users/{@bob}/report", Body: `{"reason":"noise"}`, Status: 200},
		{Name: "what clients look for", Method: "GET", Path: "versions", Status: 200, Want: `{"unstable_features":{"org.matrix.msc3440.stable":true,"org.matrix.e2e_cross_signing":true,"uk.half-shot.msc2666.query_mutual_rooms":true}}`},
	})
}
