package clientapi_test

import (
	"fmt"
	"maps"
	"net/http/httptest"
	"net/url"
	"slices"
	"strings"
	"testing"

	"porchlight/server/servertest"
)

// stays are what happens to the viewer of TestWhoSeesWhat. At each "-" others do everything
// that can be done in a room.
var stays = map[string]string{
	"never in it":         "- -",
	"invited":             "- invite -",
	"knocked":             "- knock -",
	"joined":              "- join - -",
	"invited and joined":  "- invite - join -",
	"left":                "- invite - join - leave -",
	"kicked":              "- join - kick -",
	"banned":              "- join - ban -",
	"banned from outside": "- ban -",
	"invite turned down":  "- invite - leave -",
	"knock taken back":    "- knock - leave -",
	"forgotten":           "- join - leave - forget -",
	"rejoined":            "- join - leave - join -",
	"left and invited":    "- join - leave - invite -",
	"left and banned":     "- join - leave - ban -",
	"forgotten, rejoined": "- join - leave forget - join -",
}

// historySettings are the history visibilities of TestWhoSeesWhat; behind the ">" stands what
// it becomes in the middle of the second round.
var historySettings = []string{
	"world_readable", "shared", "invited", "joined",
	"world_readable>joined", "joined>world_readable", "joined>shared", "invited>shared", "shared>invited",
}

// sightTest is one room of TestWhoSeesWhat and its viewer.
type sightTest struct {
	t       *testing.T
	number  int // of the room: with it, variants of the ways of reading take turns
	s       *servertest.Server
	viewer  *servertest.User
	room    string
	setting []string
	round   int
	serial  *int // of marks, in all rooms
	checks  *int
	first   string   // ID of the message at which the threads start
	said    []string // IDs of a message of each round
	tokens  []string // of /sync, at each step
	slides  []string // pos of sliding sync, at each step
	forgot  bool
}

// raceSample is of how many rooms one is looked at with the race detector.
const raceSample = 7

// TestWhoSeesWhat reads rooms in every way there is, as a viewer with every kind of past in
// them and under every history visibility, and holds whatever comes, events and what is
// attached to them, against the oracle.
func TestWhoSeesWhat(t *testing.T) {
	s := servertest.New(t)
	serial, checks, scenarios, rooms := 0, 0, 0, 0
	for n, name := range slices.Sorted(maps.Keys(stays)) {
		for i, setting := range historySettings {
			if strings.Contains(setting, ">") && (n+i)%2 == 0 {
				continue // of the settings that change, each past has half
			}
			if scenarios++; raceDetector && scenarios%raceSample != 0 {
				continue // make test runs all of them without the race detector
			}
			rooms++
			t.Run(name+"/"+setting, func(t *testing.T) {
				x := &sightTest{t: t, s: s, serial: &serial, checks: &checks, number: scenarios, setting: strings.Split(setting, ">")}
				x.viewer = s.User(fmt.Sprintf("viewer%d", scenarios))
				x.run(strings.Fields(stays[name]))
			})
		}
	}
	t.Logf("%d checks in %d rooms", checks, rooms)
}

// do has somebody do something in the room and returns the ID of what comes of it.
func (x *sightTest) do(who *servertest.User, method, path, body string) string {
	x.t.Helper()
	r := x.ask(who, method, "v3/rooms/"+url.PathEscape(x.room)+"/"+path, body)
	if r.Status != 200 {
		x.t.Fatalf("%s %s: %d %s", method, path, r.Status, r.Body)
	}
	var out struct {
		ID string `json:"event_id"`
	}
	r.JSON(x.t, &out)
	return out.ID
}

// ask does not hold the answer against the standard's schemas, as other tests do.
func (x *sightTest) ask(who *servertest.User, method, path, body string) *servertest.Response {
	r := httptest.NewRequestWithContext(x.t.Context(), method, "/_matrix/client/"+path, strings.NewReader(body))
	r.Header.Set("Authorization", "Bearer "+who.Token)
	w := httptest.NewRecorder()
	x.s.Handler.ServeHTTP(w, r)
	return &servertest.Response{Status: w.Code, Header: w.Header(), Body: w.Body.Bytes()}
}

