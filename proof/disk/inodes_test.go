package disk

import (
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/stead-dev/stead/internal/ballast"
	rooms "github.com/stead-dev/stead/internal/volume"
	"github.com/stead-dev/stead/proof/rig"
)

// inodes of a small file system: a tenth is left by commands, 1/16 by what can wait.
const inodes = 8192

// Another program takes every inode, and each that is given back. What was accepted is there, can be read, cancelled and
// deleted, over a crash; everybody is told what is wanting, and all goes on by itself when there is room.
func TestADiskWithoutInodes(t *testing.T) {
	t.Parallel()
	v := newVolumeOfFiles(t, volumeMiB, inodes)
	node, client := start(t, rig.NodeOptions{Data: filepath.Join(v.mount, "data"), Prefix: v.enter(), Config: "limits: {drain_seconds: 1}\n"})
	kept, removed := newWriter(t, client), newWriter(t, client)
	kept.insist(kept.message("before"))
	var running []*writer
	for range 2 {
		w := newWriter(t, client)
		w.insist("Running\nWrite 5000 words every 20ms")
		running = append(running, w)
	}
	v.takeInodes(t)
	stop := v.keepTaking(t)
	err := client.Do(t.Context(), http.MethodPost, "/v1/agents/sessions", "", map[string]any{"agent": map[string]string{"model": "sim"}}, nil)
	if !isFull(err) || !strings.Contains(err.Error(), rooms.NoFiles) {
		t.Errorf("a new session on a disk without inodes: %v", err)
	}
	kept.untilRefused()
	if _, err := upload(t.Context(), client, 1); !isFull(err) || !strings.Contains(err.Error(), rooms.NoFiles) {
		t.Errorf("an upload on a disk without inodes: %v", err)
	}
	if got := warning(t, client); !strings.Contains(got, rooms.NoFiles) {
		t.Errorf("readiness warns: %q", got)
	}
	cancel(t, running[0])

	node.Kill()
	restart(t, node)
	kept.readable()
	cancel(t, running[1])
	remove(t, removed)
	if err := node.Stop(); err != nil { // it removes the log, which a start has to make again
		t.Errorf("a stop on a disk without inodes: %v", err)
	}
	restart(t, node)
	kept.readable()

	stop()
	v.giveInodes(t)
	for _, text := range kept.pending {
		kept.insist(text)
	}
	kept.insist(kept.message("after"))
	kept.rest()
	kept.check()
	recovered(t, v, client)
	if log := node.LogTail(); !strings.Contains(log, "the disk has room again") {
		t.Errorf("the log does not say that there is room again:\n%s", log)
	}
}

// A command makes files until it is stopped, before the others are: it is told why, they go on, and its environment can be
// opened again to remove what it made. It makes 1,000 a second: who has all of so small a disk's inodes in less time than it
// takes a busy machine to look is told of by TestADiskWithoutInodes.
func TestACommandUsesUpTheInodes(t *testing.T) {
	t.Parallel()
	v := newVolumeOfFiles(t, volumeMiB, inodes)
	node, client := start(t, rig.NodeOptions{Data: filepath.Join(v.mount, "data"), Prefix: v.enter(), Config: "environments: {driver: ns}\n"})
	w, other := newComputer(t, client), newWriter(t, client)
	w.insist("Fill\nCall shell with " + `{"command":"n=0; while : > f$n; do n=$((n+1)); [ $((n % 100)) = 0 ] && sleep 0.1; done; sleep 60"}` +
		"\n" + `Then call write_file with {"path":"small","content":"x"}`)
	w.rest()
	items, err := client.Items(t.Context(), w.session)
	if err != nil {
		t.Fatal(err)
	}
	said, _ := json.Marshal(items)
	if strings.Count(string(said), "the disk of the machine that the environment is on "+rooms.NoFiles) < 2 {
		t.Errorf("the agent was not told that there are no inodes: %s", said)
	}
	if free, kept := v.freeInodes(t), int64(inodes/ballast.FloorShare); free < 2*kept {
		t.Errorf("the command left %d inodes, and %d are kept for others", free, 2*kept)
	}
	if got := warning(t, client); got != "" {
		t.Errorf("readiness warns: %q", got)
	}
	if !other.send(t.Context(), other.message("beside")) {
		t.Error("one environment stops the others")
	}
	other.rest()
	if _, err := upload(t.Context(), client, 1); err != nil {
		t.Errorf("an upload beside it: %v", err)
	}
	node.Kill()
	restart(t, node)
	before := v.freeInodes(t)
	w.insist("Remove\n" + `Call shell with {"command":"rm -f f*"}`)
	w.rest()
	if after := v.freeInodes(t); after < before+inodes/2 {
		t.Errorf("%d inodes are free after the files were removed, %d before", after, before)
	}
	recovered(t, v, client)
}

// takeInodes makes files until there are no inodes.
func (v *volume) takeInodes(t *testing.T) {
	t.Helper()
	if err := v.takeMoreInodes(); err != nil {
		t.Fatal(err)
	}
}

func (v *volume) takeMoreInodes() error {
	dir := v.path("files")
	if err := os.Mkdir(dir, 0o700); err != nil && !errors.Is(err, os.ErrExist) && !errors.Is(err, syscall.ENOSPC) {
		return err
	}
	for {
		f, err := os.OpenFile(filepath.Join(dir, fmt.Sprint(time.Now().UnixNano())), os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
		switch {
		case errors.Is(err, syscall.ENOSPC):
			return nil
		case errors.Is(err, os.ErrExist):
		case err != nil:
			return err
		default:
			_ = f.Close() // nothing was written
		}
	}
}

// keepTaking takes whatever inode is given back, until stop is called.
func (v *volume) keepTaking(t *testing.T) (stop func()) {
	done, ended := make(chan struct{}), make(chan struct{})
	go func() {
		defer close(ended)
		tick := time.NewTicker(2 * time.Millisecond)
		defer tick.Stop()
		for {
			select {
			case <-done:
				return
			case <-tick.C:
				if err := v.takeMoreInodes(); err != nil {
					t.Error(err)
				}
			}
		}
	}()
	stop = sync.OnceFunc(func() { close(done); <-ended })
	t.Cleanup(stop)
	return stop
}

func (v *volume) giveInodes(t *testing.T) {
	t.Helper()
	if err := os.RemoveAll(v.path("files")); err != nil {
		t.Fatal(err)
	}
}

func (v *volume) freeInodes(t *testing.T) int64 {
	t.Helper()
	room, known := rooms.Of(v.path(""))
	if !known || room.TotalFiles == 0 {
		t.Fatal("the file system has no fixed number of inodes")
	}
	return room.Files
}
