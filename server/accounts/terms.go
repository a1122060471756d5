package accounts

import (
	"encoding/json"
	"errors"
	"fmt"
	"net/url"
	"slices"

	"porchlight/server/matrix"
)

// Terms are the policies that whoever makes an account has to accept (spec: client-server
// API, terms of service at registration).
type Terms struct {
	// Params is what clients are told, in the form of the standard.
	Params json.RawMessage
	// Versions are the versions of the policies, by their names.
	Versions map[string]string
	// Documents are all translations, in the order of policy and language.
	Documents []Document
}

// Document is a policy in one language.
type Document struct{ Policy, Language, Name, URL string }

// ParseTerms reads policies in the standard's form: {"policies":{"privacy":{"version":"1",
// "en":{"name":"…","url":"https://…"}}}}. The error says what is wrong.
func ParseTerms(raw []byte) (*Terms, error) {
	canonical, err := matrix.Canonical(raw)
	if err != nil {
		return nil, err
	}
	top, err := matrix.ParseObject(canonical)
	if err != nil {
		return nil, err
	}
	policies, err := matrix.ParseObject(top["policies"])
	if err != nil || len(policies) == 0 {
		return nil, errors.New("the terms need an object \"policies\" with at least one policy")
	}
	t := &Terms{Params: canonical, Versions: map[string]string{}}
	for name, raw := range policies {
		if err := t.addPolicy(name, raw); err != nil {
			return nil, fmt.Errorf("policy %q: %w", name, err)
		}
	}
	slices.SortFunc(t.Documents, func(a, b Document) int {
		return slices.Compare([]string{a.Policy, a.Language}, []string{b.Policy, b.Language})
	})
	return t, nil
}

func (t *Terms) addPolicy(name string, raw json.RawMessage) error {
	policy, err := matrix.ParseObject(raw)
	if err != nil {
		return err
	}
	version, ok := policy.Text("version")
	if !ok || !validRegistrationToken(version) || !validRegistrationToken(name) {
		return errors.New("its name and its \"version\" are letters, digits and . _ ~ -")
	}
	if len(policy) < 2 {
		return errors.New("it has no language")
	}
	t.Versions[name] = version
	for language, raw := range policy {
		if language == "version" {
			continue
		}
		var d struct{ Name, URL string }
		if err := json.Unmarshal(raw, &d); err != nil {
			return fmt.Errorf("%s: %w", language, err)
		}
		u, err := url.Parse(d.URL)
		if err != nil || u.Scheme != "https" && u.Scheme != "http" || u.Host == "" || d.Name == "" {
			return fmt.Errorf("%s: it needs a \"name\" and a \"url\" that begins with https://", language)
		}
		t.Documents = append(t.Documents, Document{name, language, d.Name, d.URL})
	}
	return nil
}
