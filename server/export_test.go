package server

import (
	"maps"
	"slices"
	"testing"

	"porchlight/kv"
)

// Orders are the names of what can be ordered.
func (s *Server) Orders() []string { return slices.Sorted(maps.Keys(s.orders())) }

// MakeUnfounded leaves a database without a server name in the data folder.
func MakeUnfounded(t *testing.T, c Config) {
	t.Helper()
	db, err := kv.Open(kv.Options{Path: c.dbFile()})
	if err != nil {
		t.Fatal(err)
	}
	if err := db.Close(); err != nil {
		t.Fatal(err)
	}
}
