package disk

import (
	"context"
	"crypto/rand"
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
	"github.com/stead-dev/stead/proof/rig"
)

// soon is how long what needs no room may take on a full disk.
const soon = 15 * time.Second

// Another program fills the disk to the last byte, and takes whatever is given back as well. What was
// accepted is there, can be read, cancelled and deleted, over a crash and over a stop, and all goes on by
// itself when there is room.
func TestCancelAndDeleteOnAFullDisk(t *testing.T) {
	t.Parallel()
	v := newVolume(t, volumeMiB)
	node, client := start(t, rig.NodeOptions{Data: filepath.Join(v.mount, "data"), Prefix: v.enter(), Config: "limits: {drain_seconds: 1}\n"})
	kept, removed, late := newWriter(t, client), newWriter(t, client), newWriter(t, client)
	kept.insist(kept.message("before"))
	var running []*writer
	for range 3 {
		w := newWriter(t, client)
		w.insist("Running\nWrite 5000 words every 20ms")
		running = append(running, w)
	}
	v.mustFill(t)
	stop := v.keepFull(t)
	kept.untilRefused()
	if err := client.Do(t.Context(), http.MethodPost, "/v1/agents/sessions", "", map[string]any{"agent": map[string]string{"model": "sim"}}, nil); !isFull(err) {
		t.Errorf("a new session on a full disk: %v", err)
	}
	if got := warning(t, client); !strings.Contains(got, "full") {
		t.Errorf("readiness warns: %q", got)
	}
	cancel(t, running[0])
	remove(t, removed)

	node.Kill()
	restart(t, node)
	kept.readable()
	cancel(t, running[1])
	if err := node.Stop(); err != nil {
		t.Errorf("a stop on a full disk: %v", err)
	}
	restart(t, node)
	cancel(t, running[2])
	remove(t, late)
	kept.readable()

	stop()
	if err := v.free(); err != nil {
		t.Fatal(err)
	}
	for _, text := range kept.pending {
		kept.insist(text)
	}
	kept.insist(kept.message("after"))
	kept.rest()
	kept.check()
	for _, w := range running {
		w.insist(w.message("after"))
		w.rest()
	}
	recovered(t, v, client)
	if log := node.LogTail(); !strings.Contains(log, "the disk has room again") {
		t.Errorf("the log does not say that there is room again:\n%s", log)
	}
}

// A journal whose ballast is used up, on a disk without a free byte, is still opened and read.
func TestAStartWithoutAnyRoom(t *testing.T) {
	t.Parallel()
	v := newVolume(t, smallMiB)
	node, client := start(t, rig.NodeOptions{Data: filepath.Join(v.mount, "data"), Prefix: v.enter()})
	w, running := newWriter(t, client), newWriter(t, client)
	w.insist(w.message("before"))
	w.rest()
	running.insist("Running\nWrite 5000 words every 20ms")
	node.Kill()
	if err := os.Remove(v.path("data/" + ballast.FileName)); err != nil {
		t.Fatal(err)
	}
	v.mustFill(t)
	restart(t, node)
	w.readable()
	w.check()
	if got := warning(t, client); !strings.Contains(got, "full") {
		t.Errorf("readiness warns: %q", got)
	}
	if err := v.free(); err != nil {
		t.Fatal(err)
	}
	cancel(t, running)
	w.insist(w.message("after"))
	w.rest()
	w.check()
	recovered(t, v, client)
}

