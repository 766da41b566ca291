package session_test

import (
	"encoding/json"
	"testing"

	"github.com/stead-dev/stead/internal/session"
)

func TestWhatItemsSay(t *testing.T) {
	text := func(s string) *string { return &s }
	items := []struct {
		item session.Item
		want session.LearnMessage // zero: nothing
	}{
		{&session.MessageItem{ID: "1", Role: "user", Content: []session.WireContent{{Text: text("hi")}, {Text: text("")}, {Text: text("there")}}}, session.LearnMessage{Item: "1", Role: "user", Text: "hi\nthere"}},
		{&session.MessageItem{ID: "2", Role: "assistant"}, session.LearnMessage{}},
		{&session.FunctionCallItem{ID: "3", CallID: "c", Name: "weather"}, session.LearnMessage{}},
		{&session.FunctionOutputItem{ID: "4", CallID: "c", Output: json.RawMessage(`"rain"`)}, session.LearnMessage{Item: "4", Role: "tool", Tool: "weather", Text: "rain"}},
		{&session.FunctionOutputItem{ID: "5", CallID: "d", Output: json.RawMessage(`[{"type":"input_text","text":"a"},{"type":"input_image"},{"type":"input_text","text":"b"}]`)}, session.LearnMessage{Item: "5", Role: "tool", Text: "a\nb"}},
		{&session.FunctionOutputItem{ID: "6", CallID: "c", Output: json.RawMessage(`null`)}, session.LearnMessage{}},
		{&session.MCPCallItem{ID: "7", ServerLabel: "shop", Name: "find", Output: json.RawMessage(`{"content":[{"type":"input_text","text":"one teapot"}]}`)}, session.LearnMessage{Item: "7", Role: "tool", Tool: "shop/find", Text: "one teapot"}},
		{&session.MCPCallItem{ID: "8", ServerLabel: "memory", Name: "memory_search", Output: json.RawMessage(`{"content":[{"type":"input_text","text":"found"}]}`)}, session.LearnMessage{}},
		{&session.MCPCallItem{ID: "9", ServerLabel: "file_search", Name: "file_search", Output: json.RawMessage(`"found"`)}, session.LearnMessage{}},
		{&session.CommandItem{ID: "10", Command: "ls", Output: text("a.txt\n")}, session.LearnMessage{Item: "10", Role: "tool", Tool: "environment/shell", Text: "ls\na.txt\n"}},
		{&session.CommandItem{ID: "11", Command: "true", Output: text("")}, session.LearnMessage{}},
		{&session.MemoryRecallItem{ID: "12"}, session.LearnMessage{}},
	}
	with, without := session.Said{Tools: true}, session.Said{}
	for _, c := range items {
		got, ok := with.Of(c.item)
		if ok != (c.want.Item != "") || ok && got != c.want {
			t.Errorf("item %s says %+v, %v; want %+v", c.item.ItemID(), got, ok, c.want)
		}
		if _, ok := without.Of(c.item); ok != (c.want.Item != "" && c.want.Role != session.RoleTool) {
			t.Errorf("without tools item %s says something: %v", c.item.ItemID(), ok)
		}
	}
}
