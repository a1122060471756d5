// Package server is the house: the only place where all rooms meet. It makes
// every part with what it needs, opens the doors, runs what runs, and closes
// all of it in the reverse order.
//
// It owns no table, no handler and no rule; what it adds is who knows whom.
package server
