package mcp

import (
	"encoding/json"
	"strings"
	"testing"
	"unicode/utf8"

	sdk "github.com/modelcontextprotocol/go-sdk/mcp"

	"github.com/stead-dev/stead"
	"github.com/stead-dev/stead/internal/tool"
)

func TestConvert(t *testing.T) {
	tests := []struct{ reply, want string }{
		{`{"content": [{"type": "text", "text": "a"}, {"type": "text", "text": "b"}], "structuredContent": {"x": 1}}`, "input_text a|input_text b"},
		{`{"content": [], "structuredContent": [1, 2]}`, "input_text [1,2]"},
		{`{"content": [{"type": "image", "mimeType": "image/png", "data": "AAEC"}]}`, "input_image data:image/png;base64,AAEC"},
		{`{"content": [{"type": "image", "mimeType": "text/html,<b>", "data": "AAEC"}]}`, "input_text [An image of type text/html,<b>, 3 bytes, which can't be shown.]"},
		{`{"content": [{"type": "audio", "mimeType": "audio/wav", "data": "AAEC"}]}`, "input_text [Audio, audio/wav, 3 bytes, which can't be shown.]"},
		{`{"content": [{"type": "resource_link", "uri": "file:///a", "name": "a", "size": 7}]}`, "input_text [Link to resource file:///a; a; 7 bytes]"},
		{`{"content": [{"type": "resource", "resource": {"uri": "file:///a", "text": "hi"}}]}`, "input_text [Resource file:///a]\nhi"},
		{`{"content": [{"type": "resource", "resource": {"uri": "file:///a", "mimeType": "image/gif", "blob": "AAEC"}}]}`, "input_image data:image/gif;base64,AAEC"},
		{`{"content": [{"type": "resource", "resource": {"uri": "file:///a", "blob": "AAEC"}}]}`, "input_text [Resource file:///a, of unknown type, 3 bytes of data.]"},
		{`{"content": [{"type": "resource"}]}`, "input_text [An empty resource.]"},
	}
	for _, test := range tests {
		var reply sdk.CallToolResult
		if err := json.Unmarshal([]byte(test.reply), &reply); err != nil {
			t.Fatal(err)
		}
		var got []string
		for _, c := range convert(&reply).Content {
			got = append(got, c.Type+" "+c.Text.Inline)
		}
		if strings.Join(got, "|") != test.want {
			t.Errorf("%s\ngot  %q\nwant %q", test.reply, got, test.want)
		}
	}
}

func TestConvertCuts(t *testing.T) {
	long := strings.Repeat("ü", tool.MaxResultBytes/2)
	image := &sdk.ImageContent{MIMEType: "image/png", Data: make([]byte, tool.MaxResultBytes)}
	got := convert(&sdk.CallToolResult{Content: []sdk.Content{&sdk.TextContent{Text: "first\xff"}, image, &sdk.TextContent{Text: long}}})
	checkBounds(t, got)
	last := got.Content[len(got.Content)-1].Text.Inline
	if len(got.Content) != 3 || got.Content[0].Text.Inline != "first\uFFFD" || !strings.Contains(last, "bytes of it were cut") {
		t.Errorf("%d parts, the last is %.100q", len(got.Content), last)
	}
	var many []sdk.Content
	for range 3 * MaxParts {
		many = append(many, &sdk.TextContent{Text: "x"})
	}
	checkBounds(t, convert(&sdk.CallToolResult{Content: many}))
}

func checkBounds(t *testing.T, r tool.Result) {
	t.Helper()
	size := 0
	for _, c := range r.Content {
		size += len(c.Text.Inline)
		if !utf8.ValidString(c.Text.Inline) || c.Text.Bytes != len(c.Text.Inline) {
			t.Errorf("a part is not valid: %.100q", c.Text.Inline)
		}
		if c.Type != stead.ContentInputText && !(c.Type == stead.ContentInputImage && strings.HasPrefix(c.Text.Inline, "data:image/")) {
			t.Errorf("a part has the type %q", c.Type)
		}
	}
	if size > tool.MaxResultBytes || len(r.Content) > MaxParts+1 {
		t.Errorf("%d bytes in %d parts", size, len(r.Content))
	}
}

// FuzzConvert takes whatever a server may say.
func FuzzConvert(f *testing.F) {
	f.Add([]byte(`{"content": [{"type": "text", "text": "\ud800"}], "isError": true}`))
	f.Add([]byte(`{"content": [{"type": "image", "mimeType": "image/png\r\n", "data": "AA=="}, {"type": "resource", "resource": {"blob": ""}}]}`))
	f.Add([]byte(`{"content": [{"type": "resource_link", "uri": "x", "size": -1}, {"type": "tool_use", "input": {}}, {"type": "tool_result", "content": [null]}]}`))
	f.Add([]byte(`{"structuredContent": {"a": [1e308, null]}}`))
	f.Fuzz(func(t *testing.T, data []byte) {
		var reply sdk.CallToolResult
		if json.Unmarshal(data, &reply) != nil {
			return
		}
		checkBounds(t, convert(&reply))
	})
}
