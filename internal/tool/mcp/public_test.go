package mcp_test

import (
	"bufio"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/stead-dev/stead"
	"github.com/stead-dev/stead/internal/tool"
	"github.com/stead-dev/stead/internal/tool/mcp"
	"github.com/stead-dev/stead/internal/tool/tooltest"
)

// publicServer finds the script of a server of testdata/npm. STEAD_NPM_DIR names another directory
// with the same node_modules.
func publicServer(t *testing.T, name string) string {
	t.Helper()
	dir := os.Getenv("STEAD_NPM_DIR")
	if dir == "" {
		dir = filepath.Join("testdata", "npm")
	}
	script, err := filepath.Abs(filepath.Join(dir, "node_modules", "@modelcontextprotocol", name, "dist", "index.js"))
	if err != nil {
		t.Fatal(err)
	}
	_, missing := os.Stat(script)
	_, noNode := exec.LookPath("node")
	if missing == nil && noNode == nil {
		return script
	}
	hint := fmt.Sprintf("%s is not installed; with Node.js, run: npm ci --prefix internal/tool/mcp/testdata/npm", name)
	if os.Getenv("CI") != "" {
		t.Fatal(hint)
	}
	t.Skip(hint)
	return ""
}

func callOne(t *testing.T, source tool.Source, server tool.Server, name, arguments string) tool.Result {
	t.Helper()
	r, err := find(t, source, server, name).Call(t.Context(), tool.Call{
		Key: "key-" + name, Arguments: json.RawMessage(arguments), Session: stead.SessionKey{Session: "sess_1"},
	})
	if err != nil {
		t.Fatalf("call %s: %v", name, err)
	}
	return r
}

func find(t *testing.T, source tool.Source, server tool.Server, name string) tool.Tool {
	t.Helper()
	tools, err := source.Tools(t.Context(), server)
	if err != nil {
		t.Fatal(err)
	}
	names := []string{}
	for _, one := range tools {
		if one.Spec().Name == name {
			return one
		}
		names = append(names, one.Spec().Name)
	}
	t.Fatalf("no tool %q among %q", name, names)
	return nil
}

func allText(r tool.Result) string {
	var b strings.Builder
	for _, c := range r.Content {
		b.WriteString(c.Text.Inline)
	}
	return b.String()
}

func TestPublicFilesystem(t *testing.T) {
	script := publicServer(t, "server-filesystem")
	dir, err := filepath.EvalSymlinks(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	m := open(t, mcp.Config{Servers: []mcp.Configured{{
		Label: "files", Command: "node", Args: []string{script, dir},
		Effects: map[string]tool.Effect{"create_directory": tool.Unknown},
	}}})
	files := tool.Server{Label: "files"}
	path := filepath.Join(dir, "note.txt")
	arguments, _ := json.Marshal(map[string]string{"path": path, "content": "grüß Gott"})
	if r := callOne(t, m, files, "write_file", string(arguments)); r.IsError {
		t.Fatalf("write: %s", allText(r))
	}
	if on, err := os.ReadFile(path); err != nil || string(on) != "grüß Gott" {
		t.Fatalf("on disk: %q, %v", on, err)
	}
	if r := callOne(t, m, files, "read_text_file", fmt.Sprintf(`{"path": %q}`, path)); !strings.Contains(allText(r), "grüß Gott") {
		t.Errorf("read: %s", allText(r))
	}
	if r := callOne(t, m, files, "read_text_file", `{"path": "/etc/passwd"}`); !r.IsError {
		t.Errorf("a file outside was read: %s", allText(r))
	}
	if r := callOne(t, m, files, "read_text_file", `{"wrong": 1}`); !r.IsError {
		t.Errorf("wrong arguments were accepted: %s", allText(r))
	}
	for name, want := range map[string]tool.Effect{"read_text_file": tool.Pure, "write_file": tool.Idempotent, "create_directory": tool.Unknown} {
		if got := find(t, m, files, name).Spec().Effect; got != want {
			t.Errorf("%s has the effect %q, want %q", name, got, want)
		}
	}
}

func TestPublicEverythingStdio(t *testing.T) {
	script := publicServer(t, "server-everything")
	t.Setenv("STEAD_LEAK", "must not be seen")
	m := open(t, mcp.Config{Servers: []mcp.Configured{{
		Label: "everything", Command: "node", Args: []string{script, "stdio"}, Env: map[string]string{"STEAD_TEST": "given"},
	}}})
	server := tool.Server{Label: "everything"}
	testEverything(t, m, server)
	env := allText(callOne(t, m, server, "get-env", `{}`))
	if !strings.Contains(env, `"STEAD_TEST": "given"`) || strings.Contains(env, "STEAD_LEAK") {
		t.Errorf("its environment is %s", env)
	}
}

func TestPublicEverythingHTTP(t *testing.T) {
	script := publicServer(t, "server-everything")
	port := freePort(t)
	cmd := exec.Command("node", script, "streamableHttp")
	cmd.Env = append(os.Environ(), "PORT="+port)
	stderr, err := cmd.StderrPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		cmd.Process.Kill()
		cmd.Wait()
	})
	listening := make(chan struct{})
	go func() {
		lines := bufio.NewScanner(stderr)
		for lines.Scan() {
			if strings.Contains(lines.Text(), port) {
				close(listening)
				break
			}
		}
		io.Copy(io.Discard, stderr)
	}()
	select {
	case <-listening:
	case <-time.After(tooltest.Patience):
		t.Fatal("the server does not say that it listens")
	}
	testEverything(t, open(t, mcp.Config{}), tool.Server{Label: "everything", URL: "http://127.0.0.1:" + port + "/mcp"})
}

func testEverything(t *testing.T, m *mcp.Manager, server tool.Server) {
	t.Helper()
	if got := allText(callOne(t, m, server, "echo", `{"message": "hello"}`)); !strings.Contains(got, "hello") {
		t.Errorf("echo: %q", got)
	}
	if got := allText(callOne(t, m, server, "get-sum", `{"a": 2, "b": 40}`)); !strings.Contains(got, "42") {
		t.Errorf("sum: %q", got)
	}
	images := 0
	for _, c := range callOne(t, m, server, "get-tiny-image", `{}`).Content {
		if c.Type == stead.ContentInputImage && strings.HasPrefix(c.Text.Inline, "data:image/png;base64,") {
			images++
		}
	}
	if images != 1 {
		t.Errorf("%d images came", images)
	}
	if got := allText(callOne(t, m, server, "get-resource-links", `{"count": 2}`)); !strings.Contains(got, "[Link to resource ") {
		t.Errorf("links: %q", got)
	}
	if got := allText(callOne(t, m, server, "get-structured-content", `{"location": "Chicago"}`)); !strings.Contains(got, "temperature") {
		t.Errorf("structured: %q", got)
	}
	told := make(chan string, 64)
	_, err := find(t, m, server, "trigger-long-running-operation").Call(t.Context(), tool.Call{
		Key: "k", Arguments: json.RawMessage(`{"duration": 0.4, "steps": 4}`), Progress: func(message string) { told <- message },
	})
	if err != nil || len(told) == 0 {
		t.Errorf("long operation: %v, told %d times", err, len(told))
	}
	if r := callOne(t, m, server, "get-sum", `{"a": "x"}`); !r.IsError {
		t.Errorf("wrong arguments were accepted: %s", allText(r))
	}
}

func freePort(t *testing.T) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	_, port, _ := net.SplitHostPort(l.Addr().String())
	return port
}
