package trait

import (
	"encoding/base64"
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

func plenty(int64, int64) error { return nil }

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
	err := Apply(root, atItsEnd{strings.NewReader(list), func() { held = int64(living()) - int64(before) }}, plenty)
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

// TestWhatAListMakesAsksForRoom: a FIFO takes an inode, and an attribute a block, as a file of a checkpoint does.
func TestWhatAListMakesAsksForRoom(t *testing.T) {
	const rooms = 1
	full := stead.Errorf(stead.KindUnavailable, "the disk is nearly full")
	asked := 0
	admit := func(bytes, files int64) error {
		if asked++; bytes != askedBytes || files != askedNodes {
			t.Errorf("room is asked for %d bytes in %d files", bytes, files)
		}
		if asked > rooms {
			return full
		}
		return nil
	}
	root, list := directories(t, 0, nil)
	var more strings.Builder
	for i := range rooms*askedNodes + 1 {
		name := fmt.Sprintf("p%06d", i)
		fmt.Fprintf(&more, `{"path":%q,"kind":"fifo","mode":384}`+"\n", base64.StdEncoding.EncodeToString([]byte(name)))
	}
	if err := Apply(root, strings.NewReader(list+more.String()), admit); err != full { //nolint:errorlint // it is to be this one
		t.Errorf("where there is no room it says %v", err)
	}
	made, err := os.ReadDir(root.Name())
	if err != nil || len(made) != rooms*askedNodes {
		t.Errorf("it made %d nodes after %d questions, %v", len(made), asked, err)
	}
	asked = rooms - 1
	root, list = directories(t, askedBytes/leastAttributeBytes+1, map[string][]byte{"user.note": []byte("x")})
	if err := Apply(root, strings.NewReader(list), admit); err != full { //nolint:errorlint // as above
		t.Errorf("where there is no room for attributes it says %v after %d questions", err, asked)
	}
	asked = 0
	root, list = directories(t, 1, nil)
	if err := Apply(root, strings.NewReader(list), admit); err != nil || asked != 0 {
		t.Errorf("where nothing is made it asks %d times, %v", asked, err)
	}
}
