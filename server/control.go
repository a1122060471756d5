package server

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"syscall"
	"time"

	"porchlight/server/matrix"
	"porchlight/server/setup"
)

// Order is something that whoever has the data folder asks of the house: the commands of
// cmd/porchlight. While the house runs, orders reach it over a Unix socket in that folder;
// otherwise the command opens the folder itself.
type Order struct {
	Do         string        `json:"do"` // "user add", "user list", …: see orders
	User       string        `json:"user,omitempty"`
	Password   string        `json:"password,omitempty"` // empty: one is made up
	Owner      bool          `json:"owner,omitempty"`    // of "user add": the owner of the house
	Admin      bool          `json:"admin,omitempty"`
	Erase      bool          `json:"erase,omitempty"`
	KeepLogins bool          `json:"keep_logins,omitempty"`
	Token      string        `json:"token,omitempty"`
	Uses       uint32        `json:"uses,omitempty"`    // 0: any number
	Life       time.Duration `json:"life_ns,omitempty"` // 0: for ever
	Repair     bool          `json:"repair,omitempty"`  // of "check"
	Setting    string        `json:"setting,omitempty"` // of the board
	Value      string        `json:"value,omitempty"`
	Confirm    string        `json:"confirm,omitempty"` // words that switching a setting off may take
	People     []string      `json:"people,omitempty"`  // of "ring": names or user IDs; none: the ring list
	Mode       string        `json:"mode,omitempty"`    // of "ring": "all" or "turn"
	Media      string        `json:"media,omitempty"`   // a content URI
	Release    bool          `json:"release,omitempty"` // of "media quarantine": end it
	Report     uint64        `json:"report,omitempty"`  // a report's number
	// Service is an application service's ID, Registration a registration file.
	Service      string `json:"service,omitempty"`
	Registration string `json:"registration,omitempty"`
}

// maxOrder is the largest order in bytes.
const maxOrder = 64 << 10

// socketName is the socket's name in the data folder.
const socketName = "control.sock"

// ErrProblems is returned by "check" when it found something; the lines name it.
var ErrProblems = errors.New("the check found problems")

// orderReply is what the socket answers, unless it streams.
type orderReply struct {
	Lines []string      `json:"lines"`
	Error *matrix.Error `json:"error,omitempty"`
	// Problems says that the error is ErrProblems.
	Problems bool   `json:"problems,omitempty"`
	Failure  string `json:"failure,omitempty"` // any other error
}

// Ask gives an order to the server in the data folder: to the running one, or else it opens
// the data for the time of the order. It returns lines for a person. The error is what the
// order met, a NoServerError if the folder holds no server, or kv.ErrInUse if somebody has
// the data open who does not answer.
func Ask(ctx context.Context, c Config, o Order) ([]string, error) {
	client, running, err := dial(c.Data)
	if err != nil {
		return nil, err
	}
	if running {
		return askRunning(ctx, client, o)
	}
	s, err := openData(ctx, c)
	if err != nil {
		return nil, err
	}
	lines, err := s.Do(ctx, o)
	return lines, errors.Join(err, s.Close())
}

// Prepare is Ask for the command that prepares a data folder: it makes the server that an
// order is for, if there is none.
func Prepare(ctx context.Context, c Config, o Order) ([]string, error) {
	there, err := Exists(c.Data)
	if err != nil {
		return nil, err
	}
	if there {
		return Ask(ctx, c, o)
	}
	c.dataOnly = true
	s, err := New(ctx, c)
	if err != nil {
		return nil, err
	}
	lines, err := s.Do(ctx, o)
	return lines, errors.Join(err, s.Close())
}

// askRunning gives an order to a running server.
func askRunning(ctx context.Context, client *http.Client, o Order) ([]string, error) {
	body, err := json.Marshal(o)
	if err != nil {
		return nil, err
	}
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, "http://control/order", bytes.NewReader(body))
	if err != nil {
		return nil, err
	}
	res, err := client.Do(req)
	if err != nil {
		return nil, err
	}
	defer res.Body.Close()
	var reply orderReply
	if err := json.NewDecoder(res.Body).Decode(&reply); err != nil {
		return nil, fmt.Errorf("the running server did not answer as it should: %w", err)
	}
	switch {
	case reply.Error != nil:
		return reply.Lines, reply.Error
	case reply.Problems:
		return reply.Lines, ErrProblems
	case reply.Failure != "":
		return reply.Lines, errors.New(reply.Failure)
	}
	return reply.Lines, nil
}

// AskBackup writes a backup of the server in the data folder, running or not. The errors are
// those of Ask.
func AskBackup(ctx context.Context, c Config, w io.Writer) error {
	client, running, err := dial(c.Data)
	if err != nil {
		return err
	}
	if !running {
		s, err := openData(ctx, c)
		if err != nil {
			return err
		}
		return errors.Join(s.Backup(ctx, w), s.Close())
	}
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, "http://control/backup", nil)
	if err != nil {
		return err
	}
	res, err := client.Do(req)
	if err != nil {
		return err
	}
	defer res.Body.Close()
	if _, err := io.Copy(w, res.Body); err != nil {
		return err
	}
	if failure := res.Trailer.Get(backupFailure); failure != "" {
		return errors.New(failure)
	}
	if res.Trailer.Get(backupDone) == "" {
		return errors.New("the running server ended in the middle of the backup")
	}
	return nil
}

