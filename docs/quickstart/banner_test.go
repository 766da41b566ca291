package quickstart

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

// TestBanner runs what stead dev says to try, as it prints it; the last where agents can have a computer, as
// they can wherever this is tested.
func TestBanner(t *testing.T) {
	modules := filepath.Join("typescript", "node_modules")
	if _, err := os.Stat(filepath.Join(modules, "openai")); err != nil {
		missing(t, "npm ci in docs/quickstart/typescript has not been run")
	}
	s := serve(t)
	var curl, program, run []string
	for _, line := range strings.Split(s.said(t, "--environment hosted"), "\n") {
		line = strings.TrimSpace(line)
		switch {
		case strings.HasPrefix(line, "curl ") || strings.HasPrefix(line, "-d "):
			curl = append(curl, line)
		case strings.HasPrefix(line, "stead run"):
			line, _, _ = strings.Cut(line, "  #")
			run = append(run, line)
		case strings.HasPrefix(line, "import "), len(program) > 0 && line != "":
			program = append(program, line)
		}
	}
	if len(curl) != 2 || len(program) != 5 || len(run) != 2 {
		t.Fatalf("curl %q, program %q, run %q: want two lines, five and two", curl, program, run)
	}
	shell := func(command, want string) {
		t.Helper()
		cmd := exec.Command("sh", "-c", command)
		cmd.Env = append(os.Environ(), "PATH="+filepath.Dir(s.bin)+string(os.PathListSeparator)+os.Getenv("PATH"))
		if out, err := cmd.CombinedOutput(); err != nil || !strings.Contains(string(out), want) {
			t.Errorf("%s: %v, want %q\n%s", command, err, want, out)
		}
	}
	shell("timeout 20 "+strings.Join(curl, "\n"), "Hello")
	shell(run[0], "Hello")
	shell(run[1], "exit code 0")

	dir, err := os.MkdirTemp(modules, "run-*")
	if err != nil {
		t.Fatal(err)
	}
	defer os.RemoveAll(dir)
	file := filepath.Join(dir, "try.mjs")
	if err := os.WriteFile(file, []byte(strings.Join(program, "\n")), 0o600); err != nil {
		t.Fatal(err)
	}
	shell("node "+file, "Hello")
}
