package mcp_test

import (
	"strings"
	"testing"

	"github.com/stead-dev/stead"
	"github.com/stead-dev/stead/internal/tool"
	"github.com/stead-dev/stead/internal/tool/mcp"
)

func TestServersThatAreNotReached(t *testing.T) {
	m := open(t, mcp.Config{Servers: []mcp.Configured{{Label: "files", Command: "true"}, {Label: "web", URL: "https://example.com/mcp"}}})
	tests := []struct {
		server tool.Server
		want   string
	}{
		{tool.Server{Label: "rm -rf"}, `"rm -rf" is configured`},
		{tool.Server{Label: "files", Headers: map[string]string{"X": "y"}}, "configured by the operator"},
		{tool.Server{Label: "x", URL: "file:///etc/passwd"}, "must be http or https"},
		{tool.Server{Label: "x", URL: "http://me:secret@example.com"}, "without a password"},
		{tool.Server{Label: "x", URL: "https://"}, "with a host"},
		{tool.Server{Label: "x", URL: "https://example.com", Headers: map[string]string{"Idempotency-Key": "k"}}, "set by the protocol"},
		{tool.Server{Label: "x", URL: "https://example.com", Headers: map[string]string{"a b": "k"}}, "can't be sent"},
		{tool.Server{Label: "x", URL: "https://example.com", Headers: map[string]string{"a": "k\r\nb: c"}}, "can't be sent"},
	}
	for _, test := range tests {
		_, err := m.Tools(t.Context(), test.server)
		if stead.KindOf(err) != stead.KindInvalid || !strings.Contains(err.Error(), test.want) || strings.Contains(err.Error(), "secret") {
			t.Errorf("%+v: got %v, want %q", test.server, err, test.want)
		}
	}
	_, err := m.Tools(t.Context(), tool.Server{Label: "nope"})
	if e, ok := err.(*stead.Error); !ok || !strings.Contains(e.Hint, "configured are: files, web") {
		t.Errorf("got %#v", err)
	}
}

func TestConfigCheck(t *testing.T) {
	for _, servers := range [][]mcp.Configured{
		{{URL: "https://example.com"}},
		{{Label: "a", Command: "true"}, {Label: "a", Command: "true"}},
		{{Label: "a"}},
		{{Label: "a", URL: "https://example.com", Command: "true"}},
		{{Label: "a", URL: "https://example.com", Args: []string{"x"}}},
		{{Label: "a", URL: "example.com"}},
		{{Label: "a", Command: "true", Headers: map[string]string{"x": "y"}}},
		{{Label: "a", Command: "true", Effects: map[string]tool.Effect{"t": "harmless"}}},
	} {
		if err := (mcp.Config{Servers: servers}).Check(); stead.KindOf(err) != stead.KindInvalid {
			t.Errorf("%+v: got %v", servers, err)
		}
	}
}
