package clientapi

import "porchlight/server/web"

type getVersionsOut struct {
	Versions         []string        `json:"versions"`
	UnstableFeatures map[string]bool `json:"unstable_features"`
}

// getVersions: spec: client-server API, GET versions. Everybody gets the same, so the
// token that clients may send is not looked at.
func (a *API) getVersions(*web.Call, web.Empty) (getVersionsOut, error) {
	return getVersionsOut{
		Versions: []string{
			// The paths of r0 are served, and older clients look for them.
			"r0.5.0", "r0.6.0", "r0.6.1",
			"v1.1", "v1.2", "v1.3", "v1.4", "v1.5", "v1.6", "v1.7", "v1.8", "v1.9", "v1.10",
			"v1.11", "v1.12", "v1.13", "v1.14", "v1.15", "v1.16", "v1.17", "v1.18", "v1.19",
		},
		// Names by which clients looked for what is in the standard now.
		UnstableFeatures: map[string]bool{
			"com.beeper.msc3860":                      true, // redirects to media
			"fi.mau.msc2246":                          true, // asynchronous uploads
			"fi.mau.msc2659":                          true, // pings to application services
			"fi.mau.msc2659.stable":                   true,
			"org.matrix.e2e_cross_signing":            true, // older Element sets up and verifies with it only
			"org.matrix.msc2285.stable":               true, // private read receipts
			"org.matrix.msc3266":                      true, // room summaries
			"org.matrix.msc3440.stable":               true, // threads
			"org.matrix.msc3715.stable":               true, // relations in both directions
			"org.matrix.msc3814":                      true, // dehydrated devices
			"org.matrix.msc3827.stable":               true, // room types in the directory
			"org.matrix.msc3856.stable":               true, // lists of threads
			"org.matrix.msc3882":                      true, // login tokens, revision 0
			"org.matrix.msc3916.stable":               true, // media with an access token
			"org.matrix.msc3952_intentional_mentions": true,
			"org.matrix.msc3981":                      true, // relations of relations
			"org.matrix.simplified_msc3575":           true, // sliding sync
			"uk.half-shot.msc2666.query_mutual_rooms": true,
			"uk.tcpip.msc4133":                        true, // profile fields
			"uk.tcpip.msc4133.stable":                 true,
		},
	}, nil
}
