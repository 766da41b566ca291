package source

import (
	"cmp"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"iter"
	"maps"
	"path"
	"reflect"
	"slices"
	"strings"
	"sync"
	"unicode/utf8"

	"github.com/stead-dev/stead"
	"github.com/stead-dev/stead/internal/approval"
	"github.com/stead-dev/stead/internal/document"
	"github.com/stead-dev/stead/internal/vectorstore"
)

const (
	// batchDocuments and batchBytes bound what is put at once: what of a synchronisation a kill costs.
	batchDocuments = 50
	batchBytes     = 8 << 20
)

// Codes of failures that are no vectorstore.Failure's.
const (
	codeUnreadable = "unreadable"
	codeLimit      = "limit_exceeded"
	codeAway       = "unavailable"
	codeRefused    = "refused"
)

// pass is one synchronisation.
type pass struct {
	s       *Service
	project stead.ProjectID
	store   string
	source  string
	spec    Spec
	run     int64
	access  access
	known   map[string]vectorstore.File // as it was when it began
	room    int                         // documents that the store has room for, those that are known included
	met     map[string]bool
	kept    []string // directories, with a slash, of which nobody knows what is in them
	met1    int      // documents that were met
	shut1   int      // that their source lets nobody read who is known
	shutAt  string   // the first of these

	puts  []vectorstore.Put
	means []meaning                           // of each put
	bytes int                                 // of them
	err   error                               // why it could not go on: not the source's fault
	still func(context.Context) (Spec, error) // KindConflict or KindNotFound: this node does not have the source any more

	mu       sync.Mutex
	counts   Counts
	failures []Failure
}

// meaning is what a put is to people.
type meaning int

const (
	added meaning = iota
	changed
	nothing // they see no difference
)

// synchronise brings a store to what its source has.
func (s *Service) synchronise(ctx context.Context, h *held) error {
	d, data := h.doc, h.data
	there, err := s.cfg.Stores.There(ctx, d.Project, d.Tag)
	if err != nil {
		return err
	}
	if !there {
		return s.cfg.Documents.DeleteDocument(ctx, d.Key, d.Version)
	}
	p := &pass{s: s, project: d.Project, store: d.Tag, source: d.ID, spec: data.Spec, run: data.State.Run, access: s.access(d.Project, data.Spec, data.State.Refused), met: map[string]bool{}, still: h.still}
	p.counts = Counts{Removed: data.State.Counts.Removed, Read: data.State.Counts.Read, ReadBytes: data.State.Counts.ReadBytes} // of a node that died at it
	working, stop := context.WithCancel(ctx)
	defer stop()
	var keeping sync.WaitGroup
	keeping.Go(func() { h.keep(working, p.progress, stop) })
	var version string
	var readErr error
	if p.err = p.load(working); p.err == nil {
		version, readErr = p.walk(working, data)
		p.unmet(readErr != nil)
	}
	if p.err == nil && working.Err() == nil {
		_, refused := errors.AsType[refusal](readErr)
		p.err = p.closed(working, h, refused || readErr != nil && p.access.refused)
	}
	lost := working.Err() != nil
	stop()
	keeping.Wait()
	if err := cmp.Or(p.err, ctx.Err()); err != nil || lost {
		return p.gone(ctx, h, err)
	}
	err = h.write(ctx, func(d *document.Document, st *State) {
		p.progress(st)
		st.Holder, st.Ended, st.Error, st.Version = "", s.now(), nil, ""
		if readErr == nil {
			st.Synced, st.InARow = st.Ended, 0
			if st.Counts.Failed == 0 && !st.Again { // else the rules may be others by now, and are for all of it
				st.Version = version
			}
		} else {
			st.Error = &Failure{Code: codeOf(readErr), Message: readErr.Error()}
			st.InARow++
		}
		d.ExpiresAt = s.due(data.Spec, st)
		st.Again = false
	})
	return p.gone(ctx, h, err)
}

// gone forgets what was written into a store, or of a source, that was deleted meanwhile.
func (p *pass) gone(ctx context.Context, h *held, err error) error {
	ctx = context.WithoutCancel(ctx)
	if _, thereErr := p.s.cfg.Stores.There(ctx, p.project, p.store); thereErr != nil {
		return cmp.Or(err, thereErr)
	}
	d, readErr := p.s.cfg.Documents.GetDocument(ctx, h.doc.Key)
	if stead.KindOf(readErr) == stead.KindNotFound { // somebody else buried it, perhaps before this node's last write
		return cmp.Or(p.s.clear(ctx, h.doc), err, readErr)
	}
	if readErr != nil {
		return cmp.Or(err, readErr)
	}
	if data, readErr := decode(d); readErr == nil && data.State.Deleting && data.State.Holder == h.data.State.Holder {
		return p.s.bury(ctx, d)
	} else if readErr == nil && !sameAccess(data.Spec, p.spec) { // the last that it wrote may go by other rules
		return cmp.Or(err, p.s.settle(ctx, d))
	}
	return err
}

