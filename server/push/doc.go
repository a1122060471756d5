// Package push keeps the push rules of each user: the predefined ones of the standard,
// and what the user changed of them or added.
//
// Only the changes are stored, so that a rule that a later release predefines reaches
// everybody. A user who changed nothing has no row.
//
// Clients hear of rules as account data of type m.push_rules; each change of them is in
// the log as such.
package push
