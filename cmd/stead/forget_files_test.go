package main

import (
	"context"
	"encoding/binary"
	"encoding/json"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/stead-dev/stead"
	"github.com/stead-dev/stead/internal/environment/host"
	"github.com/stead-dev/stead/internal/environment/workspace/manifest"
	"github.com/stead-dev/stead/internal/erasure"
	"github.com/stead-dev/stead/internal/journal"
	"github.com/stead-dev/stead/internal/postgres"
	"github.com/stead-dev/stead/internal/postgres/pgtest"
	"github.com/stead-dev/stead/internal/session"
	"github.com/stead-dev/stead/internal/sqlite"
)

// TestFilesOfWhatIsForgottenAreInNoCheckpoint: a memory that is a file of environments goes from those that are open, from what is left of others on
// the disk, and from every checkpoint, of copies and of subagents' sessions too; when its blobs are old enough the certificate follows, and
// nothing in the data directory has it.
func TestFilesOfWhatIsForgottenAreInNoCheckpoint(t *testing.T) {
	needComputer(t)
	const word, pattern = "Quetzalcoatlus", "Quetzal.oatlus" // commands stay
	for name, database := range map[string]string{"SQLite": "", "PostgreSQL": pgtest.URL(t)} {
		t.Run(name, func(t *testing.T) {
			n := openOn(t, database)
			s := &shower{T: t, n: n, store: idOf(must(t, n, "POST", "/v1/memory_stores", `{"name":"notes"}`))}
			secret := s.add("The salary of Ada is known to " + word + ".")
			other := s.add("The salary of Bob is seventy.")
			run := func(command string) string {
				arguments, _ := json.Marshal(map[string]string{"command": command})
				return "Call shell with " + string(arguments)
			}
			begin := func(text string) string {
				t.Helper()
				input, _ := json.Marshal(text + "\nSay ok")
				id := idOf(must(t, n, "POST", "/v1/agents/sessions", `{"environment":{"type":"openai_hosted"},"agent":{"model":"mine","multi_agent":{"enabled":true},"tools":[{"type":"environment"},{"type":"memory",
					"memory_stores":[{"id":"`+s.store+`","access":"read_write","path":"memory/team"}],"scope":"project"}]},"input":`+string(input)+`}`))
				idle(t, n, id)
				return id
			}
			again := func(id, command, want string) {
				t.Helper()
				input, _ := json.Marshal(run(command))
				ask(t, n, "POST", "/v1/agents/sessions/"+id+"/events", `{"events":[{"type":"agent.session.input.message","input":`+string(input)+`}]}`)
				comes(t, want, func() string { return itemsOf(t, n, id) })
				idle(t, n, id)
			}
			sub, _ := json.Marshal(run("echo 1 > work"))
			sessions := map[string]string{
				"open": begin(run("echo 1 > work")), "suspended": begin(run("echo 1 > work")), "a subagent": begin(`Call create_subagent with {"message":` + string(sub) + `}`),
			}
			for _, id := range sessions {
				again(id, "echo 2 >> work; grep -c "+pattern+" memory/team/"+secret+".md", `"output":"1`)
			}
			sessions["a copy"] = idOf(must(t, n, "POST", "/v1/agents/sessions/"+sessions["suspended"]+"/fork", `{}`))
			restart := func() { // which suspends what is open
				t.Helper()
				n.stop()
				var err error
				if n, err = openNode(t.Context(), n.cfg, n.log); err != nil {
					t.Fatal(err)
				}
				t.Cleanup(n.stop)
				s.n = n
			}
			restart()
			again(sessions["open"], "sleep 300 > /dev/null 2>&1 & echo third $((2 + 1))", "third 3")
			if found := holding(t, n.cfg.Data, word); found < 3 {
				t.Fatalf("%d files have it before", found)
			}
			erase := wireErased{ID: idOf(must(t, n, "POST", "/v1/erasures", `{"memory_store_id":"`+s.store+`","memory_id":"`+secret+`"}`))}
			comes(t, "stands in sessions that were shown it: 4 that are too young", func() string { return must(t, n, "GET", "/v1/erasures/"+erase.ID, "") })
			if found := holding(t, filepath.Join(n.cfg.Data, host.EnvironmentsDir), word); found > 0 {
				t.Errorf("%d files of workspaces have it", found)
			}
			for _, id := range sessions {
				again(id, "grep -rl "+pattern+" . | wc -l; grep -c seventy memory/team/"+other+".md; cat work", "0\\n1\\n1\\n2")
			}
			n.stop()
			older(t, n.cfg.Data, database)
			restart()
			done := comes(t, `"status":"`+erasure.Completed+`"`, func() string { return must(t, n, "GET", "/v1/erasures/"+erase.ID, "") })
			if err := json.Unmarshal([]byte(done), &erase); err != nil {
				t.Fatal(err)
			}
			if c := erase.open(t); c.Erased.ShownSessions != 4 || c.Erased.ShownFiles < 8 || len(c.Shown) != 4 {
				t.Errorf("the certificate says %+v", c)
			}
			n.stop()
			if found := holding(t, n.cfg.Data, word); found > 0 {
				t.Errorf("%d files have it in the end", found)
			}
		})
	}
}

