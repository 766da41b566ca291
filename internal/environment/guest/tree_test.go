//go:build linux

package guest

import (
	"archive/tar"
	"bytes"
	"encoding/json"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stead-dev/stead"
)

// openTree makes a directory with a marker beside it that must stay as it is.
func openTree(t testing.TB) (root *os.Root, dir string, untouched func()) {
	t.Helper()
	base := t.TempDir()
	dir = filepath.Join(base, "deep", "tree")
	marker := filepath.Join(base, "marker")
	if err := errors.Join(os.MkdirAll(dir, 0o755), os.WriteFile(marker, []byte("untouched"), 0o600)); err != nil {
		t.Fatal(err)
	}
	root, err := os.OpenRoot(dir)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { root.Close() })
	return root, dir, func() {
		t.Helper()
		data, err := os.ReadFile(marker)
		entries, listErr := os.ReadDir(base)
		if string(data) != "untouched" || err != nil || listErr != nil || len(entries) != 2 {
			t.Fatalf("outside there is %v, and the marker holds %q: %v, %v", entries, data, err, listErr)
		}
	}
}

func tarOf(t testing.TB, headers ...tar.Header) []byte {
	t.Helper()
	var b bytes.Buffer
	w := tar.NewWriter(&b)
	for _, h := range headers {
		content := ""
		if h.Typeflag == tar.TypeReg {
			content = "hostile"
			h.Size = int64(len(content))
		}
		if err := w.WriteHeader(&h); err != nil {
			t.Fatal(err)
		}
		if _, err := w.Write([]byte(content)); err != nil {
			t.Fatal(err)
		}
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

func TestHostileArchivesStayInside(t *testing.T) {
	for title, headers := range map[string][]tar.Header{
		"upwards":              {{Name: "../../marker", Typeflag: tar.TypeReg}},
		"absolute":             {{Name: "/etc/hostile", Typeflag: tar.TypeReg}},
		"through a link":       {{Name: "l", Typeflag: tar.TypeSymlink, Linkname: "../.."}, {Name: "l/marker", Typeflag: tar.TypeReg}},
		"a link as directory":  {{Name: "l", Typeflag: tar.TypeSymlink, Linkname: "../.."}, {Name: "l", Typeflag: tar.TypeDir, Mode: 0o755}, {Name: "l/marker", Typeflag: tar.TypeReg}},
		"a file through links": {{Name: "l", Typeflag: tar.TypeSymlink, Linkname: "../../marker"}, {Name: "l", Typeflag: tar.TypeReg, Mode: 0o600}},
		"a hard link":          {{Name: "h", Typeflag: tar.TypeLink, Linkname: "../../marker"}, {Name: "h", Typeflag: tar.TypeReg}},
		"a device":             {{Name: "d", Typeflag: tar.TypeChar, Devmajor: 1, Devminor: 1}},
		"the root itself":      {{Name: ".", Typeflag: tar.TypeSymlink, Linkname: "/"}},
	} {
		t.Run(title, func(t *testing.T) {
			root, _, untouched := openTree(t)
			_ = overlay(t.Context(), bytes.NewReader(tarOf(t, headers...)), root, 1<<20) // refused or made harmless
			untouched()
			err := fs.WalkDir(root.FS(), ".", func(name string, d fs.DirEntry, err error) error {
				if err == nil && d.Type()&^(fs.ModeDir|fs.ModeSymlink) != 0 {
					t.Errorf("%s is a %v", name, d.Type())
				}
				return err
			})
			if err != nil {
				t.Error(err)
			}
		})
	}
}

func TestArchivesAreBounded(t *testing.T) {
	root, _, _ := openTree(t)
	archive := tarOf(t, tar.Header{Name: "a", Typeflag: tar.TypeReg}, tar.Header{Name: "b", Typeflag: tar.TypeReg})
	if err := overlay(t.Context(), bytes.NewReader(archive), root, 10); stead.KindOf(err) != stead.KindTooLarge {
		t.Errorf("%v", err)
	}
}

// A guest that lies about its workspace can't make the host touch anything outside of the copy.
func TestHostileIndexes(t *testing.T) {
	for title, path := range map[string]string{"upwards": "../../marker", "absolute": "/etc/passwd", "nothing": "", "itself": ".", "a zero byte": "a\x00b", "unclean": "a//b", "long": strings.Repeat("x/", maxNameBytes)} {
		t.Run(title, func(t *testing.T) {
			root, _, untouched := openTree(t)
			c := hostile(t, func(m *mux) {
				f, err := readFrame(m.r)
				if err != nil {
					return
				}
				line, _ := json.Marshal(entry{Path: []byte(path), Kind: kindFile})
				_ = m.send(frame{kind: kindData, channel: chanOut, stream: f.stream, payload: line})
				_ = m.sendJSON(kindResult, f.stream, outcome{})
			})
			if err := c.NewMirror(root, 1<<20).Pull(t.Context()); stead.KindOf(err) != stead.KindUnavailable {
				t.Errorf("%v", err)
			}
			untouched()
		})
	}
}

// What a guest returns for a file is bounded, whatever it sends.
func TestHostileFiles(t *testing.T) {
	c := hostile(t, func(m *mux) {
		f, err := readFrame(m.r)
		if err != nil {
			return
		}
		for range 3 {
			_ = m.send(frame{kind: kindData, channel: chanOut, stream: f.stream, payload: make([]byte, 1000)})
		}
		_ = m.sendJSON(kindResult, f.stream, outcome{})
	})
	if _, err := c.ReadFile(t.Context(), "file", 2000); stead.KindOf(err) != stead.KindTooLarge {
		t.Errorf("%v", err)
	}
}

func FuzzLayer(f *testing.F) {
	f.Add(tarOf(f, tar.Header{Name: "d", Typeflag: tar.TypeDir, Mode: 0o755}, tar.Header{Name: "d/f", Typeflag: tar.TypeReg}, tar.Header{Name: "l", Typeflag: tar.TypeSymlink, Linkname: "../../marker"}))
	f.Add(tarOf(f, tar.Header{Name: "../x", Typeflag: tar.TypeReg}))
	f.Fuzz(func(t *testing.T, in []byte) {
		root, _, untouched := openTree(t)
		for range 2 {
			_ = overlay(t.Context(), bytes.NewReader(in), root, 1<<20)
		}
		untouched()
	})
}
