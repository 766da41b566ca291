package runner_test

import (
	"bytes"
	"context"
	"io"
	"slices"
	"strings"
	"testing"

	"github.com/stead-dev/stead"
	"github.com/stead-dev/stead/internal/journal"
	"github.com/stead-dev/stead/internal/policy"
	"github.com/stead-dev/stead/internal/runner"
	"github.com/stead-dev/stead/internal/session"
)

// conversation makes a session of three turns with a large text in each.
func (n *node) conversation() stead.SessionID {
	id := n.create("Say one\n"+filled("asked one "), mcpServer()).ID
	n.idle(id)
	for _, word := range []string{"two", "three"} {
		n.send(id, says("Say "+word+"\nCall count with {}\n"+filled("asked "+word+" ")))
		n.idle(id)
	}
	return id
}

func TestForkAtAnItem(t *testing.T) {
	bubble(t, func(t *testing.T, n *node) {
		ctx := context.Background()
		id := n.conversation()
		page, err := n.Items(ctx, me, id, session.ItemQuery{})
		if err != nil {
			t.Fatal(err)
		}
		whole := n.items(id)
		fork, err := n.Fork(ctx, me, id, session.ForkRequest{Item: page.Data[1].ItemID(), Metadata: map[string]string{"of": "one"}})
		if err != nil {
			t.Fatal(err)
		}
		if fork.Status != session.StatusIdle || fork.ForkedFrom == nil || fork.ForkedFrom.Session != id || fork.Metadata["of"] != "one" {
			t.Errorf("fork %+v", fork)
		}
		if got := n.items(fork.ID); !slices.Equal(got, whole[:2]) {
			t.Errorf("items %.40q", got)
		}
		if err := n.Delete(ctx, me, id); err != nil { // a fork has its own blobs
			t.Fatal(err)
		}
		n.send(fork.ID, says("Say four"))
		n.idle(fork.ID)
		got := n.items(fork.ID)
		if len(got) != 4 || got[0] != whole[0] || got[3] != "assistant completed: four" {
			t.Errorf("items %.40q", got)
		}
	})
}

func TestForkOfEverythingAndOfNothing(t *testing.T) {
	bubble(t, func(t *testing.T, n *node) {
		ctx := context.Background()
		id := n.conversation()
		fork, err := n.Fork(ctx, me, id, session.ForkRequest{})
		if err != nil {
			t.Fatal(err)
		}
		if got, want := n.items(fork.ID), n.items(id); !slices.Equal(got, want) {
			t.Errorf("items %.40q", got)
		}
		blobs := n.cfg.Blobs.(*memBlobs).count()
		if _, err = n.Fork(ctx, me, id, session.ForkRequest{Item: "msg_x_1_0"}); err == nil {
			t.Error("a fork at an item that is not there")
		}
		if got := n.cfg.Blobs.(*memBlobs).count(); got != blobs {
			t.Errorf("%d blobs after %d", got, blobs)
		}
	})
}

func TestExportAndImportIntoAnotherNode(t *testing.T) {
	var file bytes.Buffer
	var want []string
	bubble(t, func(t *testing.T, n *node) {
		id := n.conversation()
		want = n.items(id)
		if err := n.Export(context.Background(), me, id, &file); err != nil {
			t.Fatal(err)
		}
	})
	m := script(reply("welcome"))
	bubble(t, func(t *testing.T, n *node) {
		bob := stead.Principal{Project: "bobs", Kind: stead.PrincipalUser, ID: "bob"}
		s, err := n.Import(context.Background(), bob, bytes.NewReader(file.Bytes()))
		if err != nil || s.Status != session.StatusIdle || s.ForkedFrom == nil || s.ForkedFrom.How != "import" {
			t.Fatalf("session %+v, %v", s, err)
		}
		if _, err := n.Get(context.Background(), me, s.ID); stead.KindOf(err) != stead.KindNotFound {
			t.Errorf("another project sees the import: %v", err)
		}
		if s, err = n.Import(context.Background(), me, bytes.NewReader(file.Bytes())); err != nil {
			t.Fatal(err)
		}
		if got := n.items(s.ID); !slices.Equal(got, want) {
			t.Errorf("items %.40q\nwant  %.40q", got, want)
		}
		n.send(s.ID, says("hello"))
		n.idle(s.ID)
		got := seen(m.last())
		if got[0] != "user: "+strings.TrimPrefix(want[0], "user completed: ") {
			t.Errorf("the model saw %.40q", got)
		}
		paired(t, m.asked())
	}, withModel(m))
}

