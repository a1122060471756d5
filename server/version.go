package server

import "runtime/debug"

// release is the release this is; the build sets it by -ldflags "-X …/server.release=…".
var release = "development"

// Version is the release, and the commit it was built from where that is known.
func Version() string {
	v := release
	info, ok := debug.ReadBuildInfo()
	if !ok {
		return v
	}
	commit, changed := "", ""
	for _, s := range info.Settings {
		switch {
		case s.Key == "vcs.revision" && len(s.Value) >= 12:
			commit = s.Value[:12]
		case s.Key == "vcs.modified" && s.Value == "true":
			changed = ", changed"
		}
	}
	if commit == "" {
		return v
	}
	return v + " (" + commit + changed + ")"
}
