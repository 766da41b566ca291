//go:build linux

package docker

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/stead-dev/stead"
	"github.com/stead-dev/stead/internal/environment"
	"github.com/stead-dev/stead/internal/environment/guest"
)

func specOf(t *testing.T) environment.Spec {
	t.Helper()
	dir := t.TempDir()
	spec := environment.Spec{ID: "env_1", Workspace: filepath.Join(dir, "workspace"), Services: filepath.Join(dir, "services"), Env: map[string]string{"OF_SPEC": "yes"}}
	for _, d := range []string{spec.Workspace, spec.Services} {
		if err := os.Mkdir(d, 0o755); err != nil {
			t.Fatal(err)
		}
	}
	return spec
}

func openFake(t *testing.T, f *fake, change ...func(*environment.Spec)) *Environment {
	t.Helper()
	spec := specOf(t)
	for _, c := range change {
		c(&spec)
	}
	e, err := f.provider(t).Open(t.Context(), spec)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { closeIt(t, e) })
	return e.(*Environment)
}

func closeIt(t *testing.T, e environment.Environment) {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	if err := e.Close(ctx); err != nil {
		t.Errorf("close: %v", err)
	}
}

// The container is as closed as an engine can make it: every field of it is a border.
func TestTheContainerIsClosed(t *testing.T) {
	f := newFake(t)
	openFake(t, f, func(s *environment.Spec) {
		s.Limits = environment.Limits{MemoryBytes: 1 << 30, Processes: 99, CPUMilli: 1500, OpenFiles: 77}
		s.Mounts = []environment.Mount{{Source: "/src", Target: "/mnt/x"}}
	})
	f.mu.Lock()
	c := f.created
	f.mu.Unlock()
	h := c.HostConfig
	if h.NetworkMode != "none" || !h.ReadonlyRootfs || !h.AutoRemove || !slices.Equal(h.CapDrop, []string{"ALL"}) || h.CapAdd != nil ||
		!slices.Equal(h.SecurityOpt, []string{"no-new-privileges"}) || h.IpcMode != "private" || h.CgroupnsMode != "private" {
		t.Errorf("the borders are %+v", h)
	}
	if h.Memory != 1<<30 || h.MemorySwap != 1<<30 || h.PidsLimit != 99 || h.NanoCpus != 1.5e9 || !slices.Contains(h.Ulimits, ulimit{"nofile", 77, 77}) {
		t.Errorf("the limits are %+v", h)
	}
	if !c.OpenStdin || !c.StdinOnce {
		t.Error("standard input does not end with the server: there is no leash")
	}
	if strings.HasPrefix(c.User, "0:") || c.User == "" {
		t.Errorf("commands run as %q", c.User)
	}
	writable := 0
	for _, m := range h.Mounts {
		if !m.ReadOnly {
			writable++
			if m.Target != environment.WorkspaceDir {
				t.Errorf("%s can be written", m.Target)
			}
		}
	}
	if writable != 1 || len(h.Mounts) != 4 || !strings.Contains(h.Tmpfs["/tmp"], "nosuid,nodev") {
		t.Errorf("mounts %+v, tmpfs %v", h.Mounts, h.Tmpfs)
	}
	if c.Labels[labelEnvironment] != "env_1" || !lives(c.Labels[labelOwner]) {
		t.Errorf("labels %v", c.Labels)
	}
	if f.headers.Get("Upgrade") != "tcp" || f.headers.Get("Connection") != "Upgrade" {
		t.Errorf("the attach has headers %v", f.headers)
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	attach, start := slices.Index(f.calls, "POST /containers/"+fakeID+"/attach"), slices.Index(f.calls, "POST /containers/"+fakeID+"/start")
	if attach < 0 || start < attach {
		t.Errorf("it is attached to after it started: what it says first is lost: %q", f.calls)
	}
}

func TestCommandsOverTheWire(t *testing.T) {
	for name, status := range map[string]int{"an engine that upgrades": http.StatusSwitchingProtocols, "an engine that does not": http.StatusOK} {
		t.Run(name, func(t *testing.T) {
			f := newFake(t)
			f.status = status
			e := openFake(t, f)
			var out, errs bytes.Buffer
			big := strings.Repeat("0123456789", 50_000)
			exit, err := e.Exec(t.Context(), environment.Command{Args: []string{"sh", "-c", "cat; echo $OF_SPEC >&2; exit 7"}, Dir: "/", Stdin: strings.NewReader(big)}, func(c environment.Chunk) {
				if c.Stream == environment.Stderr {
					errs.Write(c.Data)
				} else {
					out.Write(c.Data)
				}
			})
			if err != nil || exit.Code != 7 || out.String() != big || errs.String() != "yes\n" {
				t.Errorf("%+v, %v, %d bytes, %q", exit, err, out.Len(), errs.String())
			}
			closeIt(t, e)
			if u := e.Usage(); u.CPU < 7*time.Second || u.MemoryBytes != 2000 || u.Commands != 1 {
				t.Errorf("use is %+v", u)
			}
			if len(f.called("DELETE")) == 0 {
				t.Error("the container is not removed")
			}
		})
	}
}

func TestRefusals(t *testing.T) {
	for _, c := range []struct {
		title  string
		spec   func(*environment.Spec)
		engine func(*fake)
		kind   stead.Kind
	}{
		{"a directory as image", func(s *environment.Spec) { s.Root.Image = "/x" }, nil, stead.KindNotImplemented},
		{"a layer without root", func(s *environment.Spec) { s.Root.Upper = "/upper" }, nil, stead.KindNotImplemented},
		{"an upper layer", func(s *environment.Spec) { s.Root.Upper = "/x" }, nil, stead.KindNotImplemented},
		{"no image", nil, func(f *fake) {
			f.on("POST /containers/create", http.StatusNotFound, `{"message":"No such image: example/image:1"}`)
			f.on("GET /images/example/image:1/json", http.StatusNotFound, `{"message":"No such image: example/image:1"}`)
		}, stead.KindInvalid},
		{"a conflict", nil, func(f *fake) { f.on("POST /containers/create", http.StatusConflict, `{"message":"in use"}`) }, stead.KindUnavailable},
		{"an engine that fails", nil, func(f *fake) {
			f.on("POST /containers/"+fakeID+"/start", http.StatusInternalServerError, `{"message":"OCI runtime create failed: /secret/path"}`)
		}, stead.KindUnavailable},
		{"an answer that is none", nil, func(f *fake) { f.on("POST /containers/create", http.StatusCreated, `<html>`) }, stead.KindUnavailable},
		{"a container without an id", nil, func(f *fake) { f.on("POST /containers/create", http.StatusCreated, `{}`) }, stead.KindUnavailable},
		{"an endless answer", nil, func(f *fake) {
			f.on("GET /info", http.StatusOK, `{"x":"`+strings.Repeat("x", MaxAnswerBytes)+`"}`)
		}, stead.KindUnavailable},
		{"an attach that is refused", nil, func(f *fake) {
			f.on("POST /containers/"+fakeID+"/attach", http.StatusConflict, `{"message":"container is paused"}`)
		}, stead.KindUnavailable},
		{"an old engine", nil, func(f *fake) { f.version["ApiVersion"] = "1.24" }, stead.KindUnavailable},
		{"an engine of Windows", nil, func(f *fake) { f.version["Os"] = "windows" }, stead.KindUnavailable},
		{"a guest that says nothing and ends", nil, func(f *fake) { f.guest = func(c net.Conn) { c.Close() } }, stead.KindUnavailable},
		{"a guest that can't be executed", nil, func(f *fake) {
			f.guest = func(c net.Conn) { c.Write(frameOf(streamStderr, []byte("exec format error\n"))); c.Close() }
		}, stead.KindUnavailable},
		{"frames of no stream", nil, func(f *fake) { f.guest = says([]byte{9, 0, 0, 0, 0, 0, 0, 1, 'x'}) }, stead.KindUnavailable},
	} {
		t.Run(c.title, func(t *testing.T) {
			f := newFake(t)
			if c.engine != nil {
				c.engine(f)
			}
			spec := specOf(t)
			if c.spec != nil {
				c.spec(&spec)
			}
			_, err := f.provider(t).Open(t.Context(), spec)
			e, ok := errors.AsType[*stead.Error](err)
			if !ok || e.Kind != c.kind {
				t.Fatalf("%v of kind %q, want %q", err, stead.KindOf(err), c.kind)
			}
			if strings.Contains(e.Message, "/secret/path") {
				t.Errorf("the engine's words are in the message: %q", e.Message)
			}
			if len(f.called("POST /containers/"+fakeID)) > 0 && len(f.called("DELETE")) == 0 {
				t.Error("the container is left behind")
			}
		})
	}
}

func TestNoEngine(t *testing.T) {
	p := New(Options{Socket: filepath.Join(t.TempDir(), "none.sock"), Dir: t.TempDir()})
	r := p.Probe(t.Context())
	if r.Usable || r.Problem == "" || r.Remedy == "" {
		t.Errorf("%+v", r)
	}
	if _, err := p.Open(t.Context(), specOf(t)); stead.KindOf(err) != stead.KindUnavailable {
		t.Errorf("%v", err)
	}
}

func TestASlowEngineEndsWithTheCall(t *testing.T) {
	f := newFake(t)
	release := make(chan struct{})
	defer close(release)
	f.mu.Lock()
	f.answer["POST /containers/create"] = func(http.ResponseWriter, *http.Request) { <-release }
	f.mu.Unlock()
	ctx, cancel := context.WithTimeout(t.Context(), 100*time.Millisecond)
	defer cancel()
	if _, err := f.provider(t).Open(ctx, specOf(t)); stead.KindOf(err) != stead.KindUnavailable {
		t.Errorf("%v", err)
	}
}

func TestVersionsAreAgreedOn(t *testing.T) {
	for _, c := range []struct{ api, min, speak string }{{"1.43", "1.12", "1.41"}, {"1.40", "1.12", "1.40"}, {"1.52", "1.44", "1.44"}, {"1.41", "", "1.41"}} {
		f := newFake(t)
		f.version["ApiVersion"], f.version["MinAPIVersion"] = c.api, c.min
		if v, err := newAPI(f.socket).hello(t.Context()); err != nil || v.speak != c.speak {
			t.Errorf("an engine of %s (at least %s): %q, %v, want %s", c.api, c.min, v.speak, err, c.speak)
		}
	}
}

func TestPull(t *testing.T) {
	missing := func(f *fake) {
		f.on("GET /images/example/image:1/json", http.StatusNotFound, `{"message":"No such image"}`)
		first := true
		f.mu.Lock()
		f.answer["POST /containers/create"] = func(w http.ResponseWriter, r *http.Request) {
			if first {
				first = false
				reply(w, http.StatusNotFound, map[string]any{"message": "No such image"})
				return
			}
			f.mu.Lock()
			delete(f.answer, "POST /containers/create")
			f.mu.Unlock()
			f.ServeHTTP(w, r)
		}
		f.mu.Unlock()
	}
	pull := func(o *Options) { o.Pull = true }
	f := newFake(t)
	missing(f)
	f.on("POST /images/create", http.StatusOK, `{"status":"Pulling fs layer"}`+"\r\n"+`{"status":"Downloaded"}`)
	e, err := f.provider(t, pull).Open(t.Context(), specOf(t))
	if err != nil {
		t.Fatal(err)
	}
	closeIt(t, e)
	for name, body := range map[string]string{"an error in the stream": `{"status":"x"}{"error":"manifest unknown"}`, "a stream that is cut": `{"status":"x"}{"sta`} {
		f := newFake(t)
		missing(f)
		f.on("POST /images/create", http.StatusOK, body)
		if _, err := f.provider(t, pull).Open(t.Context(), specOf(t)); stead.KindOf(err) != stead.KindUnavailable {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// When the stream is cut, the environment says that it died, and its container is removed.
func TestACutStreamEndsTheEnvironment(t *testing.T) {
	f := newFake(t)
	conns := make(chan net.Conn, 1)
	f.guest = func(c net.Conn) { conns <- c; bareGuest(c) }
	e := openFake(t, f)
	begun := make(chan struct{})
	answer := make(chan error)
	go func() {
		_, err := e.Exec(context.Background(), environment.Command{Args: []string{"sh", "-c", "echo; sleep 1000"}, Dir: "/"}, func(environment.Chunk) { close(begun) })
		answer <- err
	}()
	<-begun
	(<-conns).Close()
	if err := <-answer; stead.KindOf(err) != stead.KindUnavailable {
		t.Errorf("the command that ran: %v", err)
	}
	select {
	case <-e.Done():
	case <-time.After(patience):
		t.Fatal("Done is not closed")
	}
	if len(f.called("DELETE")) == 0 {
		t.Error("the container is not removed")
	}
	_, err := e.Exec(t.Context(), environment.Command{Args: []string{"true"}}, nil)
	if _, ok := errors.AsType[*environment.NotStartedError](err); !ok {
		t.Errorf("a command afterwards: %v", err)
	}
}

// Removal is only done when the engine knows the container no more.
func TestRemovalIsWaitedFor(t *testing.T) {
	f := newFake(t)
	answers := []int{http.StatusConflict, http.StatusNoContent, http.StatusNotFound}
	f.mu.Lock()
	f.answer["DELETE /containers/"+fakeID] = func(w http.ResponseWriter, _ *http.Request) {
		status := answers[0]
		answers = answers[min(1, len(answers)-1):]
		reply(w, status, map[string]any{"message": "removal of container is already in progress"})
	}
	f.mu.Unlock()
	if err := newAPI(f.socket).remove(t.Context(), fakeID); err != nil || len(f.called("DELETE")) != 3 {
		t.Errorf("%v after %q", err, f.called("DELETE"))
	}
}

func TestSweepRemovesWhatDeadServersLeft(t *testing.T) {
	f := newFake(t)
	p := f.provider(t)
	dead := exec.Command("true")
	if err := dead.Run(); err != nil {
		t.Fatal(err)
	}
	list, err := json.Marshal([]map[string]any{
		{"Id": fakeID, "Labels": map[string]string{labelHost: p.owner.host, labelOwner: strconv.Itoa(dead.Process.Pid) + ":12345"}},
		{"Id": "mine", "Labels": map[string]string{labelHost: p.owner.host, labelOwner: p.owner.process}},
		{"Id": "elsewhere", "Labels": map[string]string{labelHost: "another machine", labelOwner: "1:1"}},
		{"Id": "strange", "Labels": map[string]string{labelHost: p.owner.host, labelOwner: "?"}},
	})
	if err != nil {
		t.Fatal(err)
	}
	f.on("GET /containers/json", http.StatusOK, string(list))
	f.on("GET /images/json", http.StatusOK, "[]")
	f.on("DELETE /containers/"+fakeID, http.StatusNotFound, `{}`)
	if n, err := p.Sweep(t.Context()); err != nil || n != 1 || len(f.called("DELETE")) != 1 {
		t.Errorf("%d removed, %v, %q", n, err, f.called("DELETE"))
	}
}

func TestOtherWaysToRootAreKept(t *testing.T) {
	f := newFake(t)
	for _, c := range []struct{ options, user, mode string }{
		{`["name=rootless","name=seccomp"]`, "0:0", ""},
		{`["name=userns"]`, "", "host"},
	} {
		f.on("GET /info", http.StatusOK, `{"SecurityOptions":`+c.options+`}`)
		at, err := f.provider(t).place(t.Context(), specOf(t))
		if err != nil || c.user != "" && at.user != c.user || at.usernsMode != c.mode {
			t.Errorf("%s: %+v, %v", c.options, at, err)
		}
	}
}

func TestDemux(t *testing.T) {
	in := slices.Concat(frameOf(streamStdout, []byte("one ")), frameOf(streamStdout, nil), frameOf(streamStderr, []byte("oops")), frameOf(streamStdin, []byte("echo")), frameOf(streamStdout, []byte("two")), frameOf(streamEngine, []byte("!")))
	d := newDemux(bytes.NewReader(in))
	out, err := io.ReadAll(d)
	if err != nil || string(out) != "one two" || d.stderr() != "oops!" {
		t.Errorf("%q, %q, %v", out, d.stderr(), err)
	}
	for cut := 1; cut < len(frameOf(streamStdout, []byte("one "))); cut++ {
		if _, err := io.ReadAll(newDemux(bytes.NewReader(in[:cut]))); !errors.Is(err, io.ErrUnexpectedEOF) {
			t.Errorf("cut after %d bytes: %v", cut, err)
		}
	}
	if _, err := io.ReadAll(newDemux(bytes.NewReader([]byte{1, 0, 0, 1, 0, 0, 0, 0}))); err == nil {
		t.Error("a header with bytes that must be zero is taken")
	}
	// A length that nobody can have in memory costs none.
	huge := newDemux(io.MultiReader(bytes.NewReader([]byte{2, 0, 0, 0, 0xff, 0xff, 0xff, 0xff}), io.LimitReader(zeros{}, 1<<20)))
	if _, err := io.ReadAll(huge); !errors.Is(err, io.ErrUnexpectedEOF) || len(huge.stderr()) != maxStderr {
		t.Errorf("%v, %d bytes kept", err, len(huge.stderr()))
	}
}

type zeros struct{}

func (zeros) Read(p []byte) (int, error) { clear(p); return len(p), nil }

// FuzzDemux holds that what comes out is what whole frames of standard output say, whatever comes in.
func FuzzDemux(f *testing.F) {
	f.Add(frameOf(streamStdout, []byte("x")), 1)
	f.Add(append(frameOf(streamStderr, []byte("y")), frameOf(streamStdout, nil)...), 3)
	f.Add([]byte{1, 0, 0, 0, 0xff, 0xff, 0xff, 0xff, 1}, 2)
	f.Fuzz(func(t *testing.T, in []byte, size int) {
		d := newDemux(bytes.NewReader(in))
		buf := make([]byte, max(1, min(size, 4096)))
		total := 0
		for {
			n, err := d.Read(buf)
			total += n
			if n == 0 && err == nil {
				t.Fatal("a read of nothing without an error")
			}
			if err != nil {
				break
			}
		}
		if total > len(in) || len(d.stderr()) > maxStderr {
			t.Fatalf("%d bytes came out of %d, %d were kept", total, len(in), len(d.stderr()))
		}
	})
}

// victim is the process that TestKilledServer kills: it opens an environment and says what runs in it.
func victim(socket, dir, guestFile, workspace string) error {
	p := New(Options{Socket: socket, Image: testImage, Dir: dir, Guest: guestFile})
	e, err := p.Open(context.Background(), environment.Spec{ID: "env_victim", Workspace: workspace})
	if err != nil {
		return err
	}
	_, err = e.Exec(context.Background(), environment.Command{Args: []string{"sh", "-c", `setsid sh -c 'trap "" TERM HUP; while :; do echo >> beat; sleep 0.02; done' victim-of-stead >/dev/null 2>&1 & sleep 0.1; echo ready; sleep 1000`}}, func(c environment.Chunk) {
		_, _ = os.Stdout.Write(c.Data)
	})
	return err
}

// A server that is killed leaves no container and no process behind.
func TestKilledServer(t *testing.T) {
	engine := realEngine(t)
	workspace := filepath.Join(t.TempDir(), "workspace")
	if err := os.Mkdir(workspace, 0o755); err != nil {
		t.Fatal(err)
	}
	c := &exec.Cmd{Path: "/proc/self/exe", Args: []string{"victim", engine.socket, filepath.Join(engine.dir, "driver"), engine.guest, workspace}, Stderr: os.Stderr}
	out, err := c.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := c.Start(); err != nil {
		t.Fatal(err)
	}
	if line := make([]byte, 6); true {
		if _, err := io.ReadFull(out, line); err != nil || string(line) != "ready\n" {
			t.Fatalf("the victim says %q, %v", line, err)
		}
	}
	if err := c.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	_ = c.Wait()
	p := realProvider(t)
	var list []struct{ ID string }
	until(t, "the engine has no container of the dead server", func() bool {
		list = nil
		filters := `%7B%22label%22%3A%5B%22` + labelEnvironment + `%3Denv_victim%22%5D%7D`
		return p.api.call(t.Context(), http.MethodGet, "/containers/json?all=1&filters="+filters, nil, &list) == nil && len(list) == 0
	})
	names, _ := filepath.Glob("/proc/[0-9]*/cmdline")
	for _, name := range names {
		if data, err := os.ReadFile(name); err == nil && bytes.Contains(data, []byte("victim-of-stead")) {
			t.Errorf("%s still runs: %q", name, data)
		}
	}
}

func until(t *testing.T, what string, done func() bool) {
	t.Helper()
	for end := time.Now().Add(patience); !done(); time.Sleep(20 * time.Millisecond) {
		if time.Now().After(end) {
			t.Fatalf("waited in vain: %s", what)
		}
	}
}

// main lets this binary be what the tests start.
func mainOf(args []string) (code int, ok bool) {
	switch filepath.Base(args[0]) {
	case guest.Argv0:
		return guest.Main(args[1:]), true
	case "victim":
		if err := victim(args[1], args[2], args[3], args[4]); err != nil {
			os.Stderr.WriteString(err.Error() + "\n")
			return 1, true
		}
		return 0, true
	}
	return 0, false
}
