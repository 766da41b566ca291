package runner

import (
	"strings"

	"github.com/stead-dev/stead"
	"github.com/stead-dev/stead/internal/citation"
)

// What a model says of passages that it was given carries their marks (package citation). They are taken out before anybody sees
// the text, and stand beside it as citations in the journal: what is told again from there is what was told at first.

// passagesIn are the passages among a request's items: outputs of calls that return some.
func passagesIn(items []stead.Item, calls map[string]bool) citation.Passages {
	if len(calls) == 0 {
		return nil
	}
	out := citation.Passages{}
	for _, it := range items {
		if it.Type == stead.ItemFunctionCallOutput && calls[it.CallID] {
			out.Add(joined(it.Output))
		}
	}
	return out
}

// remark puts the marks back into what the model said before. The given items' contents stay as they are.
func remark(items []stead.Item, p citation.Passages) {
	for i := range items {
		it := &items[i]
		if it.Type != stead.ItemMessage || len(it.Content) == 0 || len(it.Content[0].Cites) == 0 {
			continue
		}
		c := it.Content[0]
		c.Text = stead.NewText(citation.Put(c.Text.Inline, c.Cites, p))
		it.Content = append([]stead.Content{c}, it.Content[1:]...)
	}
}

// cites takes the marks out of what one model call says, an item each.
type cites struct {
	passages citation.Passages
	readers  map[int]*citation.Reader
}

// piece is what can be shown of a piece of an item's text.
func (c *cites) piece(index int, text string) string {
	if len(c.passages) == 0 {
		return text
	}
	r := c.readers[index]
	if r == nil {
		if r = (&citation.Reader{Passages: c.passages}); c.readers == nil {
			c.readers = map[int]*citation.Reader{}
		}
		c.readers[index] = r
	}
	return r.Add(text)
}

// whole makes of a finished message what is kept of it, and gives what was still held back of its text. A provider whose end
// contradicts its stream is not believed: see holdTo.
func (c *cites) whole(index int, it *stead.Item) (rest string) {
	if len(c.passages) == 0 || it.Type != stead.ItemMessage || stead.Refuses(it.Content) {
		return ""
	}
	text, cited := citation.Take(joined(it.Content), c.passages)
	if r := c.readers[index]; r != nil {
		rest = r.End()
		if !strings.HasPrefix(text, r.Shown()) {
			text, cited = r.Shown(), r.Citations
		}
	}
	it.Content = stead.SaidContent(text, false)
	it.Content[0].Cites = cited
	return rest
}

// moved are citations of items whose texts guardrails have changed.
func moved(before, after []stead.Item) {
	for i := range after {
		if i >= len(before) || len(after[i].Content) == 0 || len(after[i].Content[0].Cites) == 0 {
			continue
		}
		c := &after[i].Content[0]
		c.Cites = citation.Moved(c.Cites, joined(before[i].Content), joined(after[i].Content))
	}
}
