// Package mount shows memory stores as files of a workspace, and takes what is written there back into them.
//
// Shape: an entry is a file DIR/ID.md, a head and its text:
//
//	---
//	id: mem_…
//	version: 3
//	kind: fact
//	labels: ops, untrusted
//	---
//	The deploy window is on Tuesdays.
//
// Sync compares a directory with its store, both ways, before and after whatever may have changed either:
//
//	one that is not shown    ─▶ of its file "elsewhere" is left: more important or newer ones took its place
//	file as it was written   ─▶ brought to the entry's newest version; of one that is forgotten, or not valid now, nothing is left but "gone"
//	text changed             ─▶ the entry's next version, over the one in the head
//	a file without an id     ─▶ a new entry, of the scope that its head names; the file gets a head
//	changed on both sides    ─▶ the file's text goes to ID.conflict.md, the store's stays; nothing is lost
//
// Any other file there, or in a directory below, makes no memory: whoever wrote it is told, once.
//
// Messages of conversations and passages are not shown: they are found by searching. A file that is deleted comes back:
// forgetting is a tool's, not a file's.
//
// Units and limits: MaxEntries and MaxBytes a store; MaxFileBytes a file.
//
// Delivery: nothing that Sync needs is kept but what it wrote last, which may be lost: then it reads every file once. A write has a key
// that derives from the file's text, or the version that it is over, so that doing it again does nothing.
//
// Errors: *stead.Error of the store or of the workspace. What a policy, a limit or the store refuses of one file is in the Report.
package mount

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"path"
	"slices"
	"strings"
	"unicode/utf8"

	"github.com/stead-dev/stead"
	"github.com/stead-dev/stead/internal/memory"
)

const (
	// MaxEntries and MaxBytes are the most of one store that is shown: the most important, and of those the newest.
	MaxEntries = 300
	MaxBytes   = 4 << 20
	// MaxLabels is how many different labels they have together: those of what is shown become the session's.
	MaxLabels = 256
	// MaxFileBytes is the largest file that is read.
	MaxFileBytes = memory.MaxContentBytes + 4<<10

	ending   = ".md"
	conflict = ".conflict.md"
	maxTold  = 5 // names of files that make no memory
)

// File is a file in a directory.
type File struct {
	Name string // relative to the directory: "a.md", "sub/b.md"
	Size int64
}

// Files is a workspace. Paths are relative to its root.
type Files interface {
	// List lists the files in a directory, and some of those in directories below it; none when it is not there.
	List(ctx context.Context, dir string) ([]File, error)
	Read(ctx context.Context, path string) ([]byte, error)
	Write(ctx context.Context, path string, data []byte) error
}

// Mount is a store in a directory.
type Mount struct {
	Store    string
	Dir      string // relative to the workspace
	Writable bool
	// Scope is the one of a new file, by the name that its head has; "": of one that says nothing. nil: the project.
	Scope func(name string) (memory.Scope, error)
}

// Report says what was taken back. Names are those of files.
type Report struct {
	Added     []string // entries, by their ids
	Changed   []string
	Conflicts []string // files that hold what could not be written
	Refused   []string // sentences
	Labels    []string // of all entries that are shown
}

// Seen is what was written into a workspace last: path → the text's digest. One workspace has one; the zero value is one of which nothing is
// known.
type Seen map[string]string

// Sync brings a directory and its store together. in is the store as whoever works there has it.
func Sync(ctx context.Context, in *memory.Service, by stead.Principal, m Mount, files Files, seen Seen) (Report, error) {
	s := &sync{ctx: ctx, in: in, by: by, m: m, files: files, seen: seen, waits: map[string]bool{}, entries: map[string]memory.Entry{}, at: map[string]string{}, now: map[string]string{}}
	if err := s.read(); err != nil {
		return s.report, err
	}
	if err := s.collect(); err != nil {
		return s.report, err
	}
	refs := make([]memory.Ref, 0, len(s.entries))
	for id := range s.entries {
		refs = append(refs, memory.Ref{Store: m.Store, ID: id})
	}
	if err := in.Show(ctx, refs); err != nil {
		return s.report, err
	}
	if s.bare && len(s.entries) == 0 && m.Writable {
		return s.report, files.Write(ctx, path.Join(m.Dir, keep), []byte(kept))
	}
	return s.report, s.show()
}

