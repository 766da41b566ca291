package computer

import (
	"bytes"
	"context"
	"fmt"
	"strings"
	"unicode/utf8"

	"github.com/stead-dev/stead"
	"github.com/stead-dev/stead/internal/environment"
	"github.com/stead-dev/stead/internal/tool"
)

const pathParameter = `"path":{"type":"string","description":"Absolute, in ` + environment.WorkspaceDir + `, or relative to it"}`

var readSpec = tool.Spec{
	Name:        "read_file",
	Description: "Reads a text file of the workspace. Lines are numbered from 1.",
	Parameters: object(pathParameter+`,"offset":{"type":"integer","minimum":1,"description":"First line"},`+
		`"limit":{"type":"integer","minimum":1,"description":"Number of lines"}`, "path"),
	Effect: tool.Pure,
}

type readArgs struct {
	Path   string `json:"path"`
	Offset int    `json:"offset"`
	Limit  int    `json:"limit"`
}

func (w work) read(ctx context.Context) (tool.Result, error) {
	args, err := arguments[readArgs](w.Arguments)
	if err != nil {
		return failed(err)
	}
	data, err := w.env.ReadFile(ctx, args.Path, MaxReadBytes)
	if err != nil {
		return settled(err)
	}
	if !utf8.Valid(data) || bytes.IndexByte(data, 0) >= 0 {
		return failed(stead.Invalid("path", "%s is not a text file (%d bytes)", args.Path, len(data)))
	}
	return said(numbered(string(data), args.Offset, args.Limit)), nil
}

// numbered shows lines with their numbers, at most MaxReadLines and MaxOutputBytes of them.
func numbered(text string, offset, limit int) string {
	if text == "" {
		return "[the file is empty]"
	}
	lines := strings.Split(strings.TrimSuffix(text, "\n"), "\n")
	from := max(offset, 1)
	if from > len(lines) {
		return fmt.Sprintf("[the file has %d lines]", len(lines))
	}
	to := len(lines)
	if limit > 0 {
		to = min(to, from-1+limit)
	}
	to = min(to, from-1+MaxReadLines)
	var b strings.Builder
	n := from
	for ; n <= to && b.Len() < MaxOutputBytes; n++ {
		fmt.Fprintf(&b, "%6d\t%s\n", n, cut(lines[n-1]))
	}
	if n <= len(lines) {
		fmt.Fprintf(&b, "[lines %d to %d of %d follow: read on with offset]\n", n, len(lines), len(lines))
	}
	return b.String()
}

// maxLineBytes is how much of one line is shown.
const maxLineBytes = 4 << 10

func cut(line string) string {
	if len(line) <= maxLineBytes {
		return line
	}
	return strings.ToValidUTF8(line[:maxLineBytes], "") + " [cut]"
}

var writeSpec = tool.Spec{
	Name:        "write_file",
	Description: "Makes a file of the workspace, or replaces it whole. To change a part of one, use apply_patch.",
	Parameters:  object(pathParameter+`,"content":{"type":"string"},"executable":{"type":"boolean"}`, "path", "content"),
	Effect:      tool.Idempotent,
}

type writeArgs struct {
	Path       string `json:"path"`
	Content    string `json:"content"`
	Executable bool   `json:"executable"`
}

func (w work) write(ctx context.Context) (tool.Result, error) {
	args, err := arguments[writeArgs](w.Arguments)
	if err != nil {
		return failed(err)
	}
	if err := w.env.WriteFile(ctx, args.Path, []byte(args.Content), args.Executable); err != nil {
		return settled(err)
	}
	return said(fmt.Sprintf("Wrote %d bytes to %s.", len(args.Content), args.Path)), nil
}

var listSpec = tool.Spec{
	Name:        "list_files",
	Description: "Lists the files below a directory of the workspace, with their sizes in bytes.",
	Parameters:  object(`"path":{"type":"string","description":"A directory; the workspace by default"},"after":{"type":"string","description":"Go on after this file"}`),
	Effect:      tool.Pure,
}

type listArgs struct {
	Path  string `json:"path"`
	After string `json:"after"`
}

func (w work) list(ctx context.Context) (tool.Result, error) {
	args, err := arguments[listArgs](w.Arguments)
	if err != nil {
		return failed(err)
	}
	page, err := w.env.List(ctx, environment.ListQuery{Dir: args.Path, After: args.After, Limit: MaxListed})
	if err != nil {
		return settled(err)
	}
	var b strings.Builder
	for _, f := range page.Files {
		fmt.Fprintf(&b, "%10d  %s\n", f.Size, f.Path)
	}
	switch {
	case page.More:
		fmt.Fprintf(&b, "[there are more: go on with after = %q]\n", page.Files[len(page.Files)-1].Path)
	case len(page.Files) == 0:
		b.WriteString("[no files]\n")
	}
	return said(b.String()), nil
}
