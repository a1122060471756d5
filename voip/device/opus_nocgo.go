//go:build !cgo

package device

// haveOpusEncoder says that this build cannot encode Opus: there is no encoder in pure Go.
// haveLossRepair says that lost packets are only concealed.
const (
	haveOpusEncoder = false
	haveLossRepair  = false
)

// opusEncoder cannot be made in this build.
type opusEncoder struct{}

func newOpusEncoder() (*opusEncoder, error) { return nil, ErrUnsupported }

func (e *opusEncoder) setLoss(float64) error { return ErrUnsupported }

func (e *opusEncoder) encode([]int16) ([]byte, error) { return nil, ErrUnsupported }

func (e *opusEncoder) close() error { return nil }

func newOpusDecoder() (soundDecoder, error) { return newPureOpusDecoder() }
