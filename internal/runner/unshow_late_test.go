package runner_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"slices"
	"testing"
	"time"

	"github.com/stead-dev/stead"
	"github.com/stead-dev/stead/internal/blob"
	"github.com/stead-dev/stead/internal/policy"
	"github.com/stead-dev/stead/internal/runner"
	"github.com/stead-dev/stead/internal/session"
)

// TestAWorkspaceIsStoredWhileItsFilesAreTakenOut: a checkpoint that builds on one which was replaced meanwhile comes into the journal later, and is
// whole: what it needs is removed only when it was replaced as well.
func TestAWorkspaceIsStoredWhileItsFilesAreTakenOut(t *testing.T) {
	d := newDesks(t)
	bubble(t, func(t *testing.T, n *node) {
		*d.blobs = n.cfg.Blobs
		id := d.late(n)
		time.Sleep(20 * time.Minute)
		if all := d.checkpoints(n, id); all[len(all)-1]["code"] != "third" {
			t.Errorf("the last one has %v", all[len(all)-1])
		}
		for range 2 {
			if _, err := n.unshow(id); err != nil {
				t.Fatal(err)
			}
			time.Sleep(youngEnough)
		}
		d.nowhere(n, id)
	}, withModel(script(calling(3)...)), withMemory(&memories{}), with(func(c *runner.Config) { c.Environments, c.Foreign, c.EnvironmentIdle = d, asItIs, time.Minute }))
}

// TestACopyIsMadeWhileFilesAreTakenOut: of a session whose last checkpoint builds on one that was replaced before it came into the journal, a fork and an
// export are whole, and have nothing of what is forgotten.
func TestACopyIsMadeWhileFilesAreTakenOut(t *testing.T) {
	fork := func(n *node, id stead.SessionID) (session.Session, error) {
		return n.Fork(context.Background(), me, id, session.ForkRequest{})
	}
	export := func(n *node, id stead.SessionID) (session.Session, error) {
		var file bytes.Buffer
		if err := n.Export(context.Background(), me, id, &file); err != nil {
			return session.Session{}, err
		}
		return n.Import(context.Background(), me, &file)
	}
	for name, made := range map[string]func(*node, stead.SessionID) (session.Session, error){"fork": fork, "export": export} {
		t.Run(name, func(t *testing.T) {
			d := newDesks(t)
			bubble(t, func(t *testing.T, n *node) {
				*d.blobs = n.cfg.Blobs
				id := d.late(n)
				copied, err := made(n, id)
				if err != nil {
					t.Fatal(err)
				}
				all := d.checkpoints(n, copied.ID)
				if last := all[len(all)-1]; last["code"] != "third" || last["notes/mem_2.md"] != likes {
					t.Errorf("its last checkpoint has %v", last)
				}
				d.nowhere(n, copied.ID)
				for range 2 {
					if _, err := n.unshow(id); err != nil {
						t.Fatal(err)
					}
					time.Sleep(youngEnough)
				}
				d.nowhere(n, id)
			}, withModel(script(calling(3)...)), withMemory(&memories{}), with(func(c *runner.Config) { c.Environments, c.Foreign, c.EnvironmentIdle = d, asItIs, time.Minute }))
		})
	}
}

// late makes a session whose last checkpoint was being stored while those before it were replaced.
func (d *desks) late(n *node) stead.SessionID {
	n.t.Helper()
	id := d.work(n, "", first, second)
	n.status(id, session.EnvironmentIsSuspended)
	time.Sleep(youngEnough) // what is there is old enough to be removed
	d.meanwhile = func() {
		d.fail("save", stead.Errorf(stead.KindUnavailable, "not yet")) // so that a sweep comes with its end
		d.work(n, id, map[string]string{"code": "third"})
		d.takes("suspend", 10*time.Minute)
		time.Sleep(2 * time.Minute)
	}
	if _, err := n.unshow(id); stead.KindOf(err) != stead.KindConflict {
		n.t.Fatalf("while it is stored: %v", err)
	}
	n.status(id, session.EnvironmentIsSuspended)
	return id
}

