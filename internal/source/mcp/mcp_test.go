package mcp_test

import (
	"context"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/stead-dev/stead"
	"github.com/stead-dev/stead/internal/source"
	"github.com/stead-dev/stead/internal/source/mcp"
	"github.com/stead-dev/stead/internal/tool"
)

// listed is a server as tool.Resources tells of it; that it does so is package tool/mcp's business.
type listed map[string]struct {
	tool.Resource
	parts []tool.ResourcePart
}

func (l listed) Resources(context.Context, stead.ProjectID, string) (out []tool.Resource, err error) {
	for uri, r := range l {
		r.URI = uri
		out = append(out, r.Resource)
	}
	return out, nil
}

func (l listed) Serves(stead.ProjectID, string) bool { return true }

func (l listed) ReadResource(_ context.Context, _ stead.ProjectID, _, uri string) ([]tool.ResourcePart, error) {
	return l[uri].parts, nil
}

func TestWhatAResourceIs(t *testing.T) {
	type part = tool.ResourcePart
	now := time.Date(2026, 5, 1, 0, 0, 0, 0, time.UTC)
	for uri, c := range map[string]struct {
		kind     string
		size     int64
		modified time.Time
		parts    []part
		name     string // or
		err      stead.Kind
		stamp    string // of content
	}{
		"file:///a/guide.md":        {parts: []part{{Text: "x"}}, name: "guide.md"},
		"file:///a/guide":           {kind: "text/markdown; charset=utf-8", parts: []part{{Text: "x"}}, name: "guide.md"},
		"file:///a/page.php":        {kind: "text/html", parts: []part{{Text: "x"}}, name: "page.php.html"},
		"notes://today":             {kind: "text/plain", parts: []part{{Text: "x"}}, name: "today.txt"},
		"urn:note:5":                {parts: []part{{Text: "x", MIMEType: "application/json"}}, name: "note:5.json"},
		"db://t/b":                  {parts: []part{{Text: "a"}, {Text: "b"}}, name: "b.txt"},
		"db://t/report":             {kind: "application/pdf", parts: []part{{Blob: []byte("%PDF-")}}, name: "report.pdf"},
		"db://t/mixed":              {parts: []part{{Text: "a"}, {Blob: []byte{1}}}, err: stead.KindInvalid},
		"db://t/nothing":            {err: stead.KindInvalid},
		"db://t/large":              {size: mcp.MaxBytes + 1, err: stead.KindTooLarge},
		"db://t/told":               {size: 1, parts: []part{{Text: strings.Repeat("x", source.MaxDocumentBytes+1)}}, err: stead.KindTooLarge},
		"db://t/just":               {modified: now.Add(-time.Second), parts: []part{{Text: "x"}}, name: "just.txt", stamp: source.NoStamp},
		"db://t/then":               {modified: now.Add(-time.Hour), parts: []part{{Text: "x"}}, name: "then.txt"},
		"no uri at all % \x01 \xff": {parts: []part{{Text: "x"}}, name: "no uri at all %  \uFFFD.txt"},
	} {
		l := listed{uri: {tool.Resource{MIMEType: c.kind, Size: c.size, Modified: c.modified}, c.parts}}
		r := mcp.New([]mcp.Server{{Label: "s"}}, l, func() time.Time { return now })
		met := 0
		_, err := r.Walk(t.Context(), source.Walk{Spec: source.Spec{Type: source.MCP, Server: "s"}, Visit: func(d source.Document) error {
			met++
			if (d.Stamp != "") != !c.modified.IsZero() || d.Path != uri || d.URI != uri {
				t.Errorf("%s is met as %+v", uri, d)
			}
			got, err := d.Read(t.Context())
			if stead.KindOf(err) != c.err || err == nil && (got.Name != c.name || got.Stamp != c.stamp) {
				t.Errorf("%s is %q with the stamp %q, %v; want %q %q %q", uri, got.Name, got.Stamp, err, c.name, c.stamp, c.err)
			}
			return nil
		}})
		if err != nil || met != 1 {
			t.Errorf("%s: met %d, %v", uri, met, err)
		}
	}
}

// What a server means for users alone is put before no model; when it says so later, the document goes with the next walk, which does not meet it.
func TestWhatIsForUsersAloneIsNoDocument(t *testing.T) {
	l := listed{}
	for uri, audience := range map[string][]string{"a://nobody": nil, "a://user": {"user"}, "a://assistant": {"assistant"}, "a://both": {"user", "assistant"}} {
		one := l[uri]
		one.Audience = audience
		l[uri] = one
	}
	var met []string
	_, err := mcp.New([]mcp.Server{{Label: "s"}}, l, time.Now).Walk(t.Context(), source.Walk{Spec: source.Spec{Type: source.MCP, Server: "s"}, Visit: func(d source.Document) error {
		met = append(met, d.Path)
		return nil
	}})
	slices.Sort(met)
	if want := []string{"a://assistant", "a://both", "a://nobody"}; err != nil || !slices.Equal(met, want) {
		t.Errorf("met %q, %v, want %q", met, err, want)
	}
}
