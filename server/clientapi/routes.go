package clientapi

import (
	"net/http"

	"porchlight/kv"
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
// marks them, but for joinRoom and getCapabilities: matrix-js-sdk asks for both on a
// guest's behalf, too, and knows no other way into a room. All operations that look at a
// password are limited as logins; profiles and aliases look at a token that is given, since
// strangers are told less and ask no bridge. MaxBody is given where the
// default of 64 KiB is too little.
func (a *API) Routes() []web.Route {
	all := []web.Route{
		// account-data.yaml
		{Op: "setAccountData", Method: put, Path: "/_matrix/client/v3/user/{userId}/account_data/{type}", Access: web.User, MaxBody: maxAccountDataBody, Handler: web.Write(a.setAccountData)},
		{Op: "getAccountData", Method: get, Path: "/_matrix/client/v3/user/{userId}/account_data/{type}", Access: web.User, Handler: web.Read(a.getAccountData)},
		{Op: "setAccountDataPerRoom", Method: put, Path: "/_matrix/client/v3/user/{userId}/rooms/{roomId}/account_data/{type}", Access: web.User, MaxBody: maxAccountDataBody, Handler: web.Write(a.setAccountDataPerRoom)},
		{Op: "getAccountDataPerRoom", Method: get, Path: "/_matrix/client/v3/user/{userId}/rooms/{roomId}/account_data/{type}", Access: web.User, Handler: web.Read(a.getAccountDataPerRoom)},

		// account_deactivation.yaml
		{Op: "deactivateAccount", Method: post, Path: "/_matrix/client/v3/account/deactivate", Access: web.Optional, RateLimited: true, Limit: web.Login, Handler: web.Plain(a.deactivateAccount)},

		// admin.yaml
		{Op: "getWhoIs", Method: get, Path: "/_matrix/client/v3/admin/whois/{userId}", Access: web.User, Handler: web.Read(a.getWhoIs)},
		{Op: "getAdminSuspendUser", Method: get, Path: "/_matrix/client/v1/admin/suspend/{userId}", Access: web.User, Handler: web.Read(a.getAdminSuspendUser)},
		{Op: "setAdminSuspendUser", Method: put, Path: "/_matrix/client/v1/admin/suspend/{userId}", Access: web.User, Handler: web.Write(a.setAdminSuspendUser)},
		{Op: "getAdminLockUser", Method: get, Path: "/_matrix/client/v1/admin/lock/{userId}", Access: web.User, Handler: web.Read(a.getAdminLockUser)},
		{Op: "setAdminLockUser", Method: put, Path: "/_matrix/client/v1/admin/lock/{userId}", Access: web.User, Handler: web.Write(a.setAdminLockUser)},

		// administrative_contact.yaml
		{Op: "getAccount3PIDs", Method: get, Path: "/_matrix/client/v3/account/3pid", Access: web.User, Handler: web.Read(a.getAccount3PIDs)},
		{Op: "post3PIDs", Method: post, Path: "/_matrix/client/v3/account/3pid", Access: web.User, Handler: web.Plain(a.post3PIDs)},
		{Op: "add3PID", Method: post, Path: "/_matrix/client/v3/account/3pid/add", Access: web.User, RateLimited: true, Limit: web.Login, Handler: web.Plain(a.add3PID)},
		{Op: "bind3PID", Method: post, Path: "/_matrix/client/v3/account/3pid/bind", Access: web.User, RateLimited: true, Handler: web.Plain(a.bind3PID)},
		{Op: "delete3pidFromAccount", Method: post, Path: "/_matrix/client/v3/account/3pid/delete", Access: web.User, NotSuspended: true, Handler: web.Write(a.delete3pidFromAccount)},
		{Op: "unbind3pidFromAccount", Method: post, Path: "/_matrix/client/v3/account/3pid/unbind", Access: web.User, Handler: web.Plain(a.unbind3pidFromAccount)},
		{Op: "requestTokenTo3PIDEmail", Method: post, Path: "/_matrix/client/v3/account/3pid/email/requestToken", Access: web.Anyone, RateLimited: true, Limit: web.Login, Handler: web.Plain(a.requestTokenTo3PIDEmail)},
		{Op: "requestTokenTo3PIDMSISDN", Method: post, Path: "/_matrix/client/v3/account/3pid/msisdn/requestToken", Access: web.Anyone, RateLimited: true, Limit: web.Login, Handler: web.Plain(a.requestPhoneToken)},

		// appservice_ping.yaml
		{Op: "pingAppservice", Method: post, Path: "/_matrix/client/v1/appservice/{appserviceId}/ping", Aliases: []string{"/_matrix/client/unstable/fi.mau.msc2659/appservice/{appserviceId}/ping"}, Access: web.User, Handler: web.Plain(a.pingAppservice)},

		// appservice_room_directory.yaml
		{Op: "updateAppserviceRoomDirectoryVisibility", Method: put, Path: "/_matrix/client/v3/directory/list/appservice/{networkId}/{roomId}", Access: web.User, Handler: web.Write(a.updateAppserviceRoomDirectoryVisibility)},

		// authed-content-repo.yaml
		{Op: "getContentAuthed", Method: get, Path: "/_matrix/client/v1/media/download/{serverName}/{mediaId}", Aliases: []string{"/_matrix/client/unstable/org.matrix.msc3916/media/download/{serverName}/{mediaId}"}, Access: web.User, Guests: true, RateLimited: true, Handler: web.Stream(a.getContentAuthed)},
		{Op: "getContentOverrideNameAuthed", Method: get, Path: "/_matrix/client/v1/media/download/{serverName}/{mediaId}/{fileName}", Aliases: []string{"/_matrix/client/unstable/org.matrix.msc3916/media/download/{serverName}/{mediaId}/{fileName}"}, Access: web.User, Guests: true, RateLimited: true, Handler: web.Stream(a.getContentOverrideNameAuthed)},
		{Op: "getContentThumbnailAuthed", Method: get, Path: "/_matrix/client/v1/media/thumbnail/{serverName}/{mediaId}", Aliases: []string{"/_matrix/client/unstable/org.matrix.msc3916/media/thumbnail/{serverName}/{mediaId}"}, Access: web.User, Guests: true, RateLimited: true, Handler: web.Stream(a.getContentThumbnailAuthed)},
		{Op: "getUrlPreviewAuthed", Method: get, Path: "/_matrix/client/v1/media/preview_url", Aliases: []string{"/_matrix/client/unstable/org.matrix.msc3916/media/preview_url"}, Access: web.User, RateLimited: true, Limit: web.Upload, Handler: web.Plain(a.getUrlPreviewAuthed)},
		{Op: "getConfigAuthed", Method: get, Path: "/_matrix/client/v1/media/config", Aliases: []string{"/_matrix/client/unstable/org.matrix.msc3916/media/config"}, Access: web.User, RateLimited: true, Handler: web.Plain(a.getConfigAuthed)},

		// banning.yaml
		{Op: "ban", Method: post, Path: "/_matrix/client/v3/rooms/{roomId}/ban", Access: web.User, NotSuspended: true, Handler: web.Write(a.ban)},
		{Op: "unban", Method: post, Path: "/_matrix/client/v3/rooms/{roomId}/unban", Access: web.User, NotSuspended: true, Handler: web.Write(a.unban)},

		// capabilities.yaml
		{Op: "getCapabilities", Method: get, Path: "/_matrix/client/v3/capabilities", Access: web.User, Guests: true, RateLimited: true, Handler: web.Read(a.getCapabilities)},

		// content-repo.yaml
		{Op: "uploadContent", Method: post, Path: "/_matrix/media/v3/upload", Access: web.User, NotSuspended: true, RateLimited: true, Limit: web.Upload, MaxBody: -1, Handler: web.Plain(a.uploadContent)},
		{Op: "uploadContentToMXC", Method: put, Path: "/_matrix/media/v3/upload/{serverName}/{mediaId}", Aliases: []string{"/_matrix/media/unstable/fi.mau.msc2246/upload/{serverName}/{mediaId}"}, Access: web.User, NotSuspended: true, RateLimited: true, Limit: web.Upload, MaxBody: -1, Handler: web.Plain(a.uploadContentToMXC)},
		{Op: "createContent", Method: post, Path: "/_matrix/media/v1/create", Aliases: []string{"/_matrix/media/unstable/fi.mau.msc2246/create"}, Access: web.User, NotSuspended: true, RateLimited: true, Limit: web.Upload, Handler: web.Write(a.createContent)},
		{Op: "getContent", Method: get, Path: "/_matrix/media/v3/download/{serverName}/{mediaId}", Access: web.Anyone, RateLimited: true, Handler: web.Stream(a.getContent)},
		{Op: "getContentOverrideName", Method: get, Path: "/_matrix/media/v3/download/{serverName}/{mediaId}/{fileName}", Access: web.Anyone, RateLimited: true, Handler: web.Stream(a.getContentOverrideName)},
		{Op: "getContentThumbnail", Method: get, Path: "/_matrix/media/v3/thumbnail/{serverName}/{mediaId}", Access: web.Anyone, RateLimited: true, Handler: web.Stream(a.getContentThumbnail)},
		{Op: "getUrlPreview", Method: get, Path: "/_matrix/media/v3/preview_url", Access: web.User, RateLimited: true, Limit: web.Upload, Handler: web.Plain(a.getUrlPreviewAuthed)},
		{Op: "getConfig", Method: get, Path: "/_matrix/media/v3/config", Access: web.User, RateLimited: true, Handler: web.Plain(a.getConfigAuthed)},

		// create_room.yaml
		{Op: "createRoom", Method: post, Path: "/_matrix/client/v3/createRoom", Access: web.User, NotSuspended: true, MaxBody: maxCreateBody, Handler: web.WriteAfter(func(c *web.Call, in createRoomIn) error { return a.queryInvited(c, in.Invite...) }, a.createRoom)},

		// cross_signing.yaml
		{Op: "uploadCrossSigningKeys", Method: post, Path: "/_matrix/client/v3/keys/device_signing/upload", Aliases: []string{"/_matrix/client/unstable/keys/device_signing/upload"}, Access: web.User, RateLimited: true, Limit: web.Login, Handler: web.Plain(a.uploadCrossSigningKeys)},
		{Op: "uploadCrossSigningSignatures", Method: post, Path: "/_matrix/client/v3/keys/signatures/upload", Aliases: []string{"/_matrix/client/unstable/keys/signatures/upload"}, Access: web.User, MaxBody: maxKeysBody, Handler: web.WriteWith(a.checkSignatures, a.uploadCrossSigningSignatures)},

		// device_management.yaml
		{Op: "getDevices", Method: get, Path: "/_matrix/client/v3/devices", Access: web.User, Guests: true, Handler: web.Read(a.getDevices)},
		{Op: "getDevice", Method: get, Path: "/_matrix/client/v3/devices/{deviceId}", Access: web.User, Guests: true, Handler: web.Read(a.getDevice)},
		{Op: "updateDevice", Method: put, Path: "/_matrix/client/v3/devices/{deviceId}", Access: web.User, Guests: true, Handler: web.Write(a.updateDevice)},
		{Op: "deleteDevice", Method: remove, Path: "/_matrix/client/v3/devices/{deviceId}", Access: web.User, RateLimited: true, Limit: web.Login, Handler: web.Plain(a.deleteDevice)},
		{Op: "deleteDevices", Method: post, Path: "/_matrix/client/v3/delete_devices", Access: web.User, RateLimited: true, Limit: web.Login, Handler: web.Plain(a.deleteDevices)},

		// directory.yaml
		{Op: "setRoomAlias", Method: put, Path: "/_matrix/client/v3/directory/room/{roomAlias}", Access: web.User, NotSuspended: true, Handler: web.Write(a.setRoomAlias)},
		{Op: "getRoomIdByAlias", Method: get, Path: "/_matrix/client/v3/directory/room/{roomAlias}", Access: web.Optional, RateLimited: true, Handler: web.Plain(a.getRoomIdByAlias)},
		{Op: "deleteRoomAlias", Method: remove, Path: "/_matrix/client/v3/directory/room/{roomAlias}", Access: web.User, NotSuspended: true, Handler: web.Write(a.deleteRoomAlias)},
		{Op: "getLocalAliases", Method: get, Path: "/_matrix/client/v3/rooms/{roomId}/aliases", Aliases: []string{"/_matrix/client/unstable/org.matrix.msc2432/rooms/{roomId}/aliases"}, Access: web.User, RateLimited: true, Handler: web.Read(a.getLocalAliases)},

		// event_context.yaml
		{Op: "getEventContext", Method: get, Path: "/_matrix/client/v3/rooms/{roomId}/context/{eventId}", Access: web.User, Guests: true, Handler: web.ReadSized(func(c *web.Call, tx *kv.ReadTx, in getEventContextIn) int64 {
			return a.stateSize(c, tx, roomIn{in.Room})
		}, a.getEventContext)},

		// filter.yaml
		{Op: "defineFilter", Method: post, Path: "/_matrix/client/v3/user/{userId}/filter", Access: web.User, Handler: web.Write(a.defineFilter)},
		{Op: "getFilter", Method: get, Path: "/_matrix/client/v3/user/{userId}/filter/{filterId}", Access: web.User, Handler: web.Read(a.getFilter)},

		// inviting.yaml
		{Op: "inviteUser", Method: post, Path: "/_matrix/client/v3/rooms/{roomId}/invite", Access: web.User, NotSuspended: true, RateLimited: true, Handler: web.WriteAfter(func(c *web.Call, in inviteUserIn) error { return a.queryInvited(c, in.User) }, a.inviteUser)},

		// joining.yaml
		{Op: "joinRoomById", Method: post, Path: "/_matrix/client/v3/rooms/{roomId}/join", Access: web.User, Guests: true, RateLimited: true, Handler: web.Write(a.joinRoomById)},
		{Op: "joinRoom", Method: post, Path: "/_matrix/client/v3/join/{roomIdOrAlias}", Access: web.User, Guests: true, RateLimited: true, Handler: web.WriteAfter(a.queryAlias, a.joinRoom)},

		// key_backup.yaml
		{Op: "postRoomKeysVersion", Method: post, Path: "/_matrix/client/v3/room_keys/version", Access: web.User, RateLimited: true, Handler: web.Write(a.postRoomKeysVersion)},
		{Op: "getRoomKeysVersionCurrent", Method: get, Path: "/_matrix/client/v3/room_keys/version", Access: web.User, RateLimited: true, Handler: web.Read(a.getRoomKeysVersionCurrent)},
		{Op: "getRoomKeysVersion", Method: get, Path: "/_matrix/client/v3/room_keys/version/{version}", Access: web.User, RateLimited: true, Handler: web.Read(a.getRoomKeysVersion)},
		{Op: "putRoomKeysVersion", Method: put, Path: "/_matrix/client/v3/room_keys/version/{version}", Access: web.User, RateLimited: true, Handler: web.Write(a.putRoomKeysVersion)},
		{Op: "deleteRoomKeysVersion", Method: remove, Path: "/_matrix/client/v3/room_keys/version/{version}", Access: web.User, RateLimited: true, Handler: web.Write(a.deleteRoomKeysVersion)},
		{Op: "putRoomKeys", Method: put, Path: "/_matrix/client/v3/room_keys/keys", Access: web.User, RateLimited: true, MaxBody: maxKeysBody, Handler: web.Write(a.putRoomKeys)},
		{Op: "getRoomKeys", Method: get, Path: "/_matrix/client/v3/room_keys/keys", Access: web.User, RateLimited: true, Handler: web.ReadSized(a.backupSize, a.getRoomKeys)},
		{Op: "deleteRoomKeys", Method: remove, Path: "/_matrix/client/v3/room_keys/keys", Access: web.User, RateLimited: true, Handler: web.Write(a.deleteRoomKeys)},
		{Op: "putRoomKeysByRoomId", Method: put, Path: "/_matrix/client/v3/room_keys/keys/{roomId}", Access: web.User, RateLimited: true, MaxBody: maxKeysBody, Handler: web.Write(a.putRoomKeysByRoomId)},
		{Op: "getRoomKeysByRoomId", Method: get, Path: "/_matrix/client/v3/room_keys/keys/{roomId}", Access: web.User, RateLimited: true, Handler: web.Read(a.getRoomKeysByRoomId)},
		{Op: "deleteRoomKeysByRoomId", Method: remove, Path: "/_matrix/client/v3/room_keys/keys/{roomId}", Access: web.User, RateLimited: true, Handler: web.Write(a.deleteRoomKeysByRoomId)},
		{Op: "putRoomKeyBySessionId", Method: put, Path: "/_matrix/client/v3/room_keys/keys/{roomId}/{sessionId}", Access: web.User, RateLimited: true, MaxBody: maxKeysBody, Handler: web.Write(a.putRoomKeyBySessionId)},
		{Op: "getRoomKeyBySessionId", Method: get, Path: "/_matrix/client/v3/room_keys/keys/{roomId}/{sessionId}", Access: web.User, RateLimited: true, Handler: web.Read(a.getRoomKeyBySessionId)},
		{Op: "deleteRoomKeyBySessionId", Method: remove, Path: "/_matrix/client/v3/room_keys/keys/{roomId}/{sessionId}", Access: web.User, RateLimited: true, Handler: web.Write(a.deleteRoomKeyBySessionId)},

		// keys.yaml
		{Op: "uploadKeys", Method: post, Path: "/_matrix/client/v3/keys/upload", Access: web.User, Guests: true, MaxBody: maxKeysBody, Handler: web.WriteWith(a.checkKeys, a.uploadKeys)},
		{Op: "queryKeys", Method: post, Path: "/_matrix/client/v3/keys/query", Access: web.User, Guests: true, MaxBody: maxKeysBody, Handler: web.Read(a.queryKeys)},
		{Op: "claimKeys", Method: post, Path: "/_matrix/client/v3/keys/claim", Access: web.User, Guests: true, MaxBody: maxKeysBody, Handler: web.Write(a.claimKeys)},
		{Op: "getKeysChanges", Method: get, Path: "/_matrix/client/v3/keys/changes", Access: web.User, Handler: web.Plain(a.getKeysChanges)},

		// kicking.yaml
		{Op: "kick", Method: post, Path: "/_matrix/client/v3/rooms/{roomId}/kick", Access: web.User, NotSuspended: true, Handler: web.Write(a.kick)},

		// knocking.yaml
		{Op: "knockRoom", Method: post, Path: "/_matrix/client/v3/knock/{roomIdOrAlias}", Aliases: []string{"/_matrix/client/unstable/xyz.amorgan.knock/knock/{roomIdOrAlias}"}, Access: web.User, NotSuspended: true, RateLimited: true, Handler: web.WriteAfter(a.queryAlias, a.knockRoom)},

		// leaving.yaml
		{Op: "leaveRoom", Method: post, Path: "/_matrix/client/v3/rooms/{roomId}/leave", Access: web.User, Guests: true, RateLimited: true, Handler: web.Write(a.leaveRoom)},
		{Op: "forgetRoom", Method: post, Path: "/_matrix/client/v3/rooms/{roomId}/forget", Access: web.User, RateLimited: true, Handler: web.Write(a.forgetRoom)},

		// list_joined_rooms.yaml
		{Op: "getJoinedRooms", Method: get, Path: "/_matrix/client/v3/joined_rooms", Access: web.User, Handler: web.Read(a.getJoinedRooms)},

		// list_public_rooms.yaml
		{Op: "getRoomVisibilityOnDirectory", Method: get, Path: "/_matrix/client/v3/directory/list/room/{roomId}", Access: web.Anyone, Handler: web.Read(a.getRoomVisibilityOnDirectory)},
		{Op: "setRoomVisibilityOnDirectory", Method: put, Path: "/_matrix/client/v3/directory/list/room/{roomId}", Access: web.User, NotSuspended: true, Handler: web.Write(a.setRoomVisibilityOnDirectory)},
		// Not marked so, but open to strangers and costly.
		{Op: "getPublicRooms", Method: get, Path: "/_matrix/client/v3/publicRooms", Access: web.Anyone, RateLimited: true, Handler: web.Read(a.getPublicRooms)},
		{Op: "queryPublicRooms", Method: post, Path: "/_matrix/client/v3/publicRooms", Access: web.User, Handler: web.Read(a.queryPublicRooms)},

		// login.yaml
		{Op: "getLoginFlows", Method: get, Path: "/_matrix/client/v3/login", Access: web.Anyone, RateLimited: true, Handler: web.Plain(a.getLoginFlows)},
		{Op: "login", Method: post, Path: "/_matrix/client/v3/login", Access: web.Anyone, RateLimited: true, Limit: web.Login, Handler: web.Plain(a.login)},

		// login_token.yaml
		{Op: "generateLoginToken", Method: post, Path: "/_matrix/client/v1/login/get_token", Aliases: []string{loginTokenRevision0, loginTokenRevision1}, Access: web.User, RateLimited: true, Limit: web.Login, Handler: web.Plain(a.generateLoginToken)},

		// logout.yaml
		{Op: "logout", Method: post, Path: "/_matrix/client/v3/logout", Access: web.User, Guests: true, Locked: true, Handler: web.Write(a.logout)},
		{Op: "logout_all", Method: post, Path: "/_matrix/client/v3/logout/all", Access: web.User, Guests: true, Locked: true, Handler: web.Write(a.logoutAll)},

		// message_pagination.yaml
		{Op: "getRoomEvents", Method: get, Path: "/_matrix/client/v3/rooms/{roomId}/messages", Access: web.User, Guests: true, Handler: web.Read(a.getRoomEvents)},

		// mutual_rooms.yaml
		{Op: "getMutualRooms", Method: get, Path: "/_matrix/client/v1/mutual_rooms", Aliases: []string{"/_matrix/client/unstable/uk.half-shot.msc2666/user/mutual_rooms"}, Access: web.User, RateLimited: true, Handler: web.Read(a.getMutualRooms)},

		// oauth_server_metadata.yaml
		{Op: "getAuthMetadata", Method: get, Path: "/_matrix/client/v1/auth_metadata", Aliases: []string{"/_matrix/client/unstable/org.matrix.msc2965/auth_metadata"}, Access: web.Anyone, Handler: web.Plain(a.getAuthMetadata)},

		// notifications.yaml
		{Op: "getNotifications", Method: get, Path: "/_matrix/client/v3/notifications", Access: web.User, Handler: web.Read(a.getNotifications)},

		// openid.yaml
		{Op: "requestOpenIdToken", Method: post, Path: "/_matrix/client/v3/user/{userId}/openid/request_token", Access: web.User, RateLimited: true, Handler: web.Write(a.requestOpenIdToken)},

		// old_sync.yaml and peeking_events.yaml
		{Op: "getEvents", Method: get, Path: "/_matrix/client/v3/events", Access: web.User, Guests: true, Handler: web.Plain(polled(a, a.getEvents))},
		{Op: "initialSync", Method: get, Path: "/_matrix/client/v3/initialSync", Access: web.User, Handler: web.ReadSized(func(c *web.Call, tx *kv.ReadTx, _ initialSyncIn) int64 { return a.everything(c.Ctx, tx, c.User) }, a.initialSync)},
		{Op: "getOneEvent", Method: get, Path: "/_matrix/client/v3/events/{eventId}", Access: web.User, Handler: web.Read(a.getOneEvent)},

		// password_management.yaml
		{Op: "changePassword", Method: post, Path: "/_matrix/client/v3/account/password", Access: web.Optional, RateLimited: true, Limit: web.Login, Handler: web.Plain(a.changePassword)},
		{Op: "requestTokenToResetPasswordEmail", Method: post, Path: "/_matrix/client/v3/account/password/email/requestToken", Access: web.Anyone, RateLimited: true, Limit: web.Login, Handler: web.Plain(a.requestTokenToResetPasswordEmail)},
		{Op: "requestTokenToResetPasswordMSISDN", Method: post, Path: "/_matrix/client/v3/account/password/msisdn/requestToken", Access: web.Anyone, RateLimited: true, Limit: web.Login, Handler: web.Plain(a.requestPhoneToken)},

		// policy_server.yaml
		{Op: "getWellknownPolicy", Method: get, Path: "/.well-known/matrix/policy_server", Access: web.Anyone, Handler: web.Plain(a.getWellknownPolicy)},

		// presence.yaml
		{Op: "setPresence", Method: put, Path: "/_matrix/client/v3/presence/{userId}/status", Access: web.User, RateLimited: true, Handler: web.Plain(a.setPresence)},
		{Op: "getPresence", Method: get, Path: "/_matrix/client/v3/presence/{userId}/status", Access: web.User, Handler: web.Read(a.getPresence)},

		// profile.yaml
		{Op: "setProfileField", Method: put, Path: "/_matrix/client/v3/profile/{userId}/{keyName}", Aliases: []string{"/_matrix/client/unstable/uk.tcpip.msc4133/profile/{userId}/{keyName}"}, Access: web.User, NotSuspended: true, Guests: true, RateLimited: true, MaxBody: maxProfileBody, Handler: web.Write(a.setProfileField)},
		{Op: "getProfileField", Method: get, Path: "/_matrix/client/v3/profile/{userId}/{keyName}", Aliases: []string{"/_matrix/client/unstable/uk.tcpip.msc4133/profile/{userId}/{keyName}"}, Access: web.Optional, RateLimited: true, Handler: web.Read(a.getProfileField)},
		{Op: "deleteProfileField", Method: remove, Path: "/_matrix/client/v3/profile/{userId}/{keyName}", Aliases: []string{"/_matrix/client/unstable/uk.tcpip.msc4133/profile/{userId}/{keyName}"}, Access: web.User, NotSuspended: true, Guests: true, RateLimited: true, Handler: web.Write(a.deleteProfileField)},
		{Op: "getUserProfile", Method: get, Path: "/_matrix/client/v3/profile/{userId}", Access: web.Optional, RateLimited: true, Handler: web.Plain(a.getUserProfile)},

		// pusher.yaml
		{Op: "getPushers", Method: get, Path: "/_matrix/client/v3/pushers", Access: web.User, Handler: web.Read(a.getPushers)},
		{Op: "postPusher", Method: post, Path: "/_matrix/client/v3/pushers/set", Access: web.User, RateLimited: true, Handler: web.Write(a.postPusher)},

		// pushrules.yaml
		{Op: "getPushRules", Method: get, Path: "/_matrix/client/v3/pushrules/", Access: web.User, Aliases: []string{"/_matrix/client/v3/pushrules"}, Handler: web.Read(a.getPushRules)},
		{Op: "getPushRulesGlobal", Method: get, Path: "/_matrix/client/v3/pushrules/global/", Access: web.User, Aliases: []string{"/_matrix/client/v3/pushrules/global"}, Handler: web.Read(a.getPushRulesGlobal)},
		{Op: "getPushRule", Method: get, Path: "/_matrix/client/v3/pushrules/global/{kind}/{ruleId}", Access: web.User, Handler: web.Read(a.getPushRule)},
		{Op: "setPushRule", Method: put, Path: "/_matrix/client/v3/pushrules/global/{kind}/{ruleId}", Access: web.User, RateLimited: true, Handler: web.Write(a.setPushRule)},
		{Op: "deletePushRule", Method: remove, Path: "/_matrix/client/v3/pushrules/global/{kind}/{ruleId}", Access: web.User, Handler: web.Write(a.deletePushRule)},
		{Op: "isPushRuleEnabled", Method: get, Path: "/_matrix/client/v3/pushrules/global/{kind}/{ruleId}/enabled", Access: web.User, Handler: web.Read(a.isPushRuleEnabled)},
		{Op: "setPushRuleEnabled", Method: put, Path: "/_matrix/client/v3/pushrules/global/{kind}/{ruleId}/enabled", Access: web.User, Handler: web.Write(a.setPushRuleEnabled)},
		{Op: "getPushRuleActions", Method: get, Path: "/_matrix/client/v3/pushrules/global/{kind}/{ruleId}/actions", Access: web.User, Handler: web.Read(a.getPushRuleActions)},
		{Op: "setPushRuleActions", Method: put, Path: "/_matrix/client/v3/pushrules/global/{kind}/{ruleId}/actions", Access: web.User, Handler: web.Write(a.setPushRuleActions)},

		// read_markers.yaml
		{Op: "setReadMarker", Method: post, Path: "/_matrix/client/v3/rooms/{roomId}/read_markers", Access: web.User, RateLimited: true, Handler: web.Plain(a.setReadMarker)},

		// receipts.yaml
		{Op: "postReceipt", Method: post, Path: "/_matrix/client/v3/rooms/{roomId}/receipt/{receiptType}/{eventId}", Access: web.User, RateLimited: true, Handler: web.Plain(a.postReceipt)},

		// redaction.yaml
		{Op: "redactEvent", Method: put, Path: "/_matrix/client/v3/rooms/{roomId}/redact/{eventId}/{txnId}", Access: web.User, Once: true, Handler: web.Write(a.redactEvent)},

		// refresh.yaml
		{Op: "refresh", Method: post, Path: "/_matrix/client/v3/refresh", Aliases: []string{"/_matrix/client/unstable/org.matrix.msc2918/refresh"}, Access: web.Anyone, RateLimited: true, Handler: web.Write(a.refresh)},

		// registration.yaml
		{Op: "register", Method: post, Path: "/_matrix/client/v3/register", Access: web.Anyone, RateLimited: true, Limit: web.Registration, Handler: web.Plain(a.register)},
		{Op: "checkUsernameAvailability", Method: get, Path: "/_matrix/client/v3/register/available", Access: web.Anyone, RateLimited: true, Handler: web.Read(a.checkUsernameAvailability)},
		{Op: "requestTokenToRegisterEmail", Method: post, Path: "/_matrix/client/v3/register/email/requestToken", Access: web.Anyone, RateLimited: true, Limit: web.Login, Handler: web.Plain(a.requestTokenToRegisterEmail)},
		{Op: "requestTokenToRegisterMSISDN", Method: post, Path: "/_matrix/client/v3/register/msisdn/requestToken", Access: web.Anyone, RateLimited: true, Limit: web.Login, Handler: web.Plain(a.requestPhoneToken)},

		// registration_tokens.yaml
		{Op: "registrationTokenValidity", Method: get, Path: "/_matrix/client/v1/register/m.login.registration_token/validity", Access: web.Anyone, RateLimited: true, Limit: web.Registration, Handler: web.Read(a.registrationTokenValidity)},

		// relations.yaml
		{Op: "getRelatingEvents", Method: get, Path: "/_matrix/client/v1/rooms/{roomId}/relations/{eventId}", Aliases: []string{"/_matrix/client/unstable/rooms/{roomId}/relations/{eventId}"}, Access: web.User, Handler: web.Read(a.getRelatingEvents)},
		{Op: "getRelatingEventsWithRelType", Method: get, Path: "/_matrix/client/v1/rooms/{roomId}/relations/{eventId}/{relType}", Aliases: []string{"/_matrix/client/unstable/rooms/{roomId}/relations/{eventId}/{relType}"}, Access: web.User, Handler: web.Read(a.getRelatingEventsWithRelType)},
		{Op: "getRelatingEventsWithRelTypeAndEventType", Method: get, Path: "/_matrix/client/v1/rooms/{roomId}/relations/{eventId}/{relType}/{eventType}", Aliases: []string{"/_matrix/client/unstable/rooms/{roomId}/relations/{eventId}/{relType}/{eventType}"}, Access: web.User, Handler: web.Read(a.getRelatingEventsWithRelTypeAndEventType)},

		// report_content.yaml
		{Op: "reportRoom", Method: post, Path: "/_matrix/client/v3/rooms/{roomId}/report", Aliases: []string{"/_matrix/client/unstable/org.matrix.msc4151/rooms/{roomId}/report"}, Access: web.User, RateLimited: true, Handler: web.Write(a.reportRoom)},
		{Op: "reportEvent", Method: post, Path: "/_matrix/client/v3/rooms/{roomId}/report/{eventId}", Access: web.User, RateLimited: true, Handler: web.Plain(a.reportEvent)},
		{Op: "reportUser", Method: post, Path: "/_matrix/client/v3/users/{userId}/report", Aliases: []string{"/_matrix/client/unstable/org.matrix.msc4260/users/{userId}/report"}, Access: web.User, RateLimited: true, Handler: web.Write(a.reportUser)},

		// room_event_by_timestamp.yaml
		{Op: "getEventByTimestamp", Method: get, Path: "/_matrix/client/v1/rooms/{roomId}/timestamp_to_event", Aliases: []string{"/_matrix/client/unstable/org.matrix.msc3030/rooms/{roomId}/timestamp_to_event"}, Access: web.User, RateLimited: true, Handler: web.Read(a.getEventByTimestamp)},

		// room_initial_sync.yaml
		{Op: "roomInitialSync", Method: get, Path: "/_matrix/client/v3/rooms/{roomId}/initialSync", Access: web.User, Guests: true, Handler: web.ReadSized(func(c *web.Call, tx *kv.ReadTx, in roomInitialSyncIn) int64 {
			return a.stateSize(c, tx, roomIn{in.Room})
		}, a.roomInitialSync)},

		// room_send.yaml
		{Op: "sendMessage", Method: put, Path: "/_matrix/client/v3/rooms/{roomId}/send/{eventType}/{txnId}", Access: web.User, Guests: true, Once: true, MaxBody: maxEventBody, Handler: web.Write(a.sendMessage)},

		// room_state.yaml
		{Op: "setRoomStateWithKey", Method: put, Path: "/_matrix/client/v3/rooms/{roomId}/state/{eventType}/{stateKey}", EmptyLast: true, Access: web.User, Guests: true, NotSuspended: true, MaxBody: maxEventBody, Handler: web.WriteAfter(a.queryMember, a.setRoomStateWithKey)},

		// room_summary.yaml
		{Op: "getRoomSummary", Method: get, Path: "/_matrix/client/v1/room_summary/{roomIdOrAlias}", Aliases: []string{"/_matrix/client/unstable/im.nheko.summary/summary/{roomIdOrAlias}"}, Access: web.Optional, RateLimited: true, Handler: web.Read(a.getRoomSummary)},

		// room_upgrades.yaml
		{Op: "upgradeRoom", Method: post, Path: "/_matrix/client/v3/rooms/{roomId}/upgrade", Access: web.User, NotSuspended: true, Handler: web.Write(a.upgradeRoom)},

		// rooms.yaml
		{Op: "getOneRoomEvent", Method: get, Path: "/_matrix/client/v3/rooms/{roomId}/event/{eventId}", Access: web.User, Guests: true, Handler: web.Read(a.getOneRoomEvent)},
		{Op: "getRoomStateWithKey", Method: get, Path: "/_matrix/client/v3/rooms/{roomId}/state/{eventType}/{stateKey}", EmptyLast: true, Access: web.User, Guests: true, Handler: web.Read(a.getRoomStateWithKey)},
		{Op: "getRoomState", Method: get, Path: "/_matrix/client/v3/rooms/{roomId}/state", Access: web.User, Guests: true, Handler: web.ReadSized(a.stateSize, a.getRoomState)},
		{Op: "getMembersByRoom", Method: get, Path: "/_matrix/client/v3/rooms/{roomId}/members", Access: web.User, Guests: true, Handler: web.ReadSized(func(c *web.Call, tx *kv.ReadTx, in getMembersByRoomIn) int64 {
			return a.stateSize(c, tx, roomIn{in.Room})
		}, a.getMembersByRoom)},
		{Op: "getJoinedMembersByRoom", Method: get, Path: "/_matrix/client/v3/rooms/{roomId}/joined_members", Access: web.User, Handler: web.Read(a.getJoinedMembersByRoom)},

		// search.yaml
		{Op: "search", Method: post, Path: "/_matrix/client/v3/search", Access: web.User, RateLimited: true, Handler: web.Read(a.search)},

		// space_hierarchy.yaml
		{Op: "getSpaceHierarchy", Method: get, Path: "/_matrix/client/v1/rooms/{roomId}/hierarchy", Aliases: []string{"/_matrix/client/unstable/org.matrix.msc2946/rooms/{roomId}/hierarchy"}, Access: web.User, RateLimited: true, Handler: web.Read(a.getSpaceHierarchy)},

		// sso_login_redirect.yaml
		{Op: "redirectToSSO", Method: get, Path: "/_matrix/client/v3/login/sso/redirect", Access: web.Anyone, Handler: web.Plain(a.redirectToSSO)},
		{Op: "redirectToIdP", Method: get, Path: "/_matrix/client/v3/login/sso/redirect/{idpId}", Access: web.Anyone, Handler: web.Plain(a.redirectToIdP)},

		// support.yaml
		{Op: "getWellknownSupport", Method: get, Path: "/.well-known/matrix/support", Access: web.Anyone, Handler: web.Plain(a.getWellknownSupport)},

		// sync.yaml
		{Op: "slidingSync", Method: post, Path: "/_matrix/client/v4/sync", Access: web.User, Guests: true, Handler: web.Plain(polled(a, a.slidingSync))},
		{Op: "unstableSlidingSync", Method: post, Path: "/_matrix/client/unstable/org.matrix.simplified_msc3575/sync", Access: web.User, Guests: true, Handler: web.Plain(polled(a, a.unstableSlidingSync))},
		{Op: "sync", Method: get, Path: "/_matrix/client/v3/sync", Access: web.User, Guests: true, Handler: web.Plain(polled(a, a.sync))},

		// tags.yaml
		{Op: "getRoomTags", Method: get, Path: "/_matrix/client/v3/user/{userId}/rooms/{roomId}/tags", Access: web.User, Handler: web.Read(a.getRoomTags)},
		{Op: "setRoomTag", Method: put, Path: "/_matrix/client/v3/user/{userId}/rooms/{roomId}/tags/{tag}", Access: web.User, Handler: web.Write(a.setRoomTag)},
		{Op: "deleteRoomTag", Method: remove, Path: "/_matrix/client/v3/user/{userId}/rooms/{roomId}/tags/{tag}", Access: web.User, Handler: web.Write(a.deleteRoomTag)},

		// threads_list.yaml
		{Op: "getThreadRoots", Method: get, Path: "/_matrix/client/v1/rooms/{roomId}/threads", Aliases: []string{"/_matrix/client/unstable/org.matrix.msc3856/rooms/{roomId}/threads"}, Access: web.User, RateLimited: true, Handler: web.Read(a.getThreadRoots)},

		// third_party_lookup.yaml
		{Op: "getProtocols", Method: get, Path: "/_matrix/client/v3/thirdparty/protocols", Access: web.User, Handler: web.Plain(a.getProtocols)},
		{Op: "getProtocolMetadata", Method: get, Path: "/_matrix/client/v3/thirdparty/protocol/{protocol}", Access: web.User, Handler: web.Plain(a.getProtocolMetadata)},
		{Op: "queryLocationByProtocol", Method: get, Path: "/_matrix/client/v3/thirdparty/location/{protocol}", Access: web.User, Handler: web.Plain(a.queryLocationByProtocol)},
		{Op: "queryUserByProtocol", Method: get, Path: "/_matrix/client/v3/thirdparty/user/{protocol}", Access: web.User, Handler: web.Plain(a.queryUserByProtocol)},
		{Op: "queryLocationByAlias", Method: get, Path: "/_matrix/client/v3/thirdparty/location", Access: web.User, Handler: web.Plain(a.queryLocationByAlias)},
		{Op: "queryUserByID", Method: get, Path: "/_matrix/client/v3/thirdparty/user", Access: web.User, Handler: web.Plain(a.queryUserByID)},

		// to_device.yaml
		{Op: "sendToDevice", Method: put, Path: "/_matrix/client/v3/sendToDevice/{eventType}/{txnId}", Access: web.User, Guests: true, Once: true, MaxBody: maxKeysBody, Handler: web.Write(a.sendToDevice)},

		// typing.yaml
		{Op: "setTyping", Method: put, Path: "/_matrix/client/v3/rooms/{roomId}/typing/{userId}", Access: web.User, RateLimited: true, Handler: web.Read(a.setTyping)},

		// users.yaml
		{Op: "searchUserDirectory", Method: post, Path: "/_matrix/client/v3/user_directory/search", Access: web.User, RateLimited: true, Handler: web.Read(a.searchUserDirectory)},

		// versions.yaml
		{Op: "getVersions", Method: get, Path: "/_matrix/client/versions", Access: web.Anyone, Handler: web.Plain(a.getVersions)},

		// voip.yaml
		{Op: "getTurnServer", Method: get, Path: "/_matrix/client/v3/voip/turnServer", Access: web.User, RateLimited: true, Handler: web.Plain(a.getTurnServer)},

		// wellknown.yaml
		{Op: "getWellknown", Method: get, Path: "/.well-known/matrix/client", Access: web.Anyone, Handler: web.Plain(a.getWellknown)},

		// whoami.yaml
		{Op: "getTokenOwner", Method: get, Path: "/_matrix/client/v3/account/whoami", Access: web.User, Guests: true, RateLimited: true, Handler: web.Plain(a.getTokenOwner)},
	}
	all = append(all, a.pageRoutes()...)
	all = append(all, a.dehydratedRoutes()...)
	if a.SharedSecret != "" { // not of the standard: see registerNonce
		all = append(all,
			web.Route{Op: "registerNonce", Method: get, Path: sharedSecretPath, Access: web.Anyone, RateLimited: true, Limit: web.Registration, Handler: web.Plain(a.registerNonce)},
			web.Route{Op: "registerBySecret", Method: post, Path: sharedSecretPath, Access: web.Anyone, RateLimited: true, Limit: web.Registration, Handler: web.Plain(a.registerBySecret)})
	}
	return all
}

// pageRoutes are the operations that the OpenAPI description lacks: the standard's prose
// asks for the first ones.
func (a *API) pageRoutes() []web.Route {
	return []web.Route{
		{Op: "authFallback", Method: get, Path: "/_matrix/client/v3/auth/{stage}/fallback/web", Access: web.Anyone, RateLimited: true, Handler: web.Stream(a.authFallback)},
		{Op: "authFallbackDone", Method: post, Path: "/_matrix/client/v3/auth/{stage}/fallback/web", Access: web.Anyone, RateLimited: true, Limit: web.Login, MaxBody: maxFormBody, Handler: web.Stream(a.authFallbackDone)},
		{Op: "loginFallback", Method: get, Path: "/_matrix/static/client/login/", Aliases: []string{"/_matrix/static/client/login"}, Access: web.Anyone, RateLimited: true, Handler: web.Stream(a.loginFallback)},
		{Op: "exchangeOpenIdToken", Method: get, Path: "/_matrix/federation/v1/openid/userinfo", Access: web.Anyone, RateLimited: true, Handler: web.Read(a.exchangeOpenIdToken)},
		{Op: "validateEmail", Method: get, Path: validatePath, Access: web.Anyone, RateLimited: true, Handler: web.Stream(a.validateEmail)},
		{Op: "confirmEmail", Method: post, Path: validatePath, Access: web.Anyone, RateLimited: true, Limit: web.Login, Handler: web.Stream(a.confirmEmail)},
	}
}
