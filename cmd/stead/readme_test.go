package main

import (
	"bufio"
	"bytes"
	"errors"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/stead-dev/stead/internal/config"
)

const root = "../.."

// blocks returns the commands of each block of shell of a document, a line each, without comments.
func blocks(t *testing.T, document string) [][]string {
	t.Helper()
	text, err := os.ReadFile(filepath.Join(root, document))
	if err != nil {
		t.Fatal(err)
	}
	var all [][]string
	for _, part := range strings.Split(string(text), "```sh\n")[1:] {
		body, _, _ := strings.Cut(part, "```")
		var lines []string
		for _, l := range strings.Split(strings.TrimSpace(body), "\n") {
			l, _, _ = strings.Cut(l, "  #")
			lines = append(lines, strings.TrimSpace(l))
		}
		all = append(all, lines)
	}
	return all
}

// TestReadme runs what the README tells its readers to type: the first command as it stands, then
// the five lines against the server that it started. The second command runs this test.
func TestReadme(t *testing.T) {
	all := blocks(t, "README.md")
	if len(all) != 2 || len(all[0]) != 2 || len(all[1]) != 5 || all[0][1] != "make test" {
		t.Fatalf("the README has the commands %q: want two, then five", all)
	}
	computer, err := hasComputer()
	if err != nil {
		t.Fatal(err)
	}
	env := clean(t.TempDir())
	cmd := exec.Command("sh", "-c", "exec "+all[0][0])
	cmd.Dir, cmd.Env, cmd.Stderr = root, append(env, "STEAD_LISTEN=127.0.0.1:0"), os.Stderr
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true} // go run and the program that it built
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = syscall.Kill(-cmd.Process.Pid, syscall.SIGINT)
		_ = cmd.Wait()
	})
	base := address(t, out)
	bin := filepath.Join(t.TempDir(), "stead")
	self, err := os.Executable() // as the scripts have it: this test binary, under the name stead
	if err != nil {
		t.Fatal(err)
	}
	if err := os.Symlink(self, bin); err != nil {
		t.Fatal(err)
	}
	for _, line := range all[1] {
		if strings.Contains(line, "--environment") && !computer {
			t.Logf("this machine has no driver for environments, so this is not run: %s", line)
			continue
		}
		c := exec.Command("sh", "-c", line)
		c.Dir = root
		c.Env = append(env, "STEAD_SERVER="+base, "PATH="+filepath.Dir(bin)+string(os.PathListSeparator)+os.Getenv("PATH"))
		text, err := c.CombinedOutput()
		code := 0
		if e, ok := errors.AsType[*exec.ExitError](err); ok {
			code = e.ExitCode()
		} else if err != nil {
			t.Fatal(err)
		}
		want := exitOK
		if strings.Contains(line, "refund_order") {
			want = exitWaiting // nobody is at a terminal here
		}
		if code != want || len(text) == 0 {
			t.Errorf("%s: exit code %d, want %d\n%s", line, code, want, text)
		}
		if strings.Contains(line, "Call shell") && !strings.Contains(string(text), "← exit code 0") {
			t.Errorf("%s: its command failed\n%s", line, text)
		}
	}
	statelessCalls(t, base)
}

// statelessCalls runs the calls of docs/stateless.md, which are for the server that the README starts.
func statelessCalls(t *testing.T, base string) {
	t.Helper()
	want := []string{`"content":"hello"`, `"text":"hello"`, `"object":"embedding"`}
	lines := blocks(t, "docs/stateless.md")[0]
	if len(lines) != len(want) {
		t.Fatalf("docs/stateless.md has %d calls, want %d", len(lines), len(want))
	}
	for i, line := range lines {
		c := exec.Command("sh", "-c", line)
		c.Env = append(os.Environ(), "STEAD="+base)
		if text, err := c.CombinedOutput(); err != nil || !strings.Contains(string(text), want[i]) {
			t.Errorf("%s: %v\n%s", line, err, text)
		}
	}
}

// clean is the environment without what would make the result depend on the machine.
func clean(data string) []string {
	env := []string{"STEAD_DATA=" + filepath.Join(data, "stead"), "CGO_ENABLED=0"} // so it is compiled already
	for _, e := range os.Environ() {
		if name, _, _ := strings.Cut(e, "="); !strings.HasSuffix(name, "_API_KEY") && !strings.HasPrefix(name, "STEAD_") && name != "CGO_ENABLED" {
			env = append(env, e)
		}
	}
	return env
}

// address reads the first line of stead dev, and lets the rest go by.
func address(t *testing.T, out io.Reader) string {
	t.Helper()
	found := make(chan string, 1)
	go func() {
		r := bufio.NewReader(out)
		line, _ := r.ReadString('\n')
		found <- strings.TrimSpace(line)
		_, _ = io.Copy(io.Discard, r)
	}()
	select {
	case line := <-found:
		base, ok := strings.CutPrefix(line, "stead dev is serving ")
		if !ok {
			t.Fatalf("the first line is %q", line)
		}
		return base
	case <-time.After(10 * time.Minute): // it is built first, beside the other tests
		t.Fatal("go run ./cmd/stead dev does not serve")
	}
	return ""
}

// TestExamples reads the example files as the programs do.
func TestExamples(t *testing.T) {
	none := func(string) (string, bool) { return "", false }
	c, err := config.Load(config.Flags{File: filepath.Join(root, "examples", "stead.yaml")}, none)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := models(c, newPools(c, nil), nil, nil); err != nil {
		t.Error(err)
	}
	text, err := os.ReadFile(filepath.Join(root, "examples", "stead.yaml"))
	if err != nil {
		t.Fatal(err)
	}
	sections, err := c.Digests(nil, nil)
	if err != nil {
		t.Fatal(err)
	}
	for _, s := range append(sections, config.SectionDigest{Section: "seal_key"}) { // it says that it shows every key
		if !bytes.Contains(text, []byte("\n"+s.Section+":")) {
			t.Errorf("examples/stead.yaml does not show %s", s.Section)
		}
	}
	files, err := agentFiles(filepath.Join(root, "examples", "agents"))
	if err != nil {
		t.Fatal(err)
	}
	if len(files) != 3 {
		t.Errorf("%d example agents, want 3", len(files))
	}
}
