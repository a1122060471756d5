package accounts

import (
	"sync"

	"porchlight/server/matrix"
)

// polls are the requests that wait for news, by user: they end when the account is locked.
type polls struct {
	mu  sync.Mutex
	all map[matrix.UserID]map[*func()]bool
}

// EndWhenLocked has end called when a user is locked, until stop is called. end must not wait.
func (k *Keeper) EndWhenLocked(user matrix.UserID, end func()) (stop func()) {
	p, handle := &k.polls, &end
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.all == nil {
		p.all = map[matrix.UserID]map[*func()]bool{}
	}
	if p.all[user] == nil {
		p.all[user] = map[*func()]bool{}
	}
	p.all[user][handle] = true
	return func() {
		p.mu.Lock()
		defer p.mu.Unlock()
		if delete(p.all[user], handle); len(p.all[user]) == 0 {
			delete(p.all, user)
		}
	}
}

// end ends what a user waits for.
func (p *polls) end(user matrix.UserID) {
	p.mu.Lock()
	defer p.mu.Unlock()
	for handle := range p.all[user] {
		(*handle)()
	}
}
