package push

import (
	"context"
	"net/url"
	"strings"

	"porchlight/kv"
	"porchlight/server/matrix"
)

const (
	// appTopic is how the topics begin whose names apps make up, by UnifiedPush. Anybody may
	// publish there who was told the name.
	appTopic = "up"
	// maxOwned is how many such topics a user may have; the one that came first gives way.
	maxOwned = 100
)

// ownerRow is whose a topic is.
type ownerRow struct {
	User  matrix.UserID `cbor:"1,keyasint"`
	Since int64         `cbor:"2,keyasint"` // ms
}

// MayUseTopics says whether a secret opens all of some topics. Those that people make up are
// for whoever has a secret. Those of apps are private: the app ntfy listens to such a topic
// before anybody else is told its name, and so it belongs to the user whose secret was the
// first to open it, for as long as that user has a secret at all. That need not be the user
// whose pusher points there: a phone with two accounts listens with one secret.
func (k *Keeper) MayUseTopics(ctx context.Context, secret string, topics []string) (may bool, err error) {
	var claims []string
	err = k.DB.View(ctx, func(tx *kv.ReadTx) error {
		may, claims = k.mayUse(tx, secret, topics)
		return nil
	})
	if err != nil || !may || len(claims) == 0 {
		return may, err
	}
	err = k.DB.Update(ctx, func(tx *kv.WriteTx) error {
		if may, claims = k.mayUse(tx, secret, topics); !may {
			return nil // somebody else was faster
		}
		user, _ := k.secretUser(tx, secret)
		for _, topic := range claims {
			k.own(tx, topic, user)
		}
		return nil
	})
	return may && err == nil, err
}

// mayUse is MayUseTopics that changes nothing: claims are the topics that are nobody's yet.
func (k *Keeper) mayUse(r kv.Reader, secret string, topics []string) (may bool, claims []string) {
	user, ok := k.secretUser(r, secret)
	if !ok {
		return false, nil
	}
	for _, topic := range topics {
		if !strings.HasPrefix(topic, appTopic) {
			continue
		}
		row, owned := k.owners.Get(r, topic)
		switch {
		case owned && row.User == user:
		case owned && len(k.Secrets(r, row.User)) > 0, k.isOthers(r, topic, user):
			return false, nil
		default:
			claims = append(claims, topic)
		}
	}
	return true, claims
}

// isOthers says whether a topic that nobody owns, as those of earlier releases, belongs to
// another user all the same: pushers of people with secrets point there, and none of this user.
func (k *Keeper) isOthers(r kv.Reader, topic string, user matrix.UserID) bool {
	others := false
	for key := range k.pushers.Keys(r, kv.All()) {
		u, err := url.Parse(key.Pushkey)
		if err != nil || u.Path != "/"+topic {
			continue
		}
		if key.User == user {
			return false
		}
		others = others || len(k.Secrets(r, key.User)) > 0
	}
	return others
}

// own notes whose a topic is.
func (k *Keeper) own(tx *kv.WriteTx, topic string, user matrix.UserID) {
	n, first, since := 0, "", int64(0)
	for other, row := range k.owners.Scan(tx, kv.All()) {
		if row.User != user {
			continue
		}
		if n++; first == "" || row.Since < since {
			first, since = other, row.Since
		}
	}
	if n >= maxOwned {
		k.owners.Delete(tx, first)
	}
	k.owners.Put(tx, topic, ownerRow{user, k.Now().UnixMilli()})
}

// disown lets the topics of a user be anybody's.
func (k *Keeper) disown(tx *kv.WriteTx, user matrix.UserID) {
	for topic, row := range k.owners.Scan(tx, kv.All()) {
		if row.User == user {
			k.owners.Delete(tx, topic)
		}
	}
}
