package clientapi

import (
	"cmp"

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

type getCapabilitiesOut struct {
	Capabilities map[string]any `json:"capabilities"`
}

// getCapabilities: spec: client-server API, GET capabilities.
func (a *API) getCapabilities(*web.Call, web.Empty) (getCapabilitiesOut, error) {
	versions := roomVersionsOut{Default: cmp.Or(a.RoomVersion, roomver.Default), Available: map[string]string{}}
	for _, v := range roomver.All() {
		versions.Available[v.ID] = "unstable"
		if v.Stable {
			versions.Available[v.ID] = "stable"
		}
	}
	return getCapabilitiesOut{Capabilities: map[string]any{
		"m.room_versions":            versions,
		"m.change_password":          enabled{true},
		"m.set_displayname":          enabled{true},
		"m.set_avatar_url":           enabled{true},
		"m.profile_fields":           enabled{true},
		"m.get_login_token":          enabled{true},
		"m.3pid_changes":             enabled{false},
		"m.forget_forced_upon_leave": enabled{false},
	}}, nil
}
