package environment_test

import (
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"testing"

	"github.com/stead-dev/stead/internal/environment"
)

func TestWalkTakesNamesOfAnyBytes(t *testing.T) {
	dir := t.TempDir()
	odd := "caf\xe9" // Latin-1, as old archives have it
	if err := os.MkdirAll(filepath.Join(dir, odd, "below"), 0o755); err != nil {
		if os.Getenv("CI") == "true" {
			t.Fatal("CI needs a file system that takes names of any bytes:", err)
		}
		t.Skip("this file system takes names of UTF-8 alone:", err)
	}
	for _, name := range []string{filepath.Join(odd, "below", "f"), "a"} {
		if err := os.WriteFile(filepath.Join(dir, name), nil, 0o644); err != nil {
			t.Fatal(err)
		}
	}
	root, err := os.OpenRoot(dir)
	if err != nil {
		t.Fatal(err)
	}
	defer root.Close()
	var seen []string
	err = environment.Walk(root, func(name string, _ fs.DirEntry, err error) error {
		seen = append(seen, name)
		return err
	})
	want := []string{".", "a", odd, filepath.Join(odd, "below"), filepath.Join(odd, "below", "f")}
	if err != nil || !slices.Equal(seen, want) {
		t.Errorf("%q, %v; want %q", seen, err, want)
	}
}
