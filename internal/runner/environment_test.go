package runner_test

import (
	"bytes"
	"context"
	"errors"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stead-dev/stead"
	"github.com/stead-dev/stead/internal/agent"
	"github.com/stead-dev/stead/internal/environment"
	"github.com/stead-dev/stead/internal/session"
	"github.com/stead-dev/stead/internal/tool"
	"github.com/stead-dev/stead/internal/usage/meter"
)

const echoHi = `{"command":"echo hi"}`

func TestEnvironmentFromNothingToSuspended(t *testing.T) {
	h := newComputers(nil)
	h.took["prepare"], h.took["save"] = 3*time.Second, 2*time.Second
	m := script(after(5*time.Second, calls("run", echoHi)), reply("done"))
	bubble(t, func(t *testing.T, n *node) {
		begun := time.Now()
		id := n.compute("go")
		time.Sleep(time.Second)
		if got := h.log(); !slices.Equal(got, []string{"prepare"}) || len(m.asked()) != 1 {
			t.Errorf("while the model thinks: %q, %d calls of the model", got, len(m.asked()))
		}
		time.Sleep(5 * time.Second)
		if got := h.log(); !slices.Equal(got, []string{"prepare", "open", "save"}) || n.turns(id)[0].Status != session.TurnInProgress {
			t.Errorf("before the checkpoint: %q, the turn is %s", got, n.turns(id)[0].Status)
		}
		n.idle(id)
		if took := time.Since(begun); took != 7*time.Second {
			t.Errorf("the turn took %s: 5s for the model, 2s for the checkpoint, and preparing beside it", took)
		}
		if n.Holding() != 1 || h.resident(n.key(id)) == nil {
			t.Errorf("%d sessions are held, resident: %v", n.Holding(), h.resident(n.key(id)) != nil)
		}
		time.Sleep(stead.EnvironmentIdle - 3*time.Second)
		if n.count(id, session.KindEnvironmentSuspended) != 0 {
			t.Errorf("it was suspended too early: %q", n.course(id))
		}
		time.Sleep(4 * time.Second)
		want := []string{
			"prepare", "prepared", "open", "connected", "tool.called", "tool.returned", "save", "checkpointed", "turn.completed", "suspend", "suspended",
		}
		if got := n.course(id); !slices.Equal(got, want) {
			t.Errorf("course %q\nwant   %q", got, want)
		}
		if n.Holding() != 0 || h.resident(n.key(id)) != nil {
			t.Errorf("%d sessions are held, resident: %v", n.Holding(), h.resident(n.key(id)) != nil)
		}
	}, withModel(m), withComputers(h))
}

func TestEnvironmentGoesOnWhereItWasSuspended(t *testing.T) {
	h := newComputers(nil)
	m := script(calls("run", echoHi), reply("one"), calls("look", `{}`), reply("two"))
	bubble(t, func(t *testing.T, n *node) {
		id := n.compute("go")
		n.idle(id)
		time.Sleep(2 * stead.EnvironmentIdle)
		n.send(id, says("again"))
		n.idle(id)
		if got := seen(m.last()); !slices.Contains(got, "output Exit code 0 after 0.0 s. Output:\n|echo hi") {
			t.Errorf("the model saw %q", got)
		}
		if strings.Contains(strings.Join(seen(m.last()), "|"), "was reset") {
			t.Errorf("a suspension is told as a reset: %q", seen(m.last()))
		}
	}, withModel(m), withComputers(h))
}

