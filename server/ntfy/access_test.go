package ntfy_test

import (
	"encoding/base64"
	"encoding/json"
	"fmt"
	"strings"
	"testing"
	"time"

	"porchlight/server"
	"porchlight/server/servertest"
)

// secretOf makes a secret for a device of a user, as the page does.
func secretOf(s *servertest.Server, who string) string {
	var made struct {
		Secret string `json:"secret"`
	}
	s.User(who).Must("POST", "/_porchlight/push/secrets", `{"name":"phone"}`, &made)
	return made.Secret
}

func basic(user, password string) string {
	return "Basic " + base64.StdEncoding.EncodeToString([]byte(user+":"+password))
}

func TestSecretsLetDevicesIn(t *testing.T) {
	s := servertest.New(t)
	secret := secretOf(s, "bob")
	raw := base64.RawURLEncoding.EncodeToString
	url := base(s) + "/" + topic
	for _, c := range []struct {
		name, path string
		head       []string
		status     int
	}{
		{"nothing", "/json?poll=1", nil, 403},
		{"Bearer", "/json?poll=1", []string{"Authorization", "Bearer " + secret}, 200},
		{"Basic", "/json?poll=1", []string{"Authorization", basic("bob", secret)}, 200},
		{"another scheme", "/json?poll=1", []string{"Authorization", "Digest " + secret}, 401},
		{"a wrong secret", "/json?poll=1", []string{"Authorization", "Bearer " + secret + "x"}, 401},
		{"the secret as the name", "/json?poll=1", []string{"Authorization", basic(secret, "")}, 401},
		{"an access token", "/json?poll=1", []string{"Authorization", "Bearer " + s.User("bob").Token}, 401},
		{"auth with Bearer", "/json?poll=1&auth=" + raw([]byte("Bearer "+secret)), nil, 200},
		{"auth with Basic", "/json?poll=1&auth=" + raw([]byte(basic("", secret))), nil, 200},
		{"auth with padding", "/json?poll=1&auth=" + strings.NewReplacer("+", "%2B", "/", "%2F").Replace(base64.StdEncoding.EncodeToString([]byte("Bearer "+secret))), nil, 200},
		{"auth that is nothing", "/json?poll=1&auth=!", nil, 401},
		{"auth without", "/auth", nil, 403},
		{"auth", "/auth", []string{"Authorization", basic("bob", secret)}, 200},
		{"sse", "/sse?poll=1", nil, 403},
		{"raw", "/raw?poll=1", nil, 403},
		{"ws", "/ws", nil, 403},
		{"several topics", ",another0123456/json?poll=1", nil, 403},
		{"the probe of UnifiedPush", "?up=1", nil, 200},
	} {
		if res := ask(t, "GET", url+c.path, "", c.head...); res.StatusCode != c.status {
			t.Errorf("%s: %d, want %d", c.name, res.StatusCode, c.status)
		}
	}
	for _, c := range []struct {
		topic  string
		head   []string
		status int
	}{
		{topic, nil, 200}, // UnifiedPush made it up: any application server may publish
		{"alarm-of-the-kitchen", nil, 403},
		{"alarm-of-the-kitchen", []string{"Authorization", "Bearer " + secret}, 200},
	} {
		if res := ask(t, "POST", base(s)+"/"+c.topic, "x", c.head...); res.StatusCode != c.status {
			t.Errorf("publishing to %s: %d, want %d", c.topic, res.StatusCode, c.status)
		}
	}
}

func TestSecretsOfUsers(t *testing.T) {
	s := servertest.New(t)
	made := func(name string) servertest.Case {
		return servertest.Case{Name: "make " + name, Who: "bob", Method: "POST", Path: "/_porchlight/push/secrets", Body: `{"name":"` + name + `"}`, Status: 200, Changes: servertest.Any,
			Want: `{"id":"*","name":"phone","made":"*","secret":"tk_*"}`, Save: map[string]string{"id": "id", "secret": "secret"}}
	}
	s.Run(t, []servertest.Case{
		made(" phone "),
		{Name: "list", Who: "bob", Method: "GET", Path: "/_porchlight/push", Status: 200, Want: `{"topics":"secret","secrets":[{"id":"{id}","name":"phone","secret":"!absent"}]}`},
		{Name: "another's", Who: "alice", Method: "GET", Path: "/_porchlight/push", Status: 200, Want: `{"secrets":[]}`},
		{Name: "delete another's", Who: "alice", Method: "DELETE", Path: "/_porchlight/push/secrets/{id}", Status: 404, Errcode: "M_NOT_FOUND"},
		{Name: "without a name", Who: "bob", Method: "POST", Path: "/_porchlight/push/secrets", Body: `{"name":" "}`, Status: 400, Errcode: "M_INVALID_PARAM"},
		{Name: "nobody", Method: "POST", Path: "/_porchlight/push/secrets", Body: `{"name":"x"}`, Status: 401, Errcode: "M_MISSING_TOKEN"},
	})
	ok := func() bool {
		return ask(t, "GET", base(s)+"/"+topic+"/auth", "", "Authorization", "Bearer "+s.Var("secret")).StatusCode == 200
	}
	if !ok() {
		t.Error("the secret is none")
	}
	s.Run(t, []servertest.Case{{Name: "delete", Who: "bob", Method: "DELETE", Path: "/_porchlight/push/secrets/{id}", Status: 200, Changes: servertest.Any}})
	if ok() {
		t.Error("the secret is deleted and still one")
	}
	for range 20 {
		secretOf(s, "bob")
	}
	s.Run(t, []servertest.Case{{Name: "one too many", Who: "bob", Method: "POST", Path: "/_porchlight/push/secrets", Body: `{"name":"x"}`, Status: 413, Errcode: "M_TOO_LARGE"}})
}