// A command fills the disk faster than anybody looks. Its agent is told, and so it is by the tool that writes
// files. One that removes what it made makes room. Where it does not, its turn ends, the checkpoint that could
// not be stored is told of, and deleting the session makes room.
func TestACommandFillsTheDisk(t *testing.T) {
	t.Parallel()
	v := newVolume(t, smallMiB)
	_, client := start(t, rig.NodeOptions{Data: filepath.Join(v.mount, "data"), Prefix: v.enter(), Config: "environments: {driver: ns}\n"})
	const fill = `Call shell with {"command":"dd if=/dev/urandom of=big bs=1M; echo dd ended with $?"}` + "\n" + `Then call write_file with {"path":"small","content":"x"}`
	w, other := newComputer(t, client), newWriter(t, client)
	// Twice: a command that begins while the watchdog still finds that the workspace grows is killed with it.
	const tidy = "\n" + `Then call shell with {"command":"rm -f big"}`
	w.insist("Fill and remove\n" + fill + tidy + tidy)
	w.rest()
	if journal := client.Export(t.Context(), w.session); !strings.Contains(journal, "environment.checkpointed") {
		t.Errorf("what was done after there was room is not stored:\n%s", journal)
	}
	recovered(t, v, client)
	w.insist("Fill\n" + fill)
	w.rest()
	items, err := client.Items(t.Context(), w.session)
	if err != nil {
		t.Fatal(err)
	}
	said, _ := json.Marshal(items)
	if strings.Count(string(said), "the disk of the machine that the environment is on is nearly full") < 2 {
		t.Errorf("the agent was not told of the full disk: %s", said)
	}
	if journal := client.Export(t.Context(), w.session); !strings.Contains(journal, "nearly full, and what is left of it is for the journal") {
		t.Errorf("the checkpoint that could not be stored is not told of:\n%s", journal)
	}
	other.untilRefused()
	remove(t, w)
	other.insist(other.pending[0])
	other.rest()
	other.check()
	recovered(t, v, client)
}

// Uploads stop before they take what the journal needs: sessions go on beside them.
func TestUploadsLeaveRoomForTheJournal(t *testing.T) {
	t.Parallel()
	v := newVolume(t, smallMiB)
	_, client := start(t, rig.NodeOptions{Data: filepath.Join(v.mount, "data"), Prefix: v.enter()})
	w := newWriter(t, client)
	var files []string
	var err error
	for err == nil && len(files) < smallMiB {
		var id string
		if id, err = upload(t.Context(), client, 2<<20); err == nil {
			files = append(files, id)
		}
	}
	if !isFull(err) {
		t.Fatalf("after %d uploads: %v", len(files), err)
	}
	if free, total := v.room(t); free < total/ballast.FloorShare {
		t.Errorf("uploads left %d bytes of %d", free, total)
	}
	if !w.send(t.Context(), w.message("beside")) {
		t.Error("uploads took the room of the journal")
	}
	w.rest()
	for _, id := range files {
		if err := client.Do(t.Context(), http.MethodDelete, "/v1/files/"+id, "", nil, nil); err != nil {
			t.Error(err)
		}
	}
	if _, err := upload(t.Context(), client, 2<<20); err != nil {
		t.Errorf("an upload when there is room again: %v", err)
	}
	w.check()
}

// A journal in PostgreSQL has a disk of its own: sessions go on while the node's is full, and only what is stored
// there is refused.
func TestFullDiskBesidePostgres(t *testing.T) {
	t.Parallel()
	pg, err := rig.NewPostgres(t.TempDir())
	if errors.Is(err, rig.ErrNoPostgres) && os.Getenv("CI") == "" {
		t.Skip(err)
	}
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(pg.Kill)
	url, err := pg.CreateDatabase("stead")
	if err != nil {
		t.Fatal(err)
	}
	v := newVolume(t, smallMiB)
	_, client := start(t, rig.NodeOptions{Data: filepath.Join(v.mount, "data"), Prefix: v.enter(), Config: "database: " + url + "\n"})
	w := newWriter(t, client)
	for err == nil {
		_, err = upload(t.Context(), client, 2<<20)
	}
	if !isFull(err) {
		t.Fatalf("upload: %v", err)
	}
	if free, total := v.room(t); free < total/ballast.FloorShare {
		t.Errorf("uploads left %d bytes of %d", free, total)
	}
	v.mustFill(t)
	if !w.send(t.Context(), w.message("beside")) {
		t.Error("the node's disk stops a journal that is elsewhere")
	}
	w.rest()
	w.check()
	if err := v.free(); err != nil {
		t.Fatal(err)
	}
}

// newComputer is newWriter of a session with an environment.
func newComputer(t *testing.T, c *rig.Client) *writer {
	var s rig.Session
	err := c.Do(t.Context(), http.MethodPost, "/v1/agents/sessions", "", map[string]any{
		"environment": map[string]any{"type": "openai_hosted"}, "agent": map[string]any{"model": "sim"},
	}, &s)
	if err != nil {
		t.Fatal(err)
	}
	return &writer{t: t, client: c, session: s.ID}
}

