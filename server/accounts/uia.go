package accounts

import (
	"context"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/json"
	"fmt"
	"net/http"
	"slices"
	"sync"
	"time"

	"porchlight/kv"
	"porchlight/server/matrix"
)

// The stages of interactive authentication that this house knows.
const (
	StagePassword          = "m.login.password"
	StageDummy             = "m.login.dummy"
	StageRegistrationToken = "m.login.registration_token"
	StageTerms             = "m.login.terms"
	StageEmail             = "m.login.email.identity"
)

// Stages are all stages, in no order.
func Stages() []string {
	return []string{StagePassword, StageDummy, StageRegistrationToken, StageTerms, StageEmail}
}

const (
	// UIASessionLife is how long a client has to complete its stages.
	UIASessionLife = 15 * time.Minute
	// maxUIASessions bounds the memory; the oldest session of whoever has most gives way.
	maxUIASessions = 512
	// maxUIAEach is how many sessions one user, or one network where nobody is signed in, may
	// have; the oldest gives way.
	maxUIAEach = 32
)

// Operation is a request that is only done after interactive authentication (spec:
// client-server API, user-interactive authentication API).
type Operation struct {
	Name   string          // operationId
	User   matrix.UserID   // who asks and has to prove it; empty: nobody is logged in
	Device matrix.DeviceID // that User asks with; another one cannot go on with the session
	About  any             // what exactly is asked, as JSON would have it: stages hold for this only
	Flows  [][]string      // ways to do it, each a row of stages
	IP     string          // who asks, to slow down those who guess passwords
	// NewUser is the account that would be made, as the fallback page shows it; empty if the
	// operation makes none, or its name is not known yet.
	NewUser matrix.UserID
	// Email is what an address that StageEmail shows was validated for. For PurposeReset
	// it proves the user who has the address.
	Email Purpose
	Terms *Terms // what StageTerms accepts; nil where no flow has it
}

// Proof is what a completed authentication has shown.
type Proof struct {
	User              matrix.UserID // whose password or address it was; empty if none was given
	RegistrationToken string        // the token that was shown; to be used up by the caller
	Threepid          Threepid      // the address that was validated, if any; to be added by the caller
	Validation        string        // its session; to be spent by the caller
}

// uiaSession is a client on its way through the stages. It holds no password.
type uiaSession struct {
	binding   [sha256.Size]byte // what it is good for
	op        Operation         // without About, which may be a password
	completed []string
	proof     Proof
	began     time.Time
	expires   time.Time
	// shown says that a person has completed a stage on the fallback page, having read
	// there that op.NewUser would be made: from then on no other account can be.
	shown bool
}

// interactive holds the sessions, in memory only: after a restart clients begin again.
type interactive struct {
	key [32]byte // random; for the bindings, which may be of passwords

	mu       sync.Mutex
	sessions map[string]*uiaSession
}

// authData is what a client says under "auth".
type authData struct {
	Type       string     `json:"type"`
	Session    string     `json:"session"`
	Identifier Identifier `json:"identifier"`
	User       string     `json:"user"` // older clients, in place of identifier
	Password   string     `json:"password"`
	Token      string     `json:"token"`
	Creds      struct {
		SID    string `json:"sid"`
		Secret string `json:"client_secret"`
	} `json:"threepid_creds"`
}

// Interact takes one step of interactive authentication with what the client says
// under "auth" (nil if nothing). It returns the proof once a flow is complete; the
// session is then spent. Else the error is the 401 that tells the client how to go on,
// or M_BAD_JSON, or M_LIMIT_EXCEEDED. It must not be called in a transaction.
func (k *Keeper) Interact(ctx context.Context, op Operation, auth json.RawMessage) (Proof, error) {
	binding, err := k.uia.binding(op)
	if err != nil {
		return Proof{}, err
	}
	now := k.now()
	if len(auth) == 0 || string(auth) == "null" {
		return Proof{}, k.uia.begin(op, binding, now, nil)
	}
	var a authData
	if err := json.Unmarshal(auth, &a); err != nil {
		return Proof{}, matrix.BadJSON("\"auth\" has the wrong shape")
	}
	if a.Session == "" {
		if a.Type == "" {
			return Proof{}, k.uia.begin(op, binding, now, nil)
		}
		a.Session = k.uia.open(op, binding, now) // a client that knows the flows may begin with a stage
	}
	if !k.uia.resume(a.Session, op, binding, now) {
		return Proof{}, k.uia.begin(op, binding, now,
			matrix.Forbidden("that authentication session is over, or was for another request: please begin again"))
	}
	if a.Type != "" {
		proof, err := k.stage(ctx, op, a)
		switch {
		case matrix.IsCode(err, "M_FORBIDDEN"), matrix.IsCode(err, "M_THREEPID_AUTH_FAILED"):
			return Proof{}, k.uia.challenge(op, a.Session, err)
		case err != nil:
			return Proof{}, err
		}
		k.uia.complete(a.Session, a.Type, proof)
	}
	if proof, done := k.uia.finish(op, a.Session); done {
		return proof, nil
	}
	return Proof{}, k.uia.challenge(op, a.Session, nil)
}

