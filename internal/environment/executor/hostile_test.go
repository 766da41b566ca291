package executor_test

import (
	"bufio"
	"context"
	"encoding/binary"
	"encoding/json"
	"fmt"

	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/coder/websocket"

	"github.com/stead-dev/stead"
	"github.com/stead-dev/stead/internal/environment"
	"github.com/stead-dev/stead/internal/environment/bare"
	"github.com/stead-dev/stead/internal/environment/executor"
)

// remoteVariable makes the test binary an executor, which tests can kill.
const remoteVariable = "STEAD_TEST_REMOTE"

func TestMain(m *testing.M) {
	remote := os.Getenv(remoteVariable)
	if remote == "" {
		os.Exit(m.Run())
	}
	dir, err := os.Getwd()
	if err == nil {
		err = executor.Run(context.Background(), executor.Config{
			Remote: remote, Workspace: dir, Sandbox: bare.Provider{}, Timing: quick(),
			Told: func(s executor.State) { fmt.Println(s.Connected) },
		})
	}
	fmt.Println(err)
	os.Exit(1)
}

// An executor that is killed leaves its commands with an unknown outcome, and dead.
func TestExecutorIsKilled(t *testing.T) {
	r := newRig(t, quick())
	remote := r.register("env_1", r.server.URL)
	cmd := exec.Command(os.Args[0])
	cmd.Dir, cmd.Env = t.TempDir(), append(os.Environ(), remoteVariable+"="+remote)
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { cmd.Process.Kill(); cmd.Wait() })
	bufio.NewReader(out).ReadString('\n')
	env := r.open("env_1")
	pid, ended := make(chan string, 1), make(chan error, 1)
	go func() {
		_, err := env.Exec(t.Context(), shell("echo $$; exec sleep 600"), func(c environment.Chunk) { pid <- strings.TrimSpace(string(c.Data)) })
		ended <- err
	}()
	process := <-pid
	cmd.Process.Kill()
	cmd.Wait()
	until(t, "the command to die with it", func() bool {
		state, err := os.ReadFile("/proc/" + process + "/stat")
		return err != nil || strings.Contains(string(state), ") Z ")
	})
	r.run(remote, nil) // another process: another executor
	if err := <-ended; isNotStarted(err) || stead.KindOf(err) != stead.KindUnavailable {
		t.Errorf("the command: %v", err)
	}
	if got, _ := output(t, r.open("env_1"), shell("echo anew")); got != "anew\n" {
		t.Errorf("afterwards: %q", got)
	}
}

// numbered makes a frame as the package comment says.
func rawFrame(kind, channel byte, stream, seq, ack uint64, payload []byte) []byte {
	b := []byte{kind, channel}
	for _, n := range []uint64{stream, seq, ack} {
		b = binary.BigEndian.AppendUint64(b, n)
	}
	return append(b, payload...)
}

func rawHello(attempt int, executorID string) []byte {
	b, _ := json.Marshal(map[string]any{"version": 1, "environment": "env_1", "executor": executorID, "attempt": attempt, "platform": "x/y", "sandbox": "none", "workspace": "/w"})
	return rawFrame(1, 0, 0, 0, 0, b)
}

// Executors that keep to no rule do the hub no harm.
func TestHostileExecutors(t *testing.T) {
	random := seed(t)
	r := newRig(t, quick())
	remote := r.register("env_1", r.server.URL)
	address, token, _ := strings.Cut(remote, "#")
	connect := func() *websocket.Conn {
		t.Helper()
		c, _, err := websocket.Dial(t.Context(), address, &websocket.DialOptions{HTTPHeader: http.Header{"Authorization": {"Bearer " + token}}})
		if err != nil {
			t.Fatal(err)
		}
		return c
	}
	attempt := 0
	for name, script := range map[string][][]byte{
		"says nothing of itself":    {rawFrame(3, 0, 0, 0, 0, nil)},
		"speaks garbage":            {[]byte("garbage")},
		"sends a giant":             {make([]byte, executor.MaxMessageBytes+1)},
		"is of the next version":    {rawFrame(1, 0, 0, 0, 0, []byte(`{"version":2,"environment":"env_1","executor":"e","attempt":1}`))},
		"greets twice":              {nil, rawHello(1, "x")},
		"opens a stream":            {nil, rawFrame(16, 0, 1, 1, 0, []byte(`{"op":"exec"}`))},
		"answers what nobody asked": {nil, rawFrame(22, 0, 7, 1, 0, []byte(`{}`))},
		"leaves a gap":              {nil, rawFrame(20, 0, 1, 2, 0, nil)},
		"acknowledges the future":   {nil, rawFrame(3, 0, 0, 0, 99, nil)},
		"answers with no JSON":      {nil, rawFrame(4, 0, 0, 0, 0, []byte(`{`))},
	} {
		c := connect()
		for _, b := range script {
			if b == nil {
				attempt++
				b = rawHello(attempt, "hostile"+name)
			}
			_ = c.Write(t.Context(), websocket.MessageBinary, b) // it may have been thrown out already
		}
		ctx, cancel := context.WithTimeout(t.Context(), patience)
		for {
			_, b, err := c.Read(ctx)
			if ctx.Err() != nil {
				t.Errorf("who %s was not thrown out", name)
			}
			if err != nil || b[0] == 4 { // a bye
				break
			}
		}
		cancel()
		c.CloseNow()
	}
	for range 50 { // and at random
		c := connect()
		attempt++
		_ = c.Write(t.Context(), websocket.MessageBinary, rawHello(attempt, "random"))
		for i := range uint64(20) {
			b := make([]byte, random.IntN(100))
			for j := range b {
				b[j] = byte(random.Uint32())
			}
			kinds := []byte{3, 16, 17, 18, 19, 20, 21, 22}
			_ = c.Write(t.Context(), websocket.MessageBinary, rawFrame(kinds[random.IntN(len(kinds))], 0, random.Uint64N(3), i+1, 0, b))
		}
		c.CloseNow()
	}
	e := r.run(remote, nil) // it came last, so nothing that the strangers said and nobody read yet replaces it
	until(t, "the honest one to connect", func() bool {
		info, ok := r.hub.Info("env_1")
		return ok && info.Workspace == e.dir
	})
	if got, _ := output(t, r.open("env_1"), shell("echo unharmed")); got != "unharmed\n" {
		t.Errorf("got %q", got)
	}
}

