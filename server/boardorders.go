package server

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"time"

	"porchlight/kv"
	"porchlight/server/matrix"
	"porchlight/voip/agent"
	"porchlight/voip/gpio"
)

// ringAgain is how long whoever rings too often is told to wait.
const ringAgain = 5 * time.Second

// errNoBoard is for orders to a board that is switched off.
var errNoBoard = matrix.NotFound("this house has no board: it was started with --board=off")

// Ring has the board call people, or those of its ring list, in a mode ("all" or "turn")
// and for a time, each; what is left out is as set. The errors are M_LIMIT_EXCEEDED while
// it rings already, and M_NOT_FOUND if there is nobody to ring.
func (s *Server) Ring(ctx context.Context, people []matrix.UserID, mode string, timeout time.Duration) error {
	if s.board == nil {
		return errNoBoard
	}
	req := agent.RingRequest{People: people, Timeout: timeout}
	switch mode {
	case "":
	case "all":
		req.Mode = agent.RingAll
	case "turn":
		req.Mode = agent.RingInTurn
	default:
		return matrix.InvalidParam("the mode is all or turn, not " + mode)
	}
	err := s.board.agent.Ring(ctx, req)
	switch {
	case errors.Is(err, agent.ErrRinging):
		limited := matrix.LimitExceeded(ringAgain)
		limited.Message = err.Error()
		return limited
	case errors.Is(err, agent.ErrNobody):
		return matrix.NotFound(err.Error())
	case errors.Is(err, agent.ErrStopped):
		return matrix.Unknown(http.StatusServiceUnavailable, err.Error())
	}
	return err
}

func (s *Server) orderRing(ctx context.Context, o Order) ([]string, error) {
	if s.Config.dataOnly {
		return nil, matrix.NotFound("the house does not run, so nobody can be rung")
	}
	var people []matrix.UserID
	err := s.DB.View(ctx, func(tx *kv.ReadTx) error {
		for _, name := range o.People {
			user := s.Accounts.Resolve(tx, name)
			if _, ok := s.Accounts.User(tx, user); !ok {
				return matrix.NotFound("there is no account " + name)
			}
			people = append(people, user)
		}
		return nil
	})
	if err != nil {
		return nil, err
	}
	if err := s.Ring(ctx, people, o.Mode, o.Life); err != nil {
		return nil, err
	}
	return []string{"the board rings"}, nil
}

func (s *Server) orderBoardGet(_ context.Context, o Order) (lines []string, err error) {
	if s.boardSettings == nil {
		return nil, errNoBoard
	}
	if o.Setting != "" {
		x, err := s.boardSettings.Get(o.Setting)
		if err != nil {
			return nil, err
		}
		return []string{x.Value}, nil
	}
	for _, x := range s.boardSettings.List() {
		mark := " "
		if x.Stored {
			mark = "*"
		}
		lines = append(lines, fmt.Sprintf("%s %-13s %-20q %s", mark, x.Name, x.Value, x.Help))
	}
	return append(lines, "* was set; the others are as the house was started"), nil
}

func (s *Server) orderBoardSet(ctx context.Context, o Order) ([]string, error) {
	if s.boardSettings == nil {
		return nil, errNoBoard
	}
	if err := s.boardSettings.Set(ctx, o.Setting, o.Value, o.Confirm); err != nil {
		return nil, err
	}
	return s.shown(o.Setting)
}

func (s *Server) orderBoardUnset(ctx context.Context, o Order) ([]string, error) {
	if s.boardSettings == nil {
		return nil, errNoBoard
	}
	if err := s.boardSettings.Unset(ctx, o.Setting); err != nil {
		return nil, err
	}
	return s.shown(o.Setting)
}

func (s *Server) shown(name string) ([]string, error) {
	x, err := s.boardSettings.Get(name)
	if err != nil {
		return nil, err
	}
	return []string{fmt.Sprintf("%s is %q now", x.Name, x.Value)}, nil
}

// boardLight switches the light with camera and microphone; nil if there is none.
func (s *Server) boardLight(pins *gpio.Lines) func(bool) {
	if !pins.HasLight() {
		return nil
	}
	return func(on bool) {
		if err := pins.Light(on); err != nil {
			s.Config.Log.Error("the privacy light cannot be switched", "on", on, "error", err)
		}
	}
}

// runPins follows the button. A button that is gone is no reason for the house to end.
func (s *Server) runPins(ctx context.Context) error {
	if err := s.board.pins.Run(ctx, s.board.agent.Press); err != nil {
		s.Config.Log.Error("the button is not followed any more", "error", err)
		<-ctx.Done()
	}
	return nil
}
