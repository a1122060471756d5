package bridge

import (
	"context"
	"errors"
	"fmt"
	"net"
	"testing"
	"time"
)

// Somebody who opens a connection to the call port and says nothing holds nothing up, and
// there is a bound to how many may.
func TestSilentTCPConnections(t *testing.T) {
	checkLeaks(t)
	b, err := New(Config{Media: newMedia(), Interfaces: []string{"lo"}, Loopback: true})
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	ran := make(chan error, 1)
	go func() { ran <- b.Run(ctx) }()
	var conns []net.Conn
	for range maxTCPConns + 1 {
		conn, err := net.Dial("tcp", fmt.Sprintf("127.0.0.1:%d", b.Port()))
		if err != nil {
			t.Fatal(err)
		}
		defer conn.Close()
		conns = append(conns, conn)
	}
	closed := make(chan error, len(conns))
	for _, conn := range conns {
		go func() {
			_, err := conn.Read(make([]byte, 1))
			closed <- err
		}()
	}
	select {
	case <-closed: // the one over the bound
	case <-time.After(patience):
		t.Fatal("there is no bound")
	}
	select {
	case <-closed:
		t.Error("more connections are closed than are over the bound")
	default:
	}
	cancel()
	select {
	case err := <-ran:
		if err != nil && !errors.Is(err, context.Canceled) {
			t.Error(err)
		}
	case <-time.After(patience):
		t.Fatal("the bridge waits for connections on which nothing comes")
	}
	for range maxTCPConns {
		<-closed
	}
}
