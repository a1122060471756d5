package ntfy

import (
	"context"
	"encoding/json"
	"net/http"
	"net/url"
	"regexp"
	"slices"
	"strings"
	"sync"
	"time"

	"golang.org/x/time/rate"
)

const (
	// maxTopics is how many topics one connection may listen to.
	maxTopics = 20
	// topicBurst messages may come into a topic at once, then one each topicEvery; the others
	// are the same for what comes from one address without a secret, with one secret, and for
	// all that comes without one. What the house itself tells its users does not count.
	topicBurst, topicEvery     = 60, time.Second
	addressBurst, addressEvery = 120, 250 * time.Millisecond
	secretBurst, secretEvery   = 300, 100 * time.Millisecond
	houseBurst, houseEvery     = 500, 50 * time.Millisecond
	// maxBuckets is how many topics', addresses' and secrets' rates are remembered, of each.
	maxBuckets = 1000
	// pushTopic is how the topics begin that UnifiedPush makes up: anybody may publish there
	// who was told the name.
	pushTopic = "up"
)

// topicName is what a topic may be called: nothing that can be guessed, or is a page.
var topicName = regexp.MustCompile(`^[-_A-Za-z0-9]{12,64}$`)

// Config is what a Server is made with.
type Config struct {
	// Off hosts no topics.
	Off bool
	// Ours says whether a URL leads to this house, besides the address that is asked; may be nil.
	Ours func(*url.URL) bool
	// Allowed says whether a secret opens all of some topics; nil: none is needed. It is asked
	// before each message, so that a secret that ends takes the stream with it.
	Allowed func(ctx context.Context, secret string, topics []string) bool
	// Client is the address or network that a request counts to; nil: all count to none.
	Client func(*http.Request) string
	// Unlimited takes messages however fast they come.
	Unlimited bool
	// Earlier are the messages that outlived the last stop, and Keep is called when those that
	// are to outlive the next have changed; all gives them. Keep may be nil.
	Earlier []Kept
	Keep    func(all func() []Kept)
	// Next answers what is no topic.
	Next http.Handler
	// Closing is closed when the house is about to stop: who listens is let go.
	Closing <-chan struct{}
	Now     func() time.Time // nil: time.Now
}

// Server hosts topics, and is the push gateway that publishes to them.
type Server struct {
	Config
	hub hub

	mu        sync.Mutex // guards what follows
	house     *rate.Limiter
	topics    buckets
	addresses buckets
	secrets   buckets
}

// buckets are rates by name.
type buckets map[string]*rate.Limiter

// take takes one from the rate of a name.
func (b *buckets) take(name string, now time.Time, every time.Duration, burst int) bool {
	limit := (*b)[name]
	if limit == nil {
		if *b == nil || len(*b) >= maxBuckets {
			*b = buckets{}
		}
		limit = rate.NewLimiter(rate.Every(every), burst)
		(*b)[name] = limit
	}
	return limit.AllowN(now, 1)
}

// New makes a Server. The error says that Earlier is no good.
func New(c Config) (*Server, error) {
	if c.Now == nil {
		c.Now = time.Now
	}
	s := &Server{Config: c, hub: hub{now: c.Now}, house: rate.NewLimiter(rate.Every(houseEvery), houseBurst)}
	return s, s.hub.restore(c.Earlier)
}

// ServeHTTP answers for topics, and leaves all else to Config.Next.
func (s *Server) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	names, verb, _ := strings.Cut(strings.TrimPrefix(r.URL.Path, "/"), "/")
	topics := strings.Split(names, ",")
	reading := r.Method == http.MethodGet || r.Method == http.MethodHead
	health := r.URL.Path == "/v1/health" && reading
	if s.Off || !health && (len(topics) > maxTopics || slices.ContainsFunc(topics, func(t string) bool { return !topicName.MatchString(t) })) {
		s.Next.ServeHTTP(w, r)
		return
	}
	h := w.Header()
	h.Set("Access-Control-Allow-Origin", "*") // there are no cookies
	h.Set("Access-Control-Allow-Headers", "*, Authorization")
	h.Set("Access-Control-Allow-Methods", "GET, PUT, POST, OPTIONS")
	h.Set("Cache-Control", "no-store")
	h.Set("X-Content-Type-Options", "nosniff")
	switch {
	case health:
		writeJSON(w, http.StatusOK, json.RawMessage(`{"healthy":true}`))
	case r.Method == http.MethodOptions:
		w.WriteHeader(http.StatusNoContent)
	case verb == "" && len(topics) == 1 && (r.Method == http.MethodPut || r.Method == http.MethodPost):
		s.publish(w, r, topics[0])
	case verb == "" && reading && param(r, "up") != "":
		writeJSON(w, http.StatusOK, json.RawMessage(`{"unifiedpush":{"version":1}}`))
	case reading && slices.Contains([]string{"auth", "json", "sse", "raw", "ws"}, verb):
		if !s.admit(w, r, topics) {
			return
		}
		s.read(w, r, topics, verb)
	default:
		s.Next.ServeHTTP(w, r)
	}
}

