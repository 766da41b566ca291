// Package quickstart runs the quick starts as a reader would: against a server that was just
// started, with nothing else set up. Only the address is another, since the usual one may be taken.
package quickstart

import (
	"bytes"
	"context"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"
)

const (
	patience = 2 * time.Minute // for a build on a busy machine
	// address is what the quick starts are written for.
	address = "http://127.0.0.1:8787"
	// answer is what the model sim says when the function has answered.
	answer = "get_weather: 21 degrees in Paris"
)

// server is a running stead dev.
type server struct {
	bin, base string
	log       string // file of its output
}

// serve builds the server and starts it; it ends with the test.
func serve(t *testing.T) *server {
	t.Helper()
	dir := t.TempDir()
	s := &server{bin: filepath.Join(dir, "stead"), log: filepath.Join(dir, "log")}
	build := exec.Command("go", "build", "-o", s.bin, "./cmd/stead")
	build.Dir = filepath.Join("..", "..")
	if out, err := build.CombinedOutput(); err != nil {
		t.Fatalf("build: %v\n%s", err, out)
	}
	log, err := os.Create(s.log)
	if err != nil {
		t.Fatal(err)
	}
	defer log.Close()
	ready := filepath.Join(dir, "ready")
	cmd := exec.Command(s.bin, "dev", "--listen", "127.0.0.1:0", "--data", filepath.Join(dir, "data"), "--ready-file", ready, "--no-demo")
	cmd.Stdout, cmd.Stderr = log, log
	cmd.Env = without(os.Environ(), "OPENAI_API_KEY", "ANTHROPIC_API_KEY", "GEMINI_API_KEY", "GOOGLE_API_KEY", "STEAD_LISTEN", "STEAD_DATA", "STEAD_DATABASE_URL")
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = cmd.Process.Signal(syscall.SIGTERM)
		if err := cmd.Wait(); err != nil {
			t.Errorf("the server did not end well: %v", err)
		}
		if text, err := os.ReadFile(s.log); t.Failed() && err == nil {
			t.Logf("server:\n%s", text)
		}
	})
	poll(t, "the server to serve", func() bool {
		base, err := os.ReadFile(ready)
		s.base = strings.TrimSpace(string(base))
		return err == nil
	})
	return s
}

// said returns what the server has printed, once it has printed a text.
func (s *server) said(t *testing.T, text string) string {
	t.Helper()
	var log []byte
	poll(t, text, func() bool {
		log, _ = os.ReadFile(s.log)
		at := bytes.Index(log, []byte(text))
		return at >= 0 && bytes.Contains(log[at:], []byte("\n"))
	})
	return string(log)
}

func poll(t *testing.T, what string, done func() bool) {
	t.Helper()
	for deadline := time.Now().Add(patience); !done(); time.Sleep(20 * time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatalf("waited %s for %s", patience, what)
		}
	}
}

func without(env []string, names ...string) []string {
	var out []string
	for _, e := range env {
		keep := true
		for _, n := range names {
			keep = keep && !strings.HasPrefix(e, n+"=")
		}
		if keep {
			out = append(out, e)
		}
	}
	return out
}

// program copies a quick start to a directory beside what it needs, with the server's address in it.
func program(t *testing.T, from, to, base string) {
	t.Helper()
	text, err := os.ReadFile(from)
	if err != nil {
		t.Fatal(err)
	}
	if !bytes.Contains(text, []byte(address)) {
		t.Fatalf("%s does not name %s: readers would reach nothing", from, address)
	}
	if n := bytes.Count(text, []byte("\n")); n > 40 {
		t.Errorf("%s has %d lines: a quick start is quick to read", from, n)
	}
	if err := os.WriteFile(to, bytes.ReplaceAll(text, []byte(address), []byte(base)), 0o600); err != nil {
		t.Fatal(err)
	}
}

// run runs a command and wants the model's answer in its output.
func run(t *testing.T, dir string, argv ...string) {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	cmd := exec.CommandContext(ctx, argv[0], argv[1:]...)
	cmd.Dir = dir
	out, err := cmd.CombinedOutput()
	if err != nil {
		t.Fatalf("%v: %v\n%s", argv, err, out)
	}
	if !strings.Contains(string(out), answer) {
		t.Errorf("%v says %q, want %q", argv, out, answer)
	}
}

func TestGo(t *testing.T) {
	s := serve(t)
	dir, err := os.MkdirTemp("go", "run-*") // inside the module: it imports the SDK
	if err != nil {
		t.Fatal(err)
	}
	defer os.RemoveAll(dir)
	program(t, filepath.Join("go", "main.go"), filepath.Join(dir, "main.go"), s.base)
	run(t, dir, "go", "run", ".")
}

func TestTypeScript(t *testing.T) {
	if _, err := os.Stat(filepath.Join("typescript", "node_modules", "openai")); err != nil {
		missing(t, "npm ci in docs/quickstart/typescript has not been run")
	}
	compile := exec.Command(filepath.Join("node_modules", ".bin", "tsc"))
	compile.Dir = "typescript"
	if out, err := compile.CombinedOutput(); err != nil {
		t.Fatalf("tsc: %v\n%s", err, out)
	}
	s := serve(t)
	compiled := filepath.Join("typescript", "node_modules", ".quickstart")
	dir, err := os.MkdirTemp(compiled, "run-*")
	if err != nil {
		t.Fatal(err)
	}
	defer os.RemoveAll(dir)
	program(t, filepath.Join(compiled, "quickstart.js"), filepath.Join(dir, "quickstart.mjs"), s.base)
	run(t, dir, "node", "quickstart.mjs")
}

// TestPython compiles the quick start everywhere, and runs it where the SDK is installed.
func TestPython(t *testing.T) {
	python, err := exec.LookPath("python3")
	if err != nil {
		missing(t, "there is no python3")
	}
	file := filepath.Join("python", "quickstart.py")
	check := exec.Command(python, "-c", "import ast,sys; ast.parse(open(sys.argv[1]).read(), sys.argv[1])", file)
	if out, err := check.CombinedOutput(); err != nil {
		t.Fatalf("%s: %v\n%s", file, err, out)
	}
	if err := exec.Command(python, "-c", "import openai; openai.OpenAI(api_key='x').beta.agents").Run(); err != nil {
		t.Skip("the OpenAI SDK for Python with the Agents API is not installed and this machine's package index may not be reachable: the quick start was compiled, not run")
	}
	s := serve(t)
	dir := t.TempDir()
	program(t, file, filepath.Join(dir, "quickstart.py"), s.base)
	run(t, dir, python, "quickstart.py")
}

// missing skips a test on a machine that was not prepared; the continuous integration is.
func missing(t *testing.T, what string) {
	t.Helper()
	if os.Getenv("CI") != "" {
		t.Fatal(what)
	}
	t.Skip(what)
}
