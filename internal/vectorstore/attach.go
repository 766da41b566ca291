package vectorstore

import (
	"cmp"
	"context"
	"encoding/json"
	"fmt"
	"reflect"
	"unicode/utf8"

	"github.com/stead-dev/stead"
	"github.com/stead-dev/stead/internal/document"
	"github.com/stead-dev/stead/internal/memory"
	"github.com/stead-dev/stead/internal/passage"
	"github.com/stead-dev/stead/internal/policy"
)

// useKind are documents that say which stores a file is in: the file is their tag.
const useKind document.Kind = "vector store use"

func useKey(project stead.ProjectID, store, file string) document.Key {
	return document.Key{Project: project, Kind: useKind, ID: file + "." + store}
}

// Attachment is a file that is to be in a store.
type Attachment struct {
	File       string
	Attributes map[string]any // strings, float64s and bools
	Plan       passage.Plan   // zero: as the API has it if nothing is said
}

// attachment is one that may be, with what is known of its file.
type attachment struct {
	Attachment
	filename, batch string
}

// checkAttributes holds them to what the API allows.
func checkAttributes(param string, a map[string]any) error {
	if len(a) > MaxAttributes {
		return stead.Invalid(param, "%s has %d entries, the limit is %d", param, len(a), MaxAttributes)
	}
	for k, v := range a {
		if n := utf8.RuneCountInString(k); n < 1 || n > MaxAttributeKey {
			return stead.Invalid(param, "a key of %s must have 1 to %d characters", param, MaxAttributeKey)
		}
		switch v := v.(type) {
		case string:
			if utf8.RuneCountInString(v) > MaxAttributeValue {
				return stead.Invalid(param+"."+k, "a value of %s must have at most %d characters", param, MaxAttributeValue)
			}
		case float64, bool:
		default:
			return stead.Invalid(param+"."+k, "a value of %s must be a string, a number or a boolean", param)
		}
	}
	return nil
}

func checkPlan(p *passage.Plan) error {
	if *p == (passage.Plan{}) {
		*p = passage.Plan{Size: passage.DefaultSize, Overlap: passage.DefaultOverlap}
	}
	const static = "chunking_strategy.static."
	if p.Size < passage.MinSize || p.Size > passage.MaxSize {
		return stead.Invalid(static+"max_chunk_size_tokens", "max_chunk_size_tokens must be from %d to %d", passage.MinSize, passage.MaxSize)
	}
	if p.Overlap < 0 || p.Overlap > p.Size/2 {
		return stead.Invalid(static+"chunk_overlap_tokens", "chunk_overlap_tokens must be from 0 to half of max_chunk_size_tokens")
	}
	return nil
}

// wanted checks what is to be attached, and that the principal may read the files.
func (s *Service) wanted(ctx context.Context, p stead.Principal, files []Attachment) ([]attachment, error) {
	out := make([]attachment, 0, len(files))
	seen := make(map[string]bool, len(files))
	for _, a := range files {
		if err := checkAttributes("attributes", a.Attributes); err != nil {
			return nil, err
		}
		if err := checkPlan(&a.Plan); err != nil {
			return nil, err
		}
		if seen[a.File] {
			continue
		}
		seen[a.File] = true
		f, err := s.cfg.Files.Get(ctx, p, a.File)
		if err != nil {
			return nil, err
		}
		out = append(out, attachment{Attachment: a, filename: f.Filename})
	}
	return out, nil
}

// Attach puts a file into a store. One that is there already gets the attributes, and is read again only if it
// failed or is to be cut in another way.
func (s *Service) Attach(ctx context.Context, p stead.Principal, store string, a Attachment) (File, error) {
	d, err := s.open(ctx, p, policy.VectorStoreWrite, store)
	if err != nil {
		return File{}, err
	}
	wanted, err := s.wanted(ctx, p, []Attachment{a})
	if err != nil {
		return File{}, err
	}
	files, err := s.attach(ctx, p.Project, store, wanted)
	if err != nil {
		return File{}, err
	}
	s.touch(ctx, d)
	return files[0], nil
}

// attach writes the files, and sees to it that they are read.
func (s *Service) attach(ctx context.Context, project stead.ProjectID, store string, wanted []attachment) ([]File, error) {
	out := make([]File, 0, len(wanted))
	for from := 0; from < len(wanted); from += memory.MaxChanges {
		some, err := s.attachSome(ctx, project, store, wanted[from:min(from+memory.MaxChanges, len(wanted))])
		if err != nil {
			return nil, err
		}
		out = append(out, some...)
	}
	if len(out) == 0 {
		return nil, nil
	}
	if err := s.stillThere(ctx, project, store, out); err != nil {
		return nil, err
	}
	return out, s.nudge(ctx, project, store)
}

func (s *Service) attachSome(ctx context.Context, project stead.ProjectID, store string, wanted []attachment) ([]File, error) {
	for _, w := range wanted {
		if err := s.noteUse(ctx, project, store, w.File); err != nil {
			return nil, err
		}
	}
	place := filesOf(project, store)
	var err error
	for range maxTries {
		var changes []memory.Change
		if changes, err = s.attaching(ctx, place, wanted); err != nil {
			return nil, err
		}
		var records []memory.Record
		records, err = s.cfg.Records.WriteMemories(ctx, place, changes)
		if err == nil {
			return filesOfRecords(records)
		}
		if k := stead.KindOf(err); k != stead.KindConflict && k != stead.KindNotFound { // somebody else changed one of them
			return nil, err
		}
	}
	return nil, err
}

