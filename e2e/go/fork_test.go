package e2e

import (
	"context"
	"io"
	"net/http"
	"strings"
	"testing"

	openai "github.com/openai/openai-go/v3"
)

// download is a file of a session's workspace, as the wire has it; "": it is not there.
func download(t *testing.T, n *node, ctx context.Context, client openai.Client, session, path string) string {
	t.Helper()
	s, err := client.Beta.Agents.Sessions.Get(ctx, session)
	if err != nil {
		t.Fatal(err)
	}
	res, err := http.Get(n.base + "/v1/agents/environments/" + s.Environment.ID + "/files/content?path=" + path)
	if err != nil {
		t.Fatal(err)
	}
	defer res.Body.Close()
	b, err := io.ReadAll(res.Body)
	switch {
	case err != nil:
		t.Fatal(err)
	case res.StatusCode == http.StatusNotFound:
		return ""
	case res.StatusCode != http.StatusOK:
		t.Fatalf("%s of %s: %s %s", path, session, res.Status, b)
	}
	return string(b)
}

// TestForkAtAnItemHasItsFiles: a fork at the last item of a turn has the files as they were after that
// turn. In the middle of a turn it has those of the newest checkpoint that can be true there, and the
// agent is told which commands may be missing.
func TestForkAtAnItemHasItsFiles(t *testing.T) {
	needComputer(t)
	n, client, ctx := setup(t)
	sessions := client.Beta.Agents.Sessions
	res, err := openai.BetaAgentSessionFinalResult(sessions.NewStreaming(ctx, inside(hosted(), "echo one > v; cp v outputs/v")))
	if err != nil {
		t.Fatal(err)
	}
	id := res.SessionID()
	command(t, ctx, client, id, "echo two > v; cp v outputs/v")
	if _, err := sessions.Stream(ctx, id, openai.AgentSessionStreamParams{Input: shell("echo three > v") + "\nThen " + shell("echo four > v")}).FinalResult(); err != nil {
		t.Fatal(err)
	}
	var items []openai.AgentSessionItemUnion
	pages := sessions.Items.ListAutoPaging(ctx, id, openai.BetaAgentSessionItemListParams{Order: "asc"})
	for pages.Next() {
		items = append(items, pages.Current())
	}
	if pages.Err() != nil || len(items) != 10 { // twice a message, a command, an answer; then one with two commands
		t.Fatalf("%d items, %v", len(items), pages.Err())
	}
	for _, c := range []struct {
		item      int
		v         string
		artifacts int
		missing   string
	}{
		{1, "one\n", 1, ""}, {2, "one\n", 1, ""}, {3, "one\n", 1, ""}, {4, "two\n", 2, ""}, {5, "two\n", 2, ""},
		{7, "two\n", 2, "echo three > v"}, {8, "four\n", 2, ""}, {9, "four\n", 2, ""},
	} {
		var fork openai.AgentSession
		if err := client.Post(ctx, "agents/sessions/"+id+"/fork", map[string]any{"item_id": items[c.item].ID}, &fork); err != nil {
			t.Fatalf("fork at item %d: %v", c.item, err)
		}
		if got := download(t, n, ctx, client, fork.ID, "/workspace/v"); got != c.v {
			t.Errorf("forked at item %d (%s), the file holds %q, want %q", c.item, items[c.item].Type, got, c.v)
		}
		artifacts, err := sessions.Artifacts.List(ctx, fork.ID, openai.BetaAgentSessionArtifactListParams{})
		if err != nil || len(artifacts.Data) != c.artifacts {
			t.Errorf("forked at item %d, there are %d artifacts, want %d (%v)", c.item, len(artifacts.Data), c.artifacts, err)
		}
		told := ""
		stream := sessions.Stream(ctx, fork.ID, openai.AgentSessionStreamParams{Input: shell("cat v")})
		for stream.Next() {
			if e := stream.Current(); e.Type == "agent.session.environment.reset" {
				told += e.RawJSON()
			}
		}
		if err := stream.Err(); err != nil {
			t.Fatal(err)
		}
		if got := lastCommand(t, ctx, client, fork.ID).Output.OfString; got != c.v {
			t.Errorf("forked at item %d, its agent reads %q, want %q", c.item, got, c.v)
		}
		if !strings.Contains(strings.ReplaceAll(told, `\u003e`, ">"), c.missing) {
			t.Errorf("forked at item %d, watchers are told %s, without %q", c.item, told, c.missing)
		}
	}
}
