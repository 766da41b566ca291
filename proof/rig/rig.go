// Package rig runs the real binary from outside: it builds it once, starts it on a real disk, kills
// it, talks to it over HTTP as an application would, and watches its streams. The proofs share it.
//
// Shape:
//
//	Binary ── Node (process, data directory, address) ── Client ── Watcher (one session's stream)
//	Postgres, Effects: the servers beside it, processes of their own
//
// Limits: StartTimeout for a node to serve; everything that is waited for goes through Poll, with a
// deadline that names what was waited for.
//
// Errors: plain ones, for a test to print. An *APIError is an answer of the server that is none of
// the 2xx; anything else on a request means that its outcome is not known.
package rig

import (
	"bytes"
	"fmt"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"time"
)

// StartTimeout is how long a node may take to serve, its database's recovery included.
const StartTimeout = 60 * time.Second

// pollInterval is the pace of looking again. Nothing is proved by it: a deadline decides.
const pollInterval = 10 * time.Millisecond

// Poll calls look until it returns nil, and fails with its last error after the timeout.
func Poll(timeout time.Duration, what string, look func() error) error {
	deadline := time.Now().Add(timeout)
	for {
		err := look()
		if err == nil {
			return nil
		}
		if time.Now().After(deadline) {
			return fmt.Errorf("waited %s for %s: %w", timeout, what, err)
		}
		time.Sleep(pollInterval)
	}
}

// Main builds the programs that a folder's tests need (package → where its path goes), runs the tests
// and returns the exit code for os.Exit.
func Main(tests interface{ Run() int }, programs map[string]*string) int {
	dir, err := os.MkdirTemp("", "stead-proof-")
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	defer os.RemoveAll(dir)
	for pkg, path := range programs {
		if *path, err = Build(dir, pkg); err != nil {
			fmt.Fprintln(os.Stderr, err)
			return 1
		}
	}
	return tests.Run()
}

// Build compiles a main package of the repository into dir and returns the program's path.
func Build(dir, pkg string) (string, error) {
	root, err := Root()
	if err != nil {
		return "", err
	}
	program := filepath.Join(dir, filepath.Base(pkg))
	cmd := exec.Command("go", "build", "-o", program, pkg)
	cmd.Dir = root
	cmd.Env = append(os.Environ(), "CGO_ENABLED=0") // as the Makefile does: it is compiled already
	if out, err := cmd.CombinedOutput(); err != nil {
		return "", fmt.Errorf("build %s: %w\n%s", pkg, err, bytes.TrimSpace(out))
	}
	return program, nil
}

// Root is the repository's directory: the nearest one upwards with the product's go.mod.
func Root() (string, error) {
	dir, err := os.Getwd()
	if err != nil {
		return "", err
	}
	for d := dir; ; d = filepath.Dir(d) {
		mod, err := os.ReadFile(filepath.Join(d, "go.mod"))
		if err == nil && bytes.HasPrefix(mod, []byte("module github.com/stead-dev/stead\n")) {
			return d, nil
		}
		if d == filepath.Dir(d) {
			return "", fmt.Errorf("%s is not inside the repository", dir)
		}
	}
}

// PollURL waits until an address answers.
func PollURL(timeout time.Duration, url string) error {
	return Poll(timeout, url+" to answer", func() error {
		resp, err := http.Get(url)
		if err != nil {
			return err
		}
		return resp.Body.Close()
	})
}
