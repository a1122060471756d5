package clientapi

import (
	"cmp"

	"porchlight/server/matrix"
	"porchlight/server/web"
)

// wellKnown tells clients where the server is (spec: client-server API, GET
// .well-known/matrix/client).
type wellKnown struct {
	Homeserver struct {
		BaseURL string `json:"base_url"`
	} `json:"m.homeserver"`
	// Encryption is not of the standard: clients of the Element family look for it.
	Encryption *encryptionHint `json:"io.element.e2ee,omitempty"`
}

type encryptionHint struct {
	Default bool `json:"default"`
}

// wellKnown is nil if base, the address of the server, is empty.
func (a *API) wellKnown(base string) *wellKnown {
	if base == "" {
		return nil
	}
	w := new(wellKnown)
	w.Homeserver.BaseURL = base
	if a.EncryptionHint != "" {
		w.Encryption = &encryptionHint{Default: a.EncryptionHint == "on"}
	}
	return w
}

// getWellknown: spec: client-server API, GET .well-known/matrix/client.
func (a *API) getWellknown(c *web.Call, _ web.Empty) (*wellKnown, error) {
	w := a.wellKnown(cmp.Or(a.PublicURL, c.Base))
	if w == nil {
		return nil, matrix.NotFound("this server has no public address configured")
	}
	return w, nil
}