// keep is the file by which the directory of a store is there that has no entries yet, so that whoever works there can write the first one.
const (
	keep = ".memories"
	kept = "Files right in this directory whose names end in .md are memories.\n"
)

// sync is one Sync.
type sync struct {
	ctx     context.Context
	in      *memory.Service
	by      stead.Principal
	m       Mount
	files   Files
	seen    Seen
	entries map[string]memory.Entry // that are shown, by id
	at      map[string]string       // id → path of its file
	now     map[string]string       // path → digest of what is there
	report  Report
	bytes   int             // of the entries' texts
	labels  []string        // that entries got which the report's don't have: of files that were taken back now
	strays  []string        // files that are no memories, which was not said yet
	left    int             // entries that are no files, since there are too many
	bare    bool            // there is no file in the directory
	pin     string          // what is taken back, for whoever may approve it
	waits   map[string]bool // path of a file that is left as it is, since writing it waits for an approval
	full    int             // files that make no entries, since the store has no room for them as files
}

// read reads the store.
func (s *sync) read() error {
	const page = 200
	after, all := "", choice{}
	for {
		list, more, err := s.in.List(s.ctx, s.by, s.m.Store, after, page, false)
		if err != nil {
			return err
		}
		for _, e := range list {
			after = e.ID
			if e.Kind == memory.KindItem || e.Kind == memory.KindPassage || e.Redacted || !s.in.Valid(e) {
				continue
			}
			all.add(e)
		}
		if !more {
			s.choose(all)
			return nil
		}
	}
}

// collect reads the files that are not as they were written, and takes back what they say.
func (s *sync) collect() error {
	list, err := s.files.List(s.ctx, s.m.Dir)
	if err != nil {
		return err
	}
	own := func(f File) int { // files that have the names of their entries come before their copies
		if strings.HasPrefix(f.Name, memory.Prefix) {
			return 0
		}
		return 1
	}
	slices.SortStableFunc(list, func(a, b File) int { return own(a) - own(b) })
	s.bare = len(list) == 0
	for _, f := range list {
		at := path.Join(s.m.Dir, f.Name)
		if f.Name == keep {
			continue
		}
		if strings.Contains(f.Name, "/") || !strings.HasSuffix(f.Name, ending) {
			s.stray(at, f.Name)
			continue
		}
		if strings.HasSuffix(f.Name, conflict) {
			continue
		}
		if f.Size > MaxFileBytes {
			s.refuse("%s has %d bytes, a memory has at most %d.", at, f.Size, memory.MaxContentBytes)
			continue
		}
		data, err := s.files.Read(s.ctx, at)
		if stead.KindOf(err) == stead.KindNotFound {
			continue // it went meanwhile
		}
		if err != nil {
			return err
		}
		if err := s.file(at, data); err != nil {
			return err
		}
	}
	s.tell()
	return nil
}

// stray notes a file that nobody takes back, unless that was said. Names that begin with a dot are of programs, not of who writes.
func (s *sync) stray(at, name string) {
	told := "\x00told " + at // no path: nothing was written there
	if !s.m.Writable || s.seen[told] != "" || strings.HasPrefix(name, ".") || strings.Contains(name, "/.") {
		return
	}
	s.seen[told] = "stray"
	s.strays = append(s.strays, at)
}

// tell says which files make no memory, in one sentence.
func (s *sync) tell() {
	n := len(s.strays)
	if n == 0 {
		return
	}
	names := strings.Join(s.strays[:min(n, maxTold)], ", ")
	if n > maxTold {
		names = fmt.Sprintf("%s and %d other files", names, n-maxTold)
	}
	s.refuse("%s: no memory is made of that; files right in %s whose names end in %s are memories.", names, s.m.Dir, ending)
}

