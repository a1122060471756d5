package agent

import (
	"context"
	"fmt"
	"maps"
	"regexp"
	"slices"
	"strings"

	"porchlight/kv"
	"porchlight/server/matrix"
)

// MaxSongs is how many songs the board knows at most.
const MaxSongs = 64

// The kinds of noise, which need no file.
var noises = []string{"white", "pink", "brown"}

// songName is what a song may be called, besides reservedNames.
var songName = regexp.MustCompile(`^[\p{Ll}\p{Lo}\p{N}][\p{Ll}\p{Lo}\p{N} _.-]{0,39}$`)

// reservedNames mean something else behind "lullaby".
var reservedNames = []string{"stop", "off", "list", "add", "remove", "volume", "for", "loop", "noise", "white", "pink", "brown"}

// checkSongName says what is wrong with a name; nil: nothing.
func checkSongName(name string) error {
	if slices.ContainsFunc(strings.Fields(name), func(w string) bool { return slices.Contains(reservedNames, w) }) || !songName.MatchString(name) {
		return matrix.InvalidParam(fmt.Sprintf("%q is no name for a song: up to 40 small letters, digits and blanks are, but none of the words %s", name, strings.Join(reservedNames, ", ")))
	}
	return nil
}

// songRow is a song on disk.
type songRow struct {
	URI   string        `cbor:"1,keyasint"`
	Added matrix.UserID `cbor:"2,keyasint,omitempty"` // by whom
}

// Songs are the names of the songs that the board knows, in order.
func (s *Store) Songs() []string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return slices.Sorted(maps.Keys(s.songs))
}

// song finds where the sound of a song lies.
func (s *Store) song(name string) (uri string, ok bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	row, ok := s.songs[name]
	return row.URI, ok
}

// addSong keeps a song, in the place of one of the same name.
func (s *Store) addSong(ctx context.Context, name, uri string, by matrix.UserID) error {
	if err := checkSongName(name); err != nil {
		return err
	}
	row := songRow{uri, by}
	return s.changeSongs(ctx, func(songs map[string]songRow) error {
		if _, known := songs[name]; !known && len(songs) >= MaxSongs {
			return matrix.InvalidParam(fmt.Sprintf("there are %d songs, and more are not possible: remove one first", MaxSongs))
		}
		songs[name] = row
		return nil
	})
}

// removeSong forgets a song; M_NOT_FOUND if there is none of the name. Its file stays.
func (s *Store) removeSong(ctx context.Context, name string) error {
	return s.changeSongs(ctx, func(songs map[string]songRow) error {
		if _, known := songs[name]; !known {
			return matrix.NotFound(fmt.Sprintf("there is no song %q", name))
		}
		delete(songs, name)
		return nil
	})
}

// changeSongs makes a change to the songs, here and in the database.
func (s *Store) changeSongs(ctx context.Context, change func(map[string]songRow) error) error {
	if s.db == nil {
		s.mu.Lock()
		defer s.mu.Unlock()
		return change(s.songs)
	}
	return s.db.Update(ctx, func(tx *kv.WriteTx) error {
		before := s.songRows(tx)
		after := maps.Clone(before)
		if err := change(after); err != nil {
			return err
		}
		for name := range before {
			if _, stays := after[name]; !stays {
				s.songTable.Delete(tx, name)
			}
		}
		for name, row := range after {
			if before[name] != row {
				s.songTable.Put(tx, name, row)
			}
		}
		tx.AfterCommit(func() { s.takeSongs(after) })
		return nil
	})
}

func (s *Store) songRows(r kv.Reader) map[string]songRow {
	return maps.Collect(s.songTable.Scan(r, kv.All()))
}

func (s *Store) takeSongs(songs map[string]songRow) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.songs = songs
}

// checkSongs says which rows no release could have written.
func (s *Store) checkSongs(r kv.Reader, report func(format string, args ...any)) {
	for name, row := range s.songRows(r) {
		if err := checkSongName(name); err != nil {
			report("the board's song %q: %v", name, err)
		}
		if !strings.HasPrefix(row.URI, "mxc://") {
			report("the board's song %q lies at %q", name, row.URI)
		}
	}
}