// TestMessagesOutliveARestart: as many as are promised, and no more.
func TestMessagesOutliveARestart(t *testing.T) {
	folder := t.TempDir()
	var first line
	t.Run("before", func(t *testing.T) {
		s := servertest.At(t, folder, open)
		if err := json.Unmarshal([]byte(text(t, ask(t, "POST", base(s)+"/"+topic, "one", "Title", "Hello"))), &first); err != nil {
			t.Fatal(err)
		}
		ask(t, "POST", base(s)+"/"+topic, "two")
		ask(t, "POST", base(s)+"/"+topic, "not kept", "Cache", "no")
	})
	t.Run("after", func(t *testing.T) {
		s := servertest.At(t, folder, open)
		all := text(t, ask(t, "GET", base(s)+"/"+topic+"/json?poll=1", ""))
		if strings.Count(all, "\n") != 2 || !strings.Contains(all, `"message":"one"`) || !strings.Contains(all, `"title":"Hello"`) {
			t.Error(all)
		}
		if behind := text(t, ask(t, "GET", base(s)+"/"+topic+"/json?poll=1&since="+first.ID, "")); !strings.Contains(behind, "two") || strings.Contains(behind, "one") {
			t.Error(behind)
		}
		for i := range 12 {
			for j := range 40 {
				ask(t, "POST", fmt.Sprintf("%s/up0123456789ab%02d", base(s), i), fmt.Sprint(j))
			}
		}
	})
	t.Run("after many", func(t *testing.T) {
		s := servertest.At(t, folder, open)
		n := 0
		for i := range 12 {
			n += strings.Count(text(t, ask(t, "GET", fmt.Sprintf("%s/up0123456789ab%02d/json?poll=1", base(s), i), "")), "\n")
		}
		if n != 200 {
			t.Errorf("%d messages were kept", n)
		}
		if all := text(t, ask(t, "GET", base(s)+"/"+topic+"/json?poll=1", "")); all != "" {
			t.Error(all)
		}
	})
}

func TestPublishingIsLimited(t *testing.T) {
	s := servertest.New(t, open, func(c *server.Config) { c.RateLimitsOff = false })
	refused := 0
	for range 80 {
		if res := ask(t, "POST", base(s)+"/"+topic, "x"); res.StatusCode == 429 {
			if refused++; res.Header.Get("Retry-After") == "" {
				t.Error("it does not say when to come back")
			}
		}
	}
	if refused < 5 || refused > 20 {
		t.Errorf("%d of 80 were refused", refused)
	}
	if res := ask(t, "POST", base(s)+"/another0123456", "x"); res.StatusCode != 200 {
		t.Errorf("another topic: %d", res.StatusCode)
	}
	notify := fmt.Sprintf(`{"notification":{"devices":[{"app_id":"a","pushkey":"%s/%s"}]}}`, base(s), topic)
	if res := ask(t, "POST", base(s)+"/_matrix/push/v1/notify", notify); res.StatusCode != 429 {
		t.Errorf("the gateway: %d", res.StatusCode)
	}
}

func TestTopicsCanBeOff(t *testing.T) {
	s := servertest.New(t, func(c *server.Config) { c.Push.Topics = server.TopicsOff })
	for _, path := range []string{"/" + topic + "/json", "/" + topic + "?up=1", "/v1/health", "/_matrix/push/v1/notify"} {
		if res := ask(t, "GET", base(s)+path, ""); res.StatusCode != 404 {
			t.Errorf("%s: %d", path, res.StatusCode)
		}
	}
	if res := ask(t, "POST", base(s)+"/_matrix/push/v1/notify", `{"notification":{"devices":[{"app_id":"a","pushkey":"x"}]}}`); res.StatusCode != 404 {
		t.Errorf("the gateway: %d", res.StatusCode)
	}
}