// TestImportOfGarbage: an export that was cut off or changed anywhere makes nothing.
func TestImportOfGarbage(t *testing.T) {
	var file bytes.Buffer
	bubble(t, func(t *testing.T, n *node) {
		id := n.conversation()
		if err := n.Export(context.Background(), me, id, &file); err != nil {
			t.Fatal(err)
		}
		before := n.cfg.Blobs.(*memBlobs).count()
		whole := file.String()
		lines := strings.SplitAfter(strings.TrimSuffix(whole, "\n"), "\n")
		blob := strings.Index(whole, `{"blob"`)
		if blob < 0 {
			t.Fatalf("no blob in %.2000s", whole[len(whole)-2000:])
		}
		broken := map[string]string{
			"nothing": "", "no export": "hello\n", "another format": strings.Replace(whole, "stead.session", "other", 1),
			"cut in a line": whole[:len(whole)-100], "a line twice": strings.Join(append(lines[:3:3], lines[2:]...), ""),
			"more behind": whole + "{}\n", "a changed blob": whole[:blob+500] + "AAAAAAAA" + whole[blob+508:],
		}
		for i := range lines {
			broken["only "+string(rune('a'+i%26))+strings.Repeat("+", i/26)] = strings.Join(lines[:i], "")
		}
		for name, text := range broken {
			if text == whole {
				t.Fatalf("%s: nothing is broken", name)
			}
			if s, err := n.Import(context.Background(), me, strings.NewReader(text)); err == nil {
				t.Errorf("%s: became session %s", name, s.ID)
			} else if stead.KindOf(err) != stead.KindInvalid {
				t.Errorf("%s: %v is of kind %s", name, err, stead.KindOf(err))
			}
		}
		heads, err := n.store.Heads(context.Background(), me.Project, journal.Query{})
		if got := n.cfg.Blobs.(*memBlobs).count(); got != before || len(heads) != 1 || err != nil {
			t.Errorf("%d blobs after %d, %d sessions, %v", got, before, len(heads), err)
		}
	})
}

// TestImportWhoseAcknowledgementWasLost: an import whose acknowledgement was lost keeps its blobs, as its session exists.
func TestImportWhoseAcknowledgementWasLost(t *testing.T) {
	bubble(t, func(t *testing.T, n *node) {
		ctx := context.Background()
		id := n.create("Say one\n" + filled("asked ")).ID
		n.idle(id)
		want := n.items(id)
		n.store.FailAfter(1)
		_, err := n.Fork(ctx, me, id, session.ForkRequest{})
		heads, herr := n.store.Heads(ctx, me.Project, journal.Query{})
		if herr != nil {
			t.Fatal(herr)
		}
		for _, h := range heads {
			if got := n.items(h.Key.Session); !slices.Equal(got, want) {
				t.Errorf("session %s has items %.60q (fork said %v)", h.Key.Session, got, err)
			}
		}
	})
}

// TestSessionsInMemoryAreBounded: what forks, exports and imports hold is given back, and an import that
// grows beyond what is left is refused with a time to come again, and leaves nothing.
func TestSessionsInMemoryAreBounded(t *testing.T) {
	bubble(t, func(t *testing.T, n *node) {
		ctx := context.Background()
		id := n.create("go").ID
		n.idle(id)
		var file bytes.Buffer
		for range 3 {
			file.Reset()
			if err := n.Export(ctx, me, id, &file); err != nil {
				t.Fatal(err)
			}
			if _, err := n.Fork(ctx, me, id, session.ForkRequest{}); err != nil {
				t.Fatal(err)
			}
		}
		// Imports that wait for their clients.
		stopped, stop := context.WithCancel(ctx)
		defer stop()
		ended := make(chan error)
		for range 100 {
			go func() {
				_, err := n.Import(ctx, me, &slow{ctx: stopped, bytes: 64 << 10})
				ended <- err
			}()
		}
		const fit = 16 // a line, and what is decoded of it
		for range 100 - fit {
			isKind(t, <-ended, stead.KindLimited)
		}
		_, err := n.Import(ctx, me, bytes.NewReader(file.Bytes()))
		isKind(t, err, stead.KindLimited)
		stop()
		for range fit {
			isKind(t, <-ended, stead.KindUnavailable)
		}
		if _, err := n.Import(ctx, me, &file); err != nil {
			t.Errorf("when all are done: %v", err)
		}
	}, withModel(script(reply("done"))), with(func(c *runner.Config) { c.WholeBytes = 2 << 20 }))
}

// slow is a line that does not end: so many bytes of it come at once, the next ones when ctx ends.
type slow struct {
	ctx   context.Context
	bytes int
}

func (s *slow) Read(b []byte) (int, error) {
	if s.bytes <= 0 {
		<-s.ctx.Done()
		return 0, io.ErrUnexpectedEOF
	}
	n := min(len(b), s.bytes)
	for i := range b[:n] {
		b[i] = 'x'
	}
	s.bytes -= n
	return n, nil
}

// A copy serves whoever made it: it acts for nobody else, and has nobody else's vaults.
func TestAForkIsItsMakers(t *testing.T) {
	rules := author(me)
	bubble(t, func(t *testing.T, n *node) {
		ctx := context.Background()
		id := n.conversation()
		other := stead.Principal{Project: me.Project, Kind: stead.PrincipalUser, ID: "dev"}
		for _, by := range []stead.Principal{me, other} {
			fork, err := n.Fork(ctx, by, id, session.ForkRequest{})
			if err != nil {
				t.Fatal(err)
			}
			n.send(fork.ID, says("Say four"))
			n.idle(fork.ID)
			asked := rules.of(policy.ModelCall)
			if last := asked[len(asked)-1]; last.Session.Session != fork.ID || last.Principal.ID != by.ID {
				t.Errorf("the fork of %s asks its model for %s", by.ID, last.Principal.ID)
			}
		}
	}, withPolicy(rules))
}
