//go:build linux

package guest

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/stead-dev/stead"
	"github.com/stead-dev/stead/internal/environment"
)

// patience is the longest wait for something that has to happen.
const patience = 30 * time.Second

func TestMain(m *testing.M) {
	if filepath.Base(os.Args[0]) == Argv0 {
		os.Exit(Main(os.Args[1:]))
	}
	os.Exit(m.Run())
}

// machine is a guest in a process of its own, without a container around it.
type machine struct {
	*Client
	cmd *exec.Cmd
	dir string
}

type pipes struct{ closers []io.Closer }

func (p pipes) Close() error {
	var err error
	for _, c := range p.closers {
		err = errors.Join(err, c.Close())
	}
	return err
}

func start(t *testing.T, opts Options) *machine {
	t.Helper()
	m := &machine{dir: t.TempDir()}
	m.cmd = &exec.Cmd{Path: "/proc/self/exe", Args: []string{Argv0}, Stderr: os.Stderr, Env: []string{"PATH=/usr/bin:/bin", "OF_IMAGE=yes"}}
	in, err := m.cmd.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	out, err := m.cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := m.cmd.Start(); err != nil {
		t.Fatal(err)
	}
	if opts.Limits.CommandTime == 0 {
		opts.Limits.CommandTime = patience
	}
	m.Client, err = New(t.Context(), out, in, pipes{[]io.Closer{in, out}}, opts)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		m.Close()
		_ = m.cmd.Wait() // its exit code says how the conversation ended
	})
	return m
}

// sh runs a script and returns what it printed.
func (m *machine) sh(t *testing.T, script string, change ...func(*environment.Command)) (environment.Exit, string, error) {
	t.Helper()
	c := environment.Command{Args: []string{"sh", "-c", script}, Dir: m.dir}
	for _, f := range change {
		f(&c)
	}
	var out bytes.Buffer
	exit, err := m.Exec(t.Context(), c, func(c environment.Chunk) { out.Write(c.Data) })
	return exit, out.String(), err
}

func until(t *testing.T, what string, done func() bool) {
	t.Helper()
	for end := time.Now().Add(patience); !done(); time.Sleep(2 * time.Millisecond) {
		if time.Now().After(end) {
			t.Fatalf("waited in vain: %s", what)
		}
	}
}

func TestCommands(t *testing.T) {
	m := start(t, Options{Env: map[string]string{"OF_SPEC": "spec"}})
	for script, want := range map[string]int{"exit 0": 0, "exit 7": 7, "kill -9 $$": 137, "kill -TERM $$": 143} {
		if exit, _, err := m.sh(t, script); err != nil || exit.Code != want || exit.Reason != "" {
			t.Errorf("%s: %+v, %v", script, exit, err)
		}
	}
	_, out, err := m.sh(t, `cat; pwd; echo $OF_IMAGE $OF_SPEC $OF_COMMAND`, func(c *environment.Command) {
		c.Stdin, c.Env = strings.NewReader("from stdin\n"), map[string]string{"OF_COMMAND": "command"}
	})
	if want := "from stdin\n" + m.dir + "\nyes spec command\n"; err != nil || out != want {
		t.Errorf("%q, %v, want %q", out, err, want)
	}
	for _, args := range [][]string{{"no-such-program"}, {"./none"}, {m.dir}, {}} {
		_, err := m.Exec(t.Context(), environment.Command{Args: args, Dir: m.dir}, nil)
		if _, ok := errors.AsType[*environment.NotStartedError](err); !ok {
			t.Errorf("%q: %v", args, err)
		}
	}
	if u := m.Usage(); u.Commands < 5 || u.OutputBytes == 0 {
		t.Errorf("use is %+v", u)
	}
}

func TestManyBytesBothWays(t *testing.T) {
	m := start(t, Options{Limits: environment.Limits{OutputBytes: 64 << 20}})
	in := bytes.Repeat([]byte("0123456789abcdef"), 4<<20/16)
	var group sync.WaitGroup
	for range 4 {
		group.Go(func() {
			_, out, err := m.sh(t, "cat", func(c *environment.Command) { c.Stdin = bytes.NewReader(in) })
			if err != nil || out != string(in) {
				t.Errorf("%d bytes came back of %d: %v", len(out), len(in), err)
			}
		})
	}
	group.Wait()
}