// The trailers of a backup over the socket: the status is sent before its outcome is known.
const (
	backupDone    = "Backup-Done"
	backupFailure = "Backup-Failure"
)

// openData opens the stores of a server that is there, without API or devices. It makes
// nothing: a command for a mistyped folder, or a disk that is not mounted, must not found a
// second server there and report success.
func openData(ctx context.Context, c Config) (*Server, error) {
	there, err := Exists(c.Data)
	if err != nil {
		return nil, err
	}
	if !there {
		return nil, &NoServerError{c.Data}
	}
	c.dataOnly, c.existing = true, true
	s, err := New(ctx, c)
	if errors.Is(err, setup.ErrNoServerName) {
		return nil, &NoServerError{c.Data}
	}
	return s, err
}

// dial reaches the running server, if there is one. The error is fs.ErrPermission where a
// socket is there that only another user may use.
func dial(data string) (client *http.Client, running bool, err error) {
	path := filepath.Join(data, socketName)
	conn, err := net.Dial("unix", path)
	if errors.Is(err, fs.ErrPermission) {
		return nil, false, fmt.Errorf("the server in %s belongs to another user: %w", data, err)
	}
	if err != nil {
		return nil, false, nil // nobody listens there
	}
	_ = conn.Close() // it was only to see whether somebody listens
	return &http.Client{Transport: &http.Transport{
		DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
			return new(net.Dialer).DialContext(ctx, "unix", path)
		},
	}}, true, nil
}

// maxSocketPath is how long the name of a Unix socket may be, in bytes: sun_path less its
// final NUL.
const maxSocketPath = 107

// listenControl opens the socket. Only whoever may write into the data folder can reach it.
func (s *Server) listenControl(ctx context.Context) (err error) {
	path := filepath.Join(s.Config.Data, socketName)
	// An absolute name lets commands find the server from wherever they are called: see FindRunning.
	if full, err := filepath.Abs(path); err == nil && len(full) <= maxSocketPath {
		path = full
	}
	if err := os.Remove(path); err != nil && !errors.Is(err, os.ErrNotExist) {
		return s.withoutControl(err) // left by a house that was killed; the database's lock says it is not running
	}
	old := syscall.Umask(0o077)
	defer syscall.Umask(old)
	s.control, err = new(net.ListenConfig).Listen(ctx, "unix", path)
	return s.withoutControl(err)
}

// withoutControl lets a server whose disk takes no writes run without the socket for commands.
func (s *Server) withoutControl(err error) error {
	if err == nil || s.DB.Unwritable() == nil {
		return err
	}
	s.control = nil
	s.Config.Log.Warn("commands cannot reach this server: there is no room for its socket", "error", err)
	return nil
}

// runControl answers orders on the socket until ctx ends.
func (s *Server) runControl(ctx context.Context) error {
	if s.control == nil { // see withoutControl
		<-ctx.Done()
		return nil
	}
	mux := http.NewServeMux()
	mux.HandleFunc("POST /order", s.serveOrder)
	mux.HandleFunc("POST /backup", s.serveBackup)
	web := &http.Server{Handler: mux, ReadHeaderTimeout: headerTime}
	stop := context.AfterFunc(ctx, func() {
		if err := web.Close(); err != nil {
			s.Config.Log.Warn("the control socket did not close cleanly", "error", err)
		}
	})
	defer stop()
	if err := web.Serve(s.control); !errors.Is(err, http.ErrServerClosed) {
		return err
	}
	return nil
}

func (s *Server) serveOrder(w http.ResponseWriter, r *http.Request) {
	var o Order
	var reply orderReply
	err := json.NewDecoder(http.MaxBytesReader(w, r.Body, maxOrder)).Decode(&o)
	if err == nil {
		reply.Lines, err = s.Do(r.Context(), o)
	}
	if err != nil && !errors.As(err, &reply.Error) {
		if reply.Problems = errors.Is(err, ErrProblems); !reply.Problems {
			reply.Failure = err.Error()
		}
	}
	if err := json.NewEncoder(w).Encode(reply); err != nil {
		s.Config.Log.Warn("an order's answer was not taken", "error", err)
	}
}

func (s *Server) serveBackup(w http.ResponseWriter, r *http.Request) {
	w.Header().Set("Trailer", backupDone+", "+backupFailure)
	w.Header().Set("Content-Type", "application/x-tar")
	if err := s.Backup(r.Context(), w); err != nil {
		w.Header().Set(backupFailure, err.Error())
		return
	}
	w.Header().Set(backupDone, "yes")
}