// binding ties a session to the operation, the user, the device and what is asked, so that
// what was approved is what is done, and for whom it was.
func (u *interactive) binding(op Operation) (sum [sha256.Size]byte, err error) {
	text, err := json.Marshal([]any{op.Name, op.User, op.Device, op.About})
	if err != nil {
		return sum, fmt.Errorf("bind the authentication of %s: %w", op.Name, err)
	}
	h := hmac.New(sha256.New, u.key[:])
	h.Write(text)
	return [sha256.Size]byte(h.Sum(nil)), nil
}

// stage checks one stage. The error is M_FORBIDDEN if the client may try again.
func (k *Keeper) stage(ctx context.Context, op Operation, a authData) (Proof, error) {
	if !k.uia.mayDo(op, a.Session, a.Type) {
		return Proof{}, matrix.Forbidden("that stage is not the next one of any flow")
	}
	switch a.Type {
	case StageDummy, StageTerms:
		return Proof{}, nil
	case StageEmail:
		return k.proveEmail(ctx, op, a)
	case StagePassword:
		user, err := k.provePassword(ctx, op, a)
		return Proof{User: user}, err
	case StageRegistrationToken:
		valid := false
		err := k.db.View(ctx, func(tx *kv.ReadTx) error {
			valid = k.tokenValid(tx, a.Token, a.Session)
			return nil
		})
		if err == nil && !valid {
			err = matrix.Forbidden("that registration token is not valid, or no longer")
		}
		return Proof{RegistrationToken: a.Token}, err
	}
	return Proof{}, matrix.Forbidden("this server does not know that stage")
}

func (k *Keeper) provePassword(ctx context.Context, op Operation, a authData) (matrix.UserID, error) {
	if a.Identifier.Type == "" && a.User != "" {
		a.Identifier = Identifier{Type: IDUser, User: a.User}
	}
	if a.Identifier.Type == "" && op.User != "" {
		a.Identifier = Identifier{Type: IDUser, User: string(op.User)} // the token says who it is
	}
	var user matrix.UserID
	err := k.db.View(ctx, func(tx *kv.ReadTx) (err error) {
		user, err = k.Identify(tx, a.Identifier)
		return err
	})
	if err != nil {
		return "", err
	}
	if op.User != "" && user != op.User {
		return "", matrix.Forbidden("that is another account's password prompt: give your own")
	}
	if err := k.VerifyPassword(ctx, user, a.Password, Asker{User: op.User, Device: op.Device, IP: op.IP}); err != nil {
		return "", err
	}
	return user, k.db.View(ctx, func(tx *kv.ReadTx) error { return k.refuseLocked(tx, user) })
}

// refuseLocked is for those who prove who they are without an access token.
func (k *Keeper) refuseLocked(r kv.Reader, user matrix.UserID) error {
	if row, _ := k.users.Get(r, user); row.Locked {
		return matrix.UserLocked()
	}
	return nil
}

// proveEmail is the address that was validated and, where a password is reset, its user.
func (k *Keeper) proveEmail(ctx context.Context, op Operation, a authData) (p Proof, err error) {
	err = k.db.View(ctx, func(tx *kv.ReadTx) error {
		p.Validation = a.Creds.SID
		address := k.validating(tx, a.Creds.SID)
		user, ok := k.ThreepidOwner(tx, MediumEmail, address)
		if p.Threepid, err = k.Validated(tx, op.Email, user, a.Creds.SID, a.Creds.Secret); err != nil {
			return err
		}
		if op.Email != PurposeReset {
			return nil
		}
		if !ok || op.User != "" && user != op.User {
			return matrix.Forbidden("that address belongs to no account that could do this")
		}
		p.User = user
		return k.refuseLocked(tx, user)
	})
	return p, err
}

// begin opens a session and returns the 401 that names it.
func (u *interactive) begin(op Operation, binding [sha256.Size]byte, now time.Time, cause error) error {
	return u.challenge(op, u.open(op, binding, now), cause)
}

func (u *interactive) open(op Operation, binding [sha256.Size]byte, now time.Time) string {
	u.mu.Lock()
	defer u.mu.Unlock()
	if u.sessions == nil {
		u.sessions = map[string]*uiaSession{}
	}
	u.makeRoom(op.asker(), now)
	id := newToken()
	op.About = nil
	u.sessions[id] = &uiaSession{binding: binding, op: op, began: now, expires: now.Add(UIASessionLife)}
	return id
}

