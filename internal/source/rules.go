package source

import (
	"context"
	"reflect"
	"slices"
	"strings"

	"github.com/stead-dev/stead"
	"github.com/stead-dev/stead/internal/document"
	"github.com/stead-dev/stead/internal/vectorstore"
)

// access says who may read the documents of a source, by their paths and what the source said of them last: so it can be said of those that
// nobody can read just now, too.
type access struct {
	kind    string // of the source
	deny    bool   // what no rule says it of is nobody's
	permits bool   // the source says of each document who may read it; what it has not said yet is nobody's
	refused bool   // the source does not let us read it any more: all of it is nobody's
	rules   rules
}

func (s *Service) access(project stead.ProjectID, spec Spec, refused bool) access {
	by, ok := s.cfg.Readers[spec.Type].(Permitter)
	return access{spec.Type, spec.AccessDefault == AccessDeny, ok && by.Permits(project, spec), refused, parseRules(spec.Access)}
}

// of is what a document's path, and its source, say of it.
func (a access) of(path string, said *vectorstore.Permits) (labels []string, readers []vectorstore.Readers) {
	if slices.Contains(strangers(), a.kind) {
		labels = append(labels, LabelUntrusted)
	}
	parts := a.parts(path)
	for _, r := range a.rules {
		if !r.paths.match(parts, true) {
			continue
		}
		labels = append(labels, r.Labels...)
		if len(r.Principals)+len(r.Roles) > 0 {
			readers = append(readers, r.Readers)
		}
	}
	if said != nil {
		readers = append(readers, said.Readers...)
	}
	if a.refused || a.permits && said == nil || a.deny && !a.rules.say(parts) {
		readers = append(readers, vectorstore.Nobody())
	}
	slices.Sort(labels)
	return slices.Compact(labels), readers
}

// parts are those of a path that rules go by: what some roles see of a table is under the table's rules.
func (a access) parts(path string) []string {
	if a.kind == SQL {
		path, _, _ = strings.Cut(path, "/")
	}
	return parts(path)
}

// LabelUntrusted says that strangers may have written a document.
const LabelUntrusted = "untrusted"

// strangers are the types of sources whose documents others write than those whose machine it is.
func strangers() []string {
	return []string{
		Web,
		MCP,
		SQL,
	}
}

// sameAccess reports whether two sources let the same people.
func sameAccess(a, b Spec) bool {
	return a.AccessDefault == b.AccessDefault && reflect.DeepEqual(a.Access, b.Access)
}

// govern writes who may read them, and their labels, over all documents of a source that are there, as run: nothing is read, and the source
// need not be there. It returns them by their paths, as they are then.
func (s *Service) govern(ctx context.Context, project stead.ProjectID, store, id string, a access, run int64) (map[string]vectorstore.File, error) {
	for range maxTries { // until all of them are so: one of which a version was just begun is passed over
		known, err := s.cfg.Stores.Documents(ctx, project, store, id)
		if err != nil {
			return nil, err
		}
		puts := a.over(known, run)
		if len(puts) == 0 {
			return known, nil
		}
		if _, err := s.cfg.Stores.PutDocuments(ctx, project, store, puts); err != nil {
			return nil, err
		}
	}
	return nil, stead.Errorf(stead.KindUnavailable, "documents of source %s are written just now: the rules of access hold for them with the next synchronisation", id)
}

// over are the documents that other people may read than the paths say, with those.
func (a access) over(known map[string]vectorstore.File, run int64) []vectorstore.Put {
	var puts []vectorstore.Put
	for path, f := range known {
		labels, readers := a.of(path, f.Origin.Permits)
		if slices.Equal(labels, f.Origin.Labels) && reflect.DeepEqual(readers, f.Origin.Readers) {
			continue
		}
		put := vectorstore.Put{Keep: true, Filename: f.Filename, Attributes: f.Attributes, Plan: f.Plan, Origin: *f.Origin, Over: f.Attachment}
		put.Origin.Labels, put.Origin.Readers = labels, readers
		if f.Status == vectorstore.Completed { // else nobody has seen it
			put.Origin.Run = run
		}
		puts = append(puts, put)
	}
	return puts
}

// settle governs until the rules are those that it went by: of several changes at once the last one holds, whoever ends last.
func (s *Service) settle(ctx context.Context, d document.Document) error {
	for range maxTries {
		data, err := decode(d)
		if err != nil {
			return err
		}
		if _, err := s.govern(ctx, d.Project, d.Tag, d.ID, s.access(d.Project, data.Spec, data.State.Refused), data.State.Run+1); err != nil {
			return err
		}
		now, err := s.cfg.Documents.GetDocument(ctx, d.Key)
		if err != nil {
			return err
		}
		theirs, err := decode(now)
		if err != nil || theirs.State.Deleting || sameAccess(data.Spec, theirs.Spec) && data.State.Refused == theirs.State.Refused {
			return err
		}
		d = now
	}
	return nil // a synchronisation is due, which begins with it
}

// heed takes up rules that were changed while a synchronisation is under way: what it writes from now on goes by them.
func (p *pass) heed(ctx context.Context, spec Spec) error {
	if sameAccess(p.spec, spec) {
		return nil
	}
	p.spec.Access, p.spec.AccessDefault = spec.Access, spec.AccessDefault
	p.access = p.s.access(p.project, p.spec, p.access.refused)
	for i := range p.puts {
		o := &p.puts[i].Origin
		o.Labels, o.Readers = p.access.of(o.Path, o.Permits)
	}
	_, err := p.s.govern(ctx, p.project, p.store, p.source, p.access, p.run)
	return err
}
