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
	checked, err := a.E2EE.CheckCrossSigning(c.Ctx, c.User, keys)
	if err != nil {
		return web.Empty{}, err
	}
	confirmed := c.Service != "" // spec: application service API, cross-signing
	for {
		ask := false
		err := a.DB.Update(c.Ctx, func(tx *kv.WriteTx) error {
			if ask = !confirmed && a.E2EE.NeedsUIA(tx, checked); ask {
				return nil
			}
			return a.E2EE.UploadCrossSigning(tx, checked)
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

// checkSignatures is what of uploadCrossSigningSignatures takes long.
func (a *API) checkSignatures(c *web.Call, in uploadCrossSigningSignaturesIn) (*e2ee.SignedKeys, error) {
	return a.E2EE.CheckSignatures(c.Ctx, c.User, in.Body)
}

// uploadCrossSigningSignatures: spec: client-server API, POST keys/signatures/upload.
func (a *API) uploadCrossSigningSignatures(_ *web.Call, tx *kv.WriteTx, keys *e2ee.SignedKeys) (uploadCrossSigningSignaturesOut, error) {
	return uploadCrossSigningSignaturesOut{a.E2EE.UploadSignatures(tx, keys)}, nil
}
