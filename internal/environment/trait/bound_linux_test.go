package trait

import (
	"encoding/json"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"testing"

	"github.com/stead-dev/stead"
	"github.com/stead-dev/stead/internal/environment/workspace/manifest"
)

// directories is a list of the root and n directories below it.
func directories(t *testing.T, n int, attributes map[string][]byte) (*os.Root, string) {
	t.Helper()
	dir := t.TempDir()
	var out strings.Builder
	to := json.NewEncoder(&out)
	list := func(v any) {
		if err := to.Encode(v); err != nil {
			t.Fatal(err)
		}
	}
	list(header{Version: version, UID: os.Getuid(), GID: os.Getgid()})
	list(entry{Path: []byte("."), Mode: 0o755})
	for i := range n {
		name := fmt.Sprintf("d%06d", i)
		if err := os.Mkdir(filepath.Join(dir, name), 0o755); err != nil {
			t.Fatal(err)
		}
		list(entry{Path: []byte(name), Mode: 0o755, Attributes: attributes})
	}
	root, err := os.OpenRoot(dir)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { root.Close() })
	return root, out.String()
}

// atItsEnd reads a list, and says what lives when the last line was given.
type atItsEnd struct {
	list  io.Reader
	lives func()
}

func (r atItsEnd) Read(p []byte) (int, error) {
	n, err := r.list.Read(p)
	if err == io.EOF {
		r.lives()
	}
	return n, err
}

func living() uint64 {
	var m runtime.MemStats
	runtime.GC()
	runtime.GC()
	runtime.ReadMemStats(&m)
	return m.HeapAlloc
}

// TestAListIsNotHeld: what it says of directories comes last, and their attributes don't wait for that in memory.
func TestAListIsNotHeld(t *testing.T) {
	const many, size = 1000, 2000
	root, list := directories(t, many, map[string][]byte{"user.note": make([]byte, size)})
	before, held := living(), int64(0)
	err := Apply(root, atItsEnd{strings.NewReader(list), func() { held = int64(living()) - int64(before) }})
	if err != nil {
		t.Fatal(err)
	}
	if held == 0 || held > many*size/4 {
		t.Errorf("%d directories with %d bytes of attributes each hold %d bytes", many, size, held)
	}
	runtime.KeepAlive(list)
}

// TestThePathsOfDirectoriesAreBounded: they wait in memory until all else is made.
func TestThePathsOfDirectoriesAreBounded(t *testing.T) {
	m := mender{held: manifest.MaxTreePathBytes - 1}
	if err := m.hold(entry{Path: []byte("d")}); err != nil {
		t.Errorf("up to the limit: %v", err)
	}
	if err := m.hold(entry{Path: []byte("e")}); stead.KindOf(err) != stead.KindTooLarge || len(m.dirs) != 1 {
		t.Errorf("above it: %v, with %d directories held", err, len(m.dirs))
	}
}
