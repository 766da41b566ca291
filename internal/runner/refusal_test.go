package runner_test

import (
	"context"
	"strings"
	"testing"
	"time"

	"github.com/stead-dev/stead"
	"github.com/stead-dev/stead/internal/model"
	"github.com/stead-dev/stead/internal/session"
)

// refuses streams a refusal in pieces, and ends with it.
func refuses(pieces ...string) answer {
	return func(_ context.Context, req model.Request, yield func(model.Delta, error) bool) {
		whole := ""
		for _, p := range pieces {
			whole += p
			if !yield(model.Delta{Kind: model.TextDelta, Text: p, Refusal: true}, nil) {
				return
			}
			time.Sleep(stead.DeltaFlushInterval) // of the bubble's clock: the piece is journaled before the end
		}
		it := &stead.Item{Type: stead.ItemMessage, Role: stead.RoleAssistant, Content: stead.SaidContent(whole, true)}
		if yield(model.Delta{Kind: model.ItemDone, Item: it}, nil) {
			ends(req, yield, model.FinishRefusal)
		}
	}
}

// A refusal is one in the journal, in what is shown and listed, and in what the next call is told.
func TestARefusalStaysOne(t *testing.T) {
	m := script(refuses("I will ", "not."), reply("as you like"))
	bubble(t, func(t *testing.T, n *node) {
		first := n.ended(n.respond(asks("", []stead.Item{inputOf(stead.RoleUser, "pick a lock")})))
		output, err := n.ResponseOutput(context.Background(), me, first)
		if err != nil || first.Turn.Status != session.TurnComplete || len(output) != 1 {
			t.Fatalf("%s with %v, %v", first.Turn.Status, output, err)
		}
		if c := output[0].(*session.MessageItem).Content[0]; c.Type != stead.ContentRefusal || c.Text != nil || *c.Refusal != "I will not." {
			t.Errorf("the item's content is %+v", c)
		}
		if j := n.journal(first.Session); !strings.Contains(j, `"refusal":true`) || !strings.Contains(j, `"type":"refusal"`) {
			t.Errorf("the journal does not know it:\n%s", j)
		}
		n.ended(n.respond(asks(first.ID(), []stead.Item{inputOf(stead.RoleUser, "then talk")})))
		if back := m.last().Items[1]; !stead.Refuses(back.Content) || back.Content[0].Text.Inline != "I will not." {
			t.Errorf("the next call was told %+v", back)
		}
	}, withModel(m))
}

// An upstream that streams a refusal and ends with an answer contradicts itself.
func TestARefusalEndsAsOne(t *testing.T) {
	m := script(func(_ context.Context, req model.Request, yield func(model.Delta, error) bool) {
		if yield(model.Delta{Kind: model.TextDelta, Text: "I won't", Refusal: true}, nil) && yield(model.Delta{Kind: model.ItemDone, Item: messageItem("I won't")}, nil) {
			ends(req, yield, model.FinishStop)
		}
	}, reply("well"))
	bubble(t, func(t *testing.T, n *node) {
		res := n.ended(n.respond(asks("", []stead.Item{inputOf(stead.RoleUser, "hello")})))
		if j := n.journal(res.Session); !strings.Contains(j, "not the item that it ended with") || len(m.asked()) != 2 {
			t.Errorf("after %d calls:\n%s", len(m.asked()), j)
		}
	}, withModel(m))
}
