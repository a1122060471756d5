// Package panel is the web page that the box serves: the claim of the house by its
// owner, signing in, the server's address for Matrix clients, and the intercom in a
// browser. The page is a Matrix client like any other; it uses the public client-server
// API and m.call.* events, and a few operations below /_porchlight that only this
// package has.
//
// The page's files (folder page) are hand-written and lie in the binary as they are:
// nothing is built, and nothing is fetched from elsewhere. The page runs under a strict
// content security policy, so no file may hold scripts or styles inline.
//
// It owns no rows. What it shows of the board it is told by the functions of Config.
package panel
