package server

import (
	"context"
	"strings"
	"testing"

	"github.com/stead-dev/stead/internal/model"
)

// An upstream that runs the tools of a response itself is told of none that it can't know, and no secret.
func TestToolsThatNoUpstreamMayBeTold(t *testing.T) {
	const answer = `{"id":"resp_1","object":"response","created_at":1,"completed_at":1,"status":"completed","error":null,"incomplete_details":null,"model":"up","output":[],` +
		`"usage":null,"previous_response_id":null,"instructions":null,"tools":[],"tool_choice":"auto","parallel_tool_calls":true,"temperature":1,"top_p":1,"metadata":{},"text":{},"truncation":"disabled"}`
	m := &scripted{forward: map[string]func(context.Context, model.Forward) (*model.Answer, error){model.DialectResponses: says("application/json", answer)}}
	d, store, _ := vectorDoor(t, func(c *Config) { c.Models, c.Gate = m, gate{} })
	ours := strings.TrimPrefix(store, "/v1/vector_stores/")
	ask := func(tool string) string {
		return `{"model":"m","store":false,"input":"x","tools":[{"type":"function","name":"f"},` + tool + `]}`
	}
	for tool, param := range map[string]string{
		`{"type":"file_search","vector_store_ids":["` + ours + `"]}`: "tools[1].vector_store_ids[0]",
		`{"type":"semantic"}`:                                                                             "tools[1].type",
		`{"type":"sql","databases":["warehouse"]}`:                                                        "tools[1].type",
		`{"type":"file_search","vector_store_ids":["vs_theirs","` + ours + `"]}`:                          "tools[1].vector_store_ids[1]",
		`{"type":"mcp","server_label":"shop"}`:                                                            "tools[1].server_label",
		`{"type":"mcp","server_label":"shop","server_url":null}`:                                          "tools[1].server_label",
		`{"type":"mcp","server_label":"a","server_url":"https://a.example","authorization":"secret"}`:     "tools[1].authorization",
		`{"type":"mcp","server_label":"a","server_url":"https://a.example","headers":{"X-Key":"secret"}}`: "tools[1].headers",
		`{"type":"mc\u0070","server_label":"a","connector_id":"c","authorization":"secret"}`:              "tools[1].authorization",
	} {
		d.says("POST /v1/responses", ask(tool), 400, `"param":"`+param+`"`, "store: false")
	}
	if len(m.asked) > 0 {
		t.Fatalf("the upstream was asked: %s", m.asked[0].Body)
	}
	for _, tool := range []string{
		`{"type":"file_search","vector_store_ids":["vs_theirs"]}`,
		`{"type":"mcp","server_label":"a","server_url":"https://a.example","headers":{}}`,
		`{"type":"file_search","vector_store_ids":7}`,
	} {
		d.says("POST /v1/responses", ask(tool), 200, answer)
	}
	if len(m.asked) != 3 || string(m.asked[0].Body) != ask(`{"type":"file_search","vector_store_ids":["vs_theirs"]}`) {
		t.Errorf("what is the upstream's own goes there as it is: %d asked", len(m.asked))
	}
}

// What a provider's own search of files cites, it cites here: its answers and its streams pass as they are.
func TestAProvidersCitationsAreKept(t *testing.T) {
	const cited = `{"type":"file_citation","index":3,"file_id":"file-theirs","filename":"a.pdf"}`
	const whole = `{"id":"resp_1","object":"response","created_at":1,"completed_at":1,"status":"completed","error":null,"incomplete_details":null,"model":"up","usage":null,"previous_response_id":null,"instructions":null,"tools":[],"tool_choice":"auto","parallel_tool_calls":true,"temperature":1,"top_p":1,"metadata":{},"text":{},"truncation":"disabled",` +
		`"output":[{"type":"message","id":"msg_1","role":"assistant","status":"completed","content":[{"type":"output_text","text":"Yes.","annotations":[` + cited + `,{"type":"url_citation","start_index":0,"end_index":3,"title":"t","url":"https://a.example"}]}]}]}`
	const stream = "event: response.output_text.annotation.added\ndata: {\"type\":\"response.output_text.annotation.added\",\"item_id\":\"msg_1\",\"output_index\":1,\"content_index\":0,\"annotation_index\":0,\"sequence_number\":1,\"annotation\":" + cited + "}\n\n" +
		"event: response.completed\ndata: {\"type\":\"response.completed\",\"sequence_number\":2,\"response\":" + whole + "}\n\n"
	for asked, answer := range map[string][2]string{"": {"application/json", whole}, `,"stream":true`: {mediaStream, stream}} {
		m := &scripted{forward: map[string]func(context.Context, model.Forward) (*model.Answer, error){model.DialectResponses: says(answer[0], answer[1])}}
		d, heard := gateway(t, m)
		body := `{"model":"m","store":false,"input":"x","tools":[{"type":"file_search","vector_store_ids":["vs_theirs"]}]` + asked + `}`
		if res, got := d.call("POST", "/v1/responses", body); res.StatusCode != 200 || got != answer[1] {
			t.Errorf("%d %s", res.StatusCode, got)
		}
		<-heard
	}
}
