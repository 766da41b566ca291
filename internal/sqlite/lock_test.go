package sqlite

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/stead-dev/stead"
)

// ownVariable makes the test binary a process that has the database of that path open until its stdin
// ends or it is killed.
const ownVariable = "STEAD_TEST_OWN"

// own is such a process; it returns its exit code.
func own(path string) int {
	s, err := Open(context.Background(), path, Options{})
	if err != nil {
		fmt.Println(err)
		return 1
	}
	fmt.Println("open")
	_, _ = io.Copy(io.Discard, os.Stdin) // until its parent lets go
	if s.Close() != nil {
		return 1
	}
	return 0
}

// owner is another process that has a database open.
func owner(t *testing.T, path string) *exec.Cmd {
	t.Helper()
	cmd := exec.Command(os.Args[0])
	cmd.Env = append(os.Environ(), ownVariable+"="+path)
	in, err := cmd.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		in.Close()
		_ = cmd.Wait() // it was killed, or its stdin has ended
	})
	if line, err := bufio.NewReader(out).ReadString('\n'); line != "open\n" {
		t.Fatalf("the other process says %q, %v", line, err)
	}
	return cmd
}

// A database that another process has is refused, by its number, once that process had time to end.
func TestDatabaseOfALivingProcessIsRefused(t *testing.T) {
	path := filepath.Join(t.TempDir(), "stead.db")
	other, begun := owner(t, path), time.Now()
	_, err := Open(t.Context(), path, Options{})
	if stead.KindOf(err) != stead.KindConflict || !strings.Contains(err.Error(), fmt.Sprintf("pid %d", other.Process.Pid)) {
		t.Errorf("Open: %v", err)
	}
	if took := time.Since(begun); took < lockWait {
		t.Errorf("it was refused after %s", took)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := Open(ctx, path, Options{}); stead.KindOf(err) != stead.KindConflict {
		t.Errorf("Open of somebody who does not wait: %v", err)
	}
}

// A start right after a kill gets the database as soon as the killed process is gone.
func TestDatabaseOfAKilledProcessIsTaken(t *testing.T) {
	path := filepath.Join(t.TempDir(), "stead.db")
	other := owner(t, path)
	opened := make(chan error, 1)
	go func() {
		s, err := Open(context.Background(), path, Options{})
		if err == nil {
			err = s.Close()
		}
		opened <- err
	}()
	for deadline := time.Now().Add(lockWait); !holdsOpen(t, path+".lock"); time.Sleep(time.Millisecond) { // polls with a deadline
		if time.Now().After(deadline) {
			t.Fatal("nobody asks for the lock")
		}
	}
	if err := other.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	if err := <-opened; err != nil {
		t.Errorf("Open: %v", err)
	}
}

// holdsOpen reports whether this process has a file open.
func holdsOpen(t *testing.T, path string) bool {
	t.Helper()
	fds, err := filepath.Glob("/proc/self/fd/*")
	if err != nil {
		t.Fatal(err)
	}
	for _, fd := range fds {
		if name, err := os.Readlink(fd); err == nil && name == path {
			return true
		}
	}
	return false
}
