package model

import "github.com/stead-dev/stead"

// What pictures and files weigh in an estimate of tokens, in bytes of text. A picture weighs so much whether it is a link
// or there itself, for upstreams count its area; of a file it is the least, for most come as links.
const (
	ImageBytes = 4800 // about 1,200 tokens
	FileBytes  = 6000 // about 1,500
)

// itemOverheadBytes is what an item costs beside its texts.
const itemOverheadBytes = 24

// ItemBytes estimates what an item costs of a model's context, in bytes of text.
func ItemBytes(it stead.Item) int {
	n := itemOverheadBytes + len(it.Name) + len(it.Arguments) + len(it.Error)
	n += contentBytes(it.Content) + contentBytes(it.Output)
	for _, s := range it.Summary {
		n += s.Bytes
	}
	if it.Encrypted != nil {
		n += it.Encrypted.Bytes
	}
	return n
}

func contentBytes(content []stead.Content) int {
	n := 0
	for _, c := range content {
		switch c.Type {
		case stead.ContentInputImage:
			n += ImageBytes
		case stead.ContentInputFile:
			n += max(c.Text.Bytes, FileBytes)
		default:
			n += c.Text.Bytes
		}
	}
	return n
}

// InputBytes estimates what the request has as input, in bytes of text.
func (r *Request) InputBytes() int {
	n := len(r.Instructions)
	for _, t := range r.Tools {
		n += len(t.Name) + len(t.Description) + len(t.Parameters)
	}
	if r.Format != nil {
		n += len(r.Format.Schema)
	}
	for i := range r.Items {
		n += ItemBytes(r.Items[i])
	}
	return n
}
