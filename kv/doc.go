// Package kv keeps every row of the house in one bbolt file.
//
// It offers typed tables over a ledger of all keyspaces (keyspace.go), ordered
// scans, one writer with group commit, effects that run after the commit and in
// commit order, deferred writes, migrations, an online snapshot and a full check.
// It knows nothing of Matrix.
//
// Invariants:
//   - Update returns nil only after the rows are synced to disk.
//   - A transaction whose function returned an error, panicked or met a row that
//     does not decode leaves nothing behind, whoever shared its commit.
//   - Effects given to AfterCommit run in commit order, before Update returns.
//   - Nothing that aliases the mapped file leaves the package.
//   - A row is written by the package that owns its table, through its table.
//
// Never call View or Update from inside a transaction: hand the transaction down
// as a Reader instead.
package kv
