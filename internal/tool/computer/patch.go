package computer

import (
	"context"
	"fmt"
	"strings"

	"github.com/stead-dev/stead"
	"github.com/stead-dev/stead/internal/environment"
	"github.com/stead-dev/stead/internal/environment/patch"
	"github.com/stead-dev/stead/internal/tool"
)

var patchSpec = tool.Spec{
	Name: "apply_patch",
	Description: "Changes files of the workspace: all of the patch, or nothing. The format is:\n" +
		"*** Begin Patch\n*** Update File: path\n@@ a line above, if it helps\n unchanged line\n-old line\n+new line\n" +
		"*** Add File: path\n+line\n*** Delete File: path\n*** End Patch",
	Parameters: object(`"patch":{"type":"string"}`, "patch"),
	Effect:     tool.Unknown,
}

type patchArgs struct {
	Patch string `json:"patch"`
}

func (w work) patch(ctx context.Context) (tool.Result, error) {
	args, err := arguments[patchArgs](w.Arguments)
	if err != nil {
		return failed(err)
	}
	p, err := patch.Parse(args.Patch)
	if err != nil {
		return failed(err)
	}
	changes, err := p.Apply(ctx, patched{w.env})
	if err != nil {
		return settled(err)
	}
	var b strings.Builder
	for _, c := range changes {
		fmt.Fprintf(&b, "%s %s", c.Kind, c.Path)
		if c.MoveTo != "" {
			fmt.Fprintf(&b, " -> %s", c.MoveTo)
		}
		if c.Fuzzy {
			b.WriteString(" (some lines differed in space or typography)")
		}
		b.WriteByte('\n')
	}
	return said(b.String()), nil
}

// patched is an environment's workspace as a patch sees it.
type patched struct{ env environment.Environment }

// ReadFile implements patch.Files.
func (p patched) ReadFile(ctx context.Context, path string, most int64) (patch.File, error) {
	data, err := p.env.ReadFile(ctx, path, most)
	if err != nil {
		return patch.File{}, err
	}
	f := patch.File{Data: data}
	if e, ok := p.env.(interface {
		Executable(ctx context.Context, path string) (bool, error)
	}); ok {
		f.Executable, err = e.Executable(ctx, path)
	}
	return f, err
}

// WriteFile implements patch.Files.
func (p patched) WriteFile(ctx context.Context, path string, f patch.File) error {
	return p.env.WriteFile(ctx, path, f.Data, f.Executable)
}

// Remove implements patch.Files.
func (p patched) Remove(ctx context.Context, path string) error {
	if r, ok := p.env.(interface {
		Remove(ctx context.Context, path string) error
	}); ok {
		return r.Remove(ctx, path)
	}
	e := stead.Errorf(stead.KindNotImplemented, "files of this environment can't be removed by a patch")
	e.Hint = "Remove the file with shell."
	return e
}
