package clientapi

import (
	"cmp"

	"porchlight/kv"
	"porchlight/server/roomver"
	"porchlight/server/web"
)

type enabled struct {
	Enabled bool `json:"enabled"`
}

type roomVersionsOut struct {
	Default   string            `json:"default"`
	Available map[string]string `json:"available"`
}

type accountModeration struct {
	Suspend bool `json:"suspend"`
	Lock    bool `json:"lock"`
}

type getCapabilitiesOut struct {
	Capabilities map[string]any `json:"capabilities"`
}

// getCapabilities: spec: client-server API, GET capabilities.
func (a *API) getCapabilities(c *web.Call, tx *kv.ReadTx, _ web.Empty) (getCapabilitiesOut, error) {
	versions := roomVersionsOut{Default: cmp.Or(a.RoomVersion, roomver.Default), Available: map[string]string{}}
	for _, v := range roomver.All() {
		versions.Available[v.ID] = "unstable"
		if v.Stable {
			versions.Available[v.ID] = "stable"
		}
	}
	// Whoever has no password cannot prove who they are where that is asked for.
	password := enabled{a.Accounts.HasPassword(tx, c.User)}
	all := map[string]any{
		"m.room_versions":                    versions,
		"m.change_password":                  password,
		"m.set_displayname":                  enabled{true},
		"m.set_avatar_url":                   enabled{true},
		"m.profile_fields":                   enabled{true},
		"m.get_login_token":                  password,
		"m.3pid_changes":                     enabled{a.Mail != nil},
		"m.forget_forced_upon_leave":         enabled{false},
		"org.matrix.msc3882.get_login_token": password,
		"uk.tcpip.msc4133.profile_fields":    enabled{true},
	}
	if a.isAdmin(c, tx) {
		all["m.account_moderation"] = accountModeration{Suspend: true, Lock: true}
	}
	return getCapabilitiesOut{Capabilities: all}, nil
}