// load reads what is known, and has the rules hold for it before anything else: what can't be read just now has no other way to them.
func (p *pass) load(ctx context.Context) error {
	var err error
	if p.known, err = p.s.govern(ctx, p.project, p.store, p.source, p.access, p.run); err != nil {
		return err
	}
	all, err := p.s.cfg.Stores.Files(ctx, p.project, p.store)
	p.room = min(MaxDocuments, vectorstore.MaxFiles-all+len(p.known))
	return err
}

// walk meets what there is, and takes away what is not met. Its error is the source's.
func (p *pass) walk(ctx context.Context, data stored) (string, error) {
	reader := p.s.cfg.Readers[p.spec.Type]
	if reader == nil {
		return "", stead.Errorf(stead.KindInvalid, "sources of type %q are not read by this server", p.spec.Type)
	}
	if err := reader.Check(p.project, p.spec); stead.KindOf(err) == stead.KindInvalid { // the operator has taken it away
		return "", Refused(err)
	}
	if err := p.s.reach(approval.Under(ctx, data.Approved), data.maker(p.project), p.spec); err != nil {
		return "", err // what there is stays, as it does when the source is away
	}
	version, err := reader.Walk(ctx, Walk{
		Project: p.project, Spec: p.spec, Version: data.State.Version, Visit: func(d Document) error { return p.visit(ctx, d) },
		Had:   p.had,
		Known: p.all,
		Reach: func(ctx context.Context, url string) error {
			return p.s.reach(approval.Under(ctx, data.Approved), data.maker(p.project), Spec{URLs: []string{url}})
		},
	})
	if p.err == nil { // what was met is taken in, also where the walk did not end well
		p.err = p.flush(ctx)
	}
	if errors.Is(err, ErrUnchanged) && p.err == nil {
		p.asItWas()
		p.idle(maps.Keys(p.known))
		return version, nil
	}
	if p.err != nil || err != nil || ctx.Err() != nil {
		return "", err
	}
	var gone []vectorstore.File
	for path, f := range p.known {
		if !p.met[path] && !p.keeps(path) {
			gone = append(gone, f)
		}
	}
	n, err := p.s.cfg.Stores.RemoveDocuments(ctx, p.project, p.store, gone)
	p.count(func(c *Counts) { c.Removed += n })
	p.err = err
	p.idle(maps.Keys(p.met))
	return version, nil
}

// keeps reports whether a document lies where nobody knows what there is.
func (p *pass) keeps(path string) bool {
	return slices.ContainsFunc(p.kept, func(dir string) bool { return strings.HasPrefix(path, dir) })
}

// had is what a document was when it was taken in, whole.
func (p *pass) had(path string) (vectorstore.Origin, bool) {
	if f, ok := p.known[path]; ok && f.Status == vectorstore.Completed && f.Next == "" {
		return *f.Origin, true
	}
	return vectorstore.Origin{}, false
}

func (p *pass) all() iter.Seq2[string, vectorstore.Origin] {
	return func(yield func(string, vectorstore.Origin) bool) {
		for path := range p.known {
			if o, ok := p.had(path); ok && !yield(path, o) {
				return
			}
		}
	}
}

// asItWas counts what a walk did not have to meet.
func (p *pass) asItWas() {
	for path, f := range p.known {
		if f.Status == vectorstore.Failed {
			p.fail(path, f.Failure.Code, f.Failure.Message)
			continue
		}
		p.count(func(c *Counts) { c.Unchanged++ })
	}
}

