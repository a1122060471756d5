// Package e2ee keeps what end-to-end encryption needs of a homeserver: devices'
// identity keys, one-time and fallback keys, cross-signing keys and signatures, the
// to-device inbox, the news about device lists, key backups, and dehydrated devices.
//
// The server only hands keys and messages on. It checks their form and size, and the
// signatures that the standard tells a server to check; whom to trust is for clients.
//
// Invariants, which Check proves where a file can show them:
//   - A one-time key is given out at most once: it is deleted in the transaction that
//     claims it, and the names of the last claimed ones are kept, so that a client that
//     repeats an upload whose answer was lost does not bring them back.
//   - The count of one-time keys is the number of rows.
//   - A to-device message stays until the device comes back with a later token.
//   - Nobody is shown signatures that third persons made (spec: key and signature security).
package e2ee
