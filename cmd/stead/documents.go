package main

import (
	"context"
	"path/filepath"

	"github.com/stead-dev/stead/internal/office"
	"github.com/stead-dev/stead/internal/passage"
	"github.com/stead-dev/stead/internal/pdf"
)

// compiledDir holds, in the data directory, what was compiled to read PDF with. It may be deleted.
const compiledDir = "compiled"

// readDocument makes text of uploaded files, by what they are.
func readDocument(data string) func(ctx context.Context, name string, data []byte) (passage.Document, error) {
	pdfs := pdf.NewReader(filepath.Join(data, compiledDir))
	return func(ctx context.Context, name string, data []byte) (passage.Document, error) {
		read, made := office.Read, passage.Converted
		switch {
		case pdf.Is(data):
			read, made = pdfs.Read, passage.Pages
		case !office.Is(data):
			return passage.Read(name, data)
		}
		text, err := read(ctx, name, data)
		if err != nil {
			return passage.Document{}, err
		}
		return made(name, text)
	}
}
