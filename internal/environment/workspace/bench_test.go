package workspace

import (
	"archive/tar"
	"bytes"
	crand "crypto/rand"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"path/filepath"
	"testing"

	"github.com/klauspost/compress/zstd"
)

// bigTree makes 5,000 files of 98 MB together, in 250 directories.
func bigTree(b *testing.B, dir string) {
	b.Helper()
	r := rand.New(rand.NewPCG(1, 2))
	for i := range 5000 {
		size := 1000 + r.IntN(37_000)
		put(b, bigFile(dir, i), string(random(r, size)))
	}
}

func bigFile(dir string, i int) string {
	return filepath.Join(dir, fmt.Sprintf("package-%02d", i%50), fmt.Sprintf("part-%d", i/50%5), fmt.Sprintf("file-%04d.js", i))
}

func BenchmarkCheckpoint(b *testing.B) {
	dir := b.TempDir()
	bigTree(b, dir)
	blobs := newBlobs(b)
	warm := open(b, dir)
	rest(warm)
	first := checkpoint(b, warm, blobs, "")

	b.Run("unchanged", func(b *testing.B) {
		for b.Loop() {
			if checkpoint(b, warm, blobs, first) != first {
				b.Fatal("an unchanged workspace has another digest")
			}
		}
	})
	b.Run("unchanged-cold", func(b *testing.B) { // nothing is known of the files
		for b.Loop() {
			if checkpoint(b, open(b, dir), blobs, first) != first {
				b.Fatal("an unchanged workspace has another digest")
			}
		}
	})
	b.Run("20-changed", func(b *testing.B) {
		r := rand.New(rand.NewPCG(3, 4))
		previous, stored, n := first, int64(0), 0
		for b.Loop() {
			b.StopTimer()
			for range 20 {
				put(b, bigFile(dir, r.IntN(5000)), fmt.Sprintf("changed %d", r.Uint64()))
			}
			b.StartTimer()
			c, err := warm.Checkpoint(b.Context(), blobs, previous)
			must(b, err)
			previous, stored, n = c.Digest, stored+c.Stored, n+1
		}
		b.ReportMetric(float64(stored)/float64(n), "stored-B/op")
	})
}

func BenchmarkFirst(b *testing.B) {
	dir := b.TempDir()
	bigTree(b, dir)
	b.Run("checkpoint", func(b *testing.B) {
		for b.Loop() {
			b.StopTimer()
			blobs, d := newBlobs(b), open(b, dir)
			b.StartTimer()
			c, err := d.Checkpoint(b.Context(), blobs, "")
			must(b, err)
			b.ReportMetric(float64(c.Stored)/1e6, "stored-MB")
			b.ReportMetric(float64(blobs.puts), "blobs")
		}
	})
	b.Run("tar+zstd", func(b *testing.B) {
		for b.Loop() {
			tarZstd(b, dir, filepath.Join(b.TempDir(), "out"))
		}
	})
	b.Run("copy", func(b *testing.B) {
		for b.Loop() {
			must(b, os.CopyFS(filepath.Join(b.TempDir(), "out"), os.DirFS(dir)))
		}
	})
}

func BenchmarkResume(b *testing.B) {
	dir := b.TempDir()
	bigTree(b, dir)
	blobs := newBlobs(b)
	digest := checkpoint(b, open(b, dir), blobs, "")
	archive := filepath.Join(b.TempDir(), "out")
	tarZstd(b, dir, archive)
	to := b.TempDir()
	Apart(to) // as the host's directories of workspaces are, and names that were never there, as theirs
	fresh := func() string { return filepath.Join(to, crand.Text()) }
	b.Run("restore", func(b *testing.B) {
		for b.Loop() {
			restore(b, fresh(), blobs, digest)
		}
	})
	b.Run("restore-in-place", func(b *testing.B) { // everything is there already
		for b.Loop() {
			restore(b, dir, blobs, digest)
		}
	})
	b.Run("untar+zstd", func(b *testing.B) {
		for b.Loop() {
			untarZstd(b, archive, fresh())
		}
	})
}

func tarZstd(b *testing.B, dir, name string) {
	b.Helper()
	f, err := os.Create(name)
	must(b, err)
	z, err := zstd.NewWriter(f, zstd.WithEncoderLevel(zstd.SpeedFastest))
	must(b, err)
	w := tar.NewWriter(z)
	must(b, w.AddFS(os.DirFS(dir)))
	must(b, w.Close())
	must(b, z.Close())
	must(b, f.Sync())
	must(b, f.Close())
}

func untarZstd(b *testing.B, name, to string) {
	b.Helper()
	data, err := os.ReadFile(name)
	must(b, err)
	z, err := zstd.NewReader(bytes.NewReader(data))
	must(b, err)
	defer z.Close()
	r := tar.NewReader(z)
	for {
		h, err := r.Next()
		if err == io.EOF {
			return
		}
		must(b, err)
		if h.Typeflag == tar.TypeDir {
			must(b, os.MkdirAll(filepath.Join(to, h.Name), 0o755))
			continue
		}
		must(b, os.MkdirAll(filepath.Dir(filepath.Join(to, h.Name)), 0o755))
		out, err := os.Create(filepath.Join(to, h.Name))
		must(b, err)
		_, err = io.Copy(out, r)
		must(b, err)
		must(b, out.Close())
	}
}
