package appservice

import (
	"bytes"
	"crypto/sha256"
	"fmt"
	"net/url"
	"regexp"
	"strconv"
	"strings"
	"unicode"
	"unicode/utf8"

	"gopkg.in/yaml.v3"

	"porchlight/server/matrix"
)

// The bounds of a registration.
const (
	MaxRegistrationBytes = 32 << 10
	maxIDBytes           = 255
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
	id, appToken, hsToken, senderLocalpart string
	url                                    *string
	users, aliases, rooms                  []Namespace
	protocols                              []string
	rateLimited, ephemeral, oldEphemeral   bool
	encryption                             bool
}

// read takes each field by itself, so that one of a wrong shape can be named. Generators differ in how they write the
// same thing: a flag as a string, one protocol as no list, nothing as an empty list. What is unknown is passed over.
func read(raw []byte) (f file, err error) {
	var fields, spaces map[string]yaml.Node
	if err := yaml.NewDecoder(bytes.NewReader(raw)).Decode(&fields); err != nil {
		return f, invalid("it is not YAML of the right shape") // err may quote a token
	}
	if node := fields["namespaces"]; !isEmpty(node) {
		if node.Decode(&spaces) != nil {
			return f, invalid("namespaces has to have lists named users, aliases and rooms")
		}
	}
	for _, field := range []struct {
		in   map[string]yaml.Node
		name string
		to   any
	}{
		{fields, "id", &f.id}, {fields, "url", &f.url}, {fields, "as_token", &f.appToken}, {fields, "hs_token", &f.hsToken},
		{fields, "sender_localpart", &f.senderLocalpart}, {fields, "rate_limited", (*flag)(&f.rateLimited)},
		{fields, "protocols", (*texts)(&f.protocols)}, {fields, "receive_ephemeral", (*flag)(&f.ephemeral)},
		{fields, "de.sorunome.msc2409.push_ephemeral", (*flag)(&f.oldEphemeral)}, {fields, "org.matrix.msc3202", (*flag)(&f.encryption)},
		{spaces, "users", &f.users}, {spaces, "aliases", &f.aliases}, {spaces, "rooms", &f.rooms},
	} {
		node, there := field.in[field.name]
		if !there || isEmpty(node) {
			continue
		}
		if node.Decode(field.to) != nil {
			return f, invalid("%s has the wrong shape", field.name)
		}
	}
	return f, nil
}

// isEmpty says whether a field is as good as absent: null, [] or {}.
func isEmpty(n yaml.Node) bool {
	return n.Kind == 0 || n.Tag == "!!null" || (n.Kind == yaml.SequenceNode || n.Kind == yaml.MappingNode) && len(n.Content) == 0
}

// flag is a boolean that may be written as a string.
type flag bool

// UnmarshalYAML takes true and "true".
func (f *flag) UnmarshalYAML(n *yaml.Node) error {
	value, err := strconv.ParseBool(n.Value)
	*f = flag(value)
	return err
}

// texts is a list of strings, of which a single one may stand for itself.
type texts []string

// UnmarshalYAML takes "irc" and ["irc"].
func (t *texts) UnmarshalYAML(n *yaml.Node) error {
	if n.Kind == yaml.ScalarNode {
		*t = texts{n.Value}
		return nil
	}
	return n.Decode((*[]string)(t))
}

// Parse reads a registration. The errors, M_INVALID_PARAM, say what is wrong with it and
// hold nothing of its tokens.
func Parse(raw []byte) (Registration, error) {
	if len(raw) > MaxRegistrationBytes {
		return Registration{}, invalid("it has more than %d bytes", MaxRegistrationBytes)
	}
	f, err := read(raw)
	if err != nil {
		return Registration{}, err
	}
	reg := Registration{
		ID: f.id, HouseToken: f.hsToken, AppToken: sha256.Sum256([]byte(f.appToken)), SenderLocalpart: f.senderLocalpart,
		Users: orNil(f.users), Aliases: orNil(f.aliases), Rooms: orNil(f.rooms),
		Protocols: orNil(f.protocols), RateLimited: f.rateLimited,
		Ephemeral: f.ephemeral, OldEphemeral: f.oldEphemeral, Encryption: f.encryption,
	}
	if !shown(f.id) {
		return reg, invalid("id is missing, too long, or has characters that cannot be shown")
	}
	if f.url != nil && *f.url != "" {
		address, err := parseURL(*f.url)
		if err != nil {
			return reg, err
		}
		reg.URL = address
	}
	if err := checkTokens(f.appToken, f.hsToken); err != nil {
		return reg, err
	}
	if !matrix.HistoricalLocalpart(f.senderLocalpart) {
		return reg, invalid("sender_localpart is missing, too long, or has a colon or characters that cannot be shown; " +
			"it is the name before the colon only, without @")
	}
	for kind, list := range map[string][]Namespace{"users": reg.Users, "aliases": reg.Aliases, "rooms": reg.Rooms} {
		if err := checkNamespaces(kind, list); err != nil {
			return reg, err
		}
	}
	if len(f.protocols) > maxProtocols {
		return reg, invalid("it has more than %d protocols", maxProtocols)
	}
	for _, p := range f.protocols {
		if !shown(p) {
			return reg, invalid("a protocol is empty, too long, or has characters that cannot be shown")
		}
	}
	return reg, nil
}

// shown says whether a name can be shown to people: valid UTF-8 without control characters.
func shown(name string) bool {
	hidden := strings.ContainsFunc(name, func(r rune) bool { return !unicode.IsPrint(r) })
	return name != "" && len(name) <= maxIDBytes && utf8.ValidString(name) && !hidden
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
		// The standard has no least length. The server's token stands in a header, where blanks may be inside only.
		if !printable(token, 1, maxTokenBytes) || strings.TrimSpace(token) != token || name == "as_token" && strings.Contains(token, " ") {
			return invalid("%s is missing, too long, or has characters other than letters, digits and signs", name)
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
