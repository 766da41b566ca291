package runner_test

import (
	"context"
	"encoding/json"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/stead-dev/stead"
	"github.com/stead-dev/stead/internal/agent"
	"github.com/stead-dev/stead/internal/session"
)

func inputOf(role, text string) stead.Item {
	return stead.Item{Type: stead.ItemMessage, Role: role, Content: stead.TextContent(stead.ContentInputText, text)}
}

func outputOf(call, text string) stead.Item {
	return stead.Item{Type: stead.ItemFunctionCallOutput, CallID: call, Output: stead.TextContent(stead.ContentInputText, text)}
}

// asks is a request for a response; change is optional.
func asks(previous string, items []stead.Item, change ...func(*session.RespondRequest)) session.RespondRequest {
	req := session.RespondRequest{Previous: previous, Items: items}
	req.Ask.Listed = []string{"box"} // what lists do is said in listed_test.go
	req.Ask.Spec = agent.Defaults()
	req.Ask.Spec.Model = "sim"
	req.Ask.Spec.Tools = []agent.Tool{{Type: agent.ToolFunction, Name: "weather", Parameters: json.RawMessage(`{"type":"object"}`)}, mcpServer()}
	for _, c := range change {
		c(&req)
	}
	return req
}

func (n *node) respond(req session.RespondRequest) session.Response {
	n.t.Helper()
	res, err := n.Respond(context.Background(), me, req)
	if err != nil {
		n.t.Fatal(err)
	}
	return res
}

// ended waits for the end of a response.
func (n *node) ended(res session.Response) session.Response {
	n.t.Helper()
	n.until(res.Session, func(s session.Session) bool {
		now, err := n.Response(context.Background(), me, res.ID())
		if err != nil {
			n.t.Fatal(err)
		}
		res = now
		return res.Turn.CompletedAt != nil
	})
	return res
}

func TestAResponseChain(t *testing.T) {
	m := script(calls("weather", `{"city":"Paris"}`, "read", `{}`), reply("sunny"), reply("you asked for Paris"))
	bubble(t, func(t *testing.T, n *node) {
		instructions := "be brief"
		first := n.ended(n.respond(asks("", []stead.Item{inputOf(stead.RoleDeveloper, "metric units"), inputOf(stead.RoleUser, "weather?")}, func(r *session.RespondRequest) {
			r.Ask.Spec.Instructions = &instructions
			r.Ask.ToolChoice = "required"
			r.Ask.Request = json.RawMessage(`{"metadata":{"a":"b"}}`)
		})))
		if first.Turn.Status != session.TurnComplete {
			t.Fatalf("the response is %s; it should end with the application's call\n%s", first.Turn.Status, n.journal(first.Session))
		}
		output, err := n.ResponseOutput(context.Background(), me, first)
		if err != nil || len(output) != 2 {
			t.Fatalf("output %v, %v", output, err)
		}
		call := output[0].(*session.FunctionCallItem)
		if call.Status != stead.ItemCompleted || call.Name != "weather" {
			t.Errorf("call %+v", call)
		}
		if tool := output[1].(*session.MCPCallItem); tool.Status != stead.ItemCompleted {
			t.Errorf("the runtime's own call ran before the response ended, but is %+v", tool)
		}

		second := n.ended(n.respond(asks(first.ID(), []stead.Item{outputOf(call.CallID, "21 degrees")})))
		third := n.ended(n.respond(asks(second.ID(), []stead.Item{inputOf(stead.RoleUser, "which city?")})))
		if second.Session != first.Session || third.Session != first.Session {
			t.Errorf("a chain of responses is one session: %s, %s, %s", first.Session, second.Session, third.Session)
		}
		want := []string{"developer: metric units", "user: weather?", `call weather {"city":"Paris"}`, "call read {}", "output 21 degrees", "output done {}", "assistant: sunny", "user: which city?"}
		if got := seen(m.last()); !slices.Equal(got, want) {
			t.Errorf("the model saw %q\nwant          %q", got, want)
		}
		asked := m.asked()
		if asked[0].Instructions != instructions || asked[1].Instructions != "" {
			t.Errorf("instructions %q, %q: each response brings its own", asked[0].Instructions, asked[1].Instructions)
		}
		if asked[0].ToolChoice != "required" || asked[1].ToolChoice != "" {
			t.Errorf("tool choice %q, %q", asked[0].ToolChoice, asked[1].ToolChoice)
		}
		if string(first.Ask.Request) != `{"metadata":{"a":"b"}}` || third.Previous != second.ID() {
			t.Errorf("request %s, previous %s", first.Ask.Request, third.Previous)
		}
	}, withModel(m), withTools(newFakeTools()))
}

func TestTwoResponsesAfterOne(t *testing.T) {
	m := script(reply("one"), reply("left"), reply("right"))
	bubble(t, func(t *testing.T, n *node) {
		first := n.ended(n.respond(asks("", []stead.Item{inputOf(stead.RoleUser, "begin")})))
		left := n.ended(n.respond(asks(first.ID(), []stead.Item{inputOf(stead.RoleUser, "go left")})))
		right := n.ended(n.respond(asks(first.ID(), []stead.Item{inputOf(stead.RoleUser, "go right")})))
		if left.Session != first.Session || right.Session == first.Session {
			t.Errorf("sessions %s, %s, %s: the second branch needs one of its own", first.Session, left.Session, right.Session)
		}
		want := []string{"user: begin", "assistant: one", "user: go right"}
		if got := seen(m.last()); !slices.Equal(got, want) {
			t.Errorf("the model saw %q, want %q", got, want)
		}
		// The same, with a key, is no third branch.
		keyed := func(r *session.RespondRequest) { r.Key, r.Digest = "k", "d" }
		a := n.respond(asks(left.ID(), []stead.Item{inputOf(stead.RoleUser, "again")}, keyed))
		b := n.respond(asks(left.ID(), []stead.Item{inputOf(stead.RoleUser, "again")}, keyed))
		n.ended(a)
		c := n.respond(asks(left.ID(), []stead.Item{inputOf(stead.RoleUser, "again")}, keyed))
		if a.ID() != b.ID() || a.ID() != c.ID() {
			t.Errorf("one key made %s, %s and %s", a.ID(), b.ID(), c.ID())
		}
	}, withModel(m))
}