// upload puts a file of random bytes into the Files API.
func upload(ctx context.Context, c *rig.Client, size int) (id string, err error) {
	data := make([]byte, size)
	rand.Read(data)
	var body strings.Builder
	body.WriteString("--edge\r\nContent-Disposition: form-data; name=\"purpose\"\r\n\r\nuser_data\r\n" +
		"--edge\r\nContent-Disposition: form-data; name=\"file\"; filename=\"random\"\r\n\r\n")
	body.Write(data)
	body.WriteString("\r\n--edge--\r\n")
	var file struct {
		ID string `json:"id"`
	}
	err = c.Post(ctx, "/v1/files", "multipart/form-data; boundary=edge", strings.NewReader(body.String()), &file)
	return file.ID, err
}

// isFull reports whether a request was refused as the contract says that a full disk refuses.
func isFull(err error) bool {
	var api *rig.APIError
	return errors.As(err, &api) && api.Status == http.StatusServiceUnavailable && api.Code == "storage_full"
}

// cancel cancels a session's turn and wants it to end.
func cancel(t *testing.T, w *writer) {
	t.Helper()
	err := w.client.Do(t.Context(), http.MethodPost, rig.SessionPath(w.session, "/events"), "", map[string]any{"events": []any{map[string]string{"type": "agent.session.input.cancel"}}}, nil)
	if err != nil {
		t.Errorf("cancel: %v", err)
		return
	}
	err = rig.Poll(soon, "a turn to be cancelled", func() error {
		turns, err := w.client.Turns(t.Context(), w.session)
		if err == nil && turns[len(turns)-1].Status != "cancelled" {
			err = fmt.Errorf("it is %s", turns[len(turns)-1].Status)
		}
		return err
	})
	if err != nil {
		t.Error(err)
	}
}

// remove deletes a session and wants it to be gone.
func remove(t *testing.T, w *writer) {
	t.Helper()
	if err := w.client.Do(t.Context(), http.MethodDelete, rig.SessionPath(w.session, ""), "", nil, nil); err != nil {
		t.Errorf("delete: %v", err)
	}
	var api *rig.APIError
	if _, err := w.client.Session(t.Context(), w.session); !errors.As(err, &api) || api.Status != http.StatusNotFound {
		t.Errorf("a session that was deleted: %v", err)
	}
}

func restart(t *testing.T, n *rig.Node) {
	t.Helper()
	if err := n.Start(); err != nil {
		t.Fatal(err)
	}
}

// warning is what readiness warns of.
func warning(t *testing.T, c *rig.Client) string {
	t.Helper()
	var ready struct {
		Warning string `json:"warning"`
	}
	if err := c.Do(t.Context(), http.MethodGet, "/readyz", "", nil, &ready); err != nil {
		t.Error(err)
	}
	return ready.Warning
}

// recovered wants the ballast whole and nobody warned.
func recovered(t *testing.T, v *volume, c *rig.Client) {
	t.Helper()
	err := rig.Poll(soon, "the ballast to be whole", func() error {
		if got := warning(t, c); got != "" {
			return errors.New(got)
		}
		var s syscall.Stat_t
		if err := syscall.Stat(v.path("data/"+ballast.FileName), &s); err != nil {
			return err
		}
		if s.Blocks*512 < int64(v.mib)<<20/ballast.Share/2 {
			return fmt.Errorf("it has %d bytes on disk", s.Blocks*512)
		}
		return nil
	})
	if err != nil {
		t.Error(err)
	}
}

// keepFull takes whatever is given back, until stop is called.
func (v *volume) keepFull(t *testing.T) (stop func()) {
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
				if err := v.fill(); err != nil {
					t.Error(err)
				}
			}
		}
	}()
	stop = sync.OnceFunc(func() { close(done); <-ended })
	t.Cleanup(stop)
	return stop
}

// room is what is free on the volume, and its size.
func (v *volume) room(t *testing.T) (free, total int64) {
	t.Helper()
	var s syscall.Statfs_t
	if err := syscall.Statfs(v.path(""), &s); err != nil {
		t.Fatal(err)
	}
	return int64(s.Bavail) * s.Bsize, int64(s.Blocks) * s.Bsize
}

func (v *volume) mustFill(t *testing.T) {
	t.Helper()
	if err := v.fill(); err != nil {
		t.Fatal(err)
	}
}
