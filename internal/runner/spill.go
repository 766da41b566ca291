package runner

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/stead-dev/stead"
	"github.com/stead-dev/stead/internal/session"
)

// Texts above stead.MaxInlineBytes live in blobs. They are stored before the event that names them,
// so that no event ever names a blob that is not there.

// spill moves a large text into a blob. It keeps trying while the store is away, for the text may
// be the only trace of an effect; false means that the actor ends.
func (a *actor) spill(ctx context.Context, t *stead.Text) bool {
	if len(t.Inline) <= stead.MaxInlineBytes {
		return true
	}
	return a.spillAny(ctx, t)
}

func (a *actor) spillAny(ctx context.Context, t *stead.Text) bool {
	if t.Digest != "" {
		return true
	}
	if errors.Is(ctx.Err(), context.Canceled) {
		return false // the work was given up, and its session may be deleted already
	}
	err := a.patient(func() error {
		if errors.Is(ctx.Err(), context.Canceled) {
			return context.Canceled // likewise, while it waited
		}
		digest, err := a.r.cfg.Blobs.Put(context.WithoutCancel(ctx), a.key, []byte(t.Inline))
		if err == nil {
			*t = stead.Text{Digest: digest, Bytes: len(t.Inline)}
		}
		return err
	})
	if errors.Is(err, context.Canceled) {
		return false
	}
	if err != nil && a.ctx.Err() == nil {
		a.log.Error("a large text could not be stored", "err", err)
		*t = stead.NewText(fmt.Sprintf("[%d bytes of text could not be stored]", len(t.Inline)))
		return true
	}
	return err == nil
}

func (a *actor) spillContent(ctx context.Context, content []stead.Content) bool {
	for _, i := range tooLarge(content) {
		if !a.spillAny(ctx, &content[i].Text) {
			return false
		}
	}
	return true
}

// Limits of the content that one event holds itself.
const (
	maxInlineTotal = 1 << 20
	maxParts       = 1024
	minBlobBytes   = 256 // a reference is hardly shorter
)

// tooLarge lists the parts that must become blobs: each above stead.MaxInlineBytes, and what goes
// beyond maxInlineTotal of all parts together.
func tooLarge(content []stead.Content) []int {
	var out []int
	total := 0
	for i, c := range content {
		n := len(c.Text.Inline)
		if n > stead.MaxInlineBytes || (total+n > maxInlineTotal && n > minBlobBytes) {
			out = append(out, i)
			continue
		}
		total += n
	}
	return out
}

// fewParts joins the texts of content with more parts than an event should list.
func fewParts(content []stead.Content) []stead.Content {
	if len(content) <= maxParts {
		return content
	}
	var out []stead.Content
	var text strings.Builder
	for _, c := range content {
		if c.Type == stead.ContentInputImage && len(out) < maxParts {
			out = append(out, c)
			continue
		}
		text.WriteString(c.Text.Inline)
		text.WriteByte('\n')
	}
	return append(out, stead.TextContent(stead.ContentInputText, text.String())...)
}

// spillItem moves the large texts of a reply's item into blobs. inline counts what the reply's items
// hold themselves so far.
func (c *modelCall) spillItem(ctx context.Context, it *stead.Item, inline *int) bool {
	it.Content = append([]stead.Content(nil), it.Content...)
	texts := make([]*stead.Text, 0, len(it.Content)+len(it.Summary)+1)
	for i := range it.Content {
		texts = append(texts, &it.Content[i].Text)
	}
	for i := range it.Summary {
		texts = append(texts, &it.Summary[i])
	}
	if it.Encrypted != nil {
		texts = append(texts, it.Encrypted)
	}
	for _, t := range texts {
		n := len(t.Inline)
		if n > stead.MaxInlineBytes || (*inline+n > maxInlineTotal && n > minBlobBytes) {
			if !c.a.spillAny(ctx, t) {
				return false
			}
			continue
		}
		*inline += n
	}
	return true
}

