package gvisor

import (
	"context"
	"encoding/binary"
	"encoding/json"
	"errors"
	"net"
	"os"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/stead-dev/stead"
	"github.com/stead-dev/stead/internal/environment/gvisor/wire"
)

// supervisorOf makes a link and the other end of its socket.
func supervisorOf(t testing.TB) (*link, net.Conn) {
	t.Helper()
	fds, err := unix.Socketpair(unix.AF_UNIX, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		t.Fatal(err)
	}
	conn, err := wire.New(os.NewFile(uintptr(fds[0]), "driver"))
	if err != nil {
		t.Fatal(err)
	}
	f := os.NewFile(uintptr(fds[1]), "supervisor")
	defer f.Close()
	other, err := net.FileConn(f)
	if err != nil {
		t.Fatal(err)
	}
	l := newLink(conn)
	go l.receive()
	t.Cleanup(func() {
		_ = other.Close()
		<-l.dead
	})
	return l, other
}

func frame(t testing.TB, r wire.Reply) []byte {
	t.Helper()
	body, err := json.Marshal(r)
	if err != nil {
		t.Fatal(err)
	}
	return append(binary.BigEndian.AppendUint32(nil, uint32(len(body))), body...)
}

func TestALinkEndsWithWhatNobodyAsked(t *testing.T) {
	hello := wire.Reply{Hello: &wire.Hello{Version: wire.Version}}
	for name, replies := range map[string][]wire.Reply{
		"an answer to no request":   {{ID: 77, Booted: &wire.Booted{}}},
		"more answers than can be":  {hello, hello, hello},
		"an answer to a future one": {hello, {ID: 1, Started: &wire.Started{}}},
	} {
		l, other := supervisorOf(t)
		for _, r := range replies {
			if _, err := other.Write(frame(t, r)); err != nil {
				t.Fatal(err)
			}
		}
		select {
		case <-l.dead:
		case <-time.After(10 * time.Second):
			t.Errorf("%s: the link goes on", name)
		}
		if _, err := l.call(context.Background(), wire.Request{Boot: &wire.Boot{}}); stead.KindOf(err) != stead.KindUnavailable {
			t.Errorf("%s: a call afterwards: %v", name, err)
		}
	}
}

func TestALinkDeliversWhatCameBeforeItsEnd(t *testing.T) {
	l, other := supervisorOf(t)
	if _, err := other.Write(frame(t, wire.Reply{Hello: &wire.Hello{Version: 3}})); err != nil {
		t.Fatal(err)
	}
	if err := other.Close(); err != nil {
		t.Fatal(err)
	}
	<-l.dead
	r, err := l.wait(context.Background(), 0)
	if err != nil || r.Hello == nil || r.Hello.Version != 3 {
		t.Errorf("%+v, %v", r, err)
	}
}

func TestALinkGivesUpWithItsContext(t *testing.T) {
	l, _ := supervisorOf(t)
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	if _, err := l.wait(ctx, 0); !errors.Is(err, context.Canceled) || stead.KindOf(err) != stead.KindUnavailable {
		t.Errorf("%v", err)
	}
}

// FuzzLink lets a supervisor say anything: the link ends or goes on, and never panics or hangs.
func FuzzLink(f *testing.F) {
	f.Add(frame(f, wire.Reply{Hello: &wire.Hello{Version: wire.Version}}))
	f.Add(append(frame(f, wire.Reply{ID: 1, Started: &wire.Started{PID: 4}}), frame(f, wire.Reply{ID: 1, Exited: &wire.Exited{Status: 9}})...))
	f.Add([]byte{0xff, 0xff, 0xff, 0xff, 'x'})
	f.Add([]byte{0, 0, 0, 2, '{', '}'})
	f.Fuzz(func(t *testing.T, data []byte) {
		l, other := supervisorOf(t)
		go func() {
			_, _ = other.Write(data)
			_ = other.Close()
		}()
		for range replies + 1 {
			if _, err := l.wait(context.Background(), 0); err != nil {
				var r refusal
				if !errors.As(err, &r) {
					break
				}
			}
		}
		<-l.dead
	})
}
