package agent

import (
	"context"
	"fmt"
	"log/slog"
	"slices"
	"strings"
	"sync"

	"porchlight/kv"
	"porchlight/server/matrix"
)

// MaxSettingText is the longest value of a setting, in bytes.
const MaxSettingText = 4096

// Store keeps the board's settings: rows of text in the database over what the house was
// started with; its songs; and what it made by itself. All its methods may be called from anywhere.
type Store struct {
	db        *kv.DB
	table     *kv.Table[string, string]
	songTable *kv.Table[string, songRow]
	uploads   *kv.Table[uploadKey, uint64]
	told      *kv.Table[toldKey, uint64]
	toldHere  map[toldKey]bool  // without a database
	server    matrix.ServerName // whose users settings may name; empty: any
	log       *slog.Logger
	defaults  Settings
	all       []setting

	mu      sync.Mutex
	vet     func(name string, s *Settings) error // nil: nothing has more to say to a setting
	current Settings
	stored  map[string]string
	songs   map[string]songRow
	changed chan struct{}
}

// NewStore makes a Store. db may be nil: then settings last as long as the Store. With a
// db, Load has to be called before the Store is used.
func NewStore(db *kv.DB, defaults Settings, log *slog.Logger) *Store {
	if log == nil {
		log = slog.Default()
	}
	s := &Store{
		db: db, log: log, defaults: defaults, all: settings(), current: defaults,
		stored: map[string]string{}, songs: map[string]songRow{}, toldHere: map[toldKey]bool{}, changed: make(chan struct{}),
	}
	if db != nil {
		s.table = kv.NewTable[string, string](db, kv.BoardSettings)
		s.songTable = kv.NewTable[string, songRow](db, kv.BoardSongs)
		db.AddCheck("board settings", s.check)
		db.AddCheck("board songs", s.checkSongs)
		s.uploads = kv.NewTable[uploadKey, uint64](db, kv.BoardUploads)
		db.AddCheck("board uploads", s.checkUploads)
		s.told = kv.NewTable[toldKey, uint64](db, kv.BoardTold)
		db.AddCheck("board told", s.checkTold)
	}
	return s
}

// Load reads what was stored.
func (s *Store) Load(ctx context.Context) error {
	if s.db == nil {
		return nil
	}
	return s.db.View(ctx, func(tx *kv.ReadTx) error {
		s.take(s.rows(tx))
		s.takeSongs(s.songRows(tx))
		return nil
	})
}

func (s *Store) rows(r kv.Reader) map[string]string {
	rows := map[string]string{}
	for name, text := range s.table.Scan(r, kv.All()) {
		rows[name] = text
	}
	return rows
}

// check says which rows no release could have written.
func (s *Store) check(r kv.Reader, report func(format string, args ...any)) {
	for name, text := range s.rows(r) {
		var scratch Settings
		if x, ok := s.find(name); !ok {
			report("the board's setting %q is unknown", name)
		} else if err := x.parse(&scratch, text); err != nil {
			report("the board's setting %s: %v", name, err)
		}
	}
}

// take puts rows into force.
func (s *Store) take(rows map[string]string) {
	current := s.defaults
	for name, text := range rows {
		x, ok := s.find(name)
		if !ok {
			s.log.Warn("a setting of the board is unknown and has no effect", "name", name)
			continue
		}
		if err := x.parse(&current, text); err != nil {
			s.log.Warn("a setting of the board is no good and has no effect", "name", name, "error", err)
		}
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.current, s.stored = current, rows
	close(s.changed)
	s.changed = make(chan struct{})
}

// Current is what is in force.
func (s *Store) Current() Settings {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.current
}

// Changed is closed at the next change.
func (s *Store) Changed() <-chan struct{} {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.changed
}

func (s *Store) find(name string) (setting, bool) {
	i := slices.IndexFunc(s.all, func(x setting) bool { return x.name == name })
	if i < 0 {
		return setting{}, false
	}
	return s.all[i], true
}

// Serves says of which server the users are that settings name, so that they can be named
// without it, and others are refused.
func (s *Store) Serves(server matrix.ServerName) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.server = server
}

// secret says whether a setting must not be told or made in a room.
func (s *Store) secret(name string) bool {
	x, ok := s.find(name)
	return ok && x.secret
}

// Set puts a setting into force and keeps it. words are needed where switching something
// off is a promise to others (ToneWords). The error is M_INVALID_PARAM with a sentence on
// what is wrong, or the database's.
func (s *Store) Set(ctx context.Context, name, text, words string) error {
	text = strings.TrimSpace(text)
	x, ok := s.find(name)
	if !ok {
		return s.unknown(name)
	}
	if len(text) > MaxSettingText {
		return matrix.InvalidParam(fmt.Sprintf("the value of %s is longer than %d bytes", name, MaxSettingText))
	}
	s.mu.Lock()
	server := s.server
	s.mu.Unlock()
	if x.names != nil && server != "" {
		var err error
		if text, err = x.names(text, server); err != nil {
			return matrix.InvalidParam(name + ": " + err.Error())
		}
	}
	scratch := s.Current()
	if err := x.parse(&scratch, text); err != nil {
		return matrix.InvalidParam(name + ": " + err.Error())
	}
	s.mu.Lock()
	vet := s.vet
	s.mu.Unlock()
	if vet != nil {
		if err := vet(name, &scratch); err != nil {
			return err
		}
	}
	if x.needsWords(text) && words != x.words {
		return matrix.InvalidParam(fmt.Sprintf("%s is switched off only by whoever confirms in these words: %s", name, x.words))
	}
	return s.update(ctx, name, &text)
}

// Unset takes a setting back to what the house was started with.
func (s *Store) Unset(ctx context.Context, name string) error {
	if _, ok := s.find(name); !ok {
		return s.unknown(name)
	}
	return s.update(ctx, name, nil)
}

func (s *Store) unknown(name string) error {
	var names []string
	for _, x := range s.all {
		names = append(names, x.name)
	}
	return matrix.InvalidParam(fmt.Sprintf("there is no setting %q; there are %s", name, strings.Join(names, ", ")))
}

func (s *Store) update(ctx context.Context, name string, text *string) error {
	if s.db == nil {
		s.mu.Lock()
		rows := map[string]string{}
		for k, v := range s.stored {
			rows[k] = v
		}
		s.mu.Unlock()
		if delete(rows, name); text != nil {
			rows[name] = *text
		}
		s.take(rows)
		return nil
	}
	return s.db.Update(ctx, func(tx *kv.WriteTx) error {
		if s.table.Delete(tx, name); text != nil {
			s.table.Put(tx, name, *text)
		}
		rows := s.rows(tx)
		tx.AfterCommit(func() { s.take(rows) })
		return nil
	})
}

// Setting is one setting for a person to look at.
type Setting struct {
	Name, Value, Help string
	Stored            bool // else it is what the house was started with
}

// List is all settings by name. Secrets are not told.
func (s *Store) List() []Setting {
	s.mu.Lock()
	current, stored := s.current, s.stored
	s.mu.Unlock()
	list := make([]Setting, 0, len(s.all))
	for _, x := range s.all {
		value := x.show(&current)
		if x.secret && value != "" {
			value = "(set, not shown)"
		}
		_, is := stored[x.name]
		list = append(list, Setting{Name: x.name, Value: value, Help: x.help, Stored: is})
	}
	return list
}

// Get is one setting.
func (s *Store) Get(name string) (Setting, error) {
	for _, x := range s.List() {
		if x.Name == name {
			return x, nil
		}
	}
	return Setting{}, s.unknown(name)
}
