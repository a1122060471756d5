//go:build !cgo

package device

// haveEchoCanceller says that this build cannot take echo out: the canceller is in C.
const haveEchoCanceller = false

func newCanceller() (canceller, error) { return nil, ErrUnsupported }
