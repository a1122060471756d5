package clientapi_test

import (
	"encoding/json"
	"fmt"
	"maps"
	"net/http"
	"slices"
	"strings"
	"testing"

	"porchlight/server"
	"porchlight/server/clientapi"
	"porchlight/server/servertest"
	"porchlight/server/web"
)

// sweepUpload is the largest upload in the sweep, in bytes.
const sweepUpload = 64 << 10

// TestBadInput makes up bad requests for every operation of the table from what the
// standard says of its parameters and body. None may succeed, write, or make a 500.
func TestBadInput(t *testing.T) {
	s := servertest.New(t, func(c *server.Config) { c.MaxUpload = sweepUpload })
	spec, err := servertest.TheSpec()
	if err != nil {
		t.Fatal(err)
	}
	sent := sent{}
	for i, route := range clientapi.New(clientapi.Config{}).Routes() {
		t.Run(route.Op, func(t *testing.T) {
			w := sweep{t: t, s: s, spec: spec, sent: sent, route: route, op: spec.Operations[route.Op]}
			if w.op == nil {
				w.op = ownOperation(t, route.Op)
			}
			w.setUp(fmt.Sprintf("u%d", i))
			w.tokens()
			w.paths()
			w.queries()
			w.bodies()
			w.fields()
			w.complete()
		})
	}
	sent.log(t)
}

// sent is how many requests of a class were sent to an operation.
type sent map[string]map[string]int

func (s sent) count(class, op string) {
	if s[class] == nil {
		s[class] = map[string]int{}
	}
	s[class][op]++
}

// log tells how many requests of each class were sent, and to how many operations.
func (s sent) log(t *testing.T) {
	total := 0
	t.Log("requests  operations  class")
	for _, class := range slices.Sorted(maps.Keys(s)) {
		requests := 0
		for _, n := range s[class] {
			requests += n
		}
		t.Logf("%8d  %10d  %s", requests, len(s[class]), class)
		total += requests
	}
	t.Logf("%8d in all", total)
}

// ownBodies are the bodies of operations that the standard does not have.
var ownBodies = map[string]string{
	"putDehydratedDevice": `{"type":"object","required":["device_id","device_data","device_keys"],"properties":{
		"device_id":{"type":"string"},"initial_device_display_name":{"type":"string"},
		"device_data":{"type":"object","required":["algorithm"],"properties":{"algorithm":{"type":"string"}}},
		"device_keys":{"type":"object"},"one_time_keys":{"type":"object"},"fallback_keys":{"type":"object"}}}`,
	"postDehydratedDeviceEvents": `{"type":"object","properties":{"next_batch":{"type":"string"}}}`,
}

// ownOperation describes an operation that the standard does not have.
func ownOperation(t *testing.T, id string) *servertest.Operation {
	t.Helper()
	op := &servertest.Operation{}
	if schema := ownBodies[id]; schema != "" {
		op.Body = &servertest.Answer{Types: []string{"application/json"}}
		if err := json.Unmarshal([]byte(schema), &op.Body.Schema); err != nil {
			t.Fatal(err)
		}
	}
	return op
}

// complete makes sure that the operation was asked everything that it can be asked wrongly.
func (w *sweep) complete() {
	path, isJSON := w.route.Path, w.op.Body != nil && w.op.Body.JSON()
	has := func(names ...string) bool {
		return slices.ContainsFunc(names, func(name string) bool { return strings.Contains(path, "{"+name+"}") })
	}
	for class, due := range map[string]bool{
		"no token":                 w.route.Access == web.User,
		"unknown token":            w.route.Access == web.User,
		"another user's":           has("userId") && !slices.Contains(anyUser, w.route.Op),
		"absent room":              has("roomId", "roomIdOrAlias") && !slices.Contains(anyRoom, w.route.Op),
		"path: hostile identifier": has(slices.Collect(maps.Keys(sigils))...),
		"body: malformed JSON":     isJSON,
		"body: wrong type":         isJSON,
		"body: oversized":          w.op.Body != nil,
	} {
		if due && w.sent[class][w.route.Op] == 0 {
			w.t.Errorf("nothing of the class %q was sent", class)
		}
	}
}

