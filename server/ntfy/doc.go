// Package ntfy lets phones be woken without the internet: it is a push gateway, and it hosts
// the topics that this gateway publishes to, in the protocol of ntfy (https://ntfy.sh/docs).
// The ntfy app for Android, pointed at this house, is a UnifiedPush distributor; a Matrix
// client on the same phone finds the gateway by itself and is woken on the local network.
//
// A topic is a name that only the phone that made it up and whoever it told know, so short
// ones are refused; and to listen, a device needs a secret of the house, unless the owner lets
// everybody who knows a name. Messages stay in memory, in one bounded list, for who comes back
// after a while; the newest of them outlive a restart, by functions that Config has.
//
// What is told here is in plain text on the board, and bounded in every way: strangers may
// publish where UnifiedPush has them do so.
//
// Paths outside /_matrix that are no topics go on to another handler: the page.
package ntfy
