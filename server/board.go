package server

import (
	"context"
	"encoding/json"
	"fmt"

	"porchlight/kv"
	"porchlight/server/accounts"
	"porchlight/server/matrix"
	"porchlight/server/setup"
	"porchlight/voip/agent"
	"porchlight/voip/bridge"
	"porchlight/voip/device"
	"porchlight/voip/gpio"
)

// boardRoom is the direct room of the owner and the board, which boardRoomOf records, too.
var boardRoom = setup.NewSetting("board_room", matrix.RoomID(""))

// closingSessions is how many sessions may be closing while as many calls go on as there may be.
const closingSessions = 4

// board is the parts of the board's own user.
type board struct {
	devices *device.Board
	bridge  *bridge.Bridge
	agent   *agent.Agent
	pins    *gpio.Lines
}

// openBoard makes the board's user and all that it needs to take calls.
func (s *Server) openBoard(ctx context.Context) error {
	c := s.Config.Board
	if c.Off {
		return nil
	}
	if err := s.ensureBoardUser(ctx); err != nil {
		return fmt.Errorf("the board's user: %w", err)
	}
	log := s.Config.Log.With("part", "board")
	s.boardSettings = agent.NewStore(s.DB, agent.DefaultSettings(c.AnswerAfter), log)
	s.boardSettings.Serves(s.Setup.ServerName())
	if err := s.boardSettings.Load(ctx); err != nil {
		return fmt.Errorf("the board's settings: %w", err)
	}
	s.boardJournal = agent.NewJournal(s.DB)
	if s.Config.dataOnly {
		return nil
	}
	pins, err := gpio.Open(c.Pins)
	if err != nil {
		return fmt.Errorf("the board's pins: %w", err)
	}
	lamp := &nightLamp{pins: pins, log: log}
	devices, err := device.New(device.Config{
		Camera: c.Camera, Microphone: c.Microphone, Loudspeaker: c.Loudspeaker,
		Width: c.Width, Height: c.Height, FPS: c.FPS, Bitrate: c.Bitrate, Live: s.boardLight(pins), Watched: lamp.watching, Log: log, Now: s.Config.Now,
	})
	if err != nil {
		pins.Close()
		return fmt.Errorf("camera, microphone and loudspeaker: %w", err)
	}
	calls, err := bridge.New(bridge.Config{
		Media: devices, Port: c.CallPort, Loopback: c.Loopback, VideoBitrate: c.Bitrate,
		MaxSessions: agent.MaxViewers + closingSessions, MinVideoBitrate: c.MinBitrate, PlayoutDelay: c.PlayoutDelay, Log: log, Now: s.Config.Now,
	})
	if err != nil {
		pins.Close()
		return fmt.Errorf("the port for calls: %w", err)
	}
	s.board = &board{devices: devices, bridge: calls, pins: pins}
	conf := agent.Config{
		House: &boardHouse{s: s, start: s.Changes.Published()}, Bridge: boardBridge{calls}, Self: s.BoardUser(), Devices: boardDevices{devices, lamp},
		Network: c.Network, Settings: s.boardSettings, Journal: s.boardJournal, About: devices.Describe, News: s.relayAbout, Log: log, Now: s.Config.Now,
	}
	if pins.HasDoor() {
		conf.Door = pins
	}
	if conf.Network == nil {
		conf.Network = networkUp
	}
	s.board.agent = agent.New(conf)
	s.runs("devices", devices.Run)
	s.runs("calls", calls.Run)
	s.runners = append(s.runners, runner{name: "board", run: s.board.agent.Run, first: true}) // it hangs up
	s.runs("pins", s.runPins)
	return nil
}

// BoardUser is the board's user ID.
func (s *Server) BoardUser() matrix.UserID {
	return matrix.NewUserID(s.Config.Board.User, s.Setup.ServerName())
}

// BoardStatus is the calls that the board is in; nil without a board.
func (s *Server) BoardStatus() []agent.CallStatus {
	if s.board == nil {
		return nil
	}
	return s.board.agent.Status()
}

// BoardAbout is what the board has, in plain sentences; nil without a board.
func (s *Server) BoardAbout() []string {
	if s.board == nil {
		return nil
	}
	return s.board.devices.Describe()
}