// sweep is the bad input for one operation.
type sweep struct {
	t     *testing.T
	s     *servertest.Server
	spec  *servertest.Spec
	sent  sent
	route web.Route
	op    *servertest.Operation

	user   *servertest.User
	values map[string]string // good values of path parameters, escaped
	body   string            // as good as it can be without knowing what it means
}

// setUp makes a user with a room for the operation, which it may leave or spoil.
func (w *sweep) setUp(name string) {
	w.user = w.s.User(name)
	var room, event, backup, filter struct {
		Room    string `json:"room_id"`
		Event   string `json:"event_id"`
		Version string `json:"version"`
		Filter  string `json:"filter_id"`
	}
	w.user.Must("POST", "v3/createRoom", `{}`, &room)
	w.user.Must("PUT", "v3/rooms/"+room.Room+"/send/m.x/1", `{}`, &event)
	w.user.Must("POST", "v3/room_keys/version", `{"algorithm":"m.megolm_backup.v1.curve25519-aes-sha2","auth_data":{"public_key":"abcdefg"}}`, &backup)
	w.user.Must("POST", "v3/user/"+string(w.user.ID)+"/filter", `{}`, &filter)
	w.values = map[string]string{
		"version": backup.Version, "filterId": filter.Filter, "ruleId": ".m.rule.master",
		"userId": string(w.user.ID), "roomId": room.Room, "roomIdOrAlias": room.Room, "eventId": event.Event,
		"roomAlias": "%23" + name + ":" + servertest.Name, "deviceId": string(w.user.Device), "serverName": servertest.Name,
		"eventType": "m.room.topic", "receiptType": "m.read", "keyName": "displayname", "kind": "override", "tag": "u.x",
	}
	w.body = w.text(w.good(w.bodySchema()))
}

// bodySchema is nil where the body is not JSON.
func (w *sweep) bodySchema() any {
	if w.op.Body == nil || !w.op.Body.JSON() {
		return nil
	}
	return w.op.Body.Schema
}

// path is the operation's path and query with good values, but for those named.
func (w *sweep) path(other ...string) string { return w.barePath(other...) + w.query("") }

// query has good values for all parameters that have to be there, but for the one named.
func (w *sweep) query(without string) string {
	query := "?"
	for _, p := range w.op.Parameters {
		if p.In == "query" && p.Required && p.Name != without {
			value, isNamed := w.values[p.Name]
			if !isNamed {
				value = strings.Trim(w.text(w.good(p.Schema)), `"`)
			}
			query += p.Name + "=" + value + "&"
		}
	}
	return query
}

func (w *sweep) barePath(other ...string) string {
	path := w.route.Path
	for i := 0; i+1 < len(other); i += 2 {
		path = strings.ReplaceAll(path, "{"+other[i]+"}", other[i+1])
	}
	for name, value := range w.values {
		path = strings.ReplaceAll(path, "{"+name+"}", value)
	}
	return strings.NewReplacer("{", "", "}", "").Replace(path) // "{txnId}" becomes "txnId"
}

// refused wants a request refused.
func (w *sweep) refused(class, token, path, body string) *servertest.Response {
	w.t.Helper()
	w.sent.count(class, w.route.Op)
	return w.s.Refused(w.t, token, w.route.Method, path, body)
}

// harmless sends what need not be wrong, but must not break anything.
func (w *sweep) harmless(class, path, body string) {
	w.t.Helper()
	w.sent.count(class, w.route.Op)
	r := w.s.AskIn(w.t.Context(), w.t, w.user.Token, w.route.Method, path, strings.NewReader(body))
	if r.Status >= http.StatusInternalServerError {
		w.t.Errorf("%s %s: %d %s", path, body, r.Status, r.Body)
	}
}

func (w *sweep) tokens() {
	if w.route.Access == web.User {
		for token, code := range map[string]string{"": "M_MISSING_TOKEN", "nobody's": "M_UNKNOWN_TOKEN", strings.Repeat("x", 10_000): "M_UNKNOWN_TOKEN"} {
			class := "unknown token"
			if token == "" {
				class = "no token"
			}
			if r := w.refused(class, token, w.path(), w.body); r.Status != http.StatusUnauthorized || r.Errcode() != code {
				w.t.Errorf("with the token %.10q: %d %s", token, r.Status, r.Body)
			}
		}
	}
	for _, method := range []string{"PATCH", "BREW"} {
		w.sent.count("wrong method", w.route.Op)
		if r := w.s.Refused(w.t, w.user.Token, method, w.path(), w.body); r.Status != http.StatusMethodNotAllowed {
			w.t.Errorf("%s: %d %s", method, r.Status, r.Body)
		}
	}
}

