// Package patch reads and applies the patch format that models know from Codex.
//
// Shape:
//
//	*** Begin Patch
//	*** Add File: path             + lines: the whole content
//	*** Delete File: path
//	*** Update File: path          hunks, each behind "@@" or "@@ a line above it"
//	*** Move to: path              right behind Update File
//	 context                       lines of a hunk begin with a space, "-" or "+"
//	-removed
//	+added
//	*** End of File                the hunk is at the end of the file
//	*** End Patch
//
// A hunk's place is where its context and removed lines are in the file, behind the hunk before it: as
// they are; else without trailing space; else without space at both ends; else with typographic quotes,
// dashes and spaces taken for plain ones. Context lines stay as the file has them. A hunk that only adds
// goes behind the line of its "@@", or to the end of the file. Lines of a file that ends its lines
// with CR LF are added that way.
//
// Delivery: Apply works everything out before it writes; when a write fails it puts back what it has
// written. Somebody else who changes the files meanwhile is not noticed.
//
// Units and limits: paths are those of package environment; MaxBytes, MaxFiles. Line numbers count
// from 1.
//
// Errors are for the model: KindInvalid, KindNotFound and KindTooLarge with the line of the patch, what
// was not found, and what is there instead.
//
// The source is the grammar and the order of comparisons of Codex (github.com/openai/codex,
// codex-rs/apply-patch: parser.rs, seek_sequence.rs). More than there, several "@@" lines narrow a place
// down step by step, and the headers of unified diffs are taken for "@@".
package patch

import (
	"context"
	"path"
	"strings"

	"github.com/stead-dev/stead"
	"github.com/stead-dev/stead/internal/environment"
)

// Limits of a patch.
const (
	// MaxBytes is the longest patch.
	MaxBytes = 4 << 20
	// MaxFileBytes is the largest file that is updated.
	MaxFileBytes = 16 << 20
	// MaxFiles is the most files that a patch names.
	MaxFiles = 1000
)

// Kind is what happens to a file.
type Kind string

// The kinds.
const (
	Add    Kind = "add"
	Delete Kind = "delete"
	Update Kind = "update"
)

// Patch is a list of operations, in the order in which they are applied.
type Patch struct{ Operations []Operation }

// Operation is what happens to one file.
type Operation struct {
	Kind    Kind
	Path    string
	MoveTo  string // of an update; "" for none
	Content string // of an addition
	Hunks   []Hunk // of an update; may be none when it moves
	Line    int    // of the patch
}

// Hunk is a change of lines that stand together.
type Hunk struct {
	Above []string // lines to look for first, one behind the other
	Lines []Line
	AtEnd bool
	Line  int // of the patch
}

// Line is a line of a hunk.
type Line struct {
	Op   byte // ' ', '-' or '+'
	Text string
}

// File is a file as a patch finds and leaves it.
type File struct {
	Data       []byte
	Executable bool
}

// Files is what a patch is applied to. ReadFile answers KindNotFound for a file that is not there, and
// KindTooLarge above max bytes.
type Files interface {
	ReadFile(ctx context.Context, path string, max int64) (File, error)
	WriteFile(ctx context.Context, path string, f File) error
	Remove(ctx context.Context, path string) error
}

// Change is what a patch has done to a file.
type Change struct {
	Kind   Kind
	Path   string
	MoveTo string // "" for none
	// Fuzzy says that some lines were found only by taking space or typography less exactly.
	Fuzzy bool
}

// state is what files will be, by clean path. A nil file is not there.
type state struct {
	files         Files
	before, after map[string]*File
	order         []string // of first use
}

// Apply applies the patch as a whole, or leaves the files as they are.
func (p *Patch) Apply(ctx context.Context, files Files) ([]Change, error) {
	s := &state{files: files, before: map[string]*File{}, after: map[string]*File{}}
	var changes []Change
	for _, o := range p.Operations {
		c, err := s.plan(ctx, o)
		if err != nil {
			return nil, err
		}
		changes = append(changes, c)
	}
	return changes, s.write(ctx)
}

func (s *state) plan(ctx context.Context, o Operation) (Change, error) {
	name := clean(o.Path)
	f, err := s.get(ctx, name)
	if err != nil {
		return Change{}, at(err, o)
	}
	c := Change{Kind: o.Kind, Path: o.Path, MoveTo: o.MoveTo}
	if f == nil && o.Kind != Add {
		return c, &stead.Error{Kind: stead.KindNotFound, Param: "patch",
			Message: inLine(o.Line, "there is no file %q", o.Path),
			Hint:    "Look for the file's real path, or add it with \"*** Add File\"."}
	}
	switch o.Kind {
	case Add:
		added := &File{Data: []byte(o.Content)}
		if f != nil {
			c.Kind, added.Executable = Update, f.Executable
		}
		s.after[name] = added
	case Delete:
		s.after[name] = nil
	case Update:
		data, fuzzy, err := update(string(f.Data), o)
		if err != nil {
			return c, err
		}
		c.Fuzzy = fuzzy
		updated := &File{Data: []byte(data), Executable: f.Executable}
		if o.MoveTo != "" {
			target := clean(o.MoveTo)
			if _, err := s.get(ctx, target); err != nil { // to have it back when a write fails
				return c, at(err, o)
			}
			s.after[name] = nil
			name = target
		}
		s.after[name] = updated
	}
	return c, nil
}

// get returns a file as the operations before have left it.
func (s *state) get(ctx context.Context, name string) (*File, error) {
	if f, ok := s.after[name]; ok {
		return f, nil
	}
	f, err := s.files.ReadFile(ctx, name, MaxFileBytes)
	s.order = append(s.order, name)
	switch stead.KindOf(err) {
	case "":
		s.before[name], s.after[name] = &f, &f
	case stead.KindNotFound:
		s.before[name], s.after[name] = nil, nil
	default:
		return nil, err
	}
	return s.after[name], nil
}

// write writes what has changed: new content first, so that nothing is removed that has not arrived
// elsewhere.
func (s *state) write(ctx context.Context) error {
	var done []string
	for _, removing := range []bool{false, true} {
		for _, name := range s.order {
			was, is := s.before[name], s.after[name]
			if was == is || (is == nil) != removing {
				continue
			}
			if err := s.put(ctx, name, is); err != nil {
				return s.undo(ctx, done, err)
			}
			done = append(done, name)
		}
	}
	return nil
}

func (s *state) put(ctx context.Context, name string, f *File) error {
	if f != nil {
		return s.files.WriteFile(ctx, name, *f)
	}
	return s.files.Remove(ctx, name)
}

// undo puts files back, also when the request has ended meanwhile, and returns why.
func (s *state) undo(ctx context.Context, done []string, why error) error {
	var left []string
	for _, name := range done {
		if s.put(context.WithoutCancel(ctx), name, s.before[name]) != nil {
			left = append(left, name)
		}
	}
	e := &stead.Error{Kind: stead.KindOf(why), Param: "patch", Err: why, Message: "the patch was not applied: a file can't be written"}
	if len(left) > 0 {
		e.Message += ", and these are changed already: " + strings.Join(left, ", ")
	}
	return e
}

// clean is one name of a file: patches say both "a" and "/workspace/a".
func clean(p string) string {
	p = path.Clean(p)
	if rel, ok := strings.CutPrefix(p, environment.WorkspaceDir+"/"); ok {
		return rel
	}
	return p
}

// at says which operation an error is about, and keeps its kind.
func at(err error, o Operation) error {
	return &stead.Error{Kind: stead.KindOf(err), Param: "patch", Err: err, Message: inLine(o.Line, "%s", message(err))}
}
