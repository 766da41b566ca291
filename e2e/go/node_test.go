// Package e2e drives the real binary with the unmodified official SDK, and holds everything that
// passes against the server's own OpenAPI document.
package e2e

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	openai "github.com/openai/openai-go/v3"
	"github.com/openai/openai-go/v3/option"

	"github.com/stead-dev/stead/internal/server/wiretest"
)

const (
	startTimeout = 60 * time.Second // of the binary, on a busy machine
	testTimeout  = 2 * time.Minute  // of one test's calls
)

// binary is built once, by TestMain.
var binary string

func TestMain(m *testing.M) {
	dir, err := os.MkdirTemp("", "stead-e2e")
	if err == nil {
		binary = filepath.Join(dir, "stead")
		build := exec.Command("go", "build", "-o", binary, "./cmd/stead")
		build.Dir = filepath.Join("..", "..")
		build.Stdout, build.Stderr = os.Stderr, os.Stderr
		err = build.Run()
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, "build stead:", err)
		os.Exit(1)
	}
	code := m.Run()
	os.RemoveAll(dir)
	os.Exit(code)
}

// node is one process of the binary over a data directory that outlives it.
type node struct {
	t    *testing.T
	data string
	cmd  *exec.Cmd
	base string
	// config is a configuration for the next start; "": none.
	config string
}

func start(t *testing.T) *node {
	t.Helper()
	n := &node{t: t, data: t.TempDir()}
	n.start()
	t.Cleanup(n.kill)
	return n
}

func (n *node) start() {
	n.t.Helper()
	ready := filepath.Join(n.data, "ready")
	os.Remove(ready)
	n.cmd = exec.Command(binary, "dev", "--no-demo", "--listen", "127.0.0.1:0", "--data", filepath.Join(n.data, "stead"), "--ready-file", ready)
	if n.config != "" {
		n.cmd.Args = append(n.cmd.Args, "--config", n.config)
	}
	n.cmd.Env = []string{"HOME=" + n.data, "PATH=" + os.Getenv("PATH")} // no provider's key: the model is sim
	n.cmd.Stderr = os.Stderr
	if err := n.cmd.Start(); err != nil {
		n.t.Fatal(err)
	}
	for deadline := time.Now().Add(startTimeout); ; time.Sleep(10 * time.Millisecond) {
		b, err := os.ReadFile(ready)
		if err == nil && len(b) > 0 {
			n.base = strings.TrimSpace(string(b))
			return
		}
		if time.Now().After(deadline) {
			n.t.Fatalf("stead dev is not ready after %v", startTimeout)
		}
	}
}

// kill ends the process at once, as a crash does.
func (n *node) kill() {
	if n.cmd != nil {
		n.cmd.Process.Signal(syscall.SIGKILL)
		n.cmd.Wait()
		n.cmd = nil
	}
}

// client is the SDK, with the document between it and the server.
func (n *node) client() openai.Client {
	n.t.Helper()
	res, err := http.Get(n.base + "/openapi.json")
	if err != nil {
		n.t.Fatal(err)
	}
	defer res.Body.Close()
	doc, err := io.ReadAll(res.Body)
	if err != nil {
		n.t.Fatal(err)
	}
	spec, err := wiretest.Load(doc)
	if err != nil {
		n.t.Fatal(err)
	}
	check := &wiretest.Transport{Spec: spec, Report: func(err error) { n.t.Errorf("off the document: %v", err) }}
	return openai.NewClient(option.WithBaseURL(n.base+"/v1"), option.WithAPIKey("none"), option.WithHTTPClient(&http.Client{Transport: check}))
}

func setup(t *testing.T) (*node, openai.Client, context.Context) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), testTimeout)
	t.Cleanup(cancel)
	n := start(t)
	return n, n.client(), ctx
}