// A command whose reader stands still holds up no other.
func TestASlowReaderHoldsUpNobodyElse(t *testing.T) {
	m := start(t, Options{Limits: environment.Limits{OutputBytes: 64 << 20}})
	reading, goOn := make(chan struct{}), make(chan struct{})
	done := make(chan error)
	go func() {
		var once sync.Once
		_, err := m.Exec(t.Context(), environment.Command{Args: []string{"head", "-c", "8000000", "/dev/zero"}, Dir: m.dir}, func(environment.Chunk) {
			once.Do(func() { close(reading) })
			<-goOn
		})
		done <- err
	}()
	<-reading
	if _, out, err := m.sh(t, "echo other"); out != "other\n" || err != nil {
		t.Errorf("%q, %v", out, err)
	}
	close(goOn)
	if err := <-done; err != nil {
		t.Error(err)
	}
}

func TestKillsReachTheGroup(t *testing.T) {
	m := start(t, Options{})
	beat := filepath.Join(m.dir, "beat")
	script := `trap '' TERM; sh -c 'while :; do echo >> beat; sleep 0.02; done' & wait; sleep 1000`
	var exit environment.Exit
	var err error
	for life := time.Second; life < patience; life *= 3 { // a busy machine may need more to begin the child
		if exit, _, err = m.sh(t, script, func(c *environment.Command) { c.Timeout = life }); size(beat) > 0 {
			break
		}
	}
	if err != nil || exit.Code != -1 || exit.Reason != environment.ReasonTimeout {
		t.Errorf("%+v, %v", exit, err)
	}
	before := size(beat)
	if before == 0 {
		t.Fatal("the child never ran")
	}
	if _, _, err := m.sh(t, "sleep 0.5"); err != nil {
		t.Error(err)
	}
	if after := size(beat); after != before {
		t.Errorf("a child lives: %d, then %d bytes", before, after)
	}
}

func size(name string) int64 {
	info, err := os.Stat(name)
	if err != nil {
		return 0
	}
	return info.Size()
}

// When the line is cut, whatever descends from the guest is gone, daemons included.
func TestTheEndOfTheLineLeavesNothing(t *testing.T) {
	m := start(t, Options{})
	_, out, err := m.sh(t, `(setsid sh -c 'trap "" TERM HUP; while :; do sleep 0.02; done' >/dev/null 2>&1 & echo $!) ; sleep 1000 >/dev/null 2>&1 & echo $!`)
	if err != nil {
		t.Fatal(err)
	}
	pids := strings.Fields(out)
	if len(pids) != 2 || !alive(pids[0]) || !alive(pids[1]) {
		t.Fatalf("the daemons are %q", pids)
	}
	m.conn.Close()
	until(t, "the daemons are gone", func() bool { return !alive(pids[0]) && !alive(pids[1]) })
	<-m.Done()
	_, _, err = m.sh(t, "true")
	if _, ok := errors.AsType[*environment.NotStartedError](err); !ok || stead.KindOf(err) != stead.KindUnavailable {
		t.Errorf("a command after the end: %v", err)
	}
}

// An interruption ends what runs, and the environment goes on.
func TestInterrupt(t *testing.T) {
	m := start(t, Options{})
	_, out, err := m.sh(t, `setsid sleep 1000 >/dev/null 2>&1 & echo $!`)
	if err != nil {
		t.Fatal(err)
	}
	done := make(chan environment.Exit)
	begun := make(chan struct{})
	go func() {
		exit, _ := m.Exec(t.Context(), environment.Command{Args: []string{"sh", "-c", "echo; sleep 1000"}, Dir: m.dir}, func(environment.Chunk) { close(begun) })
		done <- exit
	}()
	<-begun
	m.Interrupt(t.Context(), environment.ReasonDisk)
	if exit := <-done; exit.Code != -1 || exit.Reason != environment.ReasonDisk {
		t.Errorf("%+v", exit)
	}
	until(t, "the daemon is gone", func() bool { return !alive(strings.TrimSpace(out)) })
	if exit, _, err := m.sh(t, "exit 3"); err != nil || exit.Code != 3 {
		t.Errorf("afterwards: %+v, %v", exit, err)
	}
}