func TestEnvironmentActionsAreRetriedAndAtLastTold(t *testing.T) {
	busy := stead.Errorf(stead.KindUnavailable, "the host is busy")
	for _, tc := range []struct {
		action string
		err    error
		tries  int
		want   string // in what the model is told; "" for a turn that simply ends
	}{
		{"prepare", busy, stead.MaxEnvironmentAttempts, "could not be prepared: "},
		{"open", busy, stead.MaxEnvironmentAttempts, "could not be opened: "},
		{"open", stead.Errorf(stead.KindNotImplemented, "this node has no driver"), 1, "could not be opened: this node has no driver"},
		{"save", busy, stead.MaxEnvironmentAttempts, ""},
		{"save", stead.Errorf(stead.KindTooLarge, "too many files"), 1, ""},
	} {
		t.Run(tc.action+" "+tc.err.Error(), func(t *testing.T) {
			h := newComputers(nil)
			for range tc.tries {
				h.fails[tc.action] = append(h.fails[tc.action], tc.err)
			}
			m := script(calls("run", echoHi), reply("done"))
			bubble(t, func(t *testing.T, n *node) {
				begun := time.Now()
				id := n.compute("go")
				n.idle(id)
				failed := payloads[session.EnvironmentFailed](t, n, id, session.KindEnvironmentFailed)
				if len(failed) != tc.tries {
					t.Fatalf("%d failures, want %d\n%q", len(failed), tc.tries, n.course(id))
				}
				for i, f := range failed {
					if last := i == len(failed)-1; (f.RetryAt == 0) != last {
						t.Errorf("failure %d is tried again at %d", i, f.RetryAt)
					}
				}
				if tc.tries > 1 && time.Since(begun) == 0 {
					t.Error("the tries came without any pause")
				}
				if n.onlyTurn(id).Status != session.TurnComplete {
					t.Errorf("the turn is %s", n.onlyTurn(id).Status)
				}
				if told := strings.Join(seen(m.last()), "\n"); !strings.Contains(told, tc.want) {
					t.Errorf("the model was told %q", told)
				}
			}, withModel(m), withComputers(h))
		})
	}
}

// TestAFailedCheckpointIsTold: by the turn's events, by the environment, and to the agent, until one succeeds.
func TestAFailedCheckpointIsTold(t *testing.T) {
	h := newComputers(nil)
	for range stead.MaxEnvironmentAttempts {
		h.fails["save"] = append(h.fails["save"], stead.Errorf(stead.KindUnavailable, "the blob store is away"))
	}
	m := script(calls("run", echoHi), reply("done"), calls("run", echoHi), reply("again"), reply("third"))
	bubble(t, func(t *testing.T, n *node) {
		problem := func(id stead.SessionID) string {
			info, err := n.Environment(context.Background(), me, session.EnvironmentID(id))
			if err != nil {
				t.Fatal(err)
			}
			if info.Error == nil {
				return ""
			}
			return info.Error.Code + " " + info.Error.Message
		}
		id := n.compute("go")
		n.idle(id)
		if got := problem(id); got != "checkpoint_failed The workspace could not be stored: the blob store is away" {
			t.Errorf("the environment's error is %q", got)
		}
		all, _ := n.replay(id)
		told, ended := strings.Index(all, session.CodeCheckpoint), strings.Index(all, "agent.session.turn.completed")
		if told < 0 || ended < told {
			t.Errorf("the stream tells of it at %d, and of the turn's end at %d", told, ended)
		}
		n.send(id, says("again"))
		n.idle(id)
		if got := strings.Join(seen(m.last()), "\n"); !strings.Contains(got, "could not be stored, although it was tried as often as is allowed (the blob store is away)") {
			t.Errorf("the agent was told %q", got)
		}
		if got := problem(id); got != "" {
			t.Errorf("after a checkpoint the environment's error is %q", got)
		}
		n.send(id, says("and now?"))
		n.idle(id)
		if got := strings.Join(seen(m.last()), "\n"); !strings.Contains(got, "the workspace is stored again") {
			t.Errorf("the agent was told %q", got)
		}
	}, withModel(m), withComputers(h))
}

