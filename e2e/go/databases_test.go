package e2e

import (
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"

	openai "github.com/openai/openai-go/v3"
	"github.com/openai/openai-go/v3/packages/param"
	"github.com/openai/openai-go/v3/responses"
)

// TestResponsesReadDatabases: the SDK passes a tool on that it has no type for, and has its calls, those that wait for an approval too, as of any tool server.
func TestResponsesReadDatabases(t *testing.T) {
	n, _, ctx := setup(t)
	n.kill()
	for _, suffix := range []string{"", "-wal"} { // a database with tables: what the server that was killed had
		b, err := os.ReadFile(filepath.Join(n.data, "stead", "stead.db"+suffix))
		if err == nil {
			err = os.WriteFile(filepath.Join(n.data, "books.db"+suffix), b, 0o600)
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	n.config = filepath.Join(n.data, "stead.yaml")
	if err := os.WriteFile(n.config, []byte("databases: [{name: books, driver: sqlite, dsn: "+filepath.Join(n.data, "books.db")+", sql: {projects: [default]}}]\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	n.start()
	client := n.client()
	tool := func(more string) []responses.ToolUnionParam {
		return []responses.ToolUnionParam{param.Override[responses.ToolUnionParam](json.RawMessage(`{"type":"sql","databases":["books"]` + more + `}`))}
	}
	const ask = `Call query with {"database":"books","sql":"SELECT count(*) AS n FROM session"}`
	got, err := client.Responses.New(ctx, responses.ResponseNewParams{Model: "sim", Input: said(ask), Tools: tool("")})
	if err != nil {
		t.Fatal(err)
	}
	var call responses.ResponseOutputItemMcpCall
	for _, item := range got.Output {
		if item.Type == "mcp_call" {
			call = item.AsMcpCall()
		}
	}
	if got.Status != "completed" || call.ServerLabel != "sql" || call.Name != "query" || !strings.Contains(call.Output, `"rows":[[0]]`) {
		t.Fatalf("response %s", got.RawJSON())
	}
	waits, err := client.Responses.New(ctx, responses.ResponseNewParams{Model: "sim", Input: said(ask), Tools: tool(`,"require_approval":"always"`)})
	if err != nil {
		t.Fatal(err)
	}
	request := waits.Output[len(waits.Output)-1].AsMcpApprovalRequest()
	if request.ServerLabel != "sql" || request.Name != "query" {
		t.Fatalf("response %s", waits.RawJSON())
	}
	yes := responses.ResponseInputItemParamOfMcpApprovalResponse(request.ID, true)
	done, err := client.Responses.New(ctx, responses.ResponseNewParams{
		Model: "sim", PreviousResponseID: openai.String(waits.ID), Tools: tool(`,"require_approval":"always"`),
		Input: responses.ResponseNewParamsInputUnion{OfInputItemList: responses.ResponseInputParam{yes}},
	})
	if err != nil || !strings.Contains(done.RawJSON(), `rows\":[[`) {
		t.Errorf("%v: %s", err, done.RawJSON())
	}
}
