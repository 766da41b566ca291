package wire_test

import (
	"bytes"
	"errors"
	"io"
	"os"
	"strings"
	"syscall"
	"testing"

	"github.com/stead-dev/stead/internal/environment/gvisor/wire"
)

// ends makes both ends of a connection.
func ends(t *testing.T) (a, b *wire.Conn) {
	t.Helper()
	fds, err := syscall.Socketpair(syscall.AF_UNIX, syscall.SOCK_STREAM, 0)
	if err != nil {
		t.Fatal(err)
	}
	for i, c := range []**wire.Conn{&a, &b} {
		syscall.CloseOnExec(fds[i])
		if *c, err = wire.New(os.NewFile(uintptr(fds[i]), "end")); err != nil {
			t.Fatal(err)
		}
		conn := *c
		t.Cleanup(func() { _ = conn.Close() })
	}
	return a, b
}

func TestAFrameArrivesWithItsFiles(t *testing.T) {
	a, b := ends(t)
	r, w, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	long := strings.Repeat("x", wire.MaxFrame/2) // more than a socket takes at once
	go func() {
		if err := a.Send(wire.Request{ID: 7, Exec: &wire.Exec{Args: []string{long}}}, r, w, w); err != nil {
			t.Error(err)
		}
		_ = w.Close()
		if err := a.Send(wire.Request{ID: 8, Kill: &wire.Kill{Exec: 7}}); err != nil {
			t.Error(err)
		}
	}()
	var q wire.Request
	files, err := b.Receive(&q)
	if err != nil || q.ID != 7 || len(files) != 3 || q.Exec.Args[0] != long {
		t.Fatalf("request %d with %d files, %v", q.ID, len(files), err)
	}
	if _, err := files[2].WriteString("through"); err != nil {
		t.Error(err)
	}
	for _, f := range files {
		_ = f.Close()
	}
	q = wire.Request{}
	files, err = b.Receive(&q)
	if err != nil || q.Kill == nil || len(files) != 0 {
		t.Fatalf("%+v with %d files, %v", q, len(files), err)
	}
	if got, err := io.ReadAll(r); string(got) != "through" {
		t.Errorf("%q, %v", got, err)
	}
}

func TestTheEndOfTheSocket(t *testing.T) {
	a, b := ends(t)
	if err := a.Close(); err != nil {
		t.Fatal(err)
	}
	if _, err := b.Receive(&wire.Reply{}); err != io.EOF {
		t.Errorf("between frames: %v", err)
	}
	if err := wire.Read(bytes.NewReader([]byte{0, 0, 0, 9, '{'}), &wire.Reply{}); err != io.ErrUnexpectedEOF {
		t.Errorf("in a frame: %v", err)
	}
}

func TestWhatIsNoFrame(t *testing.T) {
	for name, data := range map[string]string{
		"empty":     "\x00\x00\x00\x00",
		"too long":  "\x7f\xff\xff\xff{}",
		"no JSON":   "\x00\x00\x00\x03GET",
		"no object": "\x00\x00\x00\x02[]",
	} {
		if err := wire.Read(strings.NewReader(data), &wire.Request{}); !errors.Is(err, wire.ErrFrame) {
			t.Errorf("%s: %v", name, err)
		}
	}
	a, _ := ends(t)
	if err := a.Send(wire.Exec{Args: []string{strings.Repeat("x", wire.MaxFrame)}}); err == nil {
		t.Error("a frame above the limit was sent")
	}
}

// FuzzRead decodes what the other side may send: both sides are hostile to each other.
func FuzzRead(f *testing.F) {
	f.Add([]byte("\x00\x00\x00\x02{}"))
	f.Add([]byte("\x00\x00\x00\x1c{\"id\":1,\"boot\":{\"dir\":\"/x\"}}"))
	f.Add([]byte("\xff\xff\xff\xff"))
	f.Fuzz(func(t *testing.T, data []byte) {
		for _, message := range []any{&wire.Request{}, &wire.Reply{}} {
			r := bytes.NewReader(data)
			for wire.Read(r, message) == nil {
			}
			if len(data) > 0 && r.Len() == len(data) {
				t.Error("nothing was read")
			}
		}
	})
}