// file takes one file back.
func (s *sync) file(at string, data []byte) error {
	if !utf8.Valid(data) {
		s.refuse("%s is no text.", at)
		return nil
	}
	s.now[at] = digest(data)
	s.pin = fmt.Sprintf("%s, %d bytes, SHA-256 %x", at, len(data), sha256.Sum256(data))
	h, text := parse(string(data))
	if h.id == "" && s.seen[at] != "" { // its head was taken off: it is still that file
		h.id = strings.TrimSuffix(path.Base(at), ending)
	}
	if h.id == "" {
		return s.fresh(at, h, text)
	}
	if first, ok := s.at[h.id]; ok && first != at { // a copy
		return s.fresh(at, head{kind: h.kind, scope: h.scope}, text)
	}
	s.at[h.id] = at
	untouched := s.seen[at] == digest(data)
	e, there := s.entries[h.id]
	if !there {
		other, is, err := s.elsewhere(h.id)
		if err != nil {
			return err
		}
		if is {
			return s.out(at, h, other, text, untouched)
		}
	}
	switch {
	case there && (h.forgotten || h.elsewhere) && strings.TrimSpace(text) == "":
		return nil // it was no file, and is one again
	case !there && (untouched || h.forgotten && strings.TrimSpace(text) == ""):
		return s.forgotten(at, h, text)
	case !there:
		return s.gone(at, h, text)
	case untouched || strings.TrimSpace(text) == strings.TrimSpace(e.Text):
		return nil // show brings it up to date
	case s.was(h, text):
		return nil // as it once was: it is only old
	case !s.m.Writable:
		s.refuse("%s can't be changed: the memory store is read-only here.", at)
		return nil
	}
	return s.change(at, h, e, text)
}

// was reports whether a file says what its entry said at the file's version.
func (s *sync) was(h head, text string) bool {
	return h.version != s.entries[h.id].Version && s.once(h, text)
}

// once reports whether an entry said a text at the version that a file's head has.
func (s *sync) once(h head, text string) bool {
	all, err := s.in.History(s.ctx, s.by, s.m.Store, h.id)
	return err == nil && slices.ContainsFunc(all, func(e memory.Entry) bool {
		return e.Version == h.version && strings.TrimSpace(e.Text) == strings.TrimSpace(text)
	})
}

// change writes an entry's next version, over the one that the file was made of.
func (s *sync) change(at string, h head, e memory.Entry, text string) error {
	longer := len(strings.TrimSpace(text)) - len(e.Text)
	if longer > 0 && !s.room(0, longer, nil) {
		s.refuse("%s was not written: the memory store would have more than %d bytes.", at, MaxBytes)
		return s.aside(at, text, "there is no room")
	}
	made, err := s.in.Carrying(s.report.Labels).Pinning(s.pin).Update(s.ctx, s.by, s.m.Store, h.id, h.version, func(c *memory.Content) error {
		c.Text = strings.TrimSpace(text)
		return nil
	})
	switch stead.KindOf(err) {
	case "":
		s.report.Changed = append(s.report.Changed, made.ID)
		s.entries[h.id] = made
		s.took(longer, made.Labels)
		return nil
	case stead.KindConflict:
		return s.aside(at, text, "somebody else changed it meanwhile")
	case stead.KindUnavailable, stead.KindInternal:
		return err
	}
	if s.held(at, err) {
		return nil
	}
	s.refuse("%s was not written: %s.", at, err)
	return s.aside(at, text, "it was refused")
}

// held leaves a file as it is whose text waits for an approval: it is taken back by a later Sync, as long as it says the same.
func (s *sync) held(at string, err error) bool {
	request := memory.Waits(err)
	if request == "" {
		return false
	}
	s.waits[at] = true
	s.refuse("%s waits for an approval (%s): it becomes a memory with a later command, once that is approved, if it says the same then.", at, request)
	return true
}

// aside keeps what could not be written beside the file.
func (s *sync) aside(at, text, why string) error {
	to := strings.TrimSuffix(at, ending) + conflict
	if err := s.files.Write(s.ctx, to, []byte(strings.TrimSpace(text)+"\n")); err != nil {
		return err
	}
	s.report.Conflicts = append(s.report.Conflicts, to+" ("+why+")")
	return nil
}