// A connection whose hello was late on its way replaces nobody who connected after it: else an executor
// that died while it connected could throw out the one that was started in its place.
func TestLateHelloReplacesNobody(t *testing.T) {
	r := newRig(t, quick())
	remote := r.register("env_1", r.server.URL)
	address, token, _ := strings.Cut(remote, "#")
	late, _, err := websocket.Dial(t.Context(), address, &websocket.DialOptions{HTTPHeader: http.Header{"Authorization": {"Bearer " + token}}})
	if err != nil {
		t.Fatal(err)
	}
	defer late.CloseNow()
	e := r.run(remote, nil)
	until(t, "the newer one to connect", func() bool { return r.hub.Connected("env_1") })
	if err := late.Write(t.Context(), websocket.MessageBinary, rawHello(1, "late")); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	if _, b, err := late.Read(ctx); err != nil || b[0] != 4 || !strings.Contains(string(b), `"replaced"`) {
		t.Errorf("the late one hears %q, %v", b, err)
	}
	if info, ok := r.hub.Info("env_1"); !ok || info.Workspace != e.dir {
		t.Errorf("the environment's executor is now %+v, %v", info, ok)
	}
}

// A server that keeps to no rule gets nothing but a new attempt.
func TestHostileServer(t *testing.T) {
	random := seed(t)
	var mu sync.Mutex // of random
	var connections atomic.Int64
	welcome := []byte(`{"version":1,"conversation":"conv_1"}`)
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, q *http.Request) {
		c, err := websocket.Accept(w, q, nil)
		if err != nil {
			return
		}
		defer c.CloseNow()
		n := connections.Add(1)
		if _, _, err := c.Read(q.Context()); err != nil {
			return
		}
		scripts := [][][]byte{
			{[]byte("garbage")},
			{make([]byte, executor.MaxMessageBytes+1)},
			{rawFrame(2, 0, 0, 0, 0, []byte(`{"version":1,"conversation":"conv_9","resumed":true}`))},
			{rawFrame(2, 0, 0, 0, 0, welcome), rawFrame(22, 0, 1, 1, 0, []byte(`{}`))},
			{rawFrame(2, 0, 0, 0, 0, welcome), rawFrame(16, 0, 5, 1, 0, []byte(`{"op":"exec"}`))},
			{rawFrame(2, 0, 0, 0, 0, welcome), rawFrame(16, 0, 1, 1, 0, []byte(`{"op":"exec","args":["dHJ1ZQ=="],"in":1}`)), rawFrame(16, 0, 2, 2, 0, []byte(`{"op":"write","size":-1}`)), rawFrame(16, 0, 3, 3, 0, []byte(`{"op":"read","in":9,"size":9223372036854775807}`)), rawFrame(16, 0, 4, 4, 0, []byte(`{"op":"?"}`))},
		}
		script := scripts[int(n)%len(scripts)]
		mu.Lock()
		for i := range uint64(10) {
			b := make([]byte, random.IntN(200))
			script = append(script, rawFrame(byte(random.IntN(24)), 0, random.Uint64N(8), i+1, 0, b))
		}
		mu.Unlock()
		for _, b := range script {
			_ = c.Write(q.Context(), websocket.MessageBinary, b)
		}
		ctx, cancel := context.WithTimeout(q.Context(), 100*time.Millisecond)
		defer cancel()
		for err == nil {
			_, _, err = c.Read(ctx)
		}
	}))
	defer server.Close()
	r := newRig(t, quick())
	token, _ := executor.NewToken()
	e := r.run(executor.RemoteURL(server.URL, "env_1", token), nil)
	until(t, "30 connections", func() bool { return connections.Load() >= 30 })
	e.stop()
	if err := e.wait(t); err != nil {
		t.Errorf("ended with %v", err)
	}
	if left, _ := os.ReadDir(e.dir); len(left) != 0 {
		t.Errorf("%d files were made", len(left))
	}
}