// alive says that a process is there and no zombie.
func alive(pid string) bool {
	stat, err := os.ReadFile("/proc/" + pid + "/stat")
	if err != nil {
		return false
	}
	fields := strings.Fields(string(stat[bytes.LastIndexByte(stat, ')')+1:]))
	return len(fields) > 0 && fields[0] != "Z" && fields[0] != "X"
}

func TestOrphansAreReaped(t *testing.T) {
	m := start(t, Options{})
	if _, _, err := m.sh(t, `for i in 1 2 3 4 5 6 7 8; do (sleep 0 &) ; done`); err != nil {
		t.Fatal(err)
	}
	until(t, "no zombie is left", func() bool {
		children, err := os.ReadFile(fmt.Sprintf("/proc/%d/task/%d/children", m.cmd.Process.Pid, m.cmd.Process.Pid))
		return err == nil && len(bytes.TrimSpace(children)) == 0
	})
}

// The guest is of the same user as its commands: they may neither look into it nor trace it.
func TestCommandsCantLookIntoTheGuest(t *testing.T) {
	if os.Getuid() == 0 {
		// root may look into everything here; in a container root has no such power
		syscallName := "/proc/" + strconv.Itoa(start(t, Options{}).cmd.Process.Pid)
		info, err := os.Stat(syscallName + "/environ")
		if err != nil {
			t.Fatal(err)
		}
		if info.Sys().(*syscall.Stat_t).Uid != 0 {
			t.Error("the guest is dumpable")
		}
	}
	m := start(t, Options{})
	out, err := exec.Command("setpriv", "--reuid=65534", "--clear-groups", "cat", fmt.Sprintf("/proc/%d/environ", m.cmd.Process.Pid)).CombinedOutput()
	if err == nil {
		t.Errorf("another process reads the guest's environ: %q", out)
	}
}

func TestServices(t *testing.T) {
	services := t.TempDir()
	l, err := net.Listen("unix", filepath.Join(services, environment.ToolsSocket))
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	go func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			go func() {
				defer c.Close()
				_, _ = io.Copy(c, c) // it answers what it hears, to the end
			}()
		}
	}()
	inside := filepath.Join(t.TempDir(), "tools.sock")
	m := start(t, Options{Services: services, Listen: map[string]string{environment.ToolsSocket: "unix:" + inside, environment.EgressSocket: "tcp:127.0.0.1:0"}})
	big := bytes.Repeat([]byte("x"), 3*WindowBytes)
	var group sync.WaitGroup
	for range 10 {
		group.Go(func() {
			c, err := net.Dial("unix", inside)
			if err != nil {
				t.Error(err)
				return
			}
			defer c.Close()
			go func() {
				_, _ = c.Write(big)
				_ = c.(*net.UnixConn).CloseWrite()
			}()
			if back, err := io.ReadAll(c); err != nil || !bytes.Equal(back, big) {
				t.Errorf("%d bytes came back of %d: %v", len(back), len(big), err)
			}
		})
	}
	group.Wait()
	l.Close()
	c, err := net.Dial("unix", inside)
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	if n, err := c.Read(make([]byte, 1)); err != io.EOF {
		t.Errorf("a service that is away: %d bytes, %v", n, err)
	}
	_ = m
}

// hostile answers the handshake as a guest does and then says whatever it is told to.
func hostile(t *testing.T, say func(m *mux)) *Client {
	t.Helper()
	ours, theirs := net.Pipe()
	go func() {
		m := newMux(theirs, theirs, false, func(*stream, request) {})
		_ = m.sendJSON(kindHello, 0, hello{Version: Version})
		var c config
		_ = m.expect(kindConfig, &c)
		_ = m.sendJSON(kindReady, 0, outcome{})
		if say != nil {
			say(m)
		}
		_, _ = io.Copy(io.Discard, theirs)
	}()
	c, err := New(t.Context(), ours, ours, ours, Options{})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(c.Close)
	return c
}