// TestAResetTellsOfTheCheckpointThatFailed: what is restored is older than the last turn.
func TestAResetTellsOfTheCheckpointThatFailed(t *testing.T) {
	h := newComputers(nil)
	h.fails["save"] = []error{stead.Errorf(stead.KindTooLarge, "too many files")}
	m := script(calls("run", echoHi), reply("done"), calls("look", `{}`), reply("seen"))
	bubble(t, func(t *testing.T, n *node) {
		id := n.compute("go")
		n.idle(id)
		h.end(n.key(id))
		n.send(id, says("again"))
		n.idle(id)
		got := strings.Join(seen(m.last()), "\n")
		for _, want := range []string{"the checkpoint before that had failed (too many files)", "what was changed later is missing", "- echo hi"} {
			if !strings.Contains(got, want) {
				t.Errorf("the agent was not told %q, but %q", want, got)
			}
		}
		if info, err := n.Environment(context.Background(), me, session.EnvironmentID(id)); err != nil || info.Error != nil {
			t.Errorf("after the reset: %+v, %v", info.Error, err)
		}
	}, withModel(m), withComputers(h))
}

// TestWhatCouldNotBeSavedIsSavedLater: the turn ends, and the workspace goes into the suspension.
func TestWhatCouldNotBeSavedIsSavedLater(t *testing.T) {
	h := newComputers(nil)
	h.fails["save"] = []error{stead.Errorf(stead.KindTooLarge, "full")}
	h.fails["suspend"] = []error{stead.Errorf(stead.KindTooLarge, "full")}
	bubble(t, func(t *testing.T, n *node) {
		id := n.compute("go")
		n.idle(id)
		time.Sleep(3 * stead.EnvironmentIdle)
		suspended := payloads[session.EnvironmentSuspended](t, n, id, session.KindEnvironmentSuspended)
		if len(suspended) != 1 || !slices.Equal(h.shelf.get(suspended[0].Checkpoint.Digest), []string{"echo hi"}) {
			t.Errorf("suspended %+v in %q", suspended, n.course(id))
		}
	}, withModel(script(calls("run", echoHi), reply("done"))), withComputers(h))
}

func TestShutdownSuspendsWhatIsResident(t *testing.T) {
	h := newComputers(nil)
	h.took["suspend"] = time.Second
	m := script(calls("run", echoHi), reply("done"), calls("look", `{}`), reply("again"))
	bubble(t, func(t *testing.T, n *node) {
		id := n.compute("go")
		n.idle(id)
		ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
		defer cancel()
		if err := n.Shutdown(ctx); err != nil {
			t.Fatal(err)
		}
		if n.count(id, session.KindEnvironmentSuspended) != 1 || n.count(id, session.KindRunnerRecovered) != 0 || h.resident(n.key(id)) != nil {
			t.Errorf("after the shutdown: %q", n.course(id))
		}
		n.start("node-2")
		n.send(id, says("again"))
		n.idle(id)
		connected := payloads[session.EnvironmentConnected](t, n, id, session.KindEnvironmentConnected)
		if len(connected) != 2 || connected[1].Reset != nil || connected[1].Node != "node-2" {
			t.Errorf("connected %+v", connected)
		}
	}, withModel(m), withComputers(h))
}

func TestShutdownWithoutTimeLeavesNothingResident(t *testing.T) {
	h := newComputers(nil)
	h.took["suspend"] = time.Hour
	bubble(t, func(t *testing.T, n *node) {
		id := n.compute("go")
		n.idle(id)
		ctx, cancel := context.WithTimeout(context.Background(), time.Second)
		defer cancel()
		if err := n.Shutdown(ctx); err != nil {
			t.Fatal(err)
		}
		if h.resident(n.key(id)) != nil || n.count(id, session.KindRunnerRecovered) != 1 {
			t.Errorf("it is left: %q", n.course(id))
		}
	}, withModel(script(calls("run", echoHi), reply("done"))), withComputers(h))
}

