package appservice

import (
	"context"
	"encoding/json"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"sync"
	"time"

	"porchlight/kv"
	"porchlight/server/matrix"
)

const (
	// lookupTimeout is how long services may take for what clients look up in other
	// networks; the others' answers count when one does not answer in time.
	lookupTimeout = 5 * time.Second
	// maxLookups is how many services are asked at the same time for one client.
	maxLookups = 8
	// maxFound is how many results of one service are passed on, and how many instances of
	// a network.
	maxFound = 500
)

// Protocol is a network that services bridge to (spec: client-server API, Protocol).
type Protocol struct {
	UserFields     []string             `json:"user_fields"`
	LocationFields []string             `json:"location_fields"`
	Icon           string               `json:"icon"`
	FieldTypes     map[string]FieldType `json:"field_types"`
	// Instances hold what their services say of them, and an instance_id.
	Instances []matrix.Object `json:"instances"`
}

// FieldType says what a field may hold.
type FieldType struct {
	Regexp      string `json:"regexp"`
	Placeholder string `json:"placeholder"`
}

// question is what one service is asked.
type question struct {
	service *Service
	path    string // behind …/thirdparty/
	answer  []byte
}

// lookUp asks all questions, several at a time, and returns those that were answered in
// time, in the order of the questions.
func (k *Keeper) lookUp(ctx context.Context, all []*question) []*question {
	ctx, cancel := context.WithTimeout(ctx, lookupTimeout)
	defer cancel()
	var asking sync.WaitGroup
	free := make(chan struct{}, maxLookups)
	for _, q := range all {
		asking.Go(func() {
			select {
			case free <- struct{}{}:
				defer func() { <-free }()
			case <-ctx.Done():
				return
			}
			answer, err := k.call(ctx, q.service, http.MethodGet, nil,
				"/_matrix/app/v1/thirdparty/"+q.path, "/_matrix/app/unstable/thirdparty/"+q.path)
			if err != nil {
				k.Log.Info("application service did not answer a look-up", "service", q.service.ID, "error", err)
				return
			}
			q.answer = answer
		})
	}
	asking.Wait()
	return slices.DeleteFunc(all, func(q *question) bool { return q.answer == nil })
}

// Protocols are the networks that services bridge to, merged where several bridge to the
// same one; only those of a name unless it is empty. It must not be called in a transaction.
func (k *Keeper) Protocols(ctx context.Context, only string) map[string]Protocol {
	var all []*question
	var names []string
	for _, s := range k.Services() {
		for _, p := range s.Protocols {
			if s.URL != "" && (only == "" || p == only) {
				all = append(all, &question{service: s, path: "protocol/" + url.PathEscape(p)})
				names = append(names, p)
			}
		}
	}
	byPath := map[string]string{}
	for i, q := range all {
		byPath[q.path] = names[i]
	}
	merged := map[string]Protocol{}
	for _, q := range k.lookUp(ctx, all) {
		name := byPath[q.path]
		p, ok := parseProtocol(q.answer, q.service.ID+"|"+name+"|")
		if !ok {
			k.Log.Info("application service described its network as it should not", "service", q.service.ID, "protocol", name)
			continue
		}
		if before, ok := merged[name]; ok {
			before.Instances = append(before.Instances, p.Instances...)
			p = before
		}
		merged[name] = p
	}
	return merged
}

// parseProtocol reads what a service says of a network. prefix begins the instances' IDs.
func parseProtocol(raw []byte, prefix string) (Protocol, bool) {
	p := Protocol{UserFields: []string{}, LocationFields: []string{}, FieldTypes: map[string]FieldType{}}
	o, err := matrix.ParseObject(raw)
	if err != nil || matrix.CheckJSON(raw) != nil {
		return p, false
	}
	for name, into := range map[string]any{
		"user_fields": &p.UserFields, "location_fields": &p.LocationFields, "icon": &p.Icon, "field_types": &p.FieldTypes,
	} {
		if value, ok := o[name]; ok && string(value) != "null" && json.Unmarshal(value, into) != nil {
			return p, false
		}
	}
	var instances []json.RawMessage
	if value, ok := o["instances"]; ok && json.Unmarshal(value, &instances) != nil {
		return p, false
	}
	p.Instances = []matrix.Object{}
	for _, raw := range instances[:min(len(instances), maxFound)] {
		instance, err := matrix.ParseObject(raw)
		if err != nil {
			return p, false
		}
		network, ok := instance.Text("network_id")
		_, described := instance.Text("desc")
		if _, hasFields := instance.Object("fields"); !ok || !described || !hasFields {
			return p, false
		}
		instance.SetText("instance_id", prefix+network)
		p.Instances = append(p.Instances, instance)
	}
	return p, true
}