// visit takes in one document. Its error ends the walk.
func (p *pass) visit(ctx context.Context, d Document) error {
	if p.err = ctx.Err(); p.err != nil {
		return p.err
	}
	if d.Err != nil {
		p.unread(d)
		return nil
	}
	if len(d.Path) > MaxPathBytes || !utf8.ValidString(d.Path) {
		p.fail(strings.ToValidUTF8(d.Path[:min(len(d.Path), MaxPathBytes)], "\uFFFD"), codeLimit, fmt.Sprintf("a path must be UTF-8 of at most %d bytes", MaxPathBytes))
		return nil
	}
	have, known := p.known[d.Path]
	if p.met[d.Path] {
		return nil
	}
	p.met[d.Path] = true
	p.shut(d)
	if p.met1++; p.met1 > p.room {
		if p.err = p.permit(ctx, d, have, known); p.err != nil {
			return p.err
		}
		p.fail(d.Path, codeLimit, fmt.Sprintf("a source has at most %d documents, a vector store %d files in all: choose fewer by include and exclude", MaxDocuments, vectorstore.MaxFiles))
		return nil
	}
	// NoStamp equals no document's: such a one is read.
	same := known && have.Next == "" && have.Status != vectorstore.InProgress && have.Plan == p.spec.Plan
	if same && d.Stamp != "" && have.Origin.Stamp == d.Stamp {
		p.err = p.unchanged(ctx, d, have, d.Stamp)
		return p.err
	}
	c, err := d.Read(ctx)
	if errors.Is(err, ErrUnchanged) && same {
		p.err = p.unchanged(ctx, d, have, cmp.Or(c.Stamp, have.Origin.Stamp))
		return p.err
	}
	if err != nil {
		if ctx.Err() != nil {
			p.err = ctx.Err()
			return p.err
		}
		return p.unreadable(ctx, d, have, known, err)
	}
	p.count(func(n *Counts) { n.Read++; n.ReadBytes += int64(len(c.Data)) })
	sum := sha256.Sum256(c.Data)
	digest := hex.EncodeToString(sum[:])
	stamp := cmp.Or(c.Stamp, d.Stamp)
	if same && have.Origin.Digest == digest {
		p.err = p.unchanged(ctx, d, have, stamp)
		return p.err
	}
	if p.err = p.permit(ctx, d, have, known); p.err != nil { // what it said until now is found until the next version is indexed
		return p.err
	}
	put := vectorstore.Put{Filename: cmp.Or(c.Name, nameOf(d.Path)), Data: c.Data, Plan: p.spec.Plan, Attributes: p.attributes(d.Path), Over: have.Attachment}
	put.Origin = p.origin(d)
	put.Origin.Version, put.Origin.Digest, put.Origin.Stamp = cmp.Or(c.Version, "sha256:"+digest), digest, stamp
	if have.Begun() {
		return p.alone(ctx, put, meant(have.Status != vectorstore.InProgress))
	}
	p.err = p.put(ctx, put, meant(known && have.Status != vectorstore.InProgress))
	return p.err
}

// alone writes a version by itself: somebody died over it, or over others that it was written with.
func (p *pass) alone(ctx context.Context, put vectorstore.Put, means meaning) error {
	if p.err = p.flush(ctx); p.err == nil {
		p.puts, p.means = append(p.puts, put), append(p.means, means)
		p.err = p.flush(ctx)
	}
	return p.err
}

// meant is what a new version is.
func meant(known bool) meaning {
	if known {
		return changed
	}
	return added
}

// origin is what a document's path says of it.
func (p *pass) origin(d Document) vectorstore.Origin {
	o := vectorstore.Origin{Source: p.source, Kind: p.spec.Type, Path: d.Path, URI: d.URI, Permits: d.Permits, Run: p.run}
	o.Labels, o.Readers = p.access.of(d.Path, d.Permits)
	return o
}

// attributes are those of the source, and what filters may ask for of a document.
func (p *pass) attributes(path string) map[string]any {
	a := maps.Clone(p.spec.Attributes)
	if a == nil {
		a = map[string]any{}
	}
	a["source"] = p.source
	if utf8.RuneCountInString(path) <= vectorstore.MaxAttributeValue {
		a["path"] = path
	}
	return a
}

// unchanged notes that a document says what it said. Who may read it, and its attributes, may have changed.
func (p *pass) unchanged(ctx context.Context, d Document, have vectorstore.File, stamp string) error {
	now, was := p.origin(d), *have.Origin
	attributes := p.attributes(d.Path)
	other := !slices.Equal(now.Labels, was.Labels) || !reflect.DeepEqual(now.Readers, was.Readers) || !reflect.DeepEqual(now.Permits, was.Permits) || !reflect.DeepEqual(attributes, have.Attributes)
	means := nothing
	switch {
	case have.Status == vectorstore.Failed:
		p.fail(d.Path, have.Failure.Code, have.Failure.Message)
	case other:
		means = changed
	case was.Run == p.run && was.New: // by a node that died in this very synchronisation
		p.count(func(c *Counts) { c.Added++ })
	case was.Run == p.run:
		p.count(func(c *Counts) { c.Changed++ })
	default:
		p.count(func(c *Counts) { c.Unchanged++ })
	}
	if !other && stamp == was.Stamp && now.URI == was.URI {
		return nil
	}
	put := vectorstore.Put{Keep: true, Filename: have.Filename, Attributes: attributes, Plan: have.Plan, Origin: was, Over: have.Attachment}
	put.Origin.Stamp, put.Origin.URI, put.Origin.Labels, put.Origin.Readers, put.Origin.Permits = stamp, now.URI, now.Labels, now.Readers, now.Permits
	if means == changed {
		put.Origin.Run = p.run
	}
	return p.put(ctx, put, means)
}

