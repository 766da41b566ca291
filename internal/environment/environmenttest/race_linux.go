package environmenttest

import (
	"bytes"
	"context"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/stead-dev/stead"
	"github.com/stead-dev/stead/internal/environment"
)

// raceTime is how long each race is run.
const raceTime = 2 * time.Second

// race sets up names that a process inside exchanges all the time: a file with a link to a file
// outside, a directory with a link to the directory outside, a file with a FIFO.
type race struct {
	outside string // directory of the host; holds the file "file" with the text "marker"
}

// set makes the names in a workspace and returns the arguments of the two exchanging processes.
func (c race) set(t *testing.T, b *box) [][]string {
	t.Helper()
	b.sh(t, `mkdir -p race/dir && echo calm > race/file && echo calm > race/dir/file &&
		ln -s "$1/file" race/link && ln -s "$1" race/dirlink && mkfifo race/fifo && echo calm > race/other`, c.outside)
	return [][]string{
		{"./probe", "try", "exchange", "race/file", "race/link", "race/fifo"},
		{"./probe", "try", "exchange", "race/dir", "race/dirlink"},
	}
}

func testRaces(t *testing.T, r *rig) {
	outside := publicDir(t)
	if err := os.WriteFile(filepath.Join(outside, "file"), []byte("marker"), 0o666); err != nil {
		t.Fatal(err)
	}
	b := r.open(t)
	b.putProbe(t)
	stop := b.background(t, race{outside: outside}.set(t, b)...)
	defer stop()
	r.run(t, "ReadFile", func(t *testing.T) {
		tries, hits := 0, 0
		for end := time.Now().Add(raceTime); time.Now().Before(end); tries++ {
			for _, name := range []string{"race/file", "race/dir/file", "race/link", "race/dirlink/file"} {
				data, err := b.ReadFile(t.Context(), name, 100)
				if bytes.Contains(data, []byte("marker")) {
					t.Fatalf("after %d tries %s gave the file outside", tries, name)
				}
				if err == nil {
					hits++
				} else {
					refused(t, name, err, stead.KindInvalid, stead.KindNotFound)
				}
			}
		}
		t.Logf("%d rounds, %d files of the inside's own", tries, hits)
	})
	r.run(t, "WriteFile", func(t *testing.T) {
		tries := 0
		for end := time.Now().Add(raceTime); time.Now().Before(end); tries++ {
			for _, name := range []string{"race/file", "race/dir/file", "race/dir/new", "race/dir/deep/new", "race/link"} {
				if err := b.WriteFile(t.Context(), name, []byte("calm"), false); err != nil {
					refused(t, name, err, stead.KindInvalid, stead.KindNotFound, stead.KindConflict)
				}
			}
		}
		untouched(t, outside)
		t.Logf("%d rounds", tries)
	})
	r.run(t, "List", func(t *testing.T) {
		for end := time.Now().Add(raceTime / 2); time.Now().Before(end); {
			page, err := b.List(t.Context(), environment.ListQuery{Limit: environment.MaxListed})
			if err != nil {
				t.Fatal(err)
			}
			for _, f := range page.Files {
				if strings.Contains(f.Path, "dirlink/") && f.Size == int64(len("marker")) {
					t.Fatalf("the file outside is listed: %+v", f)
				}
			}
		}
	})
	r.run(t, "Attributes", func(t *testing.T) {
		t.Log(b.args(t, attributeRace()...))
		if err := sameAttributes(outside); err != nil {
			t.Error(err)
		}
	})
	r.run(t, "Checkpoint", func(t *testing.T) {
		blobs, digest := newMemory(), ""
		for end := time.Now().Add(raceTime); time.Now().Before(end); {
			digest = b.checkpoint(t, blobs, digest).Digest
		}
		again := r.restored(t, blobs, digest)
		again.fails(t, `cat race/* race/*/* 2>/dev/null | grep -q marker`)
		untouched(t, outside)
	})
}

// background runs commands until stop is called, which waits for their end.
func (b *box) background(t *testing.T, commands ...[]string) (stop func()) {
	t.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	var group sync.WaitGroup
	begun := make(chan error, len(commands))
	for _, args := range commands {
		group.Go(func() {
			var once sync.Once
			_, err := b.Exec(ctx, environment.Command{Args: args}, func(environment.Chunk) { once.Do(func() { begun <- nil }) })
			once.Do(func() { begun <- fmt.Errorf("%q ended before it began: %w", args, err) })
		})
	}
	for range commands {
		if err := <-begun; err != nil {
			t.Fatal(err)
		}
	}
	return func() {
		cancel()
		group.Wait()
	}
}

// untouched checks that nothing was written outside.
func untouched(t *testing.T, outside string) {
	t.Helper()
	data, err := os.ReadFile(filepath.Join(outside, "file"))
	names, err2 := os.ReadDir(outside)
	if string(data) != "marker" || err != nil || err2 != nil || len(names) != 1 {
		t.Errorf("outside there is now %v, and the file holds %q: %v, %v", names, data, err, err2)
	}
}

// attributeRace changes attributes by the names that are exchanged.
func attributeRace() []string {
	return []string{"./probe", "try", "chmod-often", fmt.Sprint(raceTime.Milliseconds()), "race/file", "race/dir/file", "race/link", "race/dirlink/file"}
}

// sameAttributes says what was changed of the file outside.
func sameAttributes(outside string) error {
	name := filepath.Join(outside, "file")
	info, err := os.Stat(name)
	if err != nil {
		return err
	}
	if info.Mode().Perm() == 0o640 || info.ModTime().Unix() == 1 {
		return fmt.Errorf("the file outside has the mode %v and the time %v", info.Mode(), info.ModTime())
	}
	if n, err := unix.Getxattr(name, "user.probe", nil); err == nil {
		return fmt.Errorf("the file outside has an attribute of %d bytes", n)
	}
	return nil
}