// anyRoom are operations that need no room to be there, or the user to be in it: what
// they keep is the user's own.
var anyRoom = []string{
	"setAccountDataPerRoom", "getAccountDataPerRoom", "getRoomTags", "setRoomTag", "deleteRoomTag",
	"putRoomKeysByRoomId", "getRoomKeysByRoomId", "deleteRoomKeysByRoomId",
	"putRoomKeyBySessionId", "getRoomKeyBySessionId", "deleteRoomKeyBySessionId",
}

// oneByOne are operations that answer 200 and say for each part of the body what is
// wrong with it (spec: client-server API, POST keys/signatures/upload).
var oneByOne = []string{"uploadCrossSigningSignatures"}

// fromOutside are operations on rooms that the user need not be in.
var fromOutside = []string{"reportRoom"}

// anyUser are operations on users that anyone may ask about.
var anyUser = []string{"getUserProfile", "getProfileField", "reportUser"}

// sigils of the identifiers in paths; the others have none.
var sigils = map[string]string{"userId": "@", "roomId": "!", "eventId": "$", "roomAlias": "%23", "roomIdOrAlias": "!", "serverName": ""}

func (w *sweep) paths() {
	for _, name := range []string{"roomId", "roomIdOrAlias"} {
		if strings.Contains(w.route.Path, "{"+name+"}") && !slices.Contains(anyRoom, w.route.Op) {
			w.refused("absent room", w.user.Token, w.path(name, "!absent:"+servertest.Name), w.body)
			w.refused("absent room", w.user.Token, w.path(name, "!absent"), w.body)
		}
		if strings.Contains(w.route.Path, "{"+name+"}") && !slices.Contains(anyRoom, w.route.Op) && !slices.Contains(fromOutside, w.route.Op) && w.route.Access == web.User {
			w.refused("a stranger's request", w.s.User("stranger").Token, w.path(), w.body)
		}
	}
	if strings.Contains(w.route.Path, "{userId}") && !slices.Contains(anyUser, w.route.Op) {
		w.refused("another user's", w.s.User("stranger").Token, w.path(), w.body)
	}
	for segment := range strings.SplitSeq(w.route.Path, "/") {
		name, isParam := strings.CutPrefix(segment, "{")
		if !isParam {
			continue
		}
		name = strings.TrimSuffix(name, "}")
		for _, value := range []string{"%ff", "a%ffb", "%ed%a0%80"} {
			w.refused("path: invalid UTF-8", w.user.Token, w.path(name, value), w.body)
		}
		sigil, isID := sigils[name]
		if !isID {
			for _, value := range []string{"%00", "a%00b", strings.Repeat("a", 256), strings.Repeat("%F0%9F%92%A1", 100), "..", "%2F", "%0A", "%E2%80%AE"} {
				w.harmless("path: strange, perhaps allowed", w.path(name, value), w.body)
			}
			continue
		}
		long := strings.Repeat("a", 256)
		for _, value := range []string{"%00", sigil + "a%00:" + servertest.Name, sigil + long, sigil + long + ":" + servertest.Name, sigil, "%20", "%2F", sigil + "a:", sigil + ":" + servertest.Name + ":x%20y"} {
			w.refused("path: hostile identifier", w.user.Token, w.path(name, value), w.body)
		}
		if sigil != "" {
			w.refused("path: missing sigil", w.user.Token, w.path(name, "a:"+servertest.Name), w.body)
			w.refused("path: missing sigil", w.user.Token, w.path(name, "a"), w.body)
		}
		if !strings.HasSuffix(w.route.Path, segment) { // else it is the path of another operation
			w.refused("path: empty identifier", w.user.Token, w.path(name, ""), w.body)
		}
	}
}

// pageTokens are query parameters that only the server can know good values of.
var pageTokens = []string{"from", "to", "since", "next_batch"}