func TestOutputsMustFitTheCalls(t *testing.T) {
	m := script(calls("weather", `{}`))
	bubble(t, func(t *testing.T, n *node) {
		first := n.ended(n.respond(asks("", []stead.Item{inputOf(stead.RoleUser, "go")})))
		for _, tc := range []struct {
			items []stead.Item
			want  string
		}{
			{[]stead.Item{inputOf(stead.RoleUser, "and?")}, "No tool output found for function call"},
			{[]stead.Item{outputOf("call_nobody", "x")}, "No tool call found for function call output"},
		} {
			_, err := n.Respond(context.Background(), me, asks(first.ID(), tc.items))
			isKind(t, err, stead.KindInvalid)
			if err == nil || !strings.Contains(err.Error(), tc.want) {
				t.Errorf("error %v, want %q", err, tc.want)
			}
		}
		if n.count(first.Session, session.KindInputMessage) != 1 {
			t.Error("a refused response left something in the journal")
		}
		_, err := n.Respond(context.Background(), me, asks(session.ResponseID(first.Session, 99), nil))
		isKind(t, err, stead.KindInvalid)
	}, withModel(m))
}

func TestAConversation(t *testing.T) {
	m := script(after(time.Second, reply("hello")), reply("bye"))
	bubble(t, func(t *testing.T, n *node) {
		ctx := context.Background()
		s, err := n.CreateConversation(ctx, me, session.ConversationRequest{Items: []stead.Item{inputOf(stead.RoleUser, "noted")}, Metadata: map[string]string{"k": "v"}})
		if err != nil {
			t.Fatal(err)
		}
		in := func(r *session.RespondRequest) { r.Conversation = s.ID }
		first := n.respond(asks("", []stead.Item{inputOf(stead.RoleUser, "hi")}, in))
		_, err = n.Respond(ctx, me, asks("", []stead.Item{inputOf(stead.RoleUser, "too early")}, in))
		isKind(t, err, stead.KindConflict)
		_, err = n.AddItems(ctx, me, s.ID, session.ConversationRequest{Items: []stead.Item{inputOf(stead.RoleUser, "too early")}})
		isKind(t, err, stead.KindConflict)
		n.ended(first)
		added, err := n.AddItems(ctx, me, s.ID, session.ConversationRequest{Items: []stead.Item{inputOf(stead.RoleAssistant, "by the way")}})
		if err != nil || len(added) != 1 {
			t.Fatalf("added %v, %v", added, err)
		}
		n.ended(n.respond(asks("", []stead.Item{inputOf(stead.RoleUser, "end")}, in)))
		want := []string{"user: noted", "user: hi", "assistant: hello", "assistant: by the way", "user: end"}
		if got := seen(m.last()); !slices.Equal(got, want) {
			t.Errorf("the model saw %q, want %q", got, want)
		}
	}, withModel(m))
}

func TestDeletingResponses(t *testing.T) {
	m := script(reply("one"), reply("two"))
	bubble(t, func(t *testing.T, n *node) {
		ctx := context.Background()
		first := n.ended(n.respond(asks("", []stead.Item{inputOf(stead.RoleUser, "a")})))
		second := n.ended(n.respond(asks(first.ID(), []stead.Item{inputOf(stead.RoleUser, "b")})))
		if err := n.DeleteResponse(ctx, me, first.ID()); err != nil {
			t.Fatal(err)
		}
		_, err := n.Response(ctx, me, first.ID())
		isKind(t, err, stead.KindNotFound)
		_, err = n.Respond(ctx, me, asks(first.ID(), []stead.Item{inputOf(stead.RoleUser, "c")}))
		isKind(t, err, stead.KindInvalid)
		if _, err := n.Response(ctx, me, second.ID()); err != nil {
			t.Errorf("the other response is gone too: %v", err)
		}
		if err := n.DeleteResponse(ctx, me, second.ID()); err != nil {
			t.Fatal(err)
		}
		_, err = n.Get(ctx, me, first.Session)
		isKind(t, err, stead.KindNotFound)
	}, withModel(m))
}

func TestLargeInputOfAResponseIsABlob(t *testing.T) {
	m := script(reply("read it"))
	bubble(t, func(t *testing.T, n *node) {
		long := strings.Repeat("x", stead.MaxInlineBytes+1)
		res := n.ended(n.respond(asks("", []stead.Item{inputOf(stead.RoleUser, long)})))
		if got := m.last().Items[0].Content[0].Text.Inline; got != long {
			t.Errorf("the model got %d bytes, want %d", len(got), len(long))
		}
		if data := n.events(res.Session)[1].Data; len(data) > stead.MaxInlineBytes {
			t.Errorf("the event is %d bytes long", len(data))
		}
		input, err := n.ResponseInput(context.Background(), me, res)
		if err != nil || *input[0].(*session.MessageItem).Content[0].Text != long {
			t.Errorf("the input can't be read back: %v", err)
		}
	}, withModel(m))
}