func TestHostileGuestsEndTheConversation(t *testing.T) {
	for title, say := range map[string]func(m *mux){
		"an unknown kind":   func(m *mux) { _, _ = m.w.Write([]byte{99, 0, 0, 0, 0, 0, 0, 0, 0, 0}) },
		"an endless frame":  func(m *mux) { _, _ = m.w.Write([]byte{byte(kindOpen), 0, 0, 0, 0, 2, 0xff, 0xff, 0xff, 0xff}) },
		"a second hello":    func(m *mux) { _ = m.sendJSON(kindHello, 0, hello{}) },
		"our stream opened": func(m *mux) { _ = m.sendJSON(kindOpen, 1, request{}) },
		"half a frame":      func(m *mux) { _, _ = m.w.Write([]byte{byte(kindData), 0}); m.w.(io.Closer).Close() },
		"too many streams": func(m *mux) {
			for i := range uint32(2 * MaxStreams) {
				if m.sendJSON(kindOpen, 2*i+2, request{Op: opDial, Name: "none"}) != nil {
					return
				}
			}
			_, _ = m.w.Write([]byte{99, 0, 0, 0, 0, 0, 0, 0, 0, 0}) // refused services are over at once
		},
	} {
		t.Run(title, func(t *testing.T) {
			c := hostile(t, say)
			select {
			case <-c.Done():
			case <-time.After(patience):
				t.Error("the conversation goes on")
			}
		})
	}
}

// A guest that sends more than the window allows, or says that it gave what nobody asked for.
func TestHostileStreamsEndTheConversation(t *testing.T) {
	for title, f := range map[string]frame{
		"data past the window":   {kind: kindData, stream: 1, channel: chanOut, payload: make([]byte, MaxDataBytes)},
		"credit past the window": {kind: kindCredit, stream: 1, payload: binary.BigEndian.AppendUint32(nil, 1<<31)},
		"a kill of ours":         {kind: kindKill, stream: 1},
		"a result of nonsense":   {kind: kindResult, stream: 1, payload: []byte("{")},
	} {
		t.Run(title, func(t *testing.T) {
			c := hostile(t, func(m *mux) {
				if f, err := readFrame(m.r); err != nil || f.kind != kindOpen {
					t.Errorf("%v, %v", f, err)
				}
				for range 2*WindowBytes/MaxDataBytes + 2 {
					if m.send(f) != nil {
						return
					}
				}
			})
			ctx, cancel := context.WithTimeout(t.Context(), patience)
			defer cancel()
			_, err := c.Exec(ctx, environment.Command{Args: []string{"x"}}, func(environment.Chunk) {
				select {
				case <-c.Done():
				case <-ctx.Done():
				}
			})
			if stead.KindOf(err) != stead.KindUnavailable {
				t.Errorf("%v", err)
			}
		})
	}
}

func TestAHandshakeThatNeverComesEnds(t *testing.T) {
	ours, theirs := net.Pipe()
	defer theirs.Close()
	ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
	defer cancel()
	if _, err := New(ctx, ours, ours, ours, Options{}); stead.KindOf(err) != stead.KindUnavailable {
		t.Errorf("%v", err)
	}
}

// FuzzReceive lets an arbitrary guest speak to the host's end: it may end the conversation, and do
// nothing else.
func FuzzReceive(f *testing.F) {
	f.Add(appendFrame(nil, frame{kind: kindData, stream: 1, payload: []byte("x")}))
	f.Add(appendFrame(appendFrame(nil, frame{kind: kindOpen, stream: 2, payload: []byte(`{"op":"dial","name":"x"}`)}), frame{kind: kindEnd, stream: 2}))
	f.Add(appendFrame(nil, frame{kind: kindResult, stream: 1, payload: []byte(`{"code":-5}`)}))
	f.Fuzz(func(t *testing.T, in []byte) {
		c := &Client{opts: Options{Listen: map[string]string{}}}
		c.mux = newMux(bytes.NewReader(in), io.Discard, true, c.serve)
		s, err := c.mux.open(request{Op: opExec})
		if err != nil {
			t.Fatal(err)
		}
		_ = c.mux.run()
		total := 0
		for {
			ch, err := s.next()
			if err != nil {
				break
			}
			total += len(ch.data)
		}
		if total > WindowBytes {
			t.Errorf("%d bytes were kept, the window is %d", total, WindowBytes)
		}
		c.mux.work.Wait()
	})
}