// TestAnotherNodeRecoversAnEnvironment: the agent is told what may be missing.
func TestAnotherNodeRecoversAnEnvironment(t *testing.T) {
	h := newComputers(nil)
	m := script(calls("run", `{"command":"make deploy"}`), reply("unreached"), reply("gave up"), calls("look", `{}`), reply("seen"))
	bubble(t, func(t *testing.T, n *node) {
		h.run = func(ctx context.Context, c tool.Call, b *computer) (tool.Result, error) {
			<-ctx.Done()
			return tool.Result{}, ctx.Err()
		}
		id := n.compute("go")
		time.Sleep(time.Second)
		n.Kill()
		if h.resident(n.key(id)) != nil {
			t.Error("a node that ends leaves its environment")
		}
		m.mu.Lock()
		m.answers = []answer{m.answers[0], calls("look", `{}`), reply("seen")}
		m.mu.Unlock()
		next := newComputers(h.shelf)
		n.store.Crash()
		n.cfg.Environments = next
		n.start("node-2")
		s := n.until(id, status(session.StatusRequiresAction))
		n.send(id, session.Input{Outcome: &session.OutcomeInput{RequestID: s.RequiredActions[0].RequestID, Decision: session.DecisionGiveUp}})
		n.idle(id)
		resets := payloads[session.EnvironmentConnected](t, n, id, session.KindEnvironmentConnected)
		if len(resets) != 2 || resets[1].Reset == nil || resets[1].Reset.Count != 1 || !slices.Equal(resets[1].Reset.Commands, []string{"make deploy"}) {
			t.Fatalf("connected %+v\n%q", resets, n.course(id))
		}
		told := seen(m.last())
		if !strings.Contains(told[len(told)-1], "was reset") || !strings.Contains(told[len(told)-1], "- make deploy") {
			t.Errorf("the model was told %q", told)
		}
	}, withModel(m), withComputers(h))
}

// TestZombie: a lease that was lost ends its own residence, and not the one that came after it, also
// where both are on one host.
func TestZombie(t *testing.T) {
	h := newComputers(nil)
	m := script(calls("run", echoHi), reply("done"), calls("run", echoHi), after(time.Minute, reply("done")))
	bubble(t, func(t *testing.T, n *node) {
		id := n.compute("go")
		n.idle(id)
		first := h.resident(n.key(id))
		n.second("node-2")
		n.store.Steal(n.key(id))
		n.send(id, says("again"))
		time.Sleep(30 * time.Second)
		now := h.resident(n.key(id))
		if now == nil || now == first {
			t.Fatalf("the second residence is not there: %q", n.course(id))
		}
		h.mu.Lock()
		drops := slices.Clone(h.drops)
		h.mu.Unlock()
		if !slices.Contains(drops, first.Next) || slices.Contains(drops, now.Next) {
			t.Errorf("dropped were %v; the residences are %d and %d", drops, first.Next, now.Next)
		}
		n.idle(id)
	}, withModel(m), withComputers(h))
}

// TestOpenThatEndsAfterItsLease: what a lost lease opened does not stay.
func TestOpenThatEndsAfterItsLease(t *testing.T) {
	h := newComputers(nil)
	bubble(t, func(t *testing.T, n *node) {
		n.cfg.Environments = deaf{h}
		n.Kill()
		n.start("node-1b")
		h.took["open"] = 10 * time.Second
		id := n.compute("go")
		time.Sleep(5 * time.Second)
		n.Kill()
		time.Sleep(10 * time.Second)
		if h.resident(n.key(id)) != nil {
			t.Errorf("it is resident, and nobody has it: %q", n.course(id))
		}
	}, withModel(script(calls("run", echoHi), reply("done"))), withComputers(h))
}

// deaf finishes what it began, whoever still wants it.
type deaf struct{ *computers }

func (d deaf) Open(_ context.Context, key stead.SessionKey, from environment.State) (environment.Opened, error) {
	return d.computers.Open(context.Background(), key, from)
}

func TestEnvironmentThatDies(t *testing.T) {
	h := newComputers(nil)
	m := script(calls("run", echoHi), reply("done"), calls("look", `{}`), reply("again"))
	bubble(t, func(t *testing.T, n *node) {
		id := n.compute("go")
		n.idle(id)
		h.end(n.key(id))
		synctest.Wait()
		if n.count(id, session.KindEnvironmentDisconnected) != 1 || n.Holding() != 0 {
			t.Errorf("%d held: %q", n.Holding(), n.course(id))
		}
		n.send(id, says("again"))
		n.idle(id)
		c := payloads[session.EnvironmentConnected](t, n, id, session.KindEnvironmentConnected)
		if len(c) != 2 || c[1].Reset == nil || !c[1].Reset.Kept || len(c[1].Reset.Commands) != 0 {
			t.Errorf("nothing was lost, and the reset is %+v", c[1].Reset)
		}
	}, withModel(m), withComputers(h))
}