// spillInput moves the large texts of input into blobs, once: an error goes back to the sender.
func (r *Runner) spillInput(ctx context.Context, key stead.SessionKey, content []stead.Content) error {
	for _, i := range tooLarge(content) {
		t := &content[i].Text
		digest, err := r.cfg.Blobs.Put(ctx, key, []byte(t.Inline))
		if err != nil {
			return fmt.Errorf("store a text of %d bytes: %w", len(t.Inline), err)
		}
		*t = stead.Text{Digest: digest, Bytes: len(t.Inline)}
	}
	return nil
}

// spillItems moves the large texts of input items into blobs. The given items stay as they are.
func (r *Runner) spillItems(ctx context.Context, key stead.SessionKey, items []stead.Item) ([]stead.Item, error) {
	out := slices.Clone(items)
	left := maxInlineTotal // of all items together: they are one event
	for i := range out {
		it := &out[i]
		if len(it.Arguments) > maxArgumentsBytes {
			return nil, stead.Invalid(fmt.Sprintf("input[%d].arguments", i), "the arguments are %d bytes long; the limit is %d bytes", len(it.Arguments), maxArgumentsBytes)
		}
		it.Content, it.Output, it.Summary = slices.Clone(it.Content), slices.Clone(it.Output), slices.Clone(it.Summary)
		texts := make([]*stead.Text, 0, len(it.Content)+len(it.Output)+len(it.Summary)+1)
		for n := range it.Content {
			texts = append(texts, &it.Content[n].Text)
		}
		for n := range it.Output {
			texts = append(texts, &it.Output[n].Text)
		}
		for n := range it.Summary {
			texts = append(texts, &it.Summary[n])
		}
		if it.Encrypted != nil {
			t := *it.Encrypted
			it.Encrypted = &t
			texts = append(texts, it.Encrypted)
		}
		for _, t := range texts {
			n := len(t.Inline)
			if n <= stead.MaxInlineBytes && (n <= left || n <= minBlobBytes) {
				left -= n
				continue
			}
			digest, err := r.cfg.Blobs.Put(ctx, key, []byte(t.Inline))
			if err != nil {
				return nil, fmt.Errorf("store a text of %d bytes: %w", n, err)
			}
			*t = stead.Text{Digest: digest, Bytes: n}
		}
	}
	return out, nil
}

// loadText reads a text that may live in a blob.
func (r *Runner) loadText(ctx context.Context, key stead.SessionKey, t *stead.Text) error {
	if !t.IsBlob() {
		return nil
	}
	data, err := r.cfg.Blobs.Get(ctx, key, t.Digest)
	if err != nil {
		return fmt.Errorf("load blob %s: %w", t.Digest, err)
	}
	t.Inline = string(data)
	return nil
}

// loadItems returns the items with every text inline.
func (r *Runner) loadItems(ctx context.Context, key stead.SessionKey, items []stead.Item) ([]stead.Item, error) {
	for i := range items {
		it := &items[i]
		var err error
		if it.Content, err = r.loadContent(ctx, key, it.Content); err != nil {
			return nil, err
		}
		if it.Output, err = r.loadContent(ctx, key, it.Output); err != nil {
			return nil, err
		}
		it.Summary = append([]stead.Text(nil), it.Summary...)
		for n := range it.Summary {
			if err := r.loadText(ctx, key, &it.Summary[n]); err != nil {
				return nil, err
			}
		}
		if it.Encrypted != nil {
			t := *it.Encrypted
			if err := r.loadText(ctx, key, &t); err != nil {
				return nil, err
			}
			it.Encrypted = &t
		}
	}
	return items, nil
}

func (r *Runner) loadContent(ctx context.Context, key stead.SessionKey, content []stead.Content) ([]stead.Content, error) {
	out := content
	for i := range content {
		if !content[i].Text.IsBlob() {
			continue
		}
		if &out[0] == &content[0] {
			out = append([]stead.Content(nil), content...)
		}
		if err := r.loadText(ctx, key, &out[i].Text); err != nil {
			return nil, err
		}
	}
	return out, nil
}

// texts loads texts for the wire.
func (r *Runner) texts(ctx context.Context, key stead.SessionKey) session.Texts {
	return func(t stead.Text) string {
		if err := r.loadText(ctx, key, &t); err != nil {
			r.log.Error("a text can't be shown", "session", key.Session, "err", err)
			return fmt.Sprintf("[%d bytes of text could not be loaded]", t.Bytes)
		}
		return t.Inline
	}
}
