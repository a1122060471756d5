// Package web is how a request becomes a typed call: routing on the escaped path,
// authentication, rate limits, decoding, once-only transactions, CORS, and the one
// writer of answers and errors. It knows no operation of its own; the doors
// (clientapi, panel, …) hand it their tables of routes.
//
// A request goes through these steps, and the first that refuses ends it:
//
//  1. route: 404 or 405 M_UNRECOGNIZED;
//  2. authenticate, in a read transaction; a stored once-only answer ends here;
//  3. rate limit, by user or else by address;
//  4. read the body, bounded, and check its JSON;
//  5. decode path, query and body into the handler's input type;
//  6. run the handler in its transaction, and write what it returns.
//
// Invariants:
//   - A Write handler has one write transaction; the token is verified again in it,
//     and the once-only answer commits with the effect.
//   - Whatever is no *matrix.Error becomes a 500 with a reference that also stands
//     in the log. Nobody but this package writes errors.
//   - Nothing of a body, a query string or a token reaches the log.
package web
