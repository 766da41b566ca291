// Package pdf reads the text of PDF documents. PDFium, which browsers show them with, runs as WebAssembly: a hostile document
// gets at most MaxMemory, MaxTime and neither files nor network.
//
// Shape:
//
//	Is(bytes) bool
//	Reader.Read(ctx, name, bytes) ─▶ Markdown, with a section a page
//
// Each document has a PDFium of its own. The first one is compiled, which takes seconds; what was compiled is kept in a directory, and later
// starts take a fifth of one. One document is read at a time.
//
// Errors: KindNotImplemented for a password and for pages of pictures alone (there is no recognition of text in pictures); KindInvalid for
// what is broken; KindTooLarge; KindUnavailable while PDFium can't be started.
//
// Source: pdfium's fpdfview.h and fpdf_text.h (FPDF_ERR_PASSWORD, FPDFText_GetText: U+0002 or U+FFFE where a word is hyphenated).
package pdf

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"strings"
	"time"

	pdfium "github.com/klippa-app/go-pdfium"
	pdferrors "github.com/klippa-app/go-pdfium/errors"
	"github.com/klippa-app/go-pdfium/requests"
	"github.com/klippa-app/go-pdfium/webassembly"
	"github.com/tetratelabs/wazero"
	"github.com/tetratelabs/wazero/api"
	"github.com/tetratelabs/wazero/experimental"

	"github.com/stead-dev/stead"
)

const (
	// MaxPages is how many pages a document may have.
	MaxPages = 10_000
	// MaxMemory is what PDFium may use for one document, in bytes; a document of this size and its pages must fit.
	MaxMemory = 1 << 30
	// MaxTime is how long a document may take.
	MaxTime = 2 * time.Minute
	// MaxText is how many bytes of Markdown are written: what a vector store takes.
	MaxText = 20_000_000

	wasmPage = 64 << 10
)

// Is says whether data is a PDF: its mark may stand behind other bytes.
func Is(data []byte) bool {
	const within = 1024 // as readers have it
	return bytes.Contains(data[:min(len(data), within)], []byte("%PDF-"))
}

// Reader reads documents. It is safe for concurrent use.
type Reader struct {
	cache string
	one   chan struct{} // held while a document is read
}

// NewReader makes a Reader that keeps what it compiles in a directory, which it makes.
func NewReader(cache string) *Reader { return &Reader{cache, make(chan struct{}, 1)} }

// Read returns what a document says.
func (r *Reader) Read(ctx context.Context, name string, data []byte) (string, error) {
	select {
	case r.one <- struct{}{}:
		defer func() { <-r.one }()
	case <-ctx.Done():
		return "", ctx.Err()
	}
	within, cancel := context.WithTimeout(ctx, MaxTime)
	defer cancel()
	text, err := r.read(within, data)
	var known *stead.Error
	switch {
	case err == nil:
		return text, nil
	case ctx.Err() != nil:
		return "", ctx.Err()
	case within.Err() != nil:
		return "", stead.Errorf(stead.KindInvalid, "file %.80q: it took longer than %v", name, MaxTime)
	case !errors.As(err, &known):
		return "", stead.Errorf(stead.KindInvalid, "file %.80q is no whole PDF: %.200s", name, err.Error())
	case known.Kind != stead.KindUnavailable:
		known.Message = fmt.Sprintf("file %.80q: %s", name, known.Message)
	}
	return "", known
}

// read starts a PDFium for one document, which ends with ctx: what a document did to it is gone with it.
func (r *Reader) read(ctx context.Context, data []byte) (string, error) {
	cache, err := wazero.NewCompilationCacheWithDir(r.cache)
	if err != nil {
		return "", stead.Wrap(stead.KindUnavailable, err, "keep what is compiled of PDFium")
	}
	defer cache.Close(context.Background())
	config := wazero.NewRuntimeConfig().WithCoreFeatures(api.CoreFeaturesV2 | experimental.CoreFeaturesExceptionHandling).
		WithCloseOnContextDone(true).WithMemoryLimitPages(MaxMemory / wasmPage).WithCompilationCache(cache)
	pool, err := webassembly.Init(webassembly.Config{
		Context: ctx, MaxTotal: 1, RuntimeConfig: config, FSConfig: wazero.NewFSConfig(), Stdout: io.Discard, Stderr: io.Discard,
	})
	if err != nil {
		return "", stead.Wrap(stead.KindUnavailable, err, "start PDFium")
	}
	defer pool.Close()
	instance, err := pool.GetInstance(MaxTime)
	if err != nil {
		return "", stead.Wrap(stead.KindUnavailable, err, "start PDFium")
	}
	return pages(instance, data)
}

func pages(p pdfium.Pdfium, data []byte) (text string, err error) {
	defer func() {
		if r := recover(); r != nil { // of PDFium itself: its memory is used up, or it met what it did not expect
			text, err = "", fmt.Errorf("PDFium gave up: %.100s", fmt.Sprint(r))
		}
	}()
	doc, err := p.OpenDocument(&requests.OpenDocument{File: &data})
	if errors.Is(err, pdferrors.ErrPassword) || errors.Is(err, pdferrors.ErrSecurity) {
		return "", stead.Errorf(stead.KindNotImplemented, "it has a password")
	}
	if err != nil {
		return "", err
	}
	count, err := p.FPDF_GetPageCount(&requests.FPDF_GetPageCount{Document: doc.Document})
	if err != nil {
		return "", err
	}
	if count.PageCount > MaxPages {
		return "", stead.Errorf(stead.KindTooLarge, "it has %d pages, the limit is %d", count.PageCount, MaxPages)
	}
	var out strings.Builder
	for i := range count.PageCount {
		page, err := p.GetPageText(&requests.GetPageText{Page: requests.Page{ByIndex: &requests.PageByIndex{Document: doc.Document, Index: i}}})
		if err != nil {
			return "", fmt.Errorf("page %d: %w", i+1, err)
		}
		if text := clean(page.Text); text != "" {
			fmt.Fprintf(&out, "## Page %d\n\n%s\n\n", i+1, text)
		}
		if out.Len() > MaxText {
			return "", stead.Errorf(stead.KindTooLarge, "it has more than %d bytes of text", MaxText)
		}
	}
	if out.Len() == 0 {
		e := stead.Errorf(stead.KindNotImplemented, "its %d pages hold no text, as scanned ones do", count.PageCount)
		e.Hint = "Have the text in the pictures recognised first."
		return "", e
	}
	return out.String(), nil
}

var hyphens = strings.NewReplacer("\x02\r\n", "", "\ufffe\r\n", "", "\x02\n", "", "\ufffe\n", "", "\x02", "", "\ufffe", "", "\r\n", "\n", "\r", "\n", "\x00", "")

// clean joins hyphenated words, and keeps lines from being taken for headings.
func clean(page string) string {
	lines := strings.Split(hyphens.Replace(page), "\n")
	for i, l := range lines {
		l = strings.TrimSpace(l)
		if strings.HasPrefix(l, "#") || strings.HasPrefix(l, "```") || strings.HasPrefix(l, "~~~") {
			l = `\` + l
		}
		lines[i] = l
	}
	return strings.TrimSpace(strings.Join(lines, "\n"))
}
