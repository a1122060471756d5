package server

import (
	"bufio"
	"bytes"
	"cmp"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"porchlight/server/matrix"
)

// NoServerError says that a folder holds no server, so that there is nothing for a command to act on.
type NoServerError struct{ Data string }

// Error names the folder.
func (e *NoServerError) Error() string {
	return fmt.Sprintf("there is no Porchlight server in %s; name the folder of an existing one with --data", e.Data)
}

// Exists says whether a folder holds a server. A folder that cannot be looked at is an error, so that nobody takes a
// disk that is not mounted, or a folder of somebody else's, for an empty one.
func Exists(data string) (bool, error) {
	_, err := os.Stat((&Config{Data: data}).dbFile())
	if errors.Is(err, fs.ErrNotExist) {
		return false, nil
	}
	return err == nil, err
}

// Running is a server that listens on its control socket.
type Running struct {
	Data string            // the folder that it runs on, as an absolute path
	Name matrix.ServerName // empty if Denied
	// Denied says that the socket belongs to somebody else, who has to be asked for the right to use it.
	Denied bool
}

const (
	// unixSockets lists the Unix sockets of this network namespace.
	unixSockets = "/proc/net/unix"
	// answerTime is how long a server may take to say who it is.
	answerTime = 2 * time.Second
)

// FindRunning finds the servers that run on this machine, in the order of their folders. The kernel lists the sockets, so
// none is left over from a server that was killed. Where it lists none (other systems than Linux), none are found.
func FindRunning(ctx context.Context) ([]Running, error) {
	list, err := os.ReadFile(unixSockets)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	var all []Running
	for _, path := range controlSockets(list) {
		if r, ok := identify(ctx, filepath.Dir(path)); ok {
			all = append(all, r)
		}
	}
	return all, nil
}

// controlSockets are the absolute paths of sockets named as ours on which somebody listens, each once, in order.
func controlSockets(list []byte) (paths []string) {
	const (
		fields    = 7          // before the path: Num RefCount Protocol Flags Type St Inode
		flags     = 3          // which of them has the flags
		listening = "00010000" // __SO_ACCEPTCON
	)
	lines := bufio.NewScanner(bytes.NewReader(list))
	for lines.Scan() {
		rest, given := lines.Text(), ""
		for i := range fields {
			var field string
			field, rest, _ = strings.Cut(strings.TrimLeft(rest, " "), " ")
			if i == flags {
				given = field
			}
		}
		path := strings.TrimLeft(rest, " ")
		if given == listening && filepath.IsAbs(path) && filepath.Base(path) == socketName {
			paths = append(paths, path)
		}
	}
	slices.Sort(paths)
	return slices.Compact(paths)
}

// identify asks whoever listens in a folder for the name of its server; false if it is none.
func identify(ctx context.Context, data string) (Running, bool) {
	ctx, cancel := context.WithTimeout(ctx, answerTime)
	defer cancel()
	client, running, err := dial(data)
	if errors.Is(err, fs.ErrPermission) {
		return Running{Data: data, Denied: true}, true
	}
	if err != nil || !running {
		return Running{}, false
	}
	defer client.CloseIdleConnections()
	lines, err := askRunning(ctx, client, Order{Do: "identity"})
	if err != nil || len(lines) == 0 {
		return Running{}, false
	}
	name, ok := strings.CutPrefix(lines[0], identityName)
	return Running{Data: data, Name: matrix.ServerName(name)}, ok
}

// String names the server for a person: "home.local in /var/lib/porchlight".
func (r Running) String() string {
	return fmt.Sprintf("%s in %s", cmp.Or(string(r.Name), "a server of another user"), r.Data)
}
