package image

import (
	"archive/tar"
	"bytes"
	"compress/gzip"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"sync"
	"sync/atomic"
	"testing"

	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/empty"
	"github.com/google/go-containerregistry/pkg/v1/layout"
	"github.com/google/go-containerregistry/pkg/v1/mutate"
	"github.com/google/go-containerregistry/pkg/v1/tarball"

	"github.com/google/go-containerregistry/pkg/name"

	"github.com/stead-dev/stead"
)

// file, dir, link and hard are entries of a layer.
func file(name, content string) entry {
	return entry{tar.Header{Name: name, Typeflag: tar.TypeReg, Mode: 0o644}, content}
}
func dir(name string) entry {
	return entry{tar.Header{Name: name, Typeflag: tar.TypeDir, Mode: 0o755}, ""}
}
func link(name, to string) entry {
	return entry{tar.Header{Name: name, Typeflag: tar.TypeSymlink, Linkname: to, Mode: 0o777}, ""}
}
func hard(name, to string) entry {
	return entry{tar.Header{Name: name, Typeflag: tar.TypeLink, Linkname: to, Mode: 0o644}, ""}
}

type entry struct {
	header  tar.Header
	content string
}

func archive(t testing.TB, entries ...entry) []byte {
	t.Helper()
	var b bytes.Buffer
	w := tar.NewWriter(&b)
	for _, e := range entries {
		h := e.header
		h.Size = int64(len(e.content))
		if err := w.WriteHeader(&h); err != nil {
			t.Fatal(err)
		}
		if _, err := io.WriteString(w, e.content); err != nil {
			t.Fatal(err)
		}
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

// build makes a real image with one layer an argument.
func build(t testing.TB, layers ...[]byte) v1.Image {
	t.Helper()
	img := empty.Image
	for _, data := range layers {
		l, err := tarball.LayerFromOpener(func() (io.ReadCloser, error) { return io.NopCloser(bytes.NewReader(data)), nil })
		if err != nil {
			t.Fatal(err)
		}
		if img, err = mutate.AppendLayers(img, l); err != nil {
			t.Fatal(err)
		}
	}
	img, err := mutate.Config(img, v1.Config{Env: []string{"PATH=/opt/bin:/bin", "A=b=c", "broken"}, WorkingDir: "/srv"})
	if err != nil {
		t.Fatal(err)
	}
	return img
}

// layoutOf writes an image as an OCI layout directory and returns its source.
func layoutOf(t testing.TB, img v1.Image) string {
	t.Helper()
	d := t.TempDir()
	p, err := layout.Write(d, empty.Index)
	if err != nil {
		t.Fatal(err)
	}
	if err := p.AppendImage(img); err != nil {
		t.Fatal(err)
	}
	return "oci:" + d
}

func open(t testing.TB, opts Options) *Store {
	t.Helper()
	s, err := OpenStore(filepath.Join(t.TempDir(), "images"), opts)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { s.Close() })
	return s
}

// get unpacks layers by way of a layout.
func get(t testing.TB, layers ...[]byte) (Image, error) {
	t.Helper()
	return open(t, Options{}).Get(t.Context(), layoutOf(t, build(t, layers...)))
}

func read(t testing.TB, img Image, name string) string {
	t.Helper()
	root, err := os.OpenRoot(img.Dir)
	if err != nil {
		t.Fatal(err)
	}
	defer root.Close()
	data, err := root.ReadFile(name)
	if errors.Is(err, fs.ErrNotExist) {
		return "(absent)"
	}
	if err != nil {
		return "(" + err.Error() + ")"
	}
	return string(data)
}

func TestLayersAreLaidOverEachOther(t *testing.T) {
	img, err := get(t,
		archive(t, dir("etc"), file("etc/a", "old"), file("etc/b", "b"), dir("d"), file("d/x", "x"), link("bin", "usr/bin"), file("usr/bin/sh", "#!")),
		archive(t, file("./etc/a", "new"), file("/abs", "abs"), hard("abs2", "abs"), file("etc/deep/er/f", "f"), file("d", "now a file"), link("etc/b", "a")),
	)
	if err != nil {
		t.Fatal(err)
	}
	for name, want := range map[string]string{
		"etc/a": "new", "etc/b": "new", "abs": "abs", "abs2": "abs", "etc/deep/er/f": "f", "d": "now a file", "bin/sh": "#!",
	} {
		if got := read(t, img, name); got != want {
			t.Errorf("%s holds %q, want %q", name, got, want)
		}
	}
	if img.Env["PATH"] != "/opt/bin:/bin" || img.Env["A"] != "b=c" || len(img.Env) != 2 || img.WorkingDir != "/srv" {
		t.Errorf("the configuration is %+v", img)
	}
	for _, name := range []string{"workspace", "run/stead", "opt/stead", "proc", "dev", "tmp"} {
		if info, err := os.Lstat(filepath.Join(img.Dir, name)); err != nil || !info.IsDir() {
			t.Errorf("%s is no directory to mount on: %v", name, err)
		}
	}
}

func TestWhiteouts(t *testing.T) {
	base := archive(t, dir("d"), file("d/one", "1"), file("d/two", "2"), dir("d/sub"), file("d/sub/three", "3"), file("f", "f"), dir("e"), file("e/old", "old"))
	for _, c := range []struct {
		title string
		layer []byte
		want  map[string]string
	}{
		{"a file", archive(t, file("d/.wh.one", "")), map[string]string{"d/one": "(absent)", "d/two": "2", "d/.wh.one": "(absent)"}},
		{"a directory", archive(t, file(".wh.d", "")), map[string]string{"d/one": "(absent)", "d/sub/three": "(absent)", "f": "f"}},
		{"nothing that is there", archive(t, file("d/.wh.none", ""), file("none/.wh.x", "")), map[string]string{"d/one": "1"}},
		{"opaque, in front", archive(t, dir("d"), file("d/.wh..wh..opq", ""), file("d/new", "n")), map[string]string{"d/one": "(absent)", "d/sub/three": "(absent)", "d/new": "n", "e/old": "old"}},
		{"opaque, behind what the layer brings", archive(t, file("d/new", "n"), file("d/sub/new", "n"), file("d/.wh..wh..opq", "")), map[string]string{"d/one": "(absent)", "d/sub/three": "(absent)", "d/new": "n", "d/sub/new": "n"}},
		{"one that hides below and brings anew", archive(t, file("f", "new"), file(".wh.f", "")), map[string]string{"f": "new"}},
		{"AUFS's own", archive(t, file(".wh..wh.plnk", "x")), map[string]string{".wh..wh.plnk": "(absent)", "f": "f"}},
	} {
		t.Run(c.title, func(t *testing.T) {
			img, err := get(t, base, c.layer)
			if err != nil {
				t.Fatal(err)
			}
			for name, want := range c.want {
				if got := read(t, img, name); got != want {
					t.Errorf("%s holds %q, want %q", name, got, want)
				}
			}
		})
	}
}

// Links that point outside stay what they are, and nothing is ever written through one.
func TestLinksAreKeptAndNeverFollowed(t *testing.T) {
	outside := t.TempDir()
	target := filepath.Join(outside, "marker")
	if err := os.WriteFile(target, []byte("untouched"), 0o600); err != nil {
		t.Fatal(err)
	}
	img, err := get(t, archive(t, link("abs", target), link("up", "../../../../../../../../../../etc"), link("tmp", outside), link("run", outside)),
		archive(t, file("abs", "replaced")))
	if err != nil {
		t.Fatal(err)
	}
	if to, err := os.Readlink(filepath.Join(img.Dir, "up")); err != nil || to != "../../../../../../../../../../etc" {
		t.Errorf("the link is %q, %v", to, err)
	}
	if got := read(t, img, "abs"); got != "replaced" {
		t.Errorf("a file in place of a link holds %q", got)
	}
	if data, err := os.ReadFile(target); err != nil || string(data) != "untouched" {
		t.Errorf("the file outside holds %q, %v", data, err)
	}
	if entries, err := os.ReadDir(outside); err != nil || len(entries) != 1 {
		t.Errorf("mount points were made outside: %v, %v", entries, err)
	}
}

func TestHostileLayersAreRefused(t *testing.T) {
	long := string(bytes.Repeat([]byte("a/"), MaxNameBytes))
	for _, c := range []struct {
		title string
		layer []byte
		kind  stead.Kind
	}{
		{"upwards", archive(t, file("../x", "x")), stead.KindInvalid},
		{"upwards in the middle", archive(t, file("a/../../x", "x")), stead.KindInvalid},
		{"below a link to outside", archive(t, link("l", "/etc"), file("l/x", "x")), stead.KindInvalid},
		{"below a link to inside", archive(t, dir("d"), link("l", "d"), file("l/x", "x")), stead.KindInvalid},
		{"below a directory that became a link", archive(t, dir("usr/b"), dir("a/b"), file("a/b/y", "y"), link("a", "usr"), file("a/b/x", "x")), stead.KindInvalid},
		{"a directory below a link", archive(t, link("l", ".."), dir("l/x")), stead.KindInvalid},
		{"below a file", archive(t, file("f", ""), file("f/x", "x")), stead.KindInvalid},
		{"a hard link to outside", archive(t, hard("h", "../../etc/passwd")), stead.KindInvalid},
		{"a hard link to the host's file", archive(t, hard("h", "/etc/passwd")), stead.KindInvalid},
		{"a hard link to a link", archive(t, link("l", "/etc/passwd"), hard("h", "l")), stead.KindInvalid},
		{"a hard link through a link", archive(t, link("l", "/etc"), hard("h", "l/passwd")), stead.KindInvalid},
		{"a hard link to a directory", archive(t, dir("d"), hard("h", "d")), stead.KindInvalid},
		{"a hard link in place of its target's directory", archive(t, file("d/f", "f"), hard("d", "d/f")), stead.KindInvalid},
		{"a file as root", archive(t, file(".", "x")), stead.KindInvalid},
		{"a whiteout without a name", archive(t, file("d/x", ""), file("d/.wh.", "")), stead.KindInvalid},
		{"a whiteout of the parent", archive(t, file("d/x", ""), file("d/.wh...", "")), stead.KindInvalid},
		{"a link without target", archive(t, link("l", "")), stead.KindInvalid},
		{"a long name", archive(t, file(long+"x", "x")), stead.KindTooLarge},
		{"no archive", bytes.Repeat([]byte("x"), 4096), stead.KindInvalid},
	} {
		t.Run(c.title, func(t *testing.T) {
			s := open(t, Options{})
			_, err := s.Get(t.Context(), layoutOf(t, build(t, c.layer)))
			if stead.KindOf(err) != c.kind {
				t.Errorf("the error is %v of kind %q, want kind %q", err, stead.KindOf(err), c.kind)
			}
			onlyAlias(t, s)
		})
	}
}

// onlyAlias fails if anything is left of an extraction that failed.
func onlyAlias(t testing.TB, s *Store) {
	t.Helper()
	entries, err := os.ReadDir(s.dir)
	if err != nil {
		t.Fatal(err)
	}
	for _, e := range entries {
		if e.Name() != aliasDir {
			t.Errorf("%s is left behind", e.Name())
		}
	}
}

func TestWhiteoutsFollowNoLink(t *testing.T) {
	img, err := get(t, archive(t, dir("d"), file("d/keep", "kept"), link("l", "d")), archive(t, file("l/.wh.keep", ""), file("l/.wh..wh..opq", "")))
	if err != nil {
		t.Fatal(err)
	}
	if got := read(t, img, "d/keep"); got != "kept" {
		t.Errorf("a whiteout below a link removed what it points to: %q", got)
	}
}

func TestDevicesAndPrivilegesAreLeftOut(t *testing.T) {
	suid := file("bin/su", "x")
	suid.header.Mode = 0o6755
	closed := entry{tar.Header{Name: "closed", Typeflag: tar.TypeDir, Mode: 0}, ""}
	img, err := get(t, archive(t, suid, closed, file("closed/f", "f"),
		entry{tar.Header{Name: "dev/mem", Typeflag: tar.TypeChar, Devmajor: 1, Devminor: 1}, ""},
		entry{tar.Header{Name: "disk", Typeflag: tar.TypeBlock, Devmajor: 8}, ""},
		entry{tar.Header{Name: "fifo", Typeflag: tar.TypeFifo}, ""}))
	if err != nil {
		t.Fatal(err)
	}
	if img.Skipped != 3 {
		t.Errorf("%d entries were left out, want 3", img.Skipped)
	}
	err = filepath.WalkDir(img.Dir, func(name string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		if bits := d.Type() &^ (fs.ModeDir | fs.ModeSymlink); bits != 0 {
			t.Errorf("%s is a %v", name, bits)
		}
		info, err := d.Info()
		if err == nil && info.Mode()&(fs.ModeSetuid|fs.ModeSetgid|fs.ModeSticky) != 0 {
			t.Errorf("%s has mode %v", name, info.Mode())
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	if got := read(t, img, "closed/f"); got != "f" {
		t.Errorf("below a closed directory: %q", got)
	}
}

func TestLimits(t *testing.T) {
	zeros := string(make([]byte, 1<<20))
	for _, c := range []struct {
		title  string
		limits Limits
		layers [][]byte
	}{
		{"bytes of one layer", Limits{Bytes: 1 << 19}, [][]byte{archive(t, file("a", zeros))}},
		{"bytes of all layers", Limits{Bytes: 3 << 19}, [][]byte{archive(t, file("a", zeros)), archive(t, file("a", zeros))}},
		{"files", Limits{Files: 3}, [][]byte{archive(t, file("a", ""), file("b", "")), archive(t, file("a", ""), file("b", ""))}},
		{"entries that are left out", Limits{Files: 1}, [][]byte{archive(t, file(".wh.a", ""), file(".wh.b", ""))}},
	} {
		t.Run(c.title, func(t *testing.T) {
			s := open(t, Options{Limits: c.limits})
			_, err := s.Get(t.Context(), layoutOf(t, build(t, c.layers...)))
			if stead.KindOf(err) != stead.KindTooLarge {
				t.Errorf("the error is %v", err)
			}
			onlyAlias(t, s)
		})
	}
}

// A gzip bomb of a thousand times its size ends soon after RatioFreeBytes.
func TestBombsEndAtTheRatio(t *testing.T) {
	var b bytes.Buffer
	z := gzip.NewWriter(&b)
	w := tar.NewWriter(z)
	const size = 2 * RatioFreeBytes
	if err := w.WriteHeader(&tar.Header{Name: "zeros", Typeflag: tar.TypeReg, Mode: 0o644, Size: size}); err != nil {
		t.Fatal(err)
	}
	block := make([]byte, 1<<20)
	for range size / len(block) {
		if _, err := w.Write(block); err != nil {
			t.Fatal(err)
		}
	}
	if err := errors.Join(w.Close(), z.Close()); err != nil {
		t.Fatal(err)
	}
	_, err := get(t, b.Bytes())
	if e, ok := errors.AsType[*stead.Error](err); !ok || e.Kind != stead.KindTooLarge || !bytes.Contains([]byte(e.Message), []byte("MaxRatio")) {
		t.Errorf("the error is %v", err)
	}
}

func TestOneImageFromEverySource(t *testing.T) {
	img := build(t, archive(t, file("etc/a", "a")), archive(t, file("etc/b", "b")))
	file := filepath.Join(t.TempDir(), "image.tar")
	tag, err := name.NewTag("example.org/a:1")
	if err != nil {
		t.Fatal(err)
	}
	if err := tarball.WriteToFile(file, tag, img); err != nil {
		t.Fatal(err)
	}
	s := open(t, Options{})
	first, err := s.Get(t.Context(), layoutOf(t, img))
	if err != nil {
		t.Fatal(err)
	}
	second, err := s.Get(t.Context(), "docker-archive:"+file)
	if err != nil {
		t.Fatal(err)
	}
	if first.Dir != second.Dir || read(t, second, "etc/b") != "b" {
		t.Errorf("%s and %s are two directories", first.Dir, second.Dir)
	}
	// The archive alone gives the same.
	alone, err := open(t, Options{}).Get(t.Context(), "docker-archive:"+file)
	if err != nil || alone.ID != first.ID || read(t, alone, "etc/a") != "a" {
		t.Errorf("from the archive alone: %+v, %v", alone, err)
	}
}

func TestLayoutOfSeveralPlatforms(t *testing.T) {
	mine, other := build(t, archive(t, file("arch", "mine"))), build(t, archive(t, file("arch", "other")))
	index := mutate.AppendManifests(empty.Index,
		mutate.IndexAddendum{Add: other, Descriptor: v1.Descriptor{Platform: &v1.Platform{OS: "linux", Architecture: "s390x"}}},
		mutate.IndexAddendum{Add: mine, Descriptor: v1.Descriptor{Platform: &v1.Platform{OS: "linux", Architecture: "amd64"}}},
		mutate.IndexAddendum{Add: other, Descriptor: v1.Descriptor{Platform: &v1.Platform{OS: "unknown", Architecture: "unknown"}}},
	)
	outer := mutate.AppendManifests(empty.Index, mutate.IndexAddendum{Add: index})
	d := t.TempDir()
	if _, err := layout.Write(d, outer); err != nil {
		t.Fatal(err)
	}
	img, err := open(t, Options{Arch: "amd64"}).Get(t.Context(), "oci:"+d)
	if err != nil || read(t, img, "arch") != "mine" {
		t.Errorf("the image of our platform: %v", err)
	}
	_, err = open(t, Options{Arch: "riscv64"}).Get(t.Context(), "oci:"+d)
	if stead.KindOf(err) != stead.KindNotFound {
		t.Errorf("for a platform that is not there: %v", err)
	}
}

// Content that is not what its digest says is never published.
func TestForgedContentIsRefused(t *testing.T) {
	img := build(t, archive(t, file("a", "true")))
	layers, err := img.Layers()
	if err != nil {
		t.Fatal(err)
	}
	manifest, err := img.Digest()
	if err != nil {
		t.Fatal(err)
	}
	config, err := img.ConfigName()
	if err != nil {
		t.Fatal(err)
	}
	layer, err := layers[0].Digest()
	if err != nil {
		t.Fatal(err)
	}
	forged, err := mutate.Config(img, v1.Config{Env: []string{"PATH=/evil"}})
	if err != nil {
		t.Fatal(err)
	}
	forgedManifest, err := forged.RawManifest()
	if err != nil {
		t.Fatal(err)
	}
	for what, c := range map[string]struct {
		digest v1.Hash
		data   []byte
	}{
		"manifest": {manifest, forgedManifest},
		"config":   {config, []byte(`{"os":"linux","config":{"Env":["PATH=/evil"]}}`)},
		"layer":    {layer, archive(t, file("a", "false"))},
	} {
		t.Run(what, func(t *testing.T) {
			source := layoutOf(t, img)
			blob := filepath.Join(source[len("oci:"):], "blobs", "sha256", c.digest.Hex)
			if err := os.WriteFile(blob, c.data, 0o644); err != nil {
				t.Fatal(err)
			}
			s := open(t, Options{})
			if _, err := s.Get(t.Context(), source); stead.KindOf(err) != stead.KindInvalid {
				t.Errorf("the error is %v", err)
			}
			onlyAlias(t, s)
		})
	}
}

func TestSourcesThatAreNotThere(t *testing.T) {
	s := open(t, Options{})
	for source, kind := range map[string]stead.Kind{
		"oci:" + t.TempDir() + "/none":            stead.KindNotFound,
		"docker-archive:" + t.TempDir() + "/none": stead.KindNotFound,
		"oci:" + t.TempDir():                      stead.KindInvalid,
		"UPPER CASE":                              stead.KindInvalid,
		"":                                        stead.KindInvalid,
	} {
		if _, err := s.Get(t.Context(), source); stead.KindOf(err) != kind {
			t.Errorf("Get(%q) fails with %v, want kind %q", source, err, kind)
		}
	}
}

// countedImage counts how often its layers are listed, which each extraction does once.
type countedImage struct {
	v1.Image
	extractions *atomic.Int32
}

func (c countedImage) Layers() ([]v1.Layer, error) { c.extractions.Add(1); return c.Image.Layers() }

func TestConcurrentRequestsExtractOnce(t *testing.T) {
	s := open(t, Options{})
	var extractions atomic.Int32
	img := countedImage{build(t, archive(t, file("a", "a"))), &extractions}
	id, config, err := configOf(img)
	if err != nil {
		t.Fatal(err)
	}
	var wg sync.WaitGroup
	for range 20 {
		wg.Go(func() {
			got, err := s.once(t.Context(), id, func() (Image, error) { return s.extract(t.Context(), id, config, img) })
			if err != nil || read(t, got, "a") != "a" {
				t.Errorf("one of many: %+v, %v", got, err)
			}
		})
	}
	wg.Wait()
	if n := extractions.Load(); n != 1 {
		t.Errorf("%d extractions, want 1", n)
	}
}

// A caller that gives up takes nobody with it.
func TestTheNextOneTriesWhenTheFirstGivesUp(t *testing.T) {
	s := open(t, Options{})
	img := build(t, archive(t, file("a", "a")))
	id, config, err := configOf(img)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	started, waiting := make(chan struct{}), make(chan error)
	go func() {
		<-started
		go func() {
			_, err := s.once(t.Context(), id, func() (Image, error) { return s.extract(t.Context(), id, config, img) })
			waiting <- err
		}()
		cancel()
	}()
	_, err = s.once(ctx, id, func() (Image, error) {
		close(started)
		<-ctx.Done()
		return s.extract(ctx, id, config, img)
	})
	if stead.KindOf(err) != stead.KindUnavailable {
		t.Errorf("the first one ends with %v", err)
	}
	if err := <-waiting; err != nil {
		t.Errorf("the second one ends with %v", err)
	}
}

func TestRestartsFindImagesAndSweepHalfOnes(t *testing.T) {
	d := filepath.Join(t.TempDir(), "images")
	s, err := OpenStore(d, Options{})
	if err != nil {
		t.Fatal(err)
	}
	img, err := s.Get(t.Context(), layoutOf(t, build(t, archive(t, file("a", "a")))))
	if err != nil {
		t.Fatal(err)
	}
	if err := errors.Join(s.Close(), os.MkdirAll(filepath.Join(d, "tmp-crash", rootfsName, "x"), 0o700)); err != nil {
		t.Fatal(err)
	}
	if s, err = OpenStore(d, Options{}); err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	if again, err := s.load(img.ID); err != nil || again.Dir != img.Dir || again.Env["A"] != "b=c" {
		t.Errorf("after a restart: %+v, %v", again, err)
	}
	if _, err := os.Stat(filepath.Join(d, "tmp-crash")); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("what a crash left is still there: %v", err)
	}
	if err := s.Remove(img.ID); err != nil {
		t.Error(err)
	}
	if err := s.Remove(img.ID); stead.KindOf(err) != stead.KindNotFound {
		t.Errorf("removed twice: %v", err)
	}
	onlyAlias(t, s)
}

// A directory without image.json is what a machine's crash may leave: it is made anew.
func TestHalfImagesAreMadeAnew(t *testing.T) {
	s := open(t, Options{})
	source := layoutOf(t, build(t, archive(t, file("a", "a"))))
	img, err := s.Get(t.Context(), source)
	if err != nil {
		t.Fatal(err)
	}
	half := filepath.Dir(img.Dir)
	if err := errors.Join(os.Remove(filepath.Join(half, metadataName)), os.Remove(filepath.Join(img.Dir, "a"))); err != nil {
		t.Fatal(err)
	}
	if img, err = s.Get(t.Context(), source); err != nil || read(t, img, "a") != "a" {
		t.Errorf("made anew: %v", err)
	}
}

// FuzzApply feeds arbitrary layers to the extractor: nothing outside of its directory may change, and
// nothing that is no file, directory or link may appear in it.
func FuzzApply(f *testing.F) {
	f.Add(archive(f, dir("d"), file("d/f", "f"), link("l", "d"), hard("h", "d/f"), file(".wh.d", "")))
	f.Add(archive(f, link("l", "../../outside"), file("l/x", "x")))
	f.Add(archive(f, file("../outside/x", "x"), file("a/.wh..wh..opq", "")))
	f.Fuzz(func(t *testing.T, layer []byte) {
		base := t.TempDir()
		outside, inside := filepath.Join(base, "outside"), filepath.Join(base, "deep", "inside")
		if err := errors.Join(os.MkdirAll(inside, 0o700), os.MkdirAll(outside, 0o700)); err != nil {
			t.Fatal(err)
		}
		root, err := os.OpenRoot(inside)
		if err != nil {
			t.Fatal(err)
		}
		defer root.Close()
		a := &applier{ctx: t.Context(), root: root, limits: Limits{Bytes: 1 << 20, Files: 1000}}
		for range 2 { // twice: the second time over what the first one made
			_ = a.apply(bytes.NewReader(layer))
		}
		if entries, err := os.ReadDir(outside); err != nil || len(entries) > 0 {
			t.Fatalf("something was written outside: %v, %v", entries, err)
		}
		if entries, err := os.ReadDir(base); err != nil || len(entries) != 2 {
			t.Fatalf("something was written outside: %v, %v", entries, err)
		}
		err = fs.WalkDir(root.FS(), ".", func(name string, d fs.DirEntry, err error) error {
			if err == nil && d.Type()&^(fs.ModeDir|fs.ModeSymlink) != 0 {
				return fmt.Errorf("%s is a %v", name, d.Type())
			}
			return err
		})
		if err != nil {
			t.Fatal(err)
		}
	})
}