// TestWhatWasUsedSurvivesACrash: of a server, and of an environment, before anything was stored. Nothing
// is counted twice when the workspace is stored after all.
func TestWhatWasUsedSurvivesACrash(t *testing.T) {
	h := newComputers(nil)
	m := script(calls("run", echoHi), after(time.Minute, reply("lost")), after(10*time.Second, calls("run", echoHi)), after(10*time.Minute, reply("done")))
	bubble(t, func(t *testing.T, n *node) {
		id := n.compute("go")
		used := func(when string, commands int64) {
			t.Helper()
			e, err := n.Environment(context.Background(), me, session.EnvironmentID(id))
			want := environment.Usage{Commands: commands, CPU: time.Duration(commands) * time.Second, EgressSentBytes: 10 * commands}
			if err != nil || e.Usage != want {
				t.Errorf("%s: %+v, %v, want %+v", when, e.Usage, err, want)
			}
		}
		time.Sleep(10 * time.Second)
		n.Kill()
		n.start("node-1b")
		time.Sleep(time.Second)
		used("after the crash", 1)
		time.Sleep(2 * time.Minute)
		used("with the next command", 2)
		h.end(n.key(id))
		synctest.Wait()
		used("after the environment's death", 2)
		n.idle(id)
		used("at the end", 2)
		records, err := meter.Fold(n.key(id), n.events(id))
		if err != nil {
			t.Fatal(err)
		}
		var sent int64
		for _, r := range records {
			sent += r.SentBytes
		}
		if sent != 20 {
			t.Errorf("%d bytes are in usage records, want 20", sent)
		}
	}, withModel(m), withComputers(h))
}

func TestFilesAreThereBeforeTheNextCommand(t *testing.T) {
	h := newComputers(nil)
	m := script(calls("look", `{}`), reply("one"), calls("look", `{}`), reply("two"))
	bubble(t, func(t *testing.T, n *node) {
		ctx := context.Background()
		s, err := n.Create(ctx, me, session.CreateRequest{Override: specOf(), Environment: hosted()})
		if err != nil {
			t.Fatal(err)
		}
		env := session.EnvironmentID(s.ID)
		put := func(path string) {
			t.Helper()
			if f, err := n.PutFile(ctx, me, env, path, []byte(path)); err != nil || f.Size != int64(len(path)) {
				t.Fatalf("put %+v, %v", f, err)
			}
		}
		put("/workspace/a")
		n.send(s.ID, says("go"))
		n.idle(s.ID)
		put("/workspace/b")
		synctest.Wait()
		if got := h.log(); !slices.Equal(got, []string{"prepare", "open", "save", "save"}) {
			t.Errorf("done was %q", got)
		}
		n.send(s.ID, says("again"))
		n.idle(s.ID)
		if got := seen(m.last()); !slices.Contains(got, "output Exit code 0 after 0.0 s. Output:\n|file /workspace/a,file /workspace/b") {
			t.Errorf("the model saw %q", got)
		}
		page, err := n.Files(ctx, me, env, environment.ListQuery{Limit: 10})
		if err != nil || len(page.Files) != 2 {
			t.Errorf("files %+v, %v", page, err)
		}
		_, err = n.PutFile(ctx, me, env, "/etc/passwd", nil)
		isKind(t, err, stead.KindInvalid)
		_, err = n.PutFile(ctx, me, "env_00000000000000000000000000000000", "/workspace/a", nil)
		isKind(t, err, stead.KindNotFound)
	}, withModel(m), withComputers(h))
}

