// Package appservice keeps the application services (bridges and bots that act for many
// users): their registrations, which users, aliases and rooms are theirs, and what they
// still have to be told of.
//
// Each service has a worker that follows the change log from a place of its own, so that a
// slow service delays nobody else. A transaction is a stretch of the log, and its ID is the
// position at which that ends. It is on disk before it is sent, its events as positions and
// the rest (receipts, messages to devices, key counts) as it is: a repeat after a crash is
// the same transaction under the same ID (spec: application service API, pushing events).
// Typing and presence, which no disk has, go in transactions of their own.
//
// The house's token of a service is stored in clear, since it has to be shown to the
// service; of the service's own token only the SHA-256 is. Neither is ever logged.
package appservice