// asker is to whom a session counts.
func (op Operation) asker() string {
	if op.User != "" {
		return string(op.User)
	}
	return Network(op.IP)
}

// makeRoom forgets what has expired and, if there is too much, the oldest session of who is
// about to open another, or of whoever has most: nobody can end the sessions of others.
func (u *interactive) makeRoom(asker string, now time.Time) {
	count, oldest := map[string]int{}, map[string]string{}
	for id, s := range u.sessions {
		if !now.Before(s.expires) {
			delete(u.sessions, id)
			continue
		}
		who := s.op.asker()
		count[who]++
		if first, ok := oldest[who]; !ok || s.expires.Before(u.sessions[first].expires) {
			oldest[who] = id
		}
	}
	switch {
	case count[asker] >= maxUIAEach:
		delete(u.sessions, oldest[asker])
	case len(u.sessions) >= maxUIASessions:
		most := asker
		for who, n := range count {
			if n > count[most] || n == count[most] && who < most {
				most = who
			}
		}
		delete(u.sessions, oldest[most])
	}
}

// resume says whether there is such a session for this very request, and notes which account
// the request would make now: clients ask for the stages before a name is chosen.
func (u *interactive) resume(id string, op Operation, binding [sha256.Size]byte, now time.Time) bool {
	u.mu.Lock()
	defer u.mu.Unlock()
	s, ok := u.sessions[id]
	if ok && !now.Before(s.expires) {
		delete(u.sessions, id)
		ok = false
	}
	if !ok || s.binding != binding || s.shown && s.op.NewUser != op.NewUser {
		return false
	}
	s.op.NewUser = op.NewUser
	return true
}

// mayDo says whether the stage comes next in some flow.
func (u *interactive) mayDo(op Operation, id, stage string) bool {
	u.mu.Lock()
	defer u.mu.Unlock()
	s, ok := u.sessions[id]
	if !ok {
		return false
	}
	if slices.Contains(s.completed, stage) { // a retransmission
		return stage != StagePassword
	}
	n := len(s.completed)
	return slices.ContainsFunc(op.Flows, func(flow []string) bool {
		return len(flow) > n && slices.Equal(flow[:n], s.completed) && flow[n] == stage
	})
}

func (u *interactive) complete(id, stage string, proof Proof) {
	u.mu.Lock()
	defer u.mu.Unlock()
	s, ok := u.sessions[id]
	if !ok || slices.Contains(s.completed, stage) {
		return
	}
	s.completed = append(s.completed, stage)
	if proof.User != "" {
		s.proof.User = proof.User
	}
	if proof.RegistrationToken != "" {
		s.proof.RegistrationToken = proof.RegistrationToken
	}
	if proof.Validation != "" {
		s.proof.Threepid, s.proof.Validation = proof.Threepid, proof.Validation
	}
}

// finish spends the session if a flow is complete.
func (u *interactive) finish(op Operation, id string) (Proof, bool) {
	u.mu.Lock()
	defer u.mu.Unlock()
	s, ok := u.sessions[id]
	if !ok || !slices.ContainsFunc(op.Flows, func(flow []string) bool { return slices.Equal(flow, s.completed) }) {
		return Proof{}, false
	}
	delete(u.sessions, id)
	return s.proof, true
}

// challenge is the 401 that tells the client how to go on; cause is what was wrong
// with its last attempt, or nil.
func (u *interactive) challenge(op Operation, id string, cause error) error {
	u.mu.Lock()
	defer u.mu.Unlock()
	type flow struct {
		Stages []string `json:"stages"`
	}
	flows := make([]flow, 0, len(op.Flows))
	for _, stages := range op.Flows {
		flows = append(flows, flow{stages})
	}
	params := map[string]any{}
	if op.Terms != nil {
		params[StageTerms] = op.Terms.Params
	}
	e := &matrix.Error{Status: http.StatusUnauthorized, Extra: map[string]any{
		"flows": flows, "params": params, "session": id,
	}}
	if s, ok := u.sessions[id]; ok && len(s.completed) > 0 {
		e.Extra["completed"] = slices.Clone(s.completed)
	}
	if m, ok := cause.(*matrix.Error); ok {
		e.Code, e.Message = m.Code, m.Message
	}
	return e
}

// pending counts the sessions that have shown a registration token and not finished, but
// for one.
func (u *interactive) pending(token, except string, now time.Time) int {
	u.mu.Lock()
	defer u.mu.Unlock()
	n := 0
	for id, s := range u.sessions {
		if id != except && s.proof.RegistrationToken == token && now.Before(s.expires) {
			n++
		}
	}
	return n
}
