package workspace

import (
	"bytes"
	"fmt"
	"maps"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/stead-dev/stead/internal/environment"
	"github.com/stead-dev/stead/internal/environment/workspace/manifest"
)

const untold = "Quetzalcoatlus"

// secrets are the files of notes/ that have it.
func secrets() environment.Forgetting {
	return environment.Forgetting{Dirs: []string{"notes"}, MaxBytes: 64 << 10, Is: func(_ string, data []byte) ([]byte, bool) {
		return []byte("gone"), bytes.Contains(data, []byte(untold))
	}}
}

// contents are the files of a checkpoint, by their paths.
func contents(t *testing.T, blobs *sessionBlobs, digest string) map[string]string {
	t.Helper()
	dir := t.TempDir()
	if err := Restore(t.Context(), dir, blobs, digest); err != nil {
		t.Fatal(err)
	}
	out := map[string]string{}
	err := filepath.WalkDir(dir, func(p string, d os.DirEntry, err error) error {
		if err != nil || !d.Type().IsRegular() {
			return err
		}
		data, err := os.ReadFile(p)
		rel, _ := filepath.Rel(dir, p)
		out[rel] = string(data)
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return out
}

// hasSecret reports whether any blob that a checkpoint needs has it, also in bytes that no file has.
func hasSecret(t *testing.T, blobs *sessionBlobs, digest string) bool {
	t.Helper()
	stored, err := manifest.Load(t.Context(), blobs.Get, digest)
	if err != nil {
		t.Fatal(err)
	}
	u, err := manifest.NewUnpacker(1)
	if err != nil {
		t.Fatal(err)
	}
	defer u.Close()
	return slices.ContainsFunc(stored.Packs, func(p manifest.Pack) bool {
		blob, err := blobs.Get(t.Context(), p.Digest.String())
		if err != nil {
			t.Fatal(err)
		}
		content, err := u.Unpack(blob, p.Size, nil)
		if err != nil {
			t.Fatal(err)
		}
		return bytes.Contains(content, []byte(untold))
	})
}

// TestForget: of a row of checkpoints, of which some are changes of others that are in no list, no blob has what is forgotten any more; all
// other files are in each as they were, and it is the same again.
func TestForget(t *testing.T) {
	for seed := range uint64(3) {
		r, blobs, dir := rand.New(rand.NewPCG(seed, 1)), newBlobs(t), t.TempDir()
		d := open(t, dir)
		write := func(name, text string) {
			t.Helper()
			if err := os.MkdirAll(filepath.Dir(filepath.Join(dir, name)), 0o755); err != nil {
				t.Fatal(err)
			}
			if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o644); err != nil {
				t.Fatal(err)
			}
		}
		for i := range 150 {
			write(fmt.Sprintf("src/f%03d", i), strings.Repeat(fmt.Sprintf("line %d %d\n", i, r.Uint64()), 1+r.IntN(200)))
		}
		var all []string
		previous := ""
		for step := range 12 {
			for range 1 + r.IntN(5) {
				write(fmt.Sprintf("src/f%03d", r.IntN(150)), fmt.Sprint("changed ", r.Uint64()))
			}
			switch step {
			case 2:
				write("notes/mem_1.md", "It is "+untold)
				write("notes/mem_2.md", "Ada likes tea")
				write("copies/of.txt", "It is "+untold)
				if err := os.Link(filepath.Join(dir, "notes/mem_1.md"), filepath.Join(dir, "notes/other name")); err != nil {
					t.Fatal(err)
				}
			case 5:
				write("notes/mem_1.md", "It still is "+untold)
			case 6:
				write("notes/mem_3.md", untold+" too, for a moment")
				previous = checkpoint(t, d, blobs, previous) // nobody hears of this one
				write("notes/mem_3.md", "gone")
			case 9:
				write("notes/mem_1.md", "gone")
			}
			previous = checkpoint(t, d, blobs, previous)
			all = append(all, previous)
		}
		was := make([]map[string]string, len(all))
		had := 0
		for i, c := range all {
			was[i] = contents(t, blobs, c)
			if hasSecret(t, blobs, c) {
				had++
			}
		}
		made, err := Forget(t.Context(), blobs, all, secrets())
		if err != nil || had < 8 {
			t.Fatalf("seed %d: %d had it, %v", seed, had, err)
		}
		var now []string
		for i, m := range made {
			now = append(now, m.Checkpoint.Digest)
			if hasSecret(t, blobs, now[i]) {
				t.Errorf("seed %d: checkpoint %d has it", seed, i)
			}
			if refs, err := References(t.Context(), blobs, now[i]); err != nil || !slices.Equal(slices.Sorted(slices.Values(refs)), slices.Sorted(slices.Values(m.Needs))) {
				t.Errorf("seed %d: checkpoint %d needs %v, %v", seed, i, m.Needs, err)
			}
			want := maps.Clone(was[i])
			maps.DeleteFunc(want, func(_, text string) bool { return strings.Contains(text, untold) })
			if !maps.Equal(want, contents(t, blobs, now[i])) || m.Checkpoint.Files != len(want) || m.Files != len(was[i])-len(want) {
				t.Errorf("seed %d: checkpoint %d has other files than before, or %+v", seed, i, m)
			}
			if i < 2 && now[i] != all[i] {
				t.Errorf("seed %d: checkpoint %d, which never had it, is another one", seed, i)
			}
			if _, err := Verify(t.Context(), blobs, now[i]); err != nil {
				t.Errorf("seed %d: checkpoint %d: %v", seed, i, err)
			}
		}
		if again, err := Forget(t.Context(), blobs, all, secrets()); err != nil || !slices.EqualFunc(again, made, func(a, b environment.Rewritten) bool { return a.Checkpoint == b.Checkpoint }) {
			t.Errorf("seed %d: made twice it is not the same: %v", seed, err)
		}
		if again, err := Forget(t.Context(), blobs, now, secrets()); err != nil || slices.ContainsFunc(again, func(m environment.Rewritten) bool { return !slices.Contains(now, m.Checkpoint.Digest) || m.Files > 0 }) {
			t.Errorf("seed %d: without it it is made anew: %v", seed, err)
		}
		next := checkpoint(t, d, blobs, now[len(now)-1]) // which goes on from there
		if hasSecret(t, blobs, next) == (contents(t, blobs, next)["copies/of.txt"] == "") {
			t.Errorf("seed %d: the next one", seed)
		}
	}
}