func (w *sweep) queries() {
	w.refused("query: bad escape", w.user.Token, w.path()+"x=%zz", w.body)
	for _, p := range w.op.Parameters {
		if p.In != "query" {
			continue
		}
		schema := w.spec.Deref(p.Schema)
		var bad, strange []string
		switch enum, _ := schema["enum"].([]any); {
		case schema["type"] == "integer" || schema["type"] == "number":
			bad = []string{"", "x", "0x10", "99999999999999999999", "-99999999999999999999", "%00", "1%00", "%ff"}
			strange = []string{"-1", "0"}
		case schema["type"] == "boolean":
			bad = []string{"", "yes", "1", "TRUE", "%00", "%ff"}
		case enum != nil:
			bad = []string{"nope", "%00", "%ff"}
		case slices.Contains(pageTokens, p.Name):
			bad = []string{"garbage", "%00", "%ff", "s99999999999999999999", strings.Repeat("a", 5000)}
		default:
			bad = []string{"%ff"}
			strange = []string{"", "%00", strings.Repeat("a", 5000), "{", "[]", "null"}
		}
		path := w.barePath() + w.query(p.Name)
		for _, value := range bad {
			w.refused("query: wrong", w.user.Token, path+p.Name+"="+value, w.body)
		}
		for _, value := range strange {
			w.harmless("query: strange, perhaps allowed", path+p.Name+"="+value, w.body)
		}
		if p.Required {
			w.refused("query: missing", w.user.Token, path, w.body)
		}
	}
}

// bodies are wrong as a whole.
func (w *sweep) bodies() {
	if w.op.Body == nil {
		return
	}
	limit := int(w.route.MaxBody)
	switch {
	case limit == 0:
		limit = web.DefaultMaxBody
	case limit < 0:
		limit = sweepUpload
	}
	if r := w.refused("body: oversized", w.user.Token, w.path(), `{"x":"`+strings.Repeat("x", limit)+`"}`); r.Status != http.StatusRequestEntityTooLarge {
		w.t.Errorf("an oversized body: %d %s", r.Status, r.Body)
	}
	if !w.op.Body.JSON() {
		return
	}
	for _, body := range []string{`{`, `{"a":}`, `{"a":1}}`, `{"a":1,}`, `{'a':1}`, "{\"a\":\"\xff\"}", `{"a":"\x"}`, "\x00", `{"a":1,"a":2}`, "{\"a\":\"\n\"}", " "} {
		w.refused("body: malformed JSON", w.user.Token, w.path(), body)
	}
	for _, body := range []string{`[]`, `[{}]`, `"x"`, `1`, `true`, `null`} {
		w.refused("body: wrong type", w.user.Token, w.path(), body)
	}
	for _, depth := range []int{101, 1000, 30_000} {
		w.refused("body: deep JSON", w.user.Token, w.path(), `{"x":`+strings.Repeat("[", depth)+strings.Repeat("]", depth)+`}`)
		if 6*depth < limit {
			w.refused("body: deep JSON", w.user.Token, w.path(), strings.Repeat(`{"a":`, depth)+"1"+strings.Repeat("}", depth))
		}
	}
}

// fields puts wrong values into every field that the standard names.
func (w *sweep) fields() {
	if schema := w.bodySchema(); schema != nil {
		w.field(schema, func(v any) any { return v }, "", 0)
	}
}

// maxSchemaDepth ends what holds itself.
const maxSchemaDepth = 8

