package runner_test

import (
	"context"
	"errors"
	"slices"
	"strings"
	"testing"

	"github.com/stead-dev/stead"
	"github.com/stead-dev/stead/internal/session"
	"github.com/stead-dev/stead/internal/tool"
)

// changingTools are tools whose server can be away, and can have other tools.
type changingTools struct {
	*fakeTools
	away error
	only int // how many of the tools there are; 0: all
}

func (c *changingTools) Tools(ctx context.Context, s tool.Server) ([]tool.Tool, error) {
	if c.away != nil {
		return nil, c.away
	}
	all, err := c.fakeTools.Tools(ctx, s)
	if c.only > 0 {
		all = all[:c.only]
	}
	return all, err
}

// lists are the lists of tools in a response's output, which stand in front of all else of it.
func (n *node) lists(res session.Response) []*session.ToolListItem {
	n.t.Helper()
	output, err := n.ResponseOutput(context.Background(), me, res)
	if err != nil || res.Turn.Status != session.TurnComplete {
		n.t.Fatalf("%s, %v\n%s", res.Turn.Status, err, n.journal(res.Session))
	}
	var out []*session.ToolListItem
	for i, it := range output {
		if l, ok := it.(*session.ToolListItem); ok {
			if i != len(out) {
				n.t.Errorf("a list at place %d of the output", i)
			}
			out = append(out, l)
		}
	}
	return out
}

func unlisted(r *session.RespondRequest) { r.Ask.Listed = nil }

func TestAResponseListsTheToolsOfItsServersOnce(t *testing.T) {
	m := script(calls("read", `{}`), reply("done"), reply("again"), reply("other"), reply("away"), reply("back"), reply("known"))
	tools := &changingTools{fakeTools: newFakeTools()}
	bubble(t, func(t *testing.T, n *node) {
		next := func(previous string, change ...func(*session.RespondRequest)) session.Response {
			return n.ended(n.respond(asks(previous, []stead.Item{inputOf(stead.RoleUser, "go")}, append([]func(*session.RespondRequest){unlisted}, change...)...)))
		}
		first := next("")
		lists := n.lists(first)
		if len(lists) != 1 || lists[0].ServerLabel != "box" || lists[0].Error != nil || lists[0].TurnID != first.Turn.ID {
			t.Fatalf("lists %+v\n%s", lists, n.journal(first.Session))
		}
		if got := string(lists[0].Tools); strings.Count(got, `"name"`) != 3 || !strings.HasPrefix(got, `[{"name":"read","description":null,"input_schema":{"type":"object"},"annotations":null}`) {
			t.Errorf("tools %s", got)
		}
		if found, err := n.Item(context.Background(), me, first.Session, lists[0].ID); err != nil || found.ItemID() != lists[0].ID {
			t.Errorf("the list by its id: %v, %v", found, err)
		}
		if got := seen(m.last()); slices.ContainsFunc(got, func(s string) bool { return strings.Contains(s, "input_schema") }) {
			t.Errorf("the model saw %q", got)
		}
		n.crash("n2") // what was shown stands in the journal
		second := next(first.ID())
		if lists := n.lists(second); len(lists) != 0 {
			t.Errorf("listed again: %+v", lists)
		}
		tools.only = 1
		third := next(second.ID())
		if lists := n.lists(third); len(lists) != 1 || strings.Count(string(lists[0].Tools), `"name"`) != 1 {
			t.Errorf("a changed list: %+v", lists)
		}
		tools.away = stead.Errorf(stead.KindUnavailable, "nobody answers at box")
		fourth := next(third.ID())
		if lists := n.lists(fourth); len(lists) != 1 || lists[0].Error == nil || *lists[0].Error != "nobody answers at box" || string(lists[0].Tools) != "[]" {
			t.Errorf("a server that is away: %+v", lists)
		}
		tools.away = nil
		if lists := n.lists(next(fourth.ID())); len(lists) != 1 || lists[0].Error != nil {
			t.Errorf("a server that is back: %+v", lists)
		}
		// An application that keeps the conversation itself sends the list along.
		if lists := n.lists(next("", func(r *session.RespondRequest) { r.Ask.Listed = []string{"box"} })); len(lists) != 0 {
			t.Errorf("listed again: %+v", lists)
		}
	}, withModel(m), withTools(tools))
}

// Whoever watches sees the list in front of what the model says, live as well as told again.
func TestListsOfToolsAreStreamedInOrder(t *testing.T) {
	m := script(calls("read", `{}`), reply("done"))
	bubble(t, func(t *testing.T, n *node) {
		res := n.respond(asks("", []stead.Item{inputOf(stead.RoleUser, "go")}, unlisted))
		watch := func() (out []int) {
			over := errors.New("over")
			err := n.Stream(context.Background(), me, res.Session, &stead.Cursor{Seq: res.Seq - 1}, nil, func(e session.StreamEvent) error {
				p := session.PieceOf(e)
				if p.Kind == session.PieceItemDone {
					out = append(out, p.Output)
				}
				if _, list := p.Item.(*session.ToolListItem); list != (p.Output == 0 && p.Item != nil) {
					t.Errorf("%T at output %d", p.Item, p.Output)
				}
				if p.Kind == session.PieceTurnEnded {
					return over
				}
				return nil
			})
			if err != over {
				t.Fatal(err)
			}
			return out
		}
		live := watch()
		n.ended(res)
		if again := watch(); !slices.Equal(live, []int{0, 1, 2}) || !slices.Equal(again, live) {
			t.Errorf("outputs %v, and again %v", live, again)
		}
	}, withModel(m), withTools(newFakeTools()))
}

// A session's own turns show none: the Agents API has no such item.
func TestATurnOfASessionListsNoTools(t *testing.T) {
	m := script(reply("done"))
	bubble(t, func(t *testing.T, n *node) {
		id := n.create("go", mcpServer()).ID
		n.idle(id)
		if n.count(id, session.KindToolsListed) != 0 {
			t.Errorf("journal\n%s", n.journal(id))
		}
	}, withModel(m), withTools(newFakeTools()))
}