// mark is a word that nothing else says.
func (x *sightTest) mark() string {
	*x.serial++
	return fmt.Sprintf("mark%dx", *x.serial)
}

// say sends a message, with more content behind the body.
func (x *sightTest) say(who, more string) string {
	x.t.Helper()
	mark := x.mark()
	return x.do(x.s.User(who), "PUT", "send/m.room.message/"+mark, `{"msgtype":"m.text","body":"word `+mark+`"`+more+`}`)
}

func (x *sightTest) state(who, eventType, content string) {
	x.t.Helper()
	x.do(x.s.User(who), "PUT", "state/"+eventType, content)
}

// rename changes somebody's name in the room.
func (x *sightTest) rename(who string) {
	x.t.Helper()
	x.state(who, "m.room.member/"+string(x.s.User(who).ID), `{"membership":"join","displayname":"`+x.mark()+`"}`)
}

func (x *sightTest) run(steps []string) {
	alice := x.s.User("alice")
	r := x.ask(alice, "POST", "v3/createRoom", `{"preset":"private_chat","initial_state":[
		{"type":"m.room.join_rules","content":{"join_rule":"knock"}},
		{"type":"m.room.history_visibility","content":{"history_visibility":"`+x.setting[0]+`"}}]}`)
	var made struct {
		Room string `json:"room_id"`
	}
	r.JSON(x.t, &made)
	x.room = made.Room
	x.do(alice, "POST", "invite", `{"user_id":"`+string(x.s.User("carol").ID)+`"}`)
	x.do(x.s.User("carol"), "POST", "join", `{}`)
	for _, step := range steps {
		x.step(step)
		x.listen()
	}
	var page struct{ Chunk []toldEvent }
	x.ask(alice, "GET", "v3/rooms/"+url.PathEscape(x.room)+"/messages?dir=f&limit=250", "").JSON(x.t, &page)
	o := newOracle(string(x.viewer.ID), page.Chunk, x.forgot)
	x.readAll(o)
}

// step is one step of a past.
func (x *sightTest) step(step string) {
	alice, target := x.s.User("alice"), `{"user_id":"`+string(x.viewer.ID)+`","reason":"`+x.mark()+`"}`
	switch step {
	case "-":
		x.others()
	case "invite", "kick", "ban":
		x.do(alice, "POST", step, target)
	case "join":
		if r := x.ask(x.viewer, "POST", "v3/rooms/"+url.PathEscape(x.room)+"/join", `{}`); r.Status != 200 {
			x.do(alice, "POST", "invite", target)
			x.do(x.viewer, "POST", "join", `{}`)
		}
		x.forgot = false
	case "knock":
		x.ask(x.viewer, "POST", "v3/knock/"+url.PathEscape(x.room), `{}`)
	case "leave", "forget":
		x.do(x.viewer, "POST", step, `{}`)
		x.forgot = step == "forget"
	}
}

// others is a round in which everything is done that can be done in a room.
func (x *sightTest) others() {
	alice := x.s.User("alice")
	relating := func(relType, parent, more string) {
		x.said = append(x.said, x.say("alice", more+`,"m.relates_to":{"rel_type":"`+relType+`","event_id":"`+parent+`"}`))
	}
	said := x.say("alice", "")
	if x.first == "" {
		x.first = said
	}
	x.rename("alice")
	x.state("alice", "m.room.topic", `{"topic":"word `+x.mark()+`"}`)
	x.state("alice", "m.room.name", `{"name":"word `+x.mark()+`"}`)
	if x.round++; x.round == 2 && len(x.setting) > 1 {
		x.state("alice", "m.room.history_visibility", `{"history_visibility":"`+x.setting[1]+`"}`)
	}
	x.state("alice", "com.example.secret/key", `{"secret":"`+x.mark()+`"}`)
	x.rename("carol")
	x.say("carol", "")
	edit := func() string { return `,"m.new_content":{"msgtype":"m.text","body":"word ` + x.mark() + `"}` }
	relating("m.replace", x.first, edit())
	relating("m.replace", said, edit())
	relating("m.thread", x.first, "")
	relating("m.reference", x.first, "")
	if n := len(x.said); n > 4 { // one of the round before: its edit, thread or reference
		x.do(alice, "PUT", "redact/"+x.said[n-5]+"/"+x.mark(), `{"reason":"`+x.mark()+`"}`)
	}
	gone := x.say("carol", "")
	x.do(alice, "PUT", "redact/"+gone+"/"+x.mark(), `{"reason":"`+x.mark()+`"}`)
	lost := x.say("carol", "") // to be redacted in the next round
	if x.said = append(x.said, lost); len(x.said) > 5 {
		x.do(alice, "PUT", "redact/"+x.said[len(x.said)-6]+"/"+x.mark(), `{"reason":"`+x.mark()+`"}`)
	}
}