// TestAFileThatCanNotBeThereIsGivenUp: it is taken while nobody knows, and told when it shows; a node that
// is lost in between changes nothing of that.
func TestAFileThatCanNotBeThereIsGivenUp(t *testing.T) {
	h := newComputers(nil)
	m := script(calls("run", echoHi), reply("one"), calls("look", `{}`), reply("two"))
	bubble(t, func(t *testing.T, n *node) {
		ctx := context.Background()
		s, err := n.Create(ctx, me, session.CreateRequest{Override: specOf(), Environment: hosted()})
		if err != nil {
			t.Fatal(err)
		}
		env := session.EnvironmentID(s.ID)
		for _, path := range []string{"/workspace/a", "/workspace/b"} {
			if _, err := n.PutFile(ctx, me, env, path, []byte("x")); err != nil {
				t.Fatal(err)
			}
		}
		_, err = n.PutFile(ctx, me, env, "/workspace/a/below", nil)
		isKind(t, err, stead.KindConflict) // one that waits is a file
		h.mu.Lock()
		h.taken = map[string]string{"/workspace/a": "a is a directory"}
		h.fails["open"] = []error{stead.Errorf(stead.KindUnavailable, "the store is away")}
		h.mu.Unlock()
		n.send(s.ID, says("go"))
		n.idle(s.ID)
		_, err = n.PutFile(ctx, me, env, "/workspace/a", nil)
		isKind(t, err, stead.KindConflict) // the environment is open and idle: it shows at once
		told := 0
		for _, c := range payloads[session.EnvironmentConnected](t, n, s.ID, session.KindEnvironmentConnected) {
			told += len(c.Refused)
		}
		info, err := n.Environment(ctx, me, env)
		if err != nil || told != 1 || len(info.Refused) != 1 || info.Refused[0].Path != "/workspace/a" || info.Refused[0].Reason != "a is a directory" {
			t.Errorf("told %d times, %+v, %v", told, info.Refused, err)
		}
		n.send(s.ID, says("again"))
		n.idle(s.ID)
		got := strings.Join(seen(m.last()), "\n")
		if strings.Count(got, "/workspace/a: a is a directory") != 1 || !strings.Contains(got, "file /workspace/b") || strings.Contains(got, "file /workspace/a") {
			t.Errorf("the model saw %q", got)
		}
		if c := n.count(s.ID, session.KindEnvironmentCheckpointed); c == 0 {
			t.Error("nothing was stored")
		}
	}, withModel(m), withComputers(h))
}

func TestArtifacts(t *testing.T) {
	h := newComputers(nil)
	bubble(t, func(t *testing.T, n *node) {
		ctx := context.Background()
		s, err := n.Create(ctx, me, session.CreateRequest{Override: specOf(), Environment: hosted()})
		if err != nil {
			t.Fatal(err)
		}
		var parts []stead.Text
		for _, text := range []string{"hello ", "world"} {
			d, err := n.cfg.Blobs.Put(ctx, n.key(s.ID), []byte(text))
			if err != nil {
				t.Fatal(err)
			}
			parts = append(parts, stead.Text{Digest: d, Bytes: len(text)})
		}
		h.next = []environment.Published{{Path: "/workspace/outputs/a", Size: 11, Digest: "aa", Parts: parts}, {Path: "/workspace/outputs/b", Digest: "bb"}}
		n.send(s.ID, says("go"))
		n.idle(s.ID)
		page, err := n.Artifacts(ctx, me, s.ID, session.PageQuery{Limit: 1})
		if err != nil || len(page.Data) != 1 || !page.HasMore || page.Data[0].Path != "/workspace/outputs/a" || page.Data[0].TurnID != n.onlyTurn(s.ID).ID {
			t.Fatalf("artifacts %+v, %v", page, err)
		}
		a := page.Data[0]
		if page, err = n.Artifacts(ctx, me, s.ID, session.PageQuery{After: a.ID}); err != nil || len(page.Data) != 1 || page.Data[0].Path != "/workspace/outputs/b" {
			t.Errorf("behind it %+v, %v", page, err)
		}
		var content bytes.Buffer
		if err := n.ArtifactContent(ctx, me, s.ID, a.ID, &content); err != nil || content.String() != "hello world" {
			t.Errorf("content %q, %v", content.String(), err)
		}
		if last := h.saves[len(h.saves)-1]; last.Publish != environment.OutputsDir || len(last.Known) != 0 {
			t.Errorf("the save was asked for %+v", last)
		}
		if err := n.DeleteArtifact(ctx, me, s.ID, a.ID); err != nil {
			t.Fatal(err)
		}
		_, err = n.Artifact(ctx, me, s.ID, a.ID)
		isKind(t, err, stead.KindNotFound)
		isKind(t, n.ArtifactContent(ctx, me, s.ID, a.ID, &content), stead.KindNotFound)
		n.send(s.ID, says("again"))
		n.idle(s.ID)
		if last := h.saves[len(h.saves)-1]; last.Known["/workspace/outputs/a"] != "aa" || last.Known["/workspace/outputs/b"] != "bb" || len(last.Known) != 2 {
			t.Errorf("the second save knows %v", last.Known)
		}
	}, withModel(script(calls("run", echoHi), reply("one"), calls("run", echoHi), reply("two"))), withComputers(h))
}

