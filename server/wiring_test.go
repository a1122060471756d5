package server

import (
	"reflect"
	"slices"
	"strings"
	"testing"

	"porchlight/server/accounts"
	"porchlight/voip/agent"
)

// offByChoice are the functions, interfaces and pointers of the Configs of a running server
// that are nil on purpose, and why.
var offByChoice = map[string]string{
	"server/mail.Config.RootCAs":    "those of the system",
	"server/mail.Config.Now":        "no mail is set up, and mail.New takes the clock",
	"server/push.Config.Mail":       "no mail is set up",
	"server.BoardConfig.Network":    "it is looked at, which agent.Config.Network shows",
	"server.Config.OnInternalError": "for tests",
	"voip/device.Config.Live":       "there is no pin for a light",
	"voip/agent.Config.Door":        "there is no pin for a door",
	"voip/bridge.Config.net":        "for tests",
}

// TestWiring: of the Configs that the program has built, none lacks a function, an interface or a
// pointer by accident. A feature whose Config is not filled in compiles and never runs.
func TestWiring(t *testing.T) {
	s, err := New(t.Context(), Config{
		Data: t.TempDir(), ServerName: "house.test", Listen: []string{"127.0.0.1:0"}, Hashing: accounts.HashCost{Memory: 8, Time: 1},
		Board: BoardConfig{User: "porch", Camera: "test", Microphone: "test", Loudspeaker: "meter", Loopback: true},
	})
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	w := &wiring{seen: map[any]bool{}, configs: map[string]bool{}}
	w.walk(reflect.ValueOf(s))
	for _, name := range w.missing {
		if offByChoice[name] == "" {
			t.Errorf("%s is nil, and not off by choice", name)
		}
	}
	for name := range offByChoice {
		if !slices.Contains(w.missing, name) {
			t.Errorf("%s is said to be off by choice, and is not", name)
		}
	}
	for _, name := range []string{"voip/agent.Config", "voip/bridge.Config", "voip/device.Config", "server/rooms.Config"} {
		if !w.configs[name] {
			t.Errorf("%s was not found, only %v", name, w.configs)
		}
	}
	// As many sessions as the setting for viewers allows calls.
	most := reflect.ValueOf(s.board.bridge).Elem().FieldByName("cfg").FieldByName("MaxSessions").Int()
	if most < agent.MaxViewers {
		t.Errorf("%d sessions at once, and %d viewers", most, agent.MaxViewers)
	}
}

// wiring walks through all that can be reached from a value, and notes what its Configs lack.
type wiring struct {
	seen    map[any]bool
	configs map[string]bool
	missing []string
}

func (w *wiring) walk(v reflect.Value) {
	switch v.Kind() {
	case reflect.Pointer:
		if !v.IsNil() && ours(v.Type().Elem()) && !w.seen[v.Pointer()] {
			w.seen[v.Pointer()] = true
			w.walk(v.Elem())
		}
	case reflect.Interface:
		if !v.IsNil() {
			w.walk(v.Elem())
		}
	case reflect.Slice, reflect.Array:
		for i := range v.Len() {
			w.walk(v.Index(i))
		}
	case reflect.Struct:
		if !ours(v.Type()) {
			return
		}
		name := strings.TrimPrefix(v.Type().PkgPath(), "porchlight/") + "." + v.Type().Name()
		isConfig := strings.HasSuffix(v.Type().Name(), "Config")
		w.configs[name] = w.configs[name] || isConfig
		for i := range v.NumField() {
			f := v.Field(i)
			switch f.Kind() {
			case reflect.Func, reflect.Interface, reflect.Pointer:
				if missing := name + "." + v.Type().Field(i).Name; isConfig && f.IsNil() && !slices.Contains(w.missing, missing) {
					w.missing = append(w.missing, missing)
				}
			}
			w.walk(f)
		}
	}
}

func ours(t reflect.Type) bool { return strings.HasPrefix(t.PkgPath(), "porchlight/") }
