package web

import (
	"net/http"

	"porchlight/server/matrix"
)

// Space knows whether the disk has room.
type Space interface {
	// Refuse is asked before a signed-in user's operation that writes: its error, if any, is
	// the answer. eventType is the parameter of that name in the path, or empty.
	Refuse(op, eventType string, owner bool) error
	// Failed says what the client is told of an error that comes from a full disk; nil if
	// it has another reason.
	Failed(err error) *matrix.Error
	// Contact is whom clients may turn to when there is no room, as a URI.
	Contact() string
}

// refuseForSpace asks whether there is room for what the request writes. What is deleted
// takes less room afterwards.
func (x *exchange) refuseForSpace() error {
	route := &x.op.route
	if x.server.space == nil || route.Handler.kind != writeKind || route.Access != User || route.Method == http.MethodDelete {
		return nil
	}
	eventType := ""
	if i := x.op.param("eventType"); i >= 0 {
		eventType = x.path[i]
	}
	return x.server.space.Refuse(route.Op, eventType, x.call.Owner)
}
