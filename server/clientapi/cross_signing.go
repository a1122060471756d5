package clientapi

// The operations of cross_signing.yaml.

import (
	"encoding/json"

	"porchlight/kv"
	"porchlight/server/e2ee"
	"porchlight/server/web"
)

type uploadCrossSigningKeysIn struct {
	Master      json.RawMessage `json:"master_key"`
	SelfSigning json.RawMessage `json:"self_signing_key"`
	UserSigning json.RawMessage `json:"user_signing_key"`
	uiaIn
}

// uploadCrossSigningKeys: spec: client-server API, POST keys/device_signing/upload.
func (a *API) uploadCrossSigningKeys(c *web.Call, in uploadCrossSigningKeysIn) (web.Empty, error) {
	keys := e2ee.CrossSigning{Master: in.Master, SelfSigning: in.SelfSigning, UserSigning: in.UserSigning}
	confirmed := c.Service != "" // spec: application service API, cross-signing
	for {
		ask := false
		err := a.DB.Update(c.Ctx, func(tx *kv.WriteTx) (err error) {
			if !confirmed {
				if ask, err = a.E2EE.NeedsUIA(tx, c.User, keys); err != nil || ask {
					return err
				}
			}
			return a.E2EE.UploadCrossSigning(tx, c.User, keys)
		})
		if err != nil || !ask {
			return web.Empty{}, err
		}
		// Hashing a password takes long, so it is done between the transactions.
		if err := a.confirm(c, "uploadCrossSigningKeys", keys, in.uiaIn); err != nil {
			return web.Empty{}, err
		}
		confirmed = true
	}
}

type uploadCrossSigningSignaturesIn struct {
	Body json.RawMessage `body:"raw"`
}

type uploadCrossSigningSignaturesOut struct {
	Failures map[string]map[string]e2ee.Failure `json:"failures"`
}

// uploadCrossSigningSignatures: spec: client-server API, POST keys/signatures/upload.
func (a *API) uploadCrossSigningSignatures(c *web.Call, tx *kv.WriteTx, in uploadCrossSigningSignaturesIn) (uploadCrossSigningSignaturesOut, error) {
	failures, err := a.E2EE.UploadSignatures(tx, c.User, in.Body)
	return uploadCrossSigningSignaturesOut{failures}, err
}
