//go:build e2e

package e2e

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"os"
	"os/exec"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/coder/websocket"
)

// phoneGiven makes the test binary, started in the namespace, be a phone there.
const phoneGiven = "PORCHLIGHT_E2E_PHONE"

const (
	// wakes is how often the phone is woken.
	wakes = 200
	// phoneTopic is what UnifiedPush on the phone calls its topic.
	phoneTopic = "upE2e0123456789"
)

// TestOfflineWake wakes a phone without the internet: a UnifiedPush distributor and a Matrix
// client, which find everything at the house, by its name in the network and over HTTPS.
func TestOfflineWake(t *testing.T) {
	within := withoutWayOut(t)
	p := newPorchAt(t, within, "--listen", ":8008", "--listen-https", ":8443", "--turn", "off", "--board", "off",
		"--local-name", strings.TrimSuffix(offlineName, ".local"))
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	phone := exec.Command(within[0], append(within[1:], self)...)
	phone.Env = append(os.Environ(), phoneGiven+"="+p.url)
	out, err := phone.CombinedOutput()
	t.Logf("%s", out)
	if err != nil {
		t.Fatal(err)
	}
}

// phone is a device in the namespace.
type phone struct {
	http   *http.Client
	base   string // where the house is, over HTTPS
	ctx    context.Context
	tokens map[string]string // of users
}

// runPhone does what the distributor and the client on a phone do, and tells how long waking
// takes. plain is where the house is without HTTPS.
func runPhone(plain string) error {
	ctx, cancel := context.WithTimeout(context.Background(), 2*time.Minute)
	defer cancel()
	if conn, err := net.DialTimeout("tcp", "192.0.2.1:443", 2*time.Second); err == nil {
		return errors.Join(errors.New("there is a way out"), conn.Close())
	}
	p := &phone{ctx: ctx, base: "https://" + offlineName + ":8443", tokens: map[string]string{}}
	if err := p.trust(plain); err != nil {
		return err
	}
	var gateway struct {
		UnifiedPush struct {
			Gateway string `json:"gateway"`
		} `json:"unifiedpush"`
	}
	if err := p.ask("", "GET", "/_matrix/push/v1/notify", nil, &gateway); err != nil || gateway.UnifiedPush.Gateway != "matrix" {
		return fmt.Errorf("the probe for a gateway: %+v %w", gateway, err)
	}
	room, err := p.settle()
	if err != nil {
		return err
	}
	var secret struct {
		Secret string `json:"secret"`
	}
	if err := p.ask(guest, "POST", "/_porchlight/push/secrets", map[string]string{"name": "phone"}, &secret); err != nil {
		return err
	}
	if _, err := p.listen("wrong"); err == nil {
		return errors.New("whoever has no secret may listen")
	}
	socket, err := p.listen(secret.Secret)
	if err != nil {
		return err
	}
	defer func() { _ = socket.CloseNow() }()
	if err := p.ask(guest, "POST", "/_matrix/client/v3/pushers/set", map[string]any{
		"kind": "http", "app_id": "im.vector.app.android", "pushkey": p.base + "/" + phoneTopic + "?up=1",
		"app_display_name": "Element", "device_display_name": "Phone", "lang": "en",
		"data": map[string]string{"url": p.base + "/_matrix/push/v1/notify", "format": "event_id_only"},
	}, nil); err != nil {
		return err
	}
	return p.measure(socket, room)
}

// trust takes the house's authority for good, and finds its name.
func (p *phone) trust(plain string) error {
	res, err := http.Get(plain + "/ca.crt")
	if err != nil {
		return err
	}
	defer res.Body.Close()
	der, err := io.ReadAll(res.Body)
	if err != nil {
		return err
	}
	authority, err := x509.ParseCertificate(der)
	if err != nil {
		return err
	}
	address, err := resolve(offlineName)
	if err != nil {
		return err
	}
	roots := x509.NewCertPool()
	roots.AddCert(authority)
	p.http = &http.Client{Transport: &http.Transport{
		TLSClientConfig: &tls.Config{RootCAs: roots},
		DialContext: func(ctx context.Context, network, _ string) (net.Conn, error) {
			return new(net.Dialer).DialContext(ctx, network, net.JoinHostPort(address, "8443"))
		},
	}}
	return nil
}

