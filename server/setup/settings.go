package setup

import (
	"encoding/json"
	"fmt"

	"porchlight/kv"
)

// Setting names one typed value of the settings table and says what holds while it
// is not set.
type Setting[T any] struct {
	name     string
	fallback T
}

// NewSetting declares a setting. Names are snake_case, say whose it is
// ("registration_mode"), and are never reused for another type.
func NewSetting[T any](name string, fallback T) Setting[T] {
	return Setting[T]{name: name, fallback: fallback}
}

// Get is the value of a setting that nobody misses (see Stored for others), or its fallback if it was never set or what is
// stored does not fit its type (which only another release can have written).
func Get[T any](k *Keeper, r kv.Reader, s Setting[T]) T {
	v, err := read(k, r, s)
	if err != nil {
		return s.fallback
	}
	return v
}

// read is Get for those to whom a fallback in place of an unreadable value would do
// harm.
func read[T any](k *Keeper, r kv.Reader, s Setting[T]) (T, error) {
	raw, ok := k.settings.Get(r, s.name)
	if !ok {
		return s.fallback, nil
	}
	var v T
	if err := json.Unmarshal(raw, &v); err != nil {
		return s.fallback, fmt.Errorf("setting %s: %w", s.name, err)
	}
	return v, nil
}

// Stored is the value of a setting that must not be replaced when it cannot be read, such
// as a key that others trust: false if there is none. The error names the row and says what
// to do.
func Stored[T any](k *Keeper, r kv.Reader, s Setting[T]) (v T, found bool, err error) {
	if !k.settings.Has(r, s.name) {
		return s.fallback, false, nil
	}
	if v, err = read(k, r, s); err != nil {
		err = Unusable(s, err)
	}
	return v, true, err
}

// Unusable is the error for a stored value that cannot be used, and is not replaced.
func Unusable[T any](s Setting[T], why error) error {
	return fmt.Errorf("the stored setting %q cannot be used and is not replaced: restore a backup: %w", s.name, why)
}

// Set stores the value of a setting. The error says that the value cannot be
// written as JSON.
func Set[T any](k *Keeper, tx *kv.WriteTx, s Setting[T], v T) error {
	raw, err := json.Marshal(v)
	if err != nil {
		return fmt.Errorf("setting %s: %w", s.name, err)
	}
	k.settings.Put(tx, s.name, raw)
	return nil
}

// Unset puts a setting back to its fallback.
func Unset[T any](k *Keeper, tx *kv.WriteTx, s Setting[T]) { k.settings.Delete(tx, s.name) }
