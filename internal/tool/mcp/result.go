package mcp

import (
	"encoding/base64"
	"encoding/json"
	"fmt"
	"strings"
	"unicode/utf8"

	sdk "github.com/modelcontextprotocol/go-sdk/mcp"

	"github.com/stead-dev/stead"
	"github.com/stead-dev/stead/internal/tool"
)

// MaxParts is the most parts of one result.
const MaxParts = 1024

// convert turns what a tool said into content of at most tool.MaxResultBytes. What does not fit is
// cut, and the last part says so. Text is valid UTF-8 whatever came.
func convert(r *sdk.CallToolResult) tool.Result {
	b := builder{left: tool.MaxResultBytes - maxNoteBytes}
	for _, content := range r.Content {
		b.add(content)
	}
	if len(b.parts) == 0 && b.cut == 0 && r.StructuredContent != nil {
		if text, err := json.Marshal(r.StructuredContent); err == nil {
			b.text(string(text))
		}
	}
	if b.cut > 0 {
		note := fmt.Sprintf("[The tool's result was too large: %d bytes of it were cut.]", b.cut)
		b.parts = append(b.parts, stead.Content{Type: stead.ContentInputText, Text: stead.NewText(note)})
	}
	return tool.Result{Content: b.parts, IsError: r.IsError}
}

// maxNoteBytes is room for the sentence about the cut.
const maxNoteBytes = 128

type builder struct {
	parts []stead.Content
	left  int // bytes that still fit
	cut   int // bytes that did not
}

func (b *builder) add(content sdk.Content) {
	switch c := content.(type) {
	case *sdk.TextContent:
		b.text(c.Text)
	case *sdk.ImageContent:
		b.image(c.MIMEType, c.Data)
	case *sdk.AudioContent:
		b.text(fmt.Sprintf("[Audio, %s, %d bytes, which can't be shown.]", orUnknown(c.MIMEType), len(c.Data)))
	case *sdk.ResourceLink:
		b.text(describeLink(c))
	case *sdk.EmbeddedResource:
		b.resource(c.Resource)
	default: // tool_use and tool_result belong into sampling, not here
		b.text("[Content of a kind that is not understood.]")
	}
}

// text adds as much of s as fits.
func (b *builder) text(s string) {
	s = strings.ToValidUTF8(s, "\uFFFD")
	if len(b.parts) >= MaxParts {
		b.cut += len(s)
		return
	}
	kept := s
	if len(kept) > b.left {
		kept = kept[:runeStart(kept, b.left)]
		b.cut += len(s) - len(kept)
		b.left = 0
		if kept == "" {
			return
		}
	}
	b.left = max(0, b.left-len(kept))
	b.parts = append(b.parts, stead.Content{Type: stead.ContentInputText, Text: stead.NewText(kept)})
}

// image adds a whole image or, as half of one is none, nothing.
func (b *builder) image(mime string, data []byte) {
	kind, name, ok := strings.Cut(mime, "/")
	if kind != "image" || !ok || !isToken(name) || len(data) == 0 {
		b.text(fmt.Sprintf("[An image of type %s, %d bytes, which can't be shown.]", orUnknown(mime), len(data)))
		return
	}
	prefix := "data:" + mime + ";base64,"
	size := len(prefix) + base64.StdEncoding.EncodedLen(len(data))
	if size > b.left || len(b.parts) >= MaxParts {
		b.cut += size
		return
	}
	b.left -= size
	url := prefix + base64.StdEncoding.EncodeToString(data)
	b.parts = append(b.parts, stead.Content{Type: stead.ContentInputImage, Text: stead.NewText(url)})
}

func (b *builder) resource(r *sdk.ResourceContents) {
	switch {
	case r == nil:
		b.text("[An empty resource.]")
	case len(r.Blob) > 0 && strings.HasPrefix(r.MIMEType, "image/"):
		b.image(r.MIMEType, r.Blob)
	case len(r.Blob) > 0:
		b.text(fmt.Sprintf("[Resource %s, %s, %d bytes of data.]", clip(r.URI, maxNameBytes), orUnknown(r.MIMEType), len(r.Blob)))
	default:
		b.text(fmt.Sprintf("[Resource %s]\n%s", clip(r.URI, maxNameBytes), r.Text))
	}
}

// maxNameBytes bounds names, types and URLs of resources where they are described.
const maxNameBytes = 2048

func describeLink(c *sdk.ResourceLink) string {
	s := "[Link to resource " + clip(c.URI, maxNameBytes)
	for _, more := range []string{c.Name, c.Title, c.Description, c.MIMEType} {
		if more != "" {
			s += "; " + clip(more, maxNameBytes)
		}
	}
	if c.Size != nil {
		s += fmt.Sprintf("; %d bytes", *c.Size)
	}
	return s + "]"
}

func orUnknown(mime string) string {
	if mime == "" {
		return "of unknown type"
	}
	return clip(mime, 100)
}

// clipped is a result of one short text.
func clipped(text string) []stead.Content {
	const most = 8 << 10
	return stead.TextContent(stead.ContentInputText, clip(text, most))
}

// clip shortens s to at most n bytes of valid UTF-8.
func clip(s string, n int) string {
	s = strings.ToValidUTF8(s, "\uFFFD")
	if len(s) <= n {
		return s
	}
	const dots = "…"
	return s[:runeStart(s, n-len(dots))] + dots
}

// runeStart is the largest index of s, at most n, at which a rune starts.
func runeStart(s string, n int) int {
	for n > 0 && !utf8.RuneStart(s[n]) {
		n--
	}
	return max(n, 0)
}
