package workspace

import (
	"errors"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
)

// A program that was written runs, also on a server that starts processes all the time, each of which had what was being written open
// until it executed its own program.
func TestAWrittenProgramRunsBesideForks(t *testing.T) {
	at := t.TempDir()
	d, err := Open(at)
	must(t, err)
	defer d.Close()
	var over atomic.Bool
	var forks sync.WaitGroup
	for range 4 {
		forks.Go(func() {
			for !over.Load() {
				_ = exec.Command("true").Run() // that it was forked counts
			}
		})
	}
	program := []byte("#!/bin/sh\nexit 0\n" + strings.Repeat("# is written for a while\n", 20_000))
	busy := 0
	for range 300 {
		must(t, d.WriteFile(t.Context(), "program", program, true))
		if err := exec.Command(filepath.Join(at, "program")).Run(); errors.Is(err, syscall.ETXTBSY) {
			busy++
		} else if err != nil {
			t.Fatal(err)
		}
	}
	over.Store(true)
	forks.Wait()
	if busy > 0 {
		t.Errorf("%d of 300 programs were busy", busy)
	}
}
