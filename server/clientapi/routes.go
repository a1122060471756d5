package clientapi

import (
	"net/http"

	"porchlight/server/web"
)

// The methods, short enough for a table.
const (
	get    = http.MethodGet
	put    = http.MethodPut
	post   = http.MethodPost
	remove = http.MethodDelete
)

// Routes is the table of all operations, grouped by the files of the OpenAPI
// description, in alphabetical order. RateLimited, Access and Guests are as the spec
// marks them; MaxBody is given where the default of 64 KiB is too little.
func (a *API) Routes() []web.Route {
	return []web.Route{
		// banning.yaml
		{Op: "ban", Method: post, Path: "/_matrix/client/v3/rooms/{roomId}/ban", Access: web.User, Handler: web.Write(a.ban)},
		{Op: "unban", Method: post, Path: "/_matrix/client/v3/rooms/{roomId}/unban", Access: web.User, Handler: web.Write(a.unban)},

		// create_room.yaml
		{Op: "createRoom", Method: post, Path: "/_matrix/client/v3/createRoom", Access: web.User, MaxBody: maxCreateBody, Handler: web.Write(a.createRoom)},

		// directory.yaml
		{Op: "setRoomAlias", Method: put, Path: "/_matrix/client/v3/directory/room/{roomAlias}", Access: web.User, Handler: web.Write(a.setRoomAlias)},
		{Op: "getRoomIdByAlias", Method: get, Path: "/_matrix/client/v3/directory/room/{roomAlias}", Access: web.Anyone, Handler: web.Read(a.getRoomIdByAlias)},
		{Op: "deleteRoomAlias", Method: remove, Path: "/_matrix/client/v3/directory/room/{roomAlias}", Access: web.User, Handler: web.Write(a.deleteRoomAlias)},
		{Op: "getLocalAliases", Method: get, Path: "/_matrix/client/v3/rooms/{roomId}/aliases", Access: web.User, RateLimited: true, Handler: web.Read(a.getLocalAliases)},

		// inviting.yaml
		{Op: "inviteUser", Method: post, Path: "/_matrix/client/v3/rooms/{roomId}/invite", Access: web.User, RateLimited: true, Handler: web.Write(a.inviteUser)},

		// joining.yaml
		{Op: "joinRoomById", Method: post, Path: "/_matrix/client/v3/rooms/{roomId}/join", Access: web.User, RateLimited: true, Handler: web.Write(a.joinRoomById)},
		{Op: "joinRoom", Method: post, Path: "/_matrix/client/v3/join/{roomIdOrAlias}", Access: web.User, RateLimited: true, Handler: web.Write(a.joinRoom)},

		// kicking.yaml
		{Op: "kick", Method: post, Path: "/_matrix/client/v3/rooms/{roomId}/kick", Access: web.User, Handler: web.Write(a.kick)},

		// knocking.yaml
		{Op: "knockRoom", Method: post, Path: "/_matrix/client/v3/knock/{roomIdOrAlias}", Access: web.User, RateLimited: true, Handler: web.Write(a.knockRoom)},

		// leaving.yaml
		{Op: "leaveRoom", Method: post, Path: "/_matrix/client/v3/rooms/{roomId}/leave", Access: web.User, RateLimited: true, Handler: web.Write(a.leaveRoom)},
		{Op: "forgetRoom", Method: post, Path: "/_matrix/client/v3/rooms/{roomId}/forget", Access: web.User, RateLimited: true, Handler: web.Write(a.forgetRoom)},

		// redaction.yaml
		{Op: "redactEvent", Method: put, Path: "/_matrix/client/v3/rooms/{roomId}/redact/{eventId}/{txnId}", Access: web.User, Once: true, Handler: web.Write(a.redactEvent)},

		// room_send.yaml
		{Op: "sendMessage", Method: put, Path: "/_matrix/client/v3/rooms/{roomId}/send/{eventType}/{txnId}", Access: web.User, Once: true, MaxBody: maxEventBody, Handler: web.Write(a.sendMessage)},

		// room_state.yaml
		{Op: "setRoomStateWithKey", Method: put, Path: "/_matrix/client/v3/rooms/{roomId}/state/{eventType}/{stateKey}", EmptyLast: true, Access: web.User, MaxBody: maxEventBody, Handler: web.Write(a.setRoomStateWithKey)},

		// versions.yaml
		{Op: "getVersions", Method: get, Path: "/_matrix/client/versions", Access: web.Anyone, Handler: web.Plain(a.getVersions)},
	}
}
