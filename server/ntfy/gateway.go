package ntfy

import (
	"encoding/json"
	"net/http"
	"net/url"
	"strings"

	"porchlight/server/matrix"
	"porchlight/server/web"
)

const (
	// GatewayPath is the path of push gateways.
	GatewayPath = "/_matrix/push/v1/notify"
	// maxNotify is the largest notification in bytes: an event and what stands around it.
	maxNotify = 128 << 10
	// maxDevices is how many devices one notification may be for.
	maxDevices = 100
)

// Routes is the table of the push gateway's operations (spec: push gateway API).
func (s *Server) Routes() []web.Route {
	return []web.Route{
		{Op: "notify", Method: http.MethodPost, Path: GatewayPath, Access: web.Anyone, RateLimited: true, MaxBody: maxNotify, Handler: web.Plain(s.notify)},
		{Op: "porchlightGateway", Method: http.MethodGet, Path: GatewayPath, Access: web.Anyone, Handler: web.Plain(s.discover)},
	}
}

// discover tells UnifiedPush that this gateway takes its endpoints as push keys.
func (s *Server) discover(*web.Call, web.Empty) (json.RawMessage, error) {
	if s.Off {
		return nil, noGateway()
	}
	return json.RawMessage(`{"unifiedpush":{"gateway":"matrix"}}`), nil
}

type notifyIn struct {
	Body json.RawMessage `body:"raw"`
}

type notifyOut struct {
	Rejected []string `json:"rejected"`
}

// notify is Notify over HTTP.
func (s *Server) notify(c *web.Call, in notifyIn) (notifyOut, error) {
	if s.Off {
		return notifyOut{}, noGateway()
	}
	return s.take(c.R.Host, in.Body, c.R)
}

func noGateway() error {
	return matrix.Unrecognized(http.StatusNotFound, "this house hosts no topics, so it is no push gateway")
}

// Notify publishes a notification to the topics that its devices' push keys are the addresses
// of, and rejects all other keys (spec: push gateway API, notify). host is what the gateway
// was called by, with its port. The errors are M_NOT_JSON, M_BAD_JSON, M_MISSING_PARAM and
// M_INVALID_PARAM.
func (s *Server) Notify(host string, notification []byte) (answer []byte, err error) {
	out, err := s.take(host, notification, nil)
	if err != nil {
		return nil, err
	}
	return json.Marshal(out)
}

// take is Notify for whoever sends a request, nil for the server itself. Others reach the topics
// only that apps have made up, as without the gateway, and too many are refused with
// M_LIMIT_EXCEEDED.
func (s *Server) take(host string, notification []byte, r *http.Request) (notifyOut, error) {
	out := notifyOut{Rejected: []string{}}
	body, err := matrix.ParseObject(notification)
	if err != nil {
		return out, err
	}
	n, ok := body.Object("notification")
	if !ok {
		return out, matrix.MissingParam("there is no notification")
	}
	var devices []struct {
		Pushkey string `json:"pushkey"`
	}
	if json.Unmarshal(n["devices"], &devices) != nil || len(devices) == 0 || len(devices) > maxDevices {
		return out, matrix.InvalidParam("the notification needs devices, and not too many")
	}
	text := shorten(body, n)
	for _, d := range devices {
		topic := s.topic(d.Pushkey, host)
		if topic == "" || r != nil && !strings.HasPrefix(topic, pushTopic) {
			out.Rejected = append(out.Rejected, d.Pushkey)
			continue
		}
		if r != nil && !s.mayPublish(r, topic, "") {
			return out, matrix.LimitExceeded(topicEvery)
		}
		s.put(s.hub.line("message", topic), text, true)
	}
	return out, nil
}

// topic is the topic that a push key is the address of; empty if it is none of this house.
func (s *Server) topic(pushkey, host string) string {
	u, err := url.Parse(pushkey)
	if err != nil || u.Host == "" || u.Scheme != "http" && u.Scheme != "https" {
		return ""
	}
	ours := strings.EqualFold(u.Host, host) || s.Ours != nil && s.Ours(u)
	topic := strings.TrimPrefix(u.Path, "/")
	if s.Off || !ours || !topicName.MatchString(topic) {
		return ""
	}
	return topic
}

// shorten leaves out of a notification what makes it too long for a message. The client
// gets that from the homeserver.
func shorten(body, n matrix.Object) []byte {
	for _, leave := range []string{"", "content", "room_name", "sender_display_name", "room_alias", "devices"} {
		delete(n, leave)
		body["notification"] = n.Encode()
		if text := body.Encode(); len(text) <= maxMessage {
			return text
		}
	}
	return []byte(`{"notification":{}}`)
}
