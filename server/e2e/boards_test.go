//go:build e2e

package e2e

import (
	"os"
	"testing"
)

// secondBoardName makes the test binary, started in another namespace, be a second board.
const secondBoardName = "PORCHLIGHT_E2E_SECOND_BOARD"

const (
	firstSpace  space = "porch-first"
	secondSpace space = "porch-second"
)

// TestTwoBoards has two boards call each other over a network: the house's own, and one
// that is a user of the house and speaks with it by HTTP. Both are the real voip/agent and
// voip/bridge; pictures and sound have to come at both ends.
func TestTwoBoards(t *testing.T) {
	newSpaces(t, firstSpace, secondSpace)
	cable(t, firstSpace, "10.85.0.1/24", secondSpace, "10.85.0.2/24")
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	p := newPorchIn(t, firstSpace, "--allow", "@"+owner+":"+serverName, "--allow", "@"+guest+":"+serverName)
	t.Setenv(secondBoardName, p.url)
	run(t, nil, append(secondSpace.within(), self)...)
}
