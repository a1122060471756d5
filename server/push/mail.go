package push

import (
	"context"
	"fmt"
	"strings"
	"time"

	"porchlight/kv"
	"porchlight/server/accounts"
	"porchlight/server/changes"
)

const (
	// mailAfter and mailEvery are the defaults of Config.
	mailAfter = 10 * time.Minute
	mailEvery = time.Hour
	// maxMailLines is how many rooms a mail names.
	maxMailLines = 20
	// mailTimeout is how long the relay may take.
	mailTimeout = time.Minute
)

// mail tells of what is unread from a position on in one mail, once it has been left unread
// for a while. What was said does not stand in it.
func (w *worker) mail(ctx context.Context, row *pusherRow, pending changes.Position) (more bool, err error) {
	if pending == 0 {
		return false, nil
	}
	if w.k.Mail == nil {
		return w.done(pending), nil
	}
	if !sleep(ctx, max(w.k.MailAfter, w.k.MailEvery-w.k.Now().Sub(w.mailed))) {
		return false, ctx.Err()
	}
	// In the form that is compared and stored; earlier releases kept what clients had typed.
	address := accounts.CanonicalEmail(w.key.Pushkey)
	var text string
	var last changes.Position
	err = w.k.DB.View(ctx, func(tx *kv.ReadTx) error {
		text, last = w.letter(tx, pending)
		if owner, ok := w.k.Accounts.ThreepidOwner(tx, accounts.MediumEmail, address); !ok || owner != w.key.User || w.k.isLocked(tx, w.key.User) {
			text = "" // the address is not the user's any more, or they may hear nothing
		}
		return nil
	})
	if err != nil || text == "" {
		return w.done(last), err
	}
	ask, cancel := context.WithTimeout(ctx, mailTimeout)
	defer cancel()
	if err := w.k.Mail(ask, address, "Unread messages", text); err != nil {
		return false, err
	}
	w.mailed = w.k.Now()
	return w.done(last), nil
}

// letter is the text of a mail; empty if everything was read. last is how far it goes.
func (w *worker) letter(r kv.Reader, from changes.Position) (text string, last changes.Position) {
	counts, order := map[string]int{}, []string{}
	for pos, c := range w.k.Changes.Since(r, from-1) {
		last = pos
		if c.Kind != changes.Event {
			continue
		}
		trace, _ := w.k.Rooms.TraceAt(r, c.Room, pos)
		notice := trace.Notice
		if w.k.notified(r, notice, w.key.User, trace.Sender(), c.Room, pos) == nil || w.k.isRead(r, w.key.User, c.Room, notice, pos) {
			continue
		}
		name, _ := w.k.Rooms.Sight(r, w.key.User, c.Room).Called()
		if name == "" {
			name = string(c.Room)
		}
		if counts[name]++; counts[name] == 1 {
			order = append(order, name)
		}
	}
	if len(order) == 0 {
		return "", last
	}
	var b strings.Builder
	fmt.Fprintf(&b, "There is something unread for %s:\n\n", w.key.User)
	for i, name := range order {
		if i == maxMailLines {
			fmt.Fprintf(&b, "  and more in %d other rooms\n", len(order)-i)
			break
		}
		fmt.Fprintf(&b, "  %d in %s\n", counts[name], strings.Join(strings.Fields(name), " "))
	}
	return b.String(), last
}