// settle logs both people in and puts them into a room.
func (p *phone) settle() (room string, err error) {
	for _, user := range []string{owner, guest} {
		var in struct {
			AccessToken string `json:"access_token"`
		}
		if err := p.ask("", "POST", "/_matrix/client/v3/login", map[string]any{
			"type": "m.login.password", "identifier": map[string]string{"type": "m.id.user", "user": user}, "password": password,
		}, &in); err != nil {
			return "", err
		}
		p.tokens[user] = in.AccessToken
	}
	var made struct {
		Room string `json:"room_id"`
	}
	if err := p.ask(owner, "POST", "/_matrix/client/v3/createRoom", map[string]string{"preset": "public_chat"}, &made); err != nil {
		return "", err
	}
	return made.Room, p.ask(guest, "POST", "/_matrix/client/v3/join/"+url.PathEscape(made.Room), map[string]string{}, nil)
}

// listen is what the ntfy app does.
func (p *phone) listen(secret string) (*websocket.Conn, error) {
	r, err := http.NewRequest(http.MethodGet, p.base, nil)
	if err != nil {
		return nil, err
	}
	r.SetBasicAuth("phone", secret)
	socket, _, err := websocket.Dial(p.ctx, p.base+"/"+phoneTopic+"/ws?since=none", &websocket.DialOptions{HTTPClient: p.http, HTTPHeader: r.Header})
	if err != nil {
		return nil, err
	}
	return socket, wait(p.ctx, socket, `"event":"open"`)
}

// wait reads until a frame with a text comes.
func wait(ctx context.Context, socket *websocket.Conn, text string) error {
	for {
		_, frame, err := socket.Read(ctx)
		if err != nil || strings.Contains(string(frame), text) {
			return err
		}
	}
}

// measure sends messages and waits for each on the phone.
func (p *phone) measure(socket *websocket.Conn, room string) error {
	var took []time.Duration
	for i := range wakes {
		began := time.Now()
		var sent struct {
			ID string `json:"event_id"`
		}
		path := fmt.Sprintf("/_matrix/client/v3/rooms/%s/send/m.room.message/%d", url.PathEscape(room), i)
		if err := p.ask(owner, "PUT", path, map[string]string{"msgtype": "m.text", "body": "ding dong"}, &sent); err != nil {
			return err
		}
		if err := wait(p.ctx, socket, sent.ID); err != nil {
			return fmt.Errorf("after %d: %w", i, err)
		}
		took = append(took, time.Since(began))
	}
	slices.Sort(took)
	fmt.Printf("from sending to waking, over HTTPS and without a way out: p50 %s, p99 %s, of %d\n", took[len(took)/2], took[len(took)*99/100], len(took))
	return nil
}

// ask asks the house as a user, or as nobody.
func (p *phone) ask(user, method, path string, in, out any) error {
	var body io.Reader = http.NoBody
	if in != nil {
		text, err := json.Marshal(in)
		if err != nil {
			return err
		}
		body = strings.NewReader(string(text))
	}
	r, err := http.NewRequestWithContext(p.ctx, method, p.base+path, body)
	if err != nil {
		return err
	}
	if user != "" {
		r.Header.Set("Authorization", "Bearer "+p.tokens[user])
	}
	res, err := p.http.Do(r)
	if err != nil {
		return err
	}
	defer res.Body.Close()
	text, err := io.ReadAll(res.Body)
	if err != nil {
		return err
	}
	if res.StatusCode != http.StatusOK {
		return fmt.Errorf("%s %s: %s: %s", method, path, res.Status, text)
	}
	if out == nil {
		return nil
	}
	return json.Unmarshal(text, out)
}
