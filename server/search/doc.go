// Package search finds messages, room names and topics by their words, in every script
// (spec: client-server API, server-side search).
//
// It owns the index: for each word the positions of the events that have it, and for each
// such event its words, so that they can be taken away again when it is redacted. The index
// is written by a follower of the change log in batches, since words fall at random places
// and each dirties a page. What the follower has not come to yet is read from the log at
// the time of the search, so a message is found as soon as it is sent.
//
// The index only proposes. Each event is read again before it is shown: what is redacted,
// not visible to who asks, or not matched by the filter is no result.
//
// Invariants: a word's row has its event's row and the other way round; one search makes at
// most maxWork steps in the index, and reads at most maxTail changes besides and maxRead bytes
// of events. By rank, the newest maxMatches results are ordered together, and behind them the
// next ones. The pages of a search neither repeat nor leave out a message: a token names the
// change as of which it is searched, and where the matches end that are ordered together.
//
// An edited message is found by what its newest version says, as far as the viewer sees it.
package search
