// Package e2e holds the end-to-end tests: the real binary on an empty data
// folder, and clients that other people wrote. It has no code of its own.
//
// The Go tests (build tag e2e, "make e2e") start the server and the clients
// and judge by their exit codes. What the clients do stands in plain scripts:
// *.mjs drive matrix-js-sdk and our own page in Chromium (walk_*.mjs go through what
// people do in their clients day by day), nio_*.py are matrix-nio, bot.mjs is a bot and
// bridge.cjs a bridge of matrix-bot-sdk, bridge_encrypted.mjs one with the crypto library
// of matrix-rust-sdk. A failed script's output is the test's output.
// Networks that are torn or divided are made of network namespaces, which takes root;
// without it those tests are skipped.
package e2e
