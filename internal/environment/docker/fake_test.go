//go:build linux

package docker

import (
	"bytes"
	"encoding/binary"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"github.com/stead-dev/stead/internal/environment/guest"
)

// fake is an engine that speaks the wire format of the Docker Engine API v1.41, with a guest as a bare
// process in place of a container. Its answers can be replaced one by one.
type fake struct {
	t      *testing.T
	socket string

	mu       sync.Mutex
	calls    []string                    // "METHOD path" in order, without the version
	created  create                      // the last body
	headers  http.Header                 // of the last attach
	answer   map[string]http.HandlerFunc // "METHOD path" → in place of ours
	attached chan net.Conn               // the hijacked connection waits for the start
	gone     bool                        // the container
	status   int                         // of an attach
	guest    func(conn net.Conn)         // serves a container's streams
	version  map[string]any
}

const fakeID = "4c01db0b339c"

func newFake(t *testing.T) *fake {
	t.Helper()
	f := &fake{t: t, socket: filepath.Join(t.TempDir(), "engine.sock"), answer: map[string]http.HandlerFunc{}, attached: make(chan net.Conn, 1),
		status: http.StatusSwitchingProtocols, guest: bareGuest,
		version: map[string]any{"Version": "24.0.7", "ApiVersion": "1.43", "MinAPIVersion": "1.12", "Os": "linux", "Arch": "amd64", "KernelVersion": "6.1.0"}}
	l, err := net.Listen("unix", f.socket)
	if err != nil {
		t.Fatal(err)
	}
	s := &http.Server{Handler: f}
	go func() { _ = s.Serve(l) }()
	t.Cleanup(func() { s.Close() })
	return f
}

func (f *fake) provider(t *testing.T, change ...func(*Options)) *Provider {
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	opts := Options{Socket: f.socket, Image: "example/image:1", Dir: t.TempDir(), Guest: self}
	for _, c := range change {
		c(&opts)
	}
	return New(opts)
}

// on replaces an answer.
func (f *fake) on(call string, status int, body string) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.answer[call] = func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "application/json")
		w.WriteHeader(status)
		_, _ = io.WriteString(w, body)
	}
}

// called lists the calls whose text begins with a prefix.
func (f *fake) called(prefix string) []string {
	f.mu.Lock()
	defer f.mu.Unlock()
	var found []string
	for _, c := range f.calls {
		if strings.HasPrefix(c, prefix) {
			found = append(found, c)
		}
	}
	return found
}

func (f *fake) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	path := r.URL.Path
	if rest, ok := strings.CutPrefix(path, "/v"); ok && path != "/version" {
		_, path, _ = strings.Cut(rest, "/")
		path = "/" + path
	}
	call := r.Method + " " + path
	f.mu.Lock()
	f.calls = append(f.calls, call)
	special, gone := f.answer[call], f.gone
	f.mu.Unlock()
	if special != nil {
		special(w, r)
		return
	}
	container := "/containers/" + fakeID
	switch {
	case path == "/version":
		reply(w, http.StatusOK, f.version)
	case path == "/info":
		reply(w, http.StatusOK, map[string]any{"SecurityOptions": []string{"name=seccomp,profile=default", "name=cgroupns"}})
	case call == "POST /containers/create":
		f.mu.Lock()
		f.created = create{}
		err := json.NewDecoder(r.Body).Decode(&f.created)
		f.gone = false
		f.mu.Unlock()
		if err != nil {
			reply(w, http.StatusBadRequest, map[string]any{"message": err.Error()})
			return
		}
		reply(w, http.StatusCreated, map[string]any{"Id": fakeID, "Warnings": []string{}})
	case strings.HasPrefix(path, container) && gone:
		reply(w, http.StatusNotFound, map[string]any{"message": "No such container: " + fakeID})
	case call == "POST "+container+"/attach":
		f.attach(w, r)
	case call == "POST "+container+"/start":
		w.WriteHeader(http.StatusNoContent)
		go f.guest(<-f.attached)
	case call == "POST "+container+"/kill":
		w.WriteHeader(http.StatusNoContent)
	case call == "DELETE "+container:
		f.mu.Lock()
		f.gone = true
		f.mu.Unlock()
		w.WriteHeader(http.StatusNoContent)
	case call == "GET "+container+"/stats":
		reply(w, http.StatusOK, map[string]any{"cpu_stats": map[string]any{"cpu_usage": map[string]any{"total_usage": 7e9}}, "memory_stats": map[string]any{"usage": 1000, "max_usage": 2000}})
	default:
		reply(w, http.StatusNotFound, map[string]any{"message": "page not found"})
	}
}

func reply(w http.ResponseWriter, status int, body any) {
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(status)
	_ = json.NewEncoder(w).Encode(body)
}

// attach takes the connection out of HTTP, as the reference says: 101 with Upgrade, and from then on
// raw standard input in one direction and frames in the other.
func (f *fake) attach(w http.ResponseWriter, r *http.Request) {
	f.mu.Lock()
	f.headers = r.Header
	status := f.status
	f.mu.Unlock()
	conn, _, err := w.(http.Hijacker).Hijack()
	if err != nil {
		f.t.Error(err)
		return
	}
	if status == http.StatusSwitchingProtocols {
		fmt.Fprint(conn, "HTTP/1.1 101 UPGRADED\r\nContent-Type: application/vnd.docker.raw-stream\r\nConnection: Upgrade\r\nUpgrade: tcp\r\n\r\n")
	} else {
		fmt.Fprint(conn, "HTTP/1.1 200 OK\r\nContent-Type: application/vnd.docker.raw-stream\r\n\r\n")
	}
	f.attached <- conn
}

// bareGuest runs the guest as a process whose outputs become frames.
func bareGuest(conn net.Conn) {
	defer conn.Close()
	c := &exec.Cmd{Path: "/proc/self/exe", Args: []string{guest.Argv0}, Env: []string{"PATH=/usr/bin:/bin", "OF_IMAGE=yes"}}
	var one sync.Mutex
	c.Stdout, c.Stderr = &framer{conn, streamStdout, &one}, &framer{conn, streamStderr, &one}
	in, err := c.StdinPipe() // as Stdin, the connection's end would be waited for
	if err != nil || c.Start() != nil {
		return
	}
	go func() {
		_, _ = io.Copy(in, conn)
		in.Close()
	}()
	_ = c.Wait()
}

// framer writes frames of one stream.
type framer struct {
	w      io.Writer
	stream byte
	one    *sync.Mutex
}

func (f *framer) Write(p []byte) (int, error) {
	f.one.Lock()
	defer f.one.Unlock()
	_, err := f.w.Write(frameOf(f.stream, p))
	return len(p), err
}

// frameOf is one frame of the multiplexed format.
func frameOf(stream byte, payload []byte) []byte {
	b := []byte{stream, 0, 0, 0}
	b = binary.BigEndian.AppendUint32(b, uint32(len(payload)))
	return append(b, payload...)
}

// says is a container that sends bytes and then reads on.
func says(data []byte) func(net.Conn) {
	return func(conn net.Conn) {
		defer conn.Close()
		_, _ = io.Copy(conn, bytes.NewReader(data))
		_, _ = io.Copy(io.Discard, conn)
	}
}