// ensureBoardUser makes the account at the first start, keeps its name and picture as
// configured, and gives the owner, if there is one, a direct room with it.
func (s *Server) ensureBoardUser(ctx context.Context) error {
	user := s.BoardUser()
	return s.DB.Update(ctx, func(tx *kv.WriteTx) error {
		row, ok := s.Accounts.User(tx, user)
		if !ok {
			if _, err := s.Accounts.Create(tx, accounts.NewUser{Localpart: s.Config.Board.User}); err != nil {
				return err
			}
		} else if row.Password != "" {
			return fmt.Errorf("%s is a person's account: choose another name for the board", user)
		}
		for field, want := range map[string]string{
			accounts.FieldDisplayName: s.Config.Board.Name,
			accounts.FieldAvatarURL:   s.Config.Board.Avatar,
		} {
			have := map[string]string{accounts.FieldDisplayName: row.DisplayName, accounts.FieldAvatarURL: row.AvatarURL}[field]
			if want == "" || want == have {
				continue
			}
			value, err := json.Marshal(want)
			if err != nil {
				return err
			}
			if err := s.Accounts.SetProfileField(tx, user, field, value); err != nil {
				return err
			}
		}
		return s.ensureBoardRoom(tx)
	})
}

// ensureBoardRoom gives the owner a direct room with the board, once.
func (s *Server) ensureBoardRoom(tx *kv.WriteTx) error {
	owner := s.Setup.Owner(tx)
	if s.Config.Board.Off || owner == "" || s.ownRoom(tx, owner) != "" {
		return nil
	}
	_, err := s.makeRoom(tx, owner)
	return err
}

// markDirect notes in the account data of one user that the room is direct with another
// (spec: client-server API, direct messaging).
func (s *Server) markDirect(tx *kv.WriteTx, of, with matrix.UserID, room matrix.RoomID) error {
	direct := map[matrix.UserID][]matrix.RoomID{}
	if raw, ok := s.Accounts.AccountData(tx, of, "", "m.direct"); ok {
		if err := json.Unmarshal(raw, &direct); err != nil {
			s.Config.Log.Warn("the list of direct rooms is no good and is begun anew", "user", of, "error", err)
			direct = map[matrix.UserID][]matrix.RoomID{}
		}
	}
	direct[with] = append(direct[with], room)
	raw, err := json.Marshal(direct)
	if err != nil {
		return err
	}
	return s.Accounts.SetAccountData(tx, of, "", "m.direct", raw)
}

// MakeOwner makes user, who has an account, the owner of the house, and gives the owner a
// direct room with the board.
func (s *Server) MakeOwner(tx *kv.WriteTx, user matrix.UserID) error {
	if err := s.Setup.SetOwner(tx, user); err != nil {
		return err
	}
	return s.ensureBoardRoom(tx)
}

// boardBridge shows voip/bridge to the agent, which must not know it.
type boardBridge struct{ bridge *bridge.Bridge }

// Open implements agent.Bridge.
func (b boardBridge) Open(ctx context.Context) (agent.Session, error) {
	s, err := b.bridge.Open(ctx)
	if err != nil {
		return nil, err
	}
	reports := make(chan agent.Report)
	go func() { // ends with the session, whose events are closed then
		defer close(reports)
		for e := range s.Events() {
			reports <- agent.Report{Input: e.Report, Digit: e.Digit}
		}
	}()
	return boardSession{s, reports}, nil
}

type boardSession struct {
	*bridge.Session
	reports chan agent.Report
}

// Reports implements agent.Session.
func (s boardSession) Reports() <-chan agent.Report { return s.reports }

// Stats implements agent.Session.
func (s boardSession) Stats() agent.MediaStats {
	st := s.Session.Stats()
	return agent.MediaStats{
		AudioCodec: st.AudioCodec, VideoCodec: st.VideoCodec,
		AudioSent: st.AudioSent, VideoSent: st.VideoSent,
		AudioReceived: st.AudioReceived, VideoReceived: st.VideoReceived,
		Digits: st.Digits, Bitrate: st.Bitrate, Loss: st.Loss, Connected: st.Connected,
		HeardLevel: st.Speaker.Level, HeardHz: st.Speaker.ToneHz,
	}
}