// fresh makes an entry of a file without an id.
func (s *sync) fresh(at string, h head, text string) error {
	text = strings.TrimSpace(text)
	if text == "" {
		return nil
	}
	if !s.m.Writable {
		if told := "\x00told " + at; s.seen[told] != digest([]byte(text)) { // no path: nothing was written there
			s.seen[told] = digest([]byte(text))
			s.refuse("%s makes no memory: the memory store is read-only here.", at)
		}
		return nil
	}
	if !s.room(1, len(text), h.labels) {
		if s.full++; s.full == 1 { // one sentence for all of them
			s.refuse("%s makes no memory, nor does any other new file: the memory store has, or with it would have, more than %d entries, %d bytes or %d labels, which is more than can be files.", at, MaxEntries, MaxBytes, MaxLabels)
		}
		return nil
	}
	scope, err := s.scope(h.scope)
	if err != nil {
		s.refuse("%s makes no memory: %s.", at, err)
		return nil
	}
	c := memory.Content{Kind: memory.Kind(h.kind), Text: text, Scope: scope, Labels: h.labels, Confidence: 1, Importance: middle, Source: memory.Source{Session: s.by.ID}}
	made, err := s.in.Carrying(s.report.Labels).Pinning(s.pin).Add(s.ctx, s.by, s.m.Store, []memory.New{{Content: c}}, "mount:"+digest([]byte(s.by.ID+"\x00"+at+"\x00"+text)))
	switch stead.KindOf(err) {
	case "":
	case stead.KindUnavailable, stead.KindInternal:
		return err
	default:
		if !s.held(at, err) {
			s.refuse("%s makes no memory: %s.", at, err)
		}
		return nil
	}
	s.report.Added = append(s.report.Added, made[0].ID)
	s.entries[made[0].ID], s.at[made[0].ID] = made[0], at
	s.took(len(text), made[0].Labels)
	return nil
}

// scope is the one that a head names.
func (s *sync) scope(name string) (memory.Scope, error) {
	if s.m.Scope == nil {
		return memory.Scope{}, nil
	}
	return s.m.Scope(name)
}

// room says whether the store could still be files with more: what one agent writes may not take the mount from all others.
func (s *sync) room(entries, bytes int, labels []string) bool {
	more := 0
	for i, l := range labels {
		if !slices.Contains(s.report.Labels, l) && !slices.Contains(s.labels, l) && !slices.Contains(labels[:i], l) {
			more++
		}
	}
	if s.left > 0 && (entries > 0 || bytes > 0) {
		return false
	}
	return len(s.entries)+entries <= MaxEntries && s.bytes+bytes <= MaxBytes && len(s.report.Labels)+len(s.labels)+more <= MaxLabels
}

// took notes what was written.
func (s *sync) took(bytes int, labels []string) {
	s.bytes += bytes
	for _, l := range labels {
		if !slices.Contains(s.report.Labels, l) && !slices.Contains(s.labels, l) {
			s.labels = append(s.labels, l)
		}
	}
}

// middle is the importance of what says nothing of its own.
const middle = 0.5

// forgotten leaves of a file that the store forgot nothing but that.
func (s *sync) forgotten(at string, h head, text string) error {
	if h.forgotten && strings.TrimSpace(text) == "" {
		return nil
	}
	return s.write(at, gone(h.id))
}

// gone is a changed file whose entry is not there any more, or never was.
func (s *sync) gone(at string, h head, text string) error {
	if strings.TrimSpace(text) == "" {
		return s.forgotten(at, h, text)
	}
	s.refuse("%s is about a memory that is not there; without its head it would be a new one.", at)
	if err := s.aside(at, text, "the memory was forgotten"); err != nil {
		return err
	}
	return s.forgotten(at, h, text)
}

// show writes the entries whose files are not as they should be.
func (s *sync) show() error {
	var errs []error
	for id, e := range s.entries {
		at := s.at[id]
		if at == "" {
			at = path.Join(s.m.Dir, id+ending)
		}
		data := render(e)
		if s.waits[at] {
			continue
		}
		if s.now[at] == digest(data) {
			s.seen[at] = s.now[at]
			continue
		}
		if err := s.write(at, data); err != nil {
			errs = append(errs, err)
		}
	}
	return errors.Join(errs...)
}

func (s *sync) write(at string, data []byte) error {
	if err := s.files.Write(s.ctx, at, data); err != nil {
		return err
	}
	s.seen[at] = digest(data)
	return nil
}

func (s *sync) refuse(format string, args ...any) {
	s.report.Refused = append(s.report.Refused, fmt.Sprintf(format, args...))
}

func digest(data []byte) string {
	const size = 16
	sum := sha256.Sum256(data)
	return hex.EncodeToString(sum[:size])
}
