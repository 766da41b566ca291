package runner_test

import (
	"bytes"
	"context"
	"errors"
	"io"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/stead-dev/stead"
	"github.com/stead-dev/stead/internal/environment"
	"github.com/stead-dev/stead/internal/runner"
	"github.com/stead-dev/stead/internal/session"
)

// expireAfter is how long the tests' operator keeps workspaces.
const expireAfter = 5 * time.Hour

func expiring(after time.Duration) func(*node) {
	return with(func(c *runner.Config) { c.EnvironmentExpire = after })
}

// isExpired checks that an answer says so.
func isExpired(t *testing.T, err error) {
	t.Helper()
	if e, ok := errors.AsType[*stead.Error](err); !ok || e.Kind != stead.KindConflict || e.Code != "environment_expired" || e.Hint == "" {
		t.Errorf("the answer is %v", err)
	}
}

// An environment that nobody used for as long as the operator keeps them: its files go, whoever asks for
// them is told, artifacts stay, and so do the conversation and its copies.
func TestEnvironmentExpires(t *testing.T) {
	h := newComputers(nil)
	m := script(calls("run", echoHi), reply("one"), calls("run", echoHi), reply("two"), calls("run", echoHi), reply("three"))
	bubble(t, func(t *testing.T, n *node) {
		ctx := context.Background()
		id := n.compute("")
		env := session.EnvironmentID(id)
		part, err := n.cfg.Blobs.Put(ctx, n.key(id), []byte("kept"))
		if err != nil {
			t.Fatal(err)
		}
		h.mu.Lock()
		h.next = []environment.Published{{Path: "/workspace/outputs/a", Size: 4, Digest: "aa", Parts: []stead.Text{{Digest: part, Bytes: 4}}}}
		h.mu.Unlock()
		n.send(id, says("go"))
		n.idle(id)
		time.Sleep(time.Hour)
		put := []byte("a file of the workspace")
		if _, err := n.PutFile(ctx, me, env, "/workspace/given", put); err != nil {
			t.Fatal(err)
		}
		time.Sleep(expireAfter - time.Hour)
		if info, err := n.Environment(ctx, me, env); err != nil || info.Status != session.EnvironmentIsSuspended || info.Checkpoint == nil {
			t.Fatalf("before its time: %+v, %v", info, err)
		}
		time.Sleep(2 * time.Hour)
		info, err := n.Environment(ctx, me, env)
		if err != nil || info.Status != session.EnvironmentIsExpired || info.Checkpoint != nil || info.Usage.Commands == 0 {
			t.Errorf("after its time: %+v, %v", info, err)
		}
		if got := n.course(id); !slices.Equal(got[len(got)-4:], []string{"suspend", "suspended", "expire", "expired"}) || !slices.Contains(h.log(), "forget") {
			t.Errorf("course %q, done %q", got, h.log())
		}
		if n.Holding() != 0 {
			t.Error("the session is still held")
		}
		_, err = n.Files(ctx, me, env, environment.ListQuery{Limit: 10})
		isExpired(t, err)
		err = n.ReadFile(ctx, me, env, "/workspace/given", io.Discard)
		isExpired(t, err)
		_, err = n.PutFile(ctx, me, env, "/workspace/more", nil)
		isExpired(t, err)
		d, err := n.cfg.Blobs.Put(ctx, stead.SessionKey{Project: "other", Session: "sess_other"}, put)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := n.cfg.Blobs.Get(ctx, n.key(id), d); stead.KindOf(err) != stead.KindNotFound {
			t.Errorf("the workspace's blob is still there: %v", err)
		}
		content := func(of stead.SessionID) string {
			page, err := n.Artifacts(ctx, me, of, session.PageQuery{})
			if err != nil || len(page.Data) != 1 {
				t.Fatalf("artifacts %+v, %v", page, err)
			}
			var out bytes.Buffer
			if err := n.ArtifactContent(ctx, me, of, page.Data[0].ID, &out); err != nil {
				t.Error(err)
			}
			return out.String()
		}
		if got := content(id); got != "kept" {
			t.Errorf("the artifact is %q", got)
		}
		first := n.items(id)
		n.send(id, says("again"))
		n.idle(id)
		if got := strings.Join(seen(m.last()), "|"); !strings.Contains(got, "has expired: nobody used it") {
			t.Errorf("the agent was told %q", got)
		}
		fork, err := n.Fork(ctx, me, id, session.ForkRequest{})
		if err != nil {
			t.Fatal(err)
		}
		if info, err := n.Environment(ctx, me, session.EnvironmentID(fork.ID)); err != nil || info.Status != session.EnvironmentIsExpired || content(fork.ID) != "kept" {
			t.Errorf("a copy: %+v, %v", info, err)
		}
		var file bytes.Buffer
		if err := n.Export(ctx, me, id, &file); err != nil {
			t.Fatal(err)
		}
		foreign, err := n.Import(ctx, me, &file)
		if err != nil || len(n.items(foreign.ID)) <= len(first) || content(foreign.ID) != "kept" {
			t.Errorf("an import: %+v, %v", foreign, err)
		}
	}, withModel(m), withComputers(h), expiring(expireAfter))
}