// field tries wrong values for what a schema describes; into puts a value in its place
// in the body.
func (w *sweep) field(schema any, into func(any) any, at string, depth int) {
	s := w.spec.Deref(schema)
	if depth > maxSchemaDepth || s == nil {
		return
	}
	if at != "" {
		w.wrong(s, into, at)
	}
	for _, key := range []string{"allOf", "oneOf", "anyOf"} {
		all, _ := s[key].([]any)
		for _, one := range all {
			w.field(one, into, "", depth+1)
		}
	}
	properties, _ := s["properties"].(map[string]any)
	for _, name := range slices.Sorted(maps.Keys(properties)) {
		w.field(properties[name], func(v any) any {
			o, ok := w.good(s).(map[string]any)
			if !ok {
				o = map[string]any{}
			}
			o[name] = v
			return into(o)
		}, at+"/"+name, depth+1)
	}
	if items, ok := s["items"]; ok {
		w.field(items, func(v any) any { return into([]any{v}) }, at+"/0", depth+1)
	}
	if more, ok := s["additionalProperties"].(map[string]any); ok {
		w.field(more, func(v any) any { return into(map[string]any{"ed25519:A": v}) }, at+"/*", depth+1)
	}
	patterns, _ := s["patternProperties"].(map[string]any)
	for _, pattern := range slices.Sorted(maps.Keys(patterns)) {
		key := map[string]string{"^@": string(w.user.ID), "^!": w.values["roomId"], `^\$`: w.values["eventId"]}[pattern]
		w.field(patterns[pattern], func(v any) any { return into(map[string]any{key: v}) }, at+"/"+pattern, depth+1)
	}
}

// wrong sends a field with values of all the types that it has not.
func (w *sweep) wrong(s map[string]any, into func(any) any, at string) {
	types := map[string]bool{}
	switch kind := s["type"].(type) {
	case string:
		types[kind] = true
	case []any:
		for _, one := range kind {
			types[one.(string)] = true
		}
	default:
		return // nothing is wrong
	}
	send := func(class string, value any) {
		if slices.Contains(oneByOne, w.route.Op) && strings.Count(at, "/") > 1 {
			w.harmless(class, w.path(), w.text(into(value)))
			return
		}
		w.refused(class, w.user.Token, w.path(), w.text(into(value)))
	}
	values := map[string]any{"string": "x", "array": []any{}, "object": map[string]any{}, "boolean": true}
	for _, kind := range slices.Sorted(maps.Keys(values)) {
		if !types[kind] {
			send("field: wrong type", values[kind])
		}
	}
	switch {
	case types["number"]:
	case types["integer"]:
		for _, n := range []string{"1.5", "1e400", "99999999999999999999", "-99999999999999999999"} {
			send("field: number out of range", json.RawMessage(n))
		}
		for _, n := range []string{"-1", "9007199254740993", "-9007199254740993"} {
			w.harmless("field: null, or strange", w.path(), w.text(into(json.RawMessage(n))))
		}
	default:
		send("field: wrong type", 1)
		send("field: number out of range", json.RawMessage("1e400"))
	}
	w.harmless("field: null, or strange", w.path(), w.text(into(nil)))
	if types["string"] {
		for _, text := range []string{"", "\x00", strings.Repeat("a", 10_000), "\u202e"} {
			w.harmless("field: null, or strange", w.path(), w.text(into(text)))
		}
		if format, _ := s["format"].(string); strings.HasPrefix(format, "mx-") && strings.HasSuffix(format, "-id") {
			for _, id := range []string{"", "x", "@", "!", "$", strings.Repeat("@", 256), "\x00"} {
				send("field: hostile identifier", id)
			}
		}
	}
}

// good makes up a value that fits a schema, with the fields that have to be there.
func (w *sweep) good(schema any) any {
	s := w.spec.Deref(schema)
	if enum, ok := s["enum"].([]any); ok {
		return enum[0]
	}
	if all, ok := s["allOf"].([]any); ok && s["type"] == nil {
		return w.good(all[0])
	}
	switch s["type"] {
	case "integer", "number":
		return 1
	case "boolean":
		return true
	case "array":
		return []any{}
	case "string":
		switch s["format"] {
		case "mx-user-id":
			return string(w.user.ID)
		case "mx-room-id":
			return w.values["roomId"]
		case "mx-event-id":
			return w.values["eventId"]
		case "mx-room-alias":
			return "#alias:" + servertest.Name
		case "mx-mxc-uri", "uri":
			return "mxc://" + servertest.Name + "/x"
		}
		return "x"
	}
	o := map[string]any{}
	required, _ := s["required"].([]any)
	properties, _ := s["properties"].(map[string]any)
	for _, name := range required {
		o[name.(string)] = w.good(properties[name.(string)])
	}
	return o
}

func (w *sweep) text(v any) string {
	text, err := json.Marshal(v)
	if err != nil {
		w.t.Fatal(err)
	}
	return string(text)
}