// put writes a version, with others.
func (p *pass) put(ctx context.Context, put vectorstore.Put, means meaning) error {
	p.puts, p.means = append(p.puts, put), append(p.means, means)
	if p.bytes += len(put.Data); len(p.puts) < batchDocuments && p.bytes < batchBytes {
		return nil
	}
	return p.flush(ctx)
}

func (p *pass) flush(ctx context.Context) error {
	if len(p.puts) == 0 || ctx.Err() != nil {
		return ctx.Err()
	}
	if err := p.has(ctx); err != nil {
		return err
	}
	files, err := p.s.cfg.Stores.PutDocuments(ctx, p.project, p.store, p.puts)
	if err != nil {
		return err
	}
	for i, f := range files {
		switch means := p.means[i]; {
		case means == nothing:
		case f.Status == vectorstore.Failed && f.Failure != nil:
			p.fail(p.puts[i].Origin.Path, f.Failure.Code, f.Failure.Message)
		case means == added:
			p.count(func(c *Counts) { c.Added++ })
		default:
			p.count(func(c *Counts) { c.Changed++ })
		}
	}
	p.puts, p.means, p.bytes = nil, nil, 0
	return p.has(ctx)
}

// has makes sure that this node has the source, and takes up its rules as they are now.
func (p *pass) has(ctx context.Context) error {
	spec, err := p.still(ctx)
	if err != nil {
		return err
	}
	return p.heed(ctx, spec)
}

// unread notes what was met and can't be read.
func (p *pass) unread(d Document) {
	switch stead.KindOf(d.Err) {
	case stead.KindNotFound: // gone since it was listed
	case stead.KindForbidden:
		p.fail(d.Path, codeUnreadable, d.Err.Error())
	default: // nobody knows: what is there stays
		p.fail(d.Path, codeOf(d.Err), d.Err.Error())
		p.met[d.Path] = true
		if d.Path == "" {
			p.kept = append(p.kept, "")
			return
		}
		p.kept = append(p.kept, d.Path+"/")
	}
}

// unreadable notes that reading a document failed. What will not get better is written, so that it is not read again.
func (p *pass) unreadable(ctx context.Context, d Document, have vectorstore.File, known bool, err error) error {
	switch k := stead.KindOf(err); k {
	case stead.KindNotFound, stead.KindForbidden:
		delete(p.met, d.Path)
		p.unread(Document{Path: d.Path, Err: err})
		return nil
	case stead.KindInvalid, stead.KindTooLarge, stead.KindNotImplemented:
		if d.Stamp == "" {
			break
		}
		if same := known && have.Status == vectorstore.Failed && have.Origin.Stamp == d.Stamp; same {
			break
		}
		put := vectorstore.Put{Filename: nameOf(d.Path), Plan: p.spec.Plan, Attributes: p.attributes(d.Path), Over: have.Attachment, Failure: &vectorstore.Failure{Code: "invalid_file", Message: err.Error()}}
		put.Origin = p.origin(d)
		put.Origin.Stamp = d.Stamp
		p.err = p.put(ctx, put, added) // a failure, whatever it was
		return p.err
	}
	p.fail(d.Path, codeOf(err), err.Error())
	p.err = p.permit(ctx, d, have, known) // its last version stays
	return p.err
}

func (p *pass) fail(path, code, message string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.counts.Failed++
	if len(p.failures) < MaxFailures {
		p.failures = append(p.failures, Failure{path, code, message})
	}
}

func (p *pass) count(add func(*Counts)) {
	p.mu.Lock()
	defer p.mu.Unlock()
	add(&p.counts)
}

// progress writes down what was done so far.
func (p *pass) progress(st *State) {
	p.mu.Lock()
	defer p.mu.Unlock()
	st.Counts, st.Failures = p.counts, slices.Clone(p.failures)
}

func codeOf(err error) string {
	if _, refused := errors.AsType[refusal](err); refused {
		return codeRefused
	}
	switch stead.KindOf(err) {
	case stead.KindForbidden:
		return codeUnreadable
	case stead.KindTooLarge:
		return codeLimit
	case stead.KindInvalid, stead.KindNotFound:
		return "invalid_source"
	}
	return codeAway
}

// nameOf is what a document is called: its path, while that is short enough for a file's name.
func nameOf(p string) string {
	if len(p) <= maxNameBytes {
		return p
	}
	return path.Base(p)
}

// maxNameBytes is the longest name of a file.
const maxNameBytes = 512
