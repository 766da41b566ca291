package main

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stead-dev/stead/internal/environment/host"
)

func TestOthersPassAndSeeNothing(t *testing.T) {
	data := filepath.Join(t.TempDir(), "above", "data")
	for _, dir := range []string{filepath.Dir(data), data, filepath.Join(data, host.EnvironmentsDir)} {
		if err := os.Mkdir(dir, 0o700); err != nil {
			t.Fatal(err)
		}
	}
	if got := closedAbove(data); !strings.Contains(got, filepath.Dir(data)) || !strings.Contains(got, "--data") {
		t.Errorf("closed by %q", got)
	}
	if err := enterable(data); err != nil {
		t.Fatal(err)
	}
	for _, dir := range []string{data, filepath.Join(data, host.EnvironmentsDir)} {
		if info, err := os.Stat(dir); err != nil || info.Mode().Perm() != 0o711 {
			t.Errorf("%s: %v, %v", dir, info.Mode(), err)
		}
	}
}