const slideAll = `"lists":{"all":{"timeline_limit":%d,"required_state":{"include":[{}]%s}}}`

// listen has the viewer's clients hear of what is new up to now.
func (x *sightTest) listen() {
	var out struct {
		Next string `json:"next_batch"`
	}
	x.ask(x.viewer, "GET", "v3/sync", "").JSON(x.t, &out)
	x.tokens = append(x.tokens, out.Next)
	var slid slid
	n := len(x.slides)
	if n < 3 {
		x.ask(x.viewer, "POST", "v4/sync", fmt.Sprintf(`{"conn_id":"%d",`+slideAll+`}`, n, 50, "")).JSON(x.t, &slid)
		x.slides = append(x.slides, slid.Pos)
	}
}

// reading is a way of reading.
type reading struct {
	method, path, body string
	may                func(i int) bool // besides what the viewer may see
}

func (x *sightTest) readAll(o *roomOracle) {
	for _, way := range slices.Concat(x.streams(o), x.pages(), x.states(o), x.elsewhere(o)) {
		x.read(o, way)
	}
	x.exactly(o)
}

// read holds one answer against the oracle; a refusal shows nothing.
func (x *sightTest) read(o *roomOracle, way reading) *servertest.Response {
	x.t.Helper()
	r := x.ask(x.viewer, way.method, way.path, way.body)
	if r.Status >= 500 || r.Status == 400 || r.Status == 405 {
		x.t.Fatalf("%s %s: %d %s", way.method, way.path, r.Status, r.Body)
	}
	*x.checks++
	a := answer{t: x.t, o: o, where: way.method + " " + way.path + way.body, body: r.Body, checks: x.checks, may: way.may}
	a.check()
	return r
}

func (x *sightTest) get(path string) reading { return reading{method: "GET", path: path} }

func (x *sightTest) inRoom(path string) reading {
	return x.get("v3/rooms/" + url.PathEscape(x.room) + "/" + path)
}

// streams are the ways of being told what is new.
func (x *sightTest) streams(o *roomOracle) (all []reading) {
	filters := []string{
		`{"room":{"include_leave":true,"timeline":{"limit":250}}}`,
		`{"room":{"include_leave":true,"timeline":{"limit":3},"state":{"lazy_load_members":true}}}`,
		`{"room":{"include_leave":true,"timeline":{"limit":1,"types":["m.room.m*"]}},"event_format":"federation"}`,
	}
	variants := []string{"", "&use_state_after=true", "&full_state=true"}
	for n, since := range append([]string{""}, x.tokens...) {
		for i, filter := range filters {
			path := "v3/sync?filter=" + url.QueryEscape(filter) + variants[(x.number+n+i)%len(variants)]
			if since != "" {
				path += "&since=" + since
			}
			all = append(all, x.get(path))
		}
		all = append(all, x.get("v3/events?from="+since), x.get("v3/events?room_id="+url.QueryEscape(x.room)+"&from="+since))
	}
	for n, pos := range x.slides {
		for _, limit := range []int{1, 50} {
			all = append(all, reading{method: "POST", path: "v4/sync", body: fmt.Sprintf(`{"conn_id":"%d","pos":%q,`+slideAll+`}`, n, pos, limit, `,"lazy_members":true`)})
		}
	}
	for _, limit := range []int{0, 1, 50} {
		all = append(all, reading{method: "POST", path: "v4/sync", body: fmt.Sprintf(`{"conn_id":"new",`+slideAll+`,"room_subscriptions":{%q:{"timeline_limit":%d,"required_state":{"include":[{}]}}}}`, limit, "", x.room, limit)})
	}
	return append(all, x.get("v3/initialSync?limit=100&archived=true"), x.inRoom("initialSync"))
}

