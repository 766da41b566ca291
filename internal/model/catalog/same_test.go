package catalog

import (
	"testing"

	"github.com/stead-dev/stead/internal/model/router"
)

func TestAnswers(t *testing.T) {
	c := testCatalog(t, func(c *Config) {
		c.Fallback = "fast"
		c.Models = append(c.Models, Entry{Name: "cheap", Provider: "local", Model: "qwen3"},
			Entry{Name: "both", Routes: []router.Route{{Provider: "openai", Upstream: "o3"}, {Provider: "local", Upstream: "qwen3"}}})
	})
	for _, tc := range []struct {
		asked, of string
		want      bool
	}{
		{"fast", "fast", true}, {"default", "fast", true}, {"cheap", "fast", true}, {"fast", "cheap", true}, {"local/qwen3", "fast", true}, {"fast", "local/qwen3", true}, {"fast", "qwen3", true},
		{"both", "qwen3", true}, {"both", "local/qwen3", true}, {"both", "openai/o3", true}, // it may be answered by it
		{"both", "fast", false}, // it has another way
		{"fast", "both", true}, {"openai/o3", "both", true},
		{"made-up", "fast", true}, {"made-up", "gpt-4o", false}, // unknown names mean fast
		{"gpt-4o", "fast", false}, {"gpt-4o", "gpt-4o-2024-08-06", true}, {"gpt-4o", "local/gpt-4o-2024-08-06", false}, {"nobody/x", "nobody/x", true}, {"nobody/x", "x", false},
	} {
		if got := c.Answers(tc.asked, tc.of); got != tc.want {
			t.Errorf("a call of %s, and %s: %v", tc.asked, tc.of, got)
		}
	}
}
