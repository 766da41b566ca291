package server

import (
	"context"
	"encoding/base64"
	"strings"
	"testing"

	"github.com/stead-dev/stead/internal/model"
)

// A prompt that names uploaded files holds them, for whoever it goes to. Other people's ids are theirs to know.
func TestPromptsHoldTheFilesThatTheyName(t *testing.T) {
	const pixel = "\x89PNG\r\n\x1a\n\x00\x00\x00\rIHDR"
	_, files := realFiles(t)
	whole := says("application/json", `{"id":"1","object":"chat.completion","created":1,"model":"up","choices":[]}`)
	m := &scripted{forward: map[string]func(context.Context, model.Forward) (*model.Answer, error){
		model.DialectChat: whole, model.DialectResponses: says("application/json", `{"id":"resp_1","object":"response","output":[]}`)}}
	d, _ := gateway(t, m, func(c *Config) { c.Files, c.Meter = files, nil })
	d.transport.Report = func(error) {} // the upstream's answers are not the document's
	upload := func(name, content string) string {
		res, body := d.form("/v1/files", []field{{"purpose", "", "user_data"}, {"file", name, content}})
		return d.id(200, res, body)
	}
	note, picture := upload("note.md", "# Hello"), upload("p", pixel)
	in64 := func(s string) string { return base64.StdEncoding.EncodeToString([]byte(s)) }

	d.says("POST /v1/chat/completions", `{"model":"m","messages":[{"role":"user","content":[{"type":"text","text":"Say hi"},{"type":"file","file":{"file_id":"`+note+`"}}]}]}`, 200)
	d.says("POST /v1/responses", `{"model":"m","store":false,"input":[{"role":"user","content":[{"type":"input_image","detail":"low","file_id":"`+picture+`"},
		{"type":"input_file","file_id":"`+note+`","filename":"mine"}]},{"type":"function_call_output","call_id":"c","output":[{"type":"input_file","file_id":"file-upstreams"}]}]}`, 200)
	for i, want := range []string{
		`{"file_data":"data:text/markdown;base64,` + in64("# Hello") + `","filename":"note.md"}`,
		`{"detail":"low","image_url":"data:image/png;base64,` + in64(pixel) + `","type":"input_image"},{"file_data":"data:text/markdown;base64,` + in64("# Hello") + `","filename":"mine","type":"input_file"}`,
	} {
		if body := string(m.asked[i].Body); !strings.Contains(body, want) {
			t.Errorf("forwarded %s, want %s", body, want)
		}
	}
	if body := string(m.asked[1].Body); !strings.Contains(body, `"file_id":"file-upstreams"`) {
		t.Errorf("another's id became %s", body)
	}

	m.forward = nil // from here on prompts are translated
	d.says("POST /v1/responses", `{"model":"m","store":false,"input":[{"role":"user","content":[{"type":"input_text","text":"Say hi"},{"type":"input_file","file_id":"`+note+`"}]}]}`, 200, `"hi"`)
	d.says("POST /v1/responses", `{"model":"m","store":false,"input":[{"role":"user","content":[{"type":"input_file","file_id":"file_0"}]}]}`, 400, `"param":"input[0].content[0].file_id"`, "no such uploaded file")
	d.says("POST /v1/responses", `{"model":"m","store":false,"input":[{"role":"user","content":[{"type":"input_image","file_id":"`+note+`"}]}]}`, 400, `"param":"input[0].content[0].file_id"`, "no picture")
	d.says("POST /v1/chat/completions", `{"model":"m","messages":[{"role":"user","content":[{"type":"file","file":{"file_id":"file_0"}}]}]}`, 400, `"param":"messages[0].content[0].file.file_id"`)
	big := upload("big.txt", strings.Repeat("x", MaxPromptFileBytes+1))
	d.says("POST /v1/responses/input_tokens", `{"input":[{"role":"user","content":[{"type":"input_file","file_id":"`+big+`"}]}]}`, 400, `"param":"input[0].content[0].file_id"`, "at most")
	d.says("POST /v1/responses/input_tokens", `{"input":[{"role":"user","content":[{"type":"input_file","file_id":"`+note+`"}]}]}`, 200)
}

func TestAFilesIDIsSeenWhereverItStands(t *testing.T) {
	for body, want := range map[string]bool{
		"": false, "{}": false, `{"file_id":"f"}`: true, `{"a_b":[{"x_":"_","file_id":1}]}`: true, `_"file_id"`: true,
		`{"file__id":1}`: false, `{"my_file_id":1}`: false, `{"file_ids":1}`: false, `"file_i`: false, `_id"`: false,
		strings.Repeat(`"`, 300) + `"file_id"`: true,
	} {
		if got := namesFile([]byte(body)); got != want {
			t.Errorf("%.40q: %v", body, got)
		}
	}
}
