package appservice

import (
	"bytes"
	"crypto/sha256"
	"fmt"
	"net/url"
	"regexp"
	"strings"

	"gopkg.in/yaml.v3"

	"porchlight/server/matrix"
)

// The bounds of a registration.
const (
	MaxRegistrationBytes = 32 << 10
	maxIDBytes           = 255
	minTokenBytes        = 8
	maxTokenBytes        = 512
	maxURLBytes          = 2048
	maxRegexBytes        = 512
	maxNamespaces        = 64 // of each kind
	maxProtocols         = 64
)

// Namespace is a set of users, aliases or rooms.
type Namespace struct {
	Regex     string `cbor:"1,keyasint" yaml:"regex"`
	Exclusive bool   `cbor:"2,keyasint,omitempty" yaml:"exclusive"`
}

// Registration is what a service's file says (spec: application service API,
// registration).
type Registration struct {
	ID              string
	URL             string // without a slash at the end; empty: it is told nothing
	AppToken        [sha256.Size]byte
	HouseToken      string
	SenderLocalpart string
	Users           []Namespace
	Aliases         []Namespace
	Rooms           []Namespace
	Protocols       []string
	RateLimited     bool
	Ephemeral       bool // it wants to hear of typing, receipts and presence
	OldEphemeral    bool // the same, under the names of the proposal (MSC2409)
	Encryption      bool // it wants to hear what its devices need to encrypt (MSC3202)
}

func (r *Registration) wantsEphemeral() bool { return r.Ephemeral || r.OldEphemeral }

// wantsToDevice: there is no word for it in a registration; who asks for one of the others
// knows it.
func (r *Registration) wantsToDevice() bool { return r.wantsEphemeral() || r.Encryption }

// file is a registration as it is written.
type file struct {
	ID              string  `yaml:"id"`
	URL             *string `yaml:"url"`
	AppToken        string  `yaml:"as_token"`
	HouseToken      string  `yaml:"hs_token"`
	SenderLocalpart string  `yaml:"sender_localpart"`
	Namespaces      struct {
		Users   []Namespace `yaml:"users"`
		Aliases []Namespace `yaml:"aliases"`
		Rooms   []Namespace `yaml:"rooms"`
	} `yaml:"namespaces"`
	RateLimited  bool     `yaml:"rate_limited"`
	Protocols    []string `yaml:"protocols"`
	Ephemeral    bool     `yaml:"receive_ephemeral"`
	OldEphemeral bool     `yaml:"de.sorunome.msc2409.push_ephemeral"`
	Encryption   bool     `yaml:"org.matrix.msc3202"`
}

// Parse reads a registration. The errors, M_INVALID_PARAM, say what is wrong with it and
// hold nothing of its tokens.
func Parse(raw []byte) (Registration, error) {
	if len(raw) > MaxRegistrationBytes {
		return Registration{}, invalid("it has more than %d bytes", MaxRegistrationBytes)
	}
	var f file
	if err := yaml.NewDecoder(bytes.NewReader(raw)).Decode(&f); err != nil {
		return Registration{}, invalid("it is not YAML of the right shape") // err may quote a token
	}
	reg := Registration{
		ID: f.ID, HouseToken: f.HouseToken, AppToken: sha256.Sum256([]byte(f.AppToken)), SenderLocalpart: f.SenderLocalpart,
		Users: orNil(f.Namespaces.Users), Aliases: orNil(f.Namespaces.Aliases), Rooms: orNil(f.Namespaces.Rooms),
		Protocols: orNil(f.Protocols), RateLimited: f.RateLimited,
		Ephemeral: f.Ephemeral, OldEphemeral: f.OldEphemeral, Encryption: f.Encryption,
	}
	if !printable(f.ID, 1, maxIDBytes) {
		return reg, invalid("id is missing, too long, or has characters that cannot be shown")
	}
	if f.URL != nil && *f.URL != "" {
		address, err := parseURL(*f.URL)
		if err != nil {
			return reg, err
		}
		reg.URL = address
	}
	if err := checkTokens(f.AppToken, f.HouseToken); err != nil {
		return reg, err
	}
	if !matrix.ValidLocalpart(f.SenderLocalpart) || len(f.SenderLocalpart) > matrix.MaxIDBytes {
		return reg, invalid("sender_localpart is missing, or no name that a user may have")
	}
	for kind, list := range map[string][]Namespace{"users": reg.Users, "aliases": reg.Aliases, "rooms": reg.Rooms} {
		if err := checkNamespaces(kind, list); err != nil {
			return reg, err
		}
	}
	if len(f.Protocols) > maxProtocols {
		return reg, invalid("it has more than %d protocols", maxProtocols)
	}
	for _, p := range f.Protocols {
		if !printable(p, 1, maxIDBytes) {
			return reg, invalid("a protocol is empty, too long, or has characters that cannot be shown")
		}
	}
	return reg, nil
}

// orNil makes what is written as an empty list what is not there: both are stored alike.
func orNil[T any](list []T) []T {
	if len(list) == 0 {
		return nil
	}
	return list
}

func invalid(format string, args ...any) error {
	return matrix.InvalidParam("this registration cannot be used: " + fmt.Sprintf(format, args...))
}

// printable says whether a text has this many bytes, all of them printable ASCII.
func printable(s string, least, most int) bool {
	other := strings.ContainsFunc(s, func(r rune) bool { return r < ' ' || r > '~' })
	return len(s) >= least && len(s) <= most && !other
}

func parseURL(text string) (string, error) {
	u, err := url.Parse(text)
	if err != nil || len(text) > maxURLBytes || u.Host == "" || u.Scheme != "http" && u.Scheme != "https" ||
		u.User != nil || u.RawQuery != "" || u.Fragment != "" {
		return "", invalid("url has to be an address such as http://localhost:29318, or null")
	}
	return strings.TrimRight(text, "/"), nil
}

func checkTokens(app, house string) error {
	for name, token := range map[string]string{"as_token": app, "hs_token": house} {
		if !printable(token, minTokenBytes, maxTokenBytes) || strings.Contains(token, " ") {
			return invalid("%s has to have %d to %d letters, digits and signs", name, minTokenBytes, maxTokenBytes)
		}
	}
	if app == house {
		return invalid("as_token and hs_token are the same")
	}
	return nil
}

func checkNamespaces(kind string, list []Namespace) error {
	if len(list) > maxNamespaces {
		return invalid("it has more than %d namespaces of %s", maxNamespaces, kind)
	}
	for i, n := range list {
		if n.Regex == "" || len(n.Regex) > maxRegexBytes {
			return invalid("the regex of namespace %d of %s is missing, or longer than %d bytes", i+1, kind, maxRegexBytes)
		}
		if _, err := n.compile(); err != nil {
			return invalid("the regex of namespace %d of %s is none that works in linear time: %v", i+1, kind, err)
		}
	}
	return nil
}

// compile makes the expression ready. It has to match from the beginning on, and need not
// match to the end: so the ecosystem's files are meant.
func (n Namespace) compile() (*regexp.Regexp, error) { return regexp.Compile(`\A(?:` + n.Regex + `)`) }