// prewarm makes an environment without a session.
func (n *node) prewarm() session.EnvironmentInfo {
	n.t.Helper()
	info, err := n.CreateEnvironment(context.Background(), me, session.EnvironmentRequest{Plan: *hosted()})
	if err != nil {
		n.t.Fatal(err)
	}
	return info
}

func TestOneOfTwoAttachesSucceeds(t *testing.T) {
	h := newComputers(nil)
	bubble(t, func(t *testing.T, n *node) {
		ctx := context.Background()
		for range 20 {
			env := n.prewarm()
			if env.Session != "" {
				t.Fatalf("prewarmed %+v", env)
			}
			synctest.Wait()
			attach := func(key string) (session.Session, error) {
				return n.Create(ctx, me, session.CreateRequest{
					Override: specOf(), Input: message("go"), Environment: &session.EnvironmentPlan{Attach: env.ID}, Key: key, Digest: key,
				})
			}
			keys := []string{env.ID + "a", env.ID + "b"}
			errs, made := make([]error, 2), make([]session.Session, 2)
			done := make(chan int)
			for i := range keys {
				go func() { made[i], errs[i] = attach(keys[i]); done <- i }()
			}
			<-done
			<-done
			won := slices.Index(errs, nil)
			if won < 0 || errs[1-won] == nil {
				t.Fatalf("two attaches: %v, %v", errs[0], errs[1])
			}
			isKind(t, errs[1-won], stead.KindConflict)
			n.idle(made[won].ID)
			again, err := attach(keys[won])
			if err != nil || again.ID != made[won].ID || n.count(again.ID, session.KindSessionCreated) != 1 {
				t.Errorf("the same request again: %s, %v", again.ID, err)
			}
			_, err = attach(keys[1-won])
			isKind(t, err, stead.KindConflict)
			if info, err := n.Environment(ctx, me, env.ID); err != nil || info.Session != made[won].ID {
				t.Errorf("environment %+v, %v", info, err)
			}
			var file bytes.Buffer // its journal begins before the session: an export is read all the same
			if err := n.Export(ctx, me, made[won].ID, &file); err != nil {
				t.Fatal(err)
			}
			if s, err := n.Import(ctx, me, &file); err != nil || !slices.Equal(n.items(s.ID), n.items(made[won].ID)) {
				t.Errorf("the import of a session that attached its environment: %+v, %v", s, err)
			}
		}
		_, err := n.Create(ctx, me, session.CreateRequest{Override: specOf(), Environment: &session.EnvironmentPlan{Attach: "env_nope"}})
		isKind(t, err, stead.KindInvalid)
	}, withModel(script(reply("done"))), withComputers(h))
}

