package workspace

import (
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"testing"
)

// BenchmarkMemory says what a resident workspace costs a file between two checkpoints.
func BenchmarkMemory(b *testing.B) {
	const files = 200_000
	dir, blobs := b.TempDir(), newBlobs(b)
	for i := range files {
		sub := filepath.Join(dir, fmt.Sprintf("package-%03d", i/200))
		if i%200 == 0 {
			must(b, os.Mkdir(sub, 0o755))
		}
		must(b, os.WriteFile(filepath.Join(sub, fmt.Sprintf("file-%06d.js", i)), []byte(fmt.Sprint(i)), 0o644))
	}
	d := open(b, dir)
	rest(d)
	previous := ""
	for b.Loop() {
		before := living()
		d.last, d.seen = nil, nil
		previous = checkpoint(b, d, blobs, previous)
		b.ReportMetric(float64(int64(living()-before))/files, "B/file")
	}
	runtime.KeepAlive(d)
}

func living() uint64 {
	var m runtime.MemStats
	runtime.GC()
	runtime.GC()
	runtime.ReadMemStats(&m)
	return m.HeapAlloc
}
