package ns

import (
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/stead-dev/stead/internal/environment"
)

// A process of the server that is forked while a program is written has it open for a moment longer.
func TestAProgramThatWasOpenUntilJustNowRuns(t *testing.T) {
	dir := t.TempDir()
	e := openBox(t, open(t), environment.Spec{Workspace: dir})
	f, err := os.OpenFile(filepath.Join(dir, "program"), os.O_CREATE|os.O_WRONLY, 0o755)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	if _, err := f.WriteString("#!/bin/sh\nexit 0\n"); err != nil {
		t.Fatal(err)
	}
	if err := f.Chmod(0o755); err != nil {
		t.Fatal(err)
	}
	if _, err := e.Exec(t.Context(), environment.Command{Args: []string{"./program"}}, nil); err == nil {
		t.Fatal("a program ran that is open to be written")
	}
	time.AfterFunc(3*time.Millisecond, func() { _ = f.Close() })
	if x, err := e.Exec(t.Context(), environment.Command{Args: []string{"./program"}}, nil); err != nil || x.Code != 0 {
		t.Errorf("%+v, %v", x, err)
	}
}