func TestCopiesOfASessionWithAnEnvironment(t *testing.T) {
	h := newComputers(nil)
	m := script(calls("run", echoHi), reply("done"), calls("look", `{}`), reply("seen"), calls("look", `{}`), reply("seen"))
	bubble(t, func(t *testing.T, n *node) {
		ctx := context.Background()
		plan := hosted()
		kept := stead.SessionID("")
		plan.Seal = func(key stead.SessionKey) ([]byte, func(context.Context) error) {
			return []byte("sealed for " + key.Session), func(context.Context) error { kept = key.Session; return nil }
		}
		s, err := n.Create(ctx, me, session.CreateRequest{Override: specOf(), Input: message("go"), Environment: plan})
		if err != nil {
			t.Fatal(err)
		}
		if kept != s.ID {
			t.Errorf("what opens it was kept for %q", kept)
		}
		n.idle(s.ID)
		fork, err := n.Fork(ctx, me, s.ID, session.ForkRequest{})
		if err != nil {
			t.Fatal(err)
		}
		var file bytes.Buffer
		if err := n.Export(ctx, me, s.ID, &file); err != nil {
			t.Fatal(err)
		}
		foreign, err := n.Import(ctx, me, &file)
		if err != nil {
			t.Fatal(err)
		}
		for _, c := range []struct {
			id     stead.SessionID
			sealed bool
		}{{fork.ID, true}, {foreign.ID, false}} {
			n.send(c.id, says("again"))
			n.idle(c.id)
			from := h.opens[len(h.opens)-1]
			if (from.Setup.Sealed != nil) != c.sealed || (from.Setup.Owner == s.ID) != c.sealed || from.Residence != 0 {
				t.Errorf("the copy was opened from %+v", from)
			}
			if n.count(c.id, session.KindEnvironmentCopied) != 1 || n.count(c.id, session.KindEnvironmentConnected) != 2 {
				t.Errorf("course %q", n.course(c.id))
			}
			if got := seen(m.last()); !slices.Contains(got, "output Exit code 0 after 0.0 s. Output:\n|echo hi") {
				t.Errorf("the model saw %q", got)
			}
		}
		if h.resident(n.key(s.ID)) == nil {
			t.Error("copying ended the original")
		}
	}, withModel(m), withComputers(h))
}

func TestDeletedSessionIsForgotten(t *testing.T) {
	h := newComputers(nil)
	bubble(t, func(t *testing.T, n *node) {
		id := n.compute("go")
		n.idle(id)
		if err := n.Delete(context.Background(), me, id); err != nil {
			t.Fatal(err)
		}
		synctest.Wait()
		if h.resident(n.key(id)) != nil || n.Holding() != 0 || !slices.Contains(h.log(), "forget") || slices.Contains(h.log(), "suspend") {
			t.Errorf("%d held, done was %q", n.Holding(), h.log())
		}
	}, withModel(script(calls("run", echoHi), reply("done"))), withComputers(h))
}

func TestServersInsideNeedAnEnvironment(t *testing.T) {
	inside := agent.Tool{Type: agent.ToolMCP, ServerLabel: "files", Transport: &agent.Transport{Type: agent.TransportStdio, Command: "serve"}}
	if !inside.InEnvironment() {
		t.Fatal("this is no server of an environment")
	}
	bubble(t, func(t *testing.T, n *node) {
		ctx := context.Background()
		_, err := n.Create(ctx, me, session.CreateRequest{Override: specOf(inside)})
		isKind(t, err, stead.KindInvalid)
		if e, ok := errors.AsType[*stead.Error](err); ok && e.Param != "agent.tools[0]" {
			t.Errorf("param %q", e.Param)
		}
		s := n.create("go")
		n.idle(s.ID)
		_, err = n.Update(ctx, me, s.ID, session.Updated{Tools: &[]agent.Tool{inside}})
		isKind(t, err, stead.KindInvalid)
		if _, err := n.Create(ctx, me, session.CreateRequest{Override: specOf(inside), Environment: hosted()}); err != nil {
			t.Error(err)
		}
	}, withModel(script(reply("done"))), withComputers(newComputers(nil)))
}
