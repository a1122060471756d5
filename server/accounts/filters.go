package accounts

import (
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"fmt"

	"porchlight/kv"
	"porchlight/server/matrix"
)

const (
	// MaxFilters is how many filters a user may store.
	MaxFilters = 500
	// MaxFilterBytes is the largest filter.
	MaxFilterBytes = 16 << 10
	filterIDBytes  = 12
)

// filterKey names a stored filter.
type filterKey struct {
	User   matrix.UserID
	Filter string
}

// StoreFilter keeps a filter and returns its ID, the same for the same filter, so that
// a client that uploads its filter at every start costs nothing. That raw has the form of
// a filter is for the caller to check, who knows what filters do. The errors are
// M_NOT_JSON, M_BAD_JSON, M_TOO_LARGE, and M_FORBIDDEN if the user has too many.
func (k *Keeper) StoreFilter(tx *kv.WriteTx, user matrix.UserID, raw json.RawMessage) (string, error) {
	if len(raw) > MaxFilterBytes {
		return "", matrix.TooLarge(fmt.Sprintf("a filter may have at most %d bytes", MaxFilterBytes))
	}
	canonical, err := matrix.Canonical(raw)
	if err != nil {
		return "", err
	}
	if _, err := matrix.ParseObject(canonical); err != nil {
		return "", err
	}
	sum := sha256.Sum256(canonical)
	id := base64.RawURLEncoding.EncodeToString(sum[:filterIDBytes])
	key := filterKey{user, id}
	if k.filters.Has(tx, key) {
		return id, nil
	}
	n := 0
	for range k.filters.Keys(tx, kv.Prefix(user)) {
		n++
	}
	if n >= MaxFilters {
		return "", matrix.Forbidden(fmt.Sprintf("you have %d filters already", n))
	}
	k.filters.Put(tx, key, canonical)
	return id, nil
}

// Filter is a stored filter as JSON; M_NOT_FOUND if the user has none of that ID.
func (k *Keeper) Filter(r kv.Reader, user matrix.UserID, id string) (json.RawMessage, error) {
	raw, ok := k.filters.Get(r, filterKey{user, id})
	if !ok {
		return nil, matrix.NotFound("you have no such filter")
	}
	return raw, nil
}