func TestHeadsOfMessages(t *testing.T) {
	s := servertest.New(t, open)
	url := base(s) + "/" + topic
	for _, c := range []struct {
		query, body string
		head        []string
		status      int
		want        string
	}{
		{"", "x", []string{"Title", "Door", "Priority", "high", "Tags", "bell, house", "Click", "https://house.example/"}, 200, `{"message":"x","title":"Door","priority":4,"tags":["bell","house"],"click":"https://house.example/"}`},
		{"", "x", []string{"X-Title", "=?UTF-8?B?VMO8cg==?=", "X-Priority", "5"}, 200, `{"title":"Tür","priority":5}`},
		{"?title=Door&p=urgent", "x", nil, 200, `{"title":"Door","priority":5}`},
		{"", "x", []string{"Priority", "u=1, i"}, 200, `{"priority":"!absent"}`}, // a browser's own
		{"", "", nil, 200, `{"message":"triggered"}`},
		{"?up=1", "", nil, 200, `{"message":"!absent"}`},
		{"?message=hello", "", nil, 200, `{"message":"hello"}`},
		{"", "*x*", []string{"Markdown", "yes"}, 200, `{"content_type":"text/markdown"}`},
		{"", "x", []string{"Cache", "no"}, 200, `{"expires":"!absent"}`},
		{"", "x", []string{"Priority", "6"}, 400, `{"code":40007,"http":400,"error":"*"}`},
		{"", "x", []string{"Delay", "10m"}, 400, `{"code":40004}`},
		{"", "x", []string{"Title", strings.Repeat("x", 1025)}, 400, `{"http":400}`},
		{"", "x", []string{"Tags", strings.Repeat("a,", 21)}, 400, `{"http":400}`},
	} {
		res := ask(t, "POST", url+c.query, c.body, c.head...)
		if res.StatusCode != c.status {
			t.Errorf("%s %v: %d", c.query, c.head, res.StatusCode)
		}
		servertest.Match(t, []byte(text(t, res)), c.want)
	}
}

func TestOtherStreams(t *testing.T) {
	s := servertest.New(t, open)
	url := base(s) + "/" + topic
	ask(t, "POST", url, "first")
	ask(t, "POST", url, "two\nlines")
	if got := text(t, ask(t, "GET", url+"/raw?poll=1", "")); got != "first\ntwo lines\n" {
		t.Errorf("%q", got)
	}
	got := text(t, ask(t, "GET", url+"/sse", "", "Poll", "1"))
	if strings.Count(got, "data: {") != 2 || strings.Count(got, "\n\n") != 2 || strings.Contains(got, "event:") {
		t.Errorf("%q", got)
	}
	res := ask(t, "GET", url+"/sse?since=latest", "")
	if kind := res.Header.Get("Content-Type"); !strings.HasPrefix(kind, "text/event-stream") {
		t.Error(kind)
	}
	var read strings.Builder
	buf := make([]byte, 4096)
	for deadline := time.Now().Add(10 * time.Second); !strings.Contains(read.String(), "lines") && time.Now().Before(deadline); {
		n, err := res.Body.Read(buf)
		if err != nil {
			t.Fatal(err)
		}
		read.Write(buf[:n])
	}
	if all := read.String(); !strings.HasPrefix(all, "event: open\ndata: {") || strings.Contains(all, "first") {
		t.Errorf("%q", all)
	}
}

// TestGatewayReachesTopicsOfAppsOnly: the push gateway is no way around the password of a topic.
func TestGatewayReachesTopicsOfAppsOnly(t *testing.T) {
	s := servertest.New(t)
	host := strings.TrimPrefix(base(s), "http://")
	for name, rejected := range map[string]bool{"water-in-the-cellar": true, topic: false} {
		key := "http://" + host + "/" + name
		body := fmt.Sprintf(`{"notification":{"event_id":"x","devices":[{"app_id":"x","pushkey":%q}]}}`, key)
		res := ask(t, "POST", base(s)+"/_matrix/push/v1/notify", body)
		var out struct{ Rejected []string }
		if err := json.NewDecoder(res.Body).Decode(&out); err != nil || res.StatusCode != 200 || (len(out.Rejected) == 1) != rejected {
			t.Errorf("%s: %d %+v %v", name, res.StatusCode, out, err)
		}
	}
}

// TestStrangersDoNotTakeTheRateOfAll floods topics from one address: another address, and who
// has a secret, still publish.
func TestStrangersDoNotTakeTheRateOfAll(t *testing.T) {
	s := servertest.New(t, func(c *server.Config) {
		c.RateLimitsOff, c.TrustProxy = false, true
		now := time.Now()
		c.Now = func() time.Time { return now } // nothing is refilled
	})
	secret := secretOf(s, "bob")
	taken := 0
	for i := range 600 {
		res := ask(t, "POST", fmt.Sprintf("%s/upflood%06d", base(s), i), "x", "X-Forwarded-For", "203.0.113.1")
		if res.StatusCode == 200 {
			taken++
		}
		_ = res.Body.Close()
	}
	if taken != 120 {
		t.Errorf("%d of one address's messages were taken, want the burst of 120", taken)
	}
	if res := ask(t, "POST", base(s)+"/upflood000000", "x", "X-Forwarded-For", "203.0.113.2"); res.StatusCode != 200 {
		t.Errorf("another address: %d", res.StatusCode)
	}
	if res := ask(t, "POST", base(s)+"/water-in-the-cellar", "x", "X-Forwarded-For", "203.0.113.1", "Authorization", "Bearer "+secret); res.StatusCode != 200 {
		t.Errorf("who has a secret: %d", res.StatusCode)
	}
}
