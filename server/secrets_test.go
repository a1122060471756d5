package server_test

import (
	"path/filepath"
	"strings"
	"testing"

	"porchlight/kv"
	"porchlight/server"
)

// TestSecretsAreNotReplaced: what others trust and that cannot be read is an error at the
// start that names it, and stays as it is.
func TestSecretsAreNotReplaced(t *testing.T) {
	for _, name := range []string{"server_name", "signing_key", "certificate_authority", "turn_secret"} {
		for _, damaged := range []string{"{", `7`, `{}`, `""`} {
			if name == "server_name" && damaged == `""` {
				continue // that is a name that is not set
			}
			c := quiet(t.TempDir())
			secure(&c)
			c.Network.Turn = true
			_, stop := running(t, c)
			stop()
			row := func(put string) (stored string) {
				db, err := kv.Open(kv.Options{Path: filepath.Join(c.Data, "porchlight.db")})
				if err != nil {
					t.Fatal(err)
				}
				settings := kv.NewTable[string, []byte](db, kv.Settings)
				err = db.Update(t.Context(), func(tx *kv.WriteTx) error {
					if put != "" {
						settings.Put(tx, name, []byte(put))
					}
					raw, there := settings.Get(tx, name)
					if stored = string(raw); !there {
						t.Errorf("there is no %s", name)
					}
					return nil
				})
				if err != nil {
					t.Fatal(err)
				}
				if err := db.Close(); err != nil {
					t.Fatal(err)
				}
				return stored
			}
			row(damaged)
			s, err := server.New(t.Context(), c)
			if err == nil {
				t.Errorf("%s is %s: the server began", name, damaged)
				_ = s.Close()
			} else if !strings.Contains(err.Error(), name) && !strings.Contains(err.Error(), strings.ReplaceAll(name, "_", " ")) {
				t.Errorf("%s is %s: the error is %v", name, damaged, err)
			}
			if after := row(""); after != damaged {
				t.Errorf("%s was %s and is %s", name, damaged, after)
			}
		}
	}
}