// read lets somebody listen who may.
func (s *Server) read(w http.ResponseWriter, r *http.Request, topics []string, verb string) {
	if verb == "auth" {
		writeJSON(w, http.StatusOK, json.RawMessage(`{"success":true}`))
		return
	}
	if !isPoll(r) && s.hub.isFull() {
		refuse(w, tooManySubscribers)
		return
	}
	if verb == "ws" {
		s.socket(w, r, topics)
		return
	}
	s.stream(w, r, topics, forms[verb])
}

// mayPublish takes one from the rates of a message: whoever has a secret counts to that one,
// others first to their address, so that nobody takes the rate of all for themselves.
func (s *Server) mayPublish(r *http.Request, topic, secret string) bool {
	if s.Unlimited {
		return true
	}
	from := ""
	if s.Client != nil {
		from = s.Client(r)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	now := s.Now()
	if secret != "" {
		return s.secrets.take(secret, now, secretEvery, secretBurst) && s.topics.take(topic, now, topicEvery, topicBurst)
	}
	return (from == "" || s.addresses.take(from, now, addressEvery, addressBurst)) &&
		s.topics.take(topic, now, topicEvery, topicBurst) && s.house.AllowN(now, 1)
}

// param is a parameter by any of its names, of the query or of the head (ntfy: list of all
// parameters).
func param(r *http.Request, names ...string) string {
	q := r.URL.Query()
	for _, name := range names {
		for _, v := range []string{r.Header.Get(name), r.Header.Get("X-" + name), q.Get(name), q.Get("x-" + name)} {
			if v = strings.TrimSpace(v); v != "" {
				return v
			}
		}
	}
	return ""
}

// isYes says whether a parameter is switched on.
func isYes(v string) bool { return slices.Contains([]string{"1", "yes", "true"}, strings.ToLower(v)) }

func isPoll(r *http.Request) bool { return isYes(param(r, "poll", "po")) }

// refusal is an error in the form of ntfy; its code begins with the status.
type refusal struct {
	Code  int    `json:"code"`
	HTTP  int    `json:"http"`
	Error string `json:"error"`
}

var (
	badMessage         = refusal{40000, http.StatusBadRequest, "the message broke off or is no good"}
	badTitle           = refusal{40000, http.StatusBadRequest, "a text of the message's head is too long or no good"}
	badPriority        = refusal{40007, http.StatusBadRequest, "priority has to be 1 to 5, or min, low, default, high or max"}
	noDelay            = refusal{40004, http.StatusBadRequest, "messages are told at once here, or not at all"}
	unauthorized       = refusal{40101, http.StatusUnauthorized, "that secret is none of this house"}
	forbidden          = refusal{40301, http.StatusForbidden, "this house asks for a device's secret: get one on its page"}
	tooLong            = refusal{41301, http.StatusRequestEntityTooLarge, "the message is too long"}
	tooFast            = refusal{42901, http.StatusTooManyRequests, "too many messages, come back later"}
	tooManySubscribers = refusal{42902, http.StatusTooManyRequests, "too many connections, come back later"}
)

// refuse answers with an error.
func refuse(w http.ResponseWriter, why refusal) {
	if why.HTTP == http.StatusUnauthorized {
		w.Header().Set("WWW-Authenticate", `Basic realm="Porchlight"`)
	}
	if why.HTTP == http.StatusTooManyRequests {
		w.Header().Set("Retry-After", "5")
	}
	writeJSON(w, why.HTTP, why)
}

func writeJSON(w http.ResponseWriter, status int, v any) {
	body, err := json.Marshal(v)
	if err != nil {
		panic(err) // strings and numbers: cannot happen
	}
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(status)
	// An error means that the client has gone; nobody is left to tell.
	_, _ = w.Write(append(body, '\n'))
}