// holding is how many files below a directory have a word, those of packs in blobs unpacked.
func holding(t *testing.T, dir, word string) (found int) {
	t.Helper()
	u, err := manifest.NewUnpacker(1)
	if err != nil {
		t.Fatal(err)
	}
	defer u.Close()
	err = filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
		if err != nil || !d.Type().IsRegular() {
			return err
		}
		data, err := os.ReadFile(path)
		if os.IsNotExist(err) {
			return nil
		}
		if magic := "steadWP"; strings.HasPrefix(string(data), magic) {
			size, _ := binary.Uvarint(data[len(magic)+2:])
			if data, err = u.Unpack(data, int(size), nil); err != nil {
				return err
			}
		}
		if strings.Contains(string(data), word) {
			t.Log(path)
			found++
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return found
}

// older makes what a server that is stopped has dropped two hours older.
func older(t *testing.T, data, url string) {
	t.Helper()
	const age = 2 * time.Hour
	var store database
	var err error
	if url != "" {
		store, err = postgres.Open(t.Context(), url, postgres.Options{})
	} else {
		store, err = sqlite.Open(t.Context(), filepath.Join(data, sqliteFile), sqlite.Options{})
	}
	if err != nil {
		t.Fatal(err)
	}
	defer store.Close()
	ctx := context.Background()
	heads, err := store.Heads(ctx, stead.DefaultProject, journal.Query{Limit: 100})
	if err != nil {
		t.Fatal(err)
	}
	for _, h := range heads {
		events, err := store.Read(ctx, h.Key, journal.ReadOptions{})
		if err != nil {
			t.Fatal(err)
		}
		var changes []journal.Change
		for _, e := range events {
			s, ok, err := session.StoredBy(e)
			if err != nil || !ok || s.Dropped.At == 0 {
				continue
			}
			s.Dropped.At -= age.Milliseconds()
			next, err := session.WithStored(e, s)
			if err != nil {
				t.Fatal(err)
			}
			changes = append(changes, journal.Change{Seq: e.Seq, Old: e.Data, New: next.Data})
		}
		if err := store.Rewrite(ctx, h.Key, changes); err != nil {
			t.Fatal(err)
		}
	}
	then := time.Now().Add(-age)
	err = filepath.WalkDir(filepath.Join(data, blobDir), func(path string, d fs.DirEntry, err error) error {
		if err != nil || !d.Type().IsRegular() {
			return err
		}
		return os.Chtimes(path, then, then)
	})
	if err != nil {
		t.Fatal(err)
	}
}