// TestANodeThatDiesWhileItTakesOutFiles leaves it to another one, at whichever step: checkpoints stay whole, nothing is left, and on record is
// what there would be if it had not died; also of checkpoints that were stored apart at first.
func TestANodeThatDiesWhileItTakesOutFiles(t *testing.T) {
	for name, asked := range map[string]bool{"stored": false, "kept": true} {
		t.Run(name, func(t *testing.T) {
			onRecord := map[string]session.Redaction{}
			for at, more := 1, true; more; at++ {
				for _, late := range []bool{false, true} {
					var done session.Redaction
					done, more = dies(t, asked, at, late)
					onRecord[fmt.Sprintf("step %d, late %v", at, late)] = done
					if !more {
						onRecord["in one go"] = done
					}
				}
			}
			want := onRecord["in one go"]
			for when, done := range onRecord {
				if !slices.Equal(sequence(done), sequence(want)) || done.Files != want.Files || done.Blobs != want.Blobs {
					t.Errorf("%s: on record are events %v, %d files and %d blobs, and in one go %v, %d and %d", when, sequence(done), done.Files, done.Blobs, sequence(want), want.Files, want.Blobs)
				}
			}
		})
	}
}

// sequence is which events a redaction names, in order.
func sequence(done session.Redaction) (out []stead.Seq) {
	for _, e := range done.Events {
		out = append(out, e.Seq)
	}
	slices.Sort(out)
	return out
}

// dies has a node die at a step, and says what is on record in the end; false: it had no such step.
func dies(t *testing.T, asked bool, at int, late bool) (done session.Redaction, more bool) {
	d, steps := newDesks(t), &dying{late: late}
	d.steps = steps
	options := []func(*node){withModel(script(calling(2)...)), withMemory(&memories{}), with(func(c *runner.Config) {
		if steps.Full == nil {
			steps.Full = c.Store
		}
		c.Store, c.Environments, c.Foreign, c.EnvironmentIdle = steps, d, asItIs, time.Minute
	})}
	if asked {
		options = append(options, withPolicy(saves(policy.Needs{})))
	}
	bubble(t, func(t *testing.T, n *node) {
		*d.blobs = n.cfg.Blobs
		var id stead.SessionID
		if asked {
			id = d.approved(n, first, second)
		} else {
			id = d.work(n, "", first, second)
		}
		n.status(id, session.EnvironmentIsSuspended)
		steps.left = at
		for range 2 { // at once, and an hour later
			if _, err := n.unshow(id); err != nil && !errors.Is(err, errDied) {
				t.Fatalf("step %d, late %v: %v", at, late, err)
			}
			d.checkpoints(n, id) // are whole
			time.Sleep(youngEnough)
		}
		more = steps.left == 0
		steps.left = 0
		other := n.second("node-b")
		for range 3 {
			if _, err := other.unshow(id); err != nil {
				t.Fatalf("step %d, late %v: %v", at, late, err)
			}
			time.Sleep(youngEnough)
		}
		d.nowhere(n, id)
		all, err := n.Unshown(context.Background(), n.key(id), forgotten)
		if err != nil || len(all) != 1 {
			t.Fatalf("step %d, late %v: on record is %+v, %v", at, late, all, err)
		}
		done = all[0]
		for _, e := range n.events(id) {
			i := slices.IndexFunc(done.Events, func(was session.RedactedEvent) bool { return was.Seq == e.Seq })
			if i >= 0 && done.Events[i].SHA256 != blob.Digest(e.Data) {
				t.Errorf("step %d, late %v: event %d is another one than on record", at, late, e.Seq)
			}
		}
	}, options...)
	return done, more
}

// TestCheckpointsAreLookedThroughOnce: while old blobs are too young to be removed, no node reads checkpoints that were replaced, but those that came
// since.
func TestCheckpointsAreLookedThroughOnce(t *testing.T) {
	d := newDesks(t)
	bubble(t, func(t *testing.T, n *node) {
		*d.blobs = n.cfg.Blobs
		id := d.work(n, "", first, second)
		n.status(id, session.EnvironmentIsSuspended)
		look := func(n *node, when string, want int) {
			t.Helper()
			d.rewrites = 0
			if later, err := n.unshow(id); err != nil || later == 0 || d.rewrites != want {
				t.Errorf("%s: they are looked through %d times, and again in %v, %v", when, d.rewrites, later, err)
			}
		}
		look(n, "at first", 1)
		look(n, "again", 0)
		look(n.second("node-b"), "by another node", 0)
		d.work(n, id, map[string]string{"code": "third", "notes/mem_1.md": first["notes/mem_1.md"]})
		n.status(id, session.EnvironmentIsSuspended)
		look(n, "with another checkpoint", 1)
		look(n, "again with that", 0)
		time.Sleep(youngEnough)
		if later, err := n.unshow(id); err != nil || later != 0 {
			t.Errorf("in the end: %v, %v", later, err)
		}
		d.nowhere(n, id)
	}, withModel(script(calling(3)...)), withMemory(&memories{}), with(func(c *runner.Config) { c.Environments, c.Foreign, c.EnvironmentIdle = d, asItIs, time.Minute }))
}
