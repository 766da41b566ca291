package runner_test

import (
	"context"
	"slices"
	"testing"

	"github.com/stead-dev/stead"
	"github.com/stead-dev/stead/internal/session"
)

// ids lists the items of a session, oldest first.
func (n *node) ids(id stead.SessionID) []string {
	n.t.Helper()
	page, err := n.Items(context.Background(), me, id, session.ItemQuery{})
	if err != nil {
		n.t.Fatal(err)
	}
	out := []string{}
	for _, it := range page.Data {
		out = append(out, it.ItemID())
	}
	return out
}

func TestDeletedItemsAreGoneFromListsAndFromTheModel(t *testing.T) {
	m := script(calls("weather", `{}`), reply("sunny"), reply("third"), reply("beside"))
	bubble(t, func(t *testing.T, n *node) {
		ctx := context.Background()
		c, err := n.CreateConversation(ctx, me, session.ConversationRequest{Items: []stead.Item{inputOf(stead.RoleUser, "my secret"), inputOf(stead.RoleUser, "my name")}})
		if err != nil {
			t.Fatal(err)
		}
		in := func(r *session.RespondRequest) { r.Conversation = c.ID }
		first := n.ended(n.respond(asks("", []stead.Item{inputOf(stead.RoleUser, "weather?")}, in)))
		call := n.ids(c.ID)[3]
		output, err := n.ResponseOutput(ctx, me, first)
		if err != nil || output[0].ItemID() != call {
			t.Fatalf("output %v, %v", output, err)
		}
		second := n.ended(n.respond(asks("", []stead.Item{outputOf(output[0].(*session.FunctionCallItem).CallID, "21 degrees")}, in)))
		before := n.ids(c.ID)
		for _, id := range []string{before[0], call, before[5]} { // of an input, of a function's call, of a reply
			if err := n.DeleteItem(ctx, me, c.ID, id); err != nil {
				t.Fatal(err)
			}
			isKind(t, n.DeleteItem(ctx, me, c.ID, id), stead.KindNotFound)
			_, err := n.Item(ctx, me, c.ID, id)
			isKind(t, err, stead.KindNotFound)
		}
		if got, want := n.ids(c.ID), []string{before[1], before[2], before[4]}; !slices.Equal(got, want) {
			t.Errorf("listed %q, want %q of %q", got, want, before)
		}
		if output, err := n.ResponseOutput(ctx, me, second); err != nil || len(output) != 0 {
			t.Errorf("the second response's output %v, %v", output, err)
		}
		n.ended(n.respond(asks("", []stead.Item{inputOf(stead.RoleUser, "and now?")}, in)))
		if got, want := seen(m.last()), []string{"user: my name", "user: weather?", "user: and now?"}; !slices.Equal(got, want) {
			t.Errorf("the model saw %q, want %q", got, want)
		}
		// A copy that ends before the deletion hides the same.
		n.ended(n.respond(asks(first.ID(), nil)))
		if got, want := seen(m.last()), []string{"user: my name", "user: weather?"}; !slices.Equal(got, want) {
			t.Errorf("the model saw %q in a copy, want %q", got, want)
		}
	}, withModel(m), withTools(newFakeTools()))
}

func TestAResponsesOutputNeedsItsOwnTurnAlone(t *testing.T) {
	m := script(reply("one"), reply("two"))
	bubble(t, func(t *testing.T, n *node) {
		first := n.ended(n.respond(asks("", []stead.Item{inputOf(stead.RoleUser, "begin")})))
		second := n.ended(n.respond(asks(first.ID(), []stead.Item{inputOf(stead.RoleUser, "go on")})))
		events := n.events(second.Session)
		read := func(after stead.Seq, limit int, _ bool) ([]stead.Event, error) {
			if after < second.Seq-1 {
				t.Errorf("events after %d are read; the response begins at %d", after, second.Seq)
			}
			return events[after:min(int(after)+limit, len(events))], nil
		}
		output, err := session.ResponseOutput(stead.SessionKey{Project: me.Project, Session: second.Session}, read, second.Seq, nil, func(t stead.Text) string { return t.Inline })
		if err != nil || len(output) != 1 || *output[0].(*session.MessageItem).Content[0].Text != "two" {
			t.Errorf("output %v, %v", output, err)
		}
	}, withModel(m))
}