const lazily = "&filter=%7B%22lazy_load_members%22%3Atrue%7D"

// pages are the ways of looking back.
func (x *sightTest) pages() (all []reading) {
	variants := []string{"?limit=100", "?limit=100" + lazily, "?limit=2" + lazily}
	for n, from := range append([]string{""}, x.tokens...) {
		for i, dir := range []string{"f", "b"} {
			path := "messages" + variants[(x.number+n+i)%len(variants)] + "&dir=" + dir
			if from != "" {
				path += "&from=" + from
			}
			all = append(all, x.inRoom(path))
		}
	}
	v1 := "v1/rooms/" + url.PathEscape(x.room)
	for _, id := range append([]string{x.first}, x.said...) {
		all = append(all, x.get(v1+"/relations/"+id), x.get(v1+"/relations/"+id+"?recurse=true&dir=f"))
	}
	all = append(all, x.get(v1+"/threads"), x.get(v1+"/threads?include=participated"),
		x.get(v1+"/timestamp_to_event?dir=f&ts=0"), x.get(v1+"/timestamp_to_event?dir=b&ts=9999999999999"))
	for _, order := range []string{"rank", "recent"} {
		all = append(all, reading{method: "POST", path: "v3/search", body: `{"search_categories":{"room_events":{"search_term":"word","order_by":"` + order + `",
			"include_state":true,"event_context":{"include_profile":true},"filter":{"limit":50},"groupings":{"group_by":[{"key":"sender"}]}}}}`})
	}
	return all
}

// states are the ways of asking for the state.
func (x *sightTest) states(o *roomOracle) (all []reading) {
	all = append(all, x.inRoom("state"), x.inRoom("joined_members"))
	for _, at := range append([]string{""}, x.tokens...) {
		all = append(all, x.inRoom("members?at="+at), x.inRoom("members?membership=join&at="+at))
	}
	seen := map[string]bool{}
	for _, e := range o.events {
		if e.StateKey == nil || seen[e.Type+" "+*e.StateKey] {
			continue
		}
		seen[e.Type+" "+*e.StateKey] = true
		path := "state/" + e.Type + "/" + *e.StateKey
		all = append(all, x.inRoom(path), x.inRoom(path+"?format=event"))
	}
	return all
}

// elsewhere are ways of hearing of the room beside reading it.
func (x *sightTest) elsewhere(o *roomOracle) (all []reading) {
	room := url.PathEscape(x.room)
	for _, way := range []reading{x.get("v1/room_summary/" + room), x.get("v1/rooms/" + room + "/hierarchy")} {
		way.may = o.summary
		all = append(all, way)
	}
	return append(all, x.get("v3/notifications?limit=100"), x.inRoom("aliases"))
}

// exactly asks for each event by itself and for what stands around it: it is there for whom
// the standard allows it, and for nobody else.
func (x *sightTest) exactly(o *roomOracle) {
	for i, e := range o.events {
		want := 404
		if o.sees(i) {
			want = 200
		}
		turn := (x.number + i) % 3
		around := []string{"?limit=0", "?limit=30", "?limit=4" + lazily}[turn]
		byID := []string{"v3/rooms/" + url.PathEscape(x.room) + "/event/", "v3/events/", "v3/rooms/" + url.PathEscape(x.room) + "/event/"}[turn]
		for _, way := range []reading{x.get(byID + e.ID), x.inRoom("context/" + e.ID + around)} {
			if r := x.read(o, way); r.Status != want {
				x.t.Errorf("%s at %d of type %s: %d, want %d", way.path, i, e.Type, r.Status, want)
			}
		}
	}
	want := 403
	if o.wasIn() {
		want = 200
	}
	for _, path := range []string{"state", "members", "messages?dir=b", "initialSync"} {
		if r := x.read(o, x.inRoom(path)); r.Status != want {
			x.t.Errorf("%s: %d, want %d", path, r.Status, want)
		}
	}
}