func filesOfRecords(records []memory.Record) ([]File, error) {
	out := make([]File, len(records))
	for i, r := range records {
		var err error
		if out[i], err = fileOf(r); err != nil {
			return nil, err
		}
	}
	return out, nil
}

func (s *Service) noteUse(ctx context.Context, project stead.ProjectID, store, file string) error {
	now := s.now()
	data, err := json.Marshal(store)
	if err != nil {
		return stead.Wrap(stead.KindInternal, err, "encode the use of a file")
	}
	_, err = s.cfg.Documents.CreateDocument(ctx, document.Document{
		Key: useKey(project, store, file), CreatedAt: now, UpdatedAt: now, Tag: file, Data: data,
	}, "", "")
	if stead.KindOf(err) == stead.KindConflict {
		return nil // it is in the store already
	}
	return err
}

// attaching makes the changes over what the table holds now.
func (s *Service) attaching(ctx context.Context, place memory.Place, wanted []attachment) ([]memory.Change, error) {
	changes := make([]memory.Change, 0, len(wanted))
	held := 0
	old := map[string]File{}
	if err := s.tables.With(ctx, place, func(t *table) {
		held = len(t.files)
		for _, w := range wanted {
			if f, ok := t.files[w.File]; ok {
				old[w.File] = f
			}
		}
	}); err != nil {
		return nil, err
	}
	if held+len(wanted)-len(old) > MaxFiles {
		return nil, stead.Errorf(stead.KindTooLarge, "a vector store takes %d files, this one has %d", MaxFiles, held)
	}
	for _, w := range wanted {
		f, ok := old[w.File]
		c, err := changeOf(place, w.over(f, ok, s.now()))
		if err != nil {
			return nil, err
		}
		changes = append(changes, c)
	}
	return changes, nil
}

// over is the file as it is once it is attached, over one that was there.
func (a attachment) over(old File, was bool, now int64) File {
	next := File{
		ID: a.File, CreatedAt: now, Filename: a.filename, Status: InProgress, Attributes: a.Attributes, Plan: a.Plan, Batch: a.batch,
		Attachment: document.NewID(""), version: old.version,
	}
	switch {
	case !was:
	case old.Plan == a.Plan && (old.Status == Completed || old.Status == InProgress):
		next.CreatedAt, next.Status, next.Bytes, next.Attachment, next.Stale = old.CreatedAt, old.Status, old.Bytes, old.Attachment, old.Stale
	default:
		next.Stale = append(append(next.Stale, old.Stale...), old.Attachment)
	}
	return next
}

// changeOf writes a file over the version that it was read at.
func changeOf(place memory.Place, f File) (memory.Change, error) {
	data, err := json.Marshal(f)
	if err != nil {
		return memory.Change{}, stead.Wrap(stead.KindInternal, err, "encode a file of a vector store")
	}
	// The versions before it are of no use to anybody.
	return memory.Change{Record: memory.Record{Place: place, ID: f.ID, CreatedAt: f.CreatedAt, UpdatedAt: f.CreatedAt, Data: data}, Expected: f.version, Redact: true}, nil
}

// stillThere undoes an attachment that came while its store or a file of it was deleted.
func (s *Service) stillThere(ctx context.Context, project stead.ProjectID, store string, files []File) error {
	k := storeKey(project, store)
	if _, err := s.cfg.Documents.GetDocument(ctx, k); err != nil {
		if stead.KindOf(err) == stead.KindNotFound {
			err = cmp.Or(s.empty(ctx, k), err)
		}
		return err
	}
	for _, f := range files {
		content, _, err := s.cfg.Files.Open(ctx, project, f.ID)
		switch stead.KindOf(err) {
		case "":
			content.Close()
		case stead.KindNotFound:
			return cmp.Or(s.remove(ctx, project, store, f.ID), err)
		default:
			return err
		}
	}
	return nil
}

// UpdateAttributes replaces the attributes of a file.
func (s *Service) UpdateAttributes(ctx context.Context, p stead.Principal, store, id string, attributes map[string]any) (File, error) {
	if _, err := s.open(ctx, p, policy.VectorStoreWrite, store); err != nil {
		return File{}, err
	}
	if err := checkAttributes("attributes", attributes); err != nil {
		return File{}, err
	}
	if err := s.uploaded(ctx, p, store, id); err != nil {
		return File{}, err
	}
	return s.change(ctx, filesOf(p.Project, store), id, func(f *File) { f.Attributes = attributes })
}

// change changes a file over whatever version there is.
func (s *Service) change(ctx context.Context, place memory.Place, id string, change func(*File)) (File, error) {
	var err error
	for range maxTries {
		var f File
		if f, err = s.file(ctx, place, id); err != nil {
			return f, err
		}
		before := f
		change(&f)
		if reflect.DeepEqual(before, f) {
			return f, nil
		}
		var c memory.Change
		if c, err = changeOf(place, f); err != nil {
			return f, err
		}
		var records []memory.Record
		records, err = s.cfg.Records.WriteMemories(ctx, place, []memory.Change{c})
		if err == nil {
			return fileOf(records[0])
		}
		if stead.KindOf(err) != stead.KindConflict {
			return f, err
		}
	}
	return File{}, err
}

// file reads one that is in a store.
func (s *Service) file(ctx context.Context, place memory.Place, id string) (File, error) {
	records, err := s.cfg.Records.ReadMemories(ctx, place, []string{id})
	if err != nil {
		return File{}, err
	}
	if len(records) == 1 {
		if f, err := fileOf(records[0]); err != nil || f.Status != removed {
			return f, err
		}
	}
	return File{}, notIn(id)
}

func notIn(id string) error {
	return stead.NotFound("file of this vector store", fmt.Sprintf("%.80s", id))
}
