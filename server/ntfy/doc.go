// Package ntfy lets phones be woken without the internet: it is a push gateway, and it hosts
// the topics that this gateway publishes to, in the protocol of ntfy (https://ntfy.sh/docs).
// The ntfy app for Android, pointed at this house, is a UnifiedPush distributor; a Matrix
// client on the same phone finds the gateway by itself and is woken on the local network.
//
// A topic is a name that only the phone that made it up and whoever it told know: the name
// is the secret, so short ones are refused. Messages stay in memory, in one bounded list,
// for who comes back after a while; what is in it is lost when the house stops. The pushers
// of server/push try again until a message was taken, and clients sync anyway when they
// start, so that costs nothing but time.
//
// Paths outside /_matrix that are no topics go on to another handler: the page.
package ntfy