// A copy of what was before the end has no workspace either: it is gone.
func TestCopyOfThePastOfAnExpiredEnvironment(t *testing.T) {
	m := script(calls("run", echoHi), reply("one"), reply("two"))
	bubble(t, func(t *testing.T, n *node) {
		ctx := context.Background()
		id := n.compute("go")
		n.idle(id)
		if _, err := n.PutFile(ctx, me, session.EnvironmentID(id), "/workspace/given", []byte("given")); err != nil {
			t.Fatal(err)
		}
		page, err := n.Items(ctx, me, id, session.ItemQuery{})
		if err != nil || len(page.Data) == 0 {
			t.Fatalf("items %+v, %v", page, err)
		}
		time.Sleep(2 * expireAfter)
		fork, err := n.Fork(ctx, me, id, session.ForkRequest{Item: page.Data[0].ItemID()})
		if err != nil {
			t.Fatal(err)
		}
		if info, err := n.Environment(ctx, me, session.EnvironmentID(fork.ID)); err != nil || info.Status != session.EnvironmentIsExpired {
			t.Errorf("the copy: %+v, %v", info, err)
		}
	}, withModel(m), withComputers(newComputers(nil)), expiring(expireAfter))
}

// What is made beforehand and never attached expires, and can't be attached then.
func TestPrewarmedEnvironmentExpires(t *testing.T) {
	bubble(t, func(t *testing.T, n *node) {
		ctx := context.Background()
		env := n.prewarm()
		time.Sleep(expireAfter + time.Minute)
		if info, err := n.Environment(ctx, me, env.ID); err != nil || info.Status != session.EnvironmentIsExpired {
			t.Fatalf("%+v, %v", info, err)
		}
		_, err := n.Create(ctx, me, session.CreateRequest{Override: specOf(), Input: message("go"), Environment: &session.EnvironmentPlan{Attach: env.ID}})
		isExpired(t, err)
	}, withModel(script(reply("done"))), withComputers(newComputers(nil)), expiring(expireAfter))
}

// An expiry that fails is tried again until it is done, and by default there is none.
func TestExpiryIsTriedUntilItIsDone(t *testing.T) {
	h := newComputers(nil)
	for range 2 * stead.MaxEnvironmentAttempts {
		h.fails["forget"] = append(h.fails["forget"], stead.Errorf(stead.KindUnavailable, "the disk is away"))
	}
	bubble(t, func(t *testing.T, n *node) {
		id := n.compute("go")
		n.idle(id)
		time.Sleep(3 * expireAfter)
		failed := payloads[session.EnvironmentFailed](t, n, id, session.KindEnvironmentFailed)
		if len(failed) != 2*stead.MaxEnvironmentAttempts || n.count(id, session.KindEnvironmentExpired) != 1 {
			t.Errorf("%d failures, course %q", len(failed), n.course(id))
		}
	}, withModel(script(calls("run", echoHi), reply("done"))), withComputers(h), expiring(expireAfter))
	bubble(t, func(t *testing.T, n *node) {
		id := n.compute("go")
		n.idle(id)
		time.Sleep(100 * time.Hour)
		if info, err := n.Environment(context.Background(), me, session.EnvironmentID(id)); err != nil || info.Status != session.EnvironmentIsSuspended {
			t.Errorf("nobody asked for an end: %+v, %v", info, err)
		}
	}, withModel(script(calls("run", echoHi), reply("done"))), withComputers(newComputers(nil)))
}
