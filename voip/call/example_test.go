package call_test

import (
	"fmt"

	"porchlight/voip/call"
)

// A call comes in and is answered by itself. What the agent does with each output
// is printed here instead.
func Example() {
	s := call.Start(call.Config{Role: call.Callee, Self: "@porch:house", CallID: "c1", PartyID: "ours"})
	invite, err := call.Parse(call.TypeInvite, []byte(`{"call_id": "c1", "party_id": "hers", "version": "1",
		"lifetime": 60000, "offer": {"type": "offer", "sdp": "v=0\nm=audio 9 X 0"}}`))
	if err != nil {
		fmt.Println(err)
		return
	}
	for _, in := range []call.Input{
		call.Event{Sender: "@alice:house", Content: invite},
		call.CaughtUp{}, // the batch of events has been read
		call.Accept{},
		call.LocalDescription{Description: call.Description{Type: call.Answer, SDP: "v=0"}, StreamID: "porch"},
		call.Connected{},
		call.HangUp{},
	} {
		var outputs []call.Output
		s, outputs = call.Step(s, in)
		for _, o := range outputs {
			switch o := o.(type) {
			case call.Send:
				fmt.Println("send", o.Content.EventType())
			case call.Ring:
				fmt.Println("ring for", o.Peer)
			case call.ApplyOffer:
				fmt.Println("bridge: apply offer")
			case call.CloseMedia:
				fmt.Println("bridge: close")
			case call.Ended:
				fmt.Println("ended:", o.Why)
			}
		}
	}
	// Output:
	// ring for @alice:house
	// bridge: apply offer
	// send m.call.answer
	// send m.call.hangup
	// bridge: close
	// ended: hung up here
}