// Lookup is what clients can look for in other networks.
type Lookup string

// What there is to be found: rooms that lead to places, and users who stand for users.
const (
	Locations Lookup = "location"
	Users     Lookup = "user"
)

// key is the field of a result that names what is of this house.
func (l Lookup) key() string {
	if l == Locations {
		return "alias"
	}
	return "userid"
}

// Search looks for places or users of a network by its fields. Known says whether any
// service bridges to that network. It must not be called in a transaction.
func (k *Keeper) Search(ctx context.Context, what Lookup, protocol string, fields url.Values) (found []json.RawMessage, known bool) {
	var all []*question
	for _, s := range k.Services() {
		if s.URL != "" && s.HasProtocol(protocol) {
			all = append(all, &question{service: s, path: string(what) + "/" + url.PathEscape(protocol) + "?" + fields.Encode()})
		}
	}
	return k.found(ctx, what, all), len(all) > 0
}

// Reverse looks for what an alias or a user of this house stands for in other networks.
// Only services in whose namespaces it is are asked. It must not be called in a transaction.
func (k *Keeper) Reverse(ctx context.Context, what Lookup, id string) []json.RawMessage {
	var all []*question
	for _, s := range k.Services() {
		its := s.HasAlias(matrix.RoomAlias(id))
		if what == Users {
			its = s.HasUser(matrix.UserID(id))
		}
		if s.URL != "" && its {
			all = append(all, &question{service: s, path: string(what) + "?" + url.Values{what.key(): {id}}.Encode()})
		}
	}
	return k.found(ctx, what, all)
}

// found are the results of all services, without what is of no good form; never nil.
func (k *Keeper) found(ctx context.Context, what Lookup, all []*question) []json.RawMessage {
	results := []json.RawMessage{}
	for _, q := range k.lookUp(ctx, all) {
		results = append(results, parseFound(what, q.answer)...)
	}
	return results
}

func parseFound(what Lookup, raw []byte) (good []json.RawMessage) {
	var all []json.RawMessage
	if matrix.CheckJSON(raw) != nil || json.Unmarshal(raw, &all) != nil {
		return nil
	}
	for _, raw := range all[:min(len(all), maxFound)] {
		o, err := matrix.ParseObject(raw)
		if err != nil {
			continue
		}
		_, named := o.Text(what.key())
		_, from := o.Text("protocol")
		if _, described := o.Object("fields"); named && from && described {
			good = append(good, raw)
		}
	}
	return good
}

// List puts a room into the directory of a service's network, or takes it out (spec:
// client-server API, PUT directory list appservice).
func (k *Keeper) List(tx *kv.WriteTx, service, network string, room matrix.RoomID, public bool) {
	key := listedKey{service, network, room}
	if public {
		k.listed.Put(tx, key, listedRow{})
		return
	}
	k.listed.Delete(tx, key)
}

// Listed are the rooms in the directories of all networks, or of an instance of one: those
// listed for it, and those listed for its whole network. The order is none.
func (k *Keeper) Listed(r kv.Reader, instance string) []matrix.RoomID {
	rooms := map[matrix.RoomID]bool{}
	for _, s := range k.Services() {
		if instance == "" {
			for key := range k.listed.Keys(r, kv.Prefix(s.ID)) {
				rooms[key.Room] = true
			}
			continue
		}
		for _, p := range s.Protocols {
			network, ok := strings.CutPrefix(instance, s.ID+"|"+p+"|")
			if !ok {
				continue
			}
			for _, name := range []string{network, p} {
				for key := range k.listed.Keys(r, kv.Prefix(s.ID, name)) {
					rooms[key.Room] = true
				}
			}
		}
	}
	all := make([]matrix.RoomID, 0, len(rooms))
	for room := range rooms {
		all = append(all, room)
	}
	return all
}
