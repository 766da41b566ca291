package vectorstore

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"slices"
	"strings"

	"github.com/stead-dev/stead"
	"github.com/stead-dev/stead/internal/document"
	"github.com/stead-dev/stead/internal/memory"
	"github.com/stead-dev/stead/internal/passage"
	"github.com/stead-dev/stead/internal/policy"
)

const (
	// DocumentPrefix begins the id of a source's document.
	DocumentPrefix = "doc_"
	// MaxSuperseded is how many earlier versions a document knows of.
	MaxSuperseded = 20
	// MaxDocumentBytes is the largest document.
	MaxDocumentBytes = maxFileBytes
)

// Origin is where a document comes from.
type Origin struct {
	Source  string    `json:"source"`
	Kind    string    `json:"kind"`              // of the source: "directory"
	Path    string    `json:"path"`              // within the source
	URI     string    `json:"uri"`               // where people find it
	Version string    `json:"version"`           // of what it says: a digest, a commit, an ETag
	Digest  string    `json:"digest,omitempty"`  // SHA-256 of its bytes, in hex; "": it was not read whole yet
	Stamp   string    `json:"stamp,omitempty"`   // while that stays, it says the same; "": nobody knows without reading it
	Labels  []string  `json:"labels,omitempty"`  // for policies
	Readers []Readers `json:"readers,omitempty"` // who may read it: each of them must let somebody
	Permits *Permits  `json:"permits,omitempty"` // of which Readers are made, where its source says who may read it; nil: it does not
	Run     int64     `json:"run"`               // number of the synchronisation that wrote this version
	New     bool      `json:"new,omitempty"`     // it wrote the first one

	Superseded []Superseded `json:"superseded,omitempty"` // the versions before this one, newest first
}

// Superseded is a version that another one took the place of.
type Superseded struct {
	Version string `json:"version"`
	At      int64  `json:"at"` // Unix milliseconds
}

// DocumentID is the id of a source's document: the same for the same path.
func DocumentID(source, path string) string {
	sum := sha256.Sum256([]byte(source + "\x00" + path))
	return DocumentPrefix + hex.EncodeToString(sum[:16])
}

// attachments are all that a file has passages of.
func (f File) attachments() []string {
	out := slices.Clone(f.Stale)
	if f.Next != "" {
		out = append(out, f.Next)
	}
	if f.Attachment != "" { // else its first version is being written
		out = append(out, f.Attachment)
	}
	return out
}

// Put is a version of a document that is to take the place of the one before.
type Put struct {
	Filename   string
	Data       []byte // nil with Keep or Failure
	Keep       bool   // what it says is the same: Origin and Attributes alone are new
	Failure    *Failure
	Attributes map[string]any
	Plan       passage.Plan
	Origin     Origin
	Over       string // attachment of the version that it is to take the place of; "": there is none
}

// Documents returns those of a source, by their paths, with the ones whose first version is still being written.
func (s *Service) Documents(ctx context.Context, project stead.ProjectID, store, source string) (map[string]File, error) {
	out := map[string]File{}
	late := false // somebody died who took some away
	err := s.tables.With(ctx, filesOf(project, store), func(t *table) {
		for _, f := range t.files {
			switch {
			case f.Origin == nil || f.Origin.Source != source:
			case f.Status == removed:
				late = true
			default:
				out[f.Origin.Path] = f
			}
		}
	})
	if err == nil && late {
		err = s.nudge(ctx, project, store)
	}
	return out, err
}

// Begun reports whether somebody has begun to read a newer version of a document, and did not end: it may have been that which
// ended the process, so that it is put alone.
func (f File) Begun() bool { return f.Attempts > 0 }

// PutDocuments writes versions of documents of one store. It may be called again with the same, and by several nodes at once:
// each version is found whole or not at all, and one of each document. What can't be read is written as failed. It returns
// the documents as they are then, in their order. One that somebody else has written meanwhile, over what Put.Over says, stays.
func (s *Service) PutDocuments(ctx context.Context, project stead.ProjectID, store string, puts []Put) ([]File, error) {
	out := make([]File, 0, len(puts))
	for some := range slices.Chunk(puts, memory.MaxChanges) {
		files, err := s.putSome(ctx, project, store, some)
		if err != nil {
			return nil, err
		}
		out = append(out, files...)
	}
	if slices.ContainsFunc(out, func(f File) bool { return len(f.Stale) > 0 }) {
		return out, s.nudge(ctx, project, store)
	}
	return out, nil
}

// putting is a version on its way.
type putting struct {
	Put
	id       string
	passages []passage.Passage
	charset  string // passage.Document.Charset
	late     bool   // somebody else has written a version meanwhile
	file     File   // as its record was written last
}

func (s *Service) putSome(ctx context.Context, project stead.ProjectID, store string, puts []Put) ([]File, error) {
	all := make([]*putting, len(puts))
	for i, p := range puts {
		all[i] = &putting{Put: p, id: DocumentID(p.Origin.Source, p.Origin.Path)}
	}
	if err := s.intend(ctx, project, store, all); err != nil {
		return nil, err
	}
	for _, w := range all {
		if err := s.readVersion(ctx, w); err != nil {
			s.unbegun(context.WithoutCancel(ctx), project, store, all)
			return nil, err
		}
	}
	if err := s.writeVersions(ctx, project, store, all); err != nil {
		return nil, err
	}
	return s.complete(ctx, project, store, all)
}

// readVersion makes passages of a version that is to be read. Its document says by now that somebody is at it: see attempt.go.
func (s *Service) readVersion(ctx context.Context, w *putting) error {
	if w.late || w.Keep || w.Failure != nil {
		return nil
	}
	done, err := s.turn(ctx)
	if err != nil {
		return err
	}
	defer done()
	id, plan, name, data := w.id, w.Plan, w.Filename, w.Data // what reads may go on when nobody waits for it any more
	out := s.timed(ctx, func(ctx context.Context) reading {
		return s.cut(ctx, id, plan, func() (passage.Document, error) { return s.cfg.Read(ctx, name, data) })
	})
	w.passages, w.charset, w.Failure, w.Data = out.passages, out.charset, out.failure, nil
	return out.err
}

// unbegun takes attempts back that did not end the process. That it can't makes a document fail sooner if others do.
func (s *Service) unbegun(ctx context.Context, project stead.ProjectID, store string, all []*putting) {
	ctx, cancel := context.WithTimeout(ctx, endTimeout)
	defer cancel()
	begun := map[string]string{}
	for _, w := range all {
		begun[w.id] = w.file.Next
	}
	err := s.again(ctx, project, store, all, func(old File, was bool, w *putting) (File, bool) {
		if !was || w.late || old.Next == "" || old.Next != begun[w.id] || old.Attempts == 0 {
			return old, false
		}
		old.Attempts--
		return old, true
	})
	if err != nil {
		s.cfg.Log.Warn("the reading of documents has ended, and can't say so", "store", store, "error", err)
	}
}

// intend names the attachment of each version in its document, so that nothing that is written is nobody's.
func (s *Service) intend(ctx context.Context, project stead.ProjectID, store string, all []*putting) error {
	return s.again(ctx, project, store, all, func(old File, was bool, w *putting) (File, bool) {
		if !was {
			old = File{ID: w.id, CreatedAt: s.now(), Status: InProgress, Filename: w.Filename, Plan: w.Plan, Attributes: w.Attributes}
			o := w.Origin
			old.Origin = &Origin{Source: o.Source, Kind: o.Kind, Path: o.Path, URI: o.URI, Labels: o.Labels, Readers: o.Readers, Permits: o.Permits, Run: o.Run, New: true}
		}
		if w.late = was && old.Attachment != w.Over; w.late || w.Keep || w.Failure != nil {
			return old, !was
		}
		if old.Attempts >= maxAttempts {
			s.cfg.Log.Error("a document of a source ended whoever read it", "store", store, "document", w.id, "attempts", maxAttempts)
			w.Failure = &Failure{"server_error", "the document could not be processed: the server ended while it read it, several times"}
			return old, false
		}
		old.Attempts++
		if old.Next != "" { // somebody began a version and died, or is at it: what it wrote goes
			old.Stale = append(slices.Clone(old.Stale), old.Next)
		}
		old.Next = document.NewID("")
		return old, true
	})
}

// writeVersions stores the passages of all versions, many in a transaction.
func (s *Service) writeVersions(ctx context.Context, project stead.ProjectID, store string, all []*putting) error {
	place := passagesOf(project, store)
	now := s.now()
	var changes []memory.Change
	flush := func() error {
		if len(changes) == 0 {
			return nil
		}
		_, err := s.cfg.Records.WriteMemories(ctx, place, changes)
		changes = changes[:0]
		return err
	}
	for _, w := range all {
		if w.late {
			continue
		}
		for i, p := range w.passages {
			data, err := json.Marshal(storedPassage{w.id, w.file.Next, p})
			if err != nil {
				return stead.Wrap(stead.KindInternal, err, "encode a passage")
			}
			changes = append(changes, memory.Change{Once: true, Record: memory.Record{
				Place: place, ID: fmt.Sprintf("%s_%07d", w.file.Next, i), CreatedAt: now, UpdatedAt: now, Data: data,
			}})
			if len(changes) == writeSize {
				if err := flush(); err != nil {
					return err
				}
			}
		}
	}
	return flush()
}

// complete puts each version in the place of the one before, in one write of its document. Of a version that somebody else
// displaced meanwhile the passages go.
func (s *Service) complete(ctx context.Context, project stead.ProjectID, store string, all []*putting) ([]File, error) {
	ours := map[string]string{} // document → the attachment that we wrote
	for _, w := range all {
		if !w.late {
			ours[w.id] = w.file.Next
		}
	}
	err := s.again(ctx, project, store, all, func(old File, was bool, w *putting) (File, bool) {
		if !was || w.late || old.Attachment != w.Over || old.Next != ours[w.id] {
			return old, false
		}
		return w.over(old, s.now()), true
	})
	if err != nil {
		return nil, err
	}
	out := make([]File, len(all))
	for i, w := range all {
		out[i] = w.file
		if next := ours[w.id]; next != "" && w.file.Attachment != next {
			if err := s.forget(ctx, passagesOf(project, store), next); err != nil {
				return nil, err
			}
		}
	}
	return out, nil
}

// over is a document with the version in the place of the one before.
func (w *putting) over(old File, now int64) File {
	next, origin := old, w.Origin
	origin.New = old.Origin.New && old.Origin.Run == origin.Run
	origin.Superseded = old.Origin.Superseded
	if was := old.Origin.Version; was != "" && was != origin.Version && old.Status == Completed {
		before := slices.DeleteFunc(slices.Clone(origin.Superseded), func(s Superseded) bool { return s.Version == was })
		origin.Superseded = append([]Superseded{{was, now}}, before[:min(len(before), MaxSuperseded-1)]...)
	}
	next.Origin, next.Attributes = &origin, w.Attributes
	if w.Keep {
		return next
	}
	next.Filename, next.Plan, next.Failure, next.Bytes, next.Next, next.Attempts, next.Charset = w.Filename, w.Plan, w.Failure, 0, "", 0, w.charset
	if next.Stale = slices.Clone(next.Stale); old.Attachment != "" {
		next.Stale = append(next.Stale, old.Attachment)
	}
	if next.Failure == nil {
		next.Status, next.Attachment = Completed, old.Next
	} else {
		next.Status, next.Attachment = Failed, document.NewID("")
		if old.Next != "" {
			next.Stale = append(next.Stale, old.Next)
		}
	}
	for _, p := range w.passages {
		next.Bytes += int64(len(p.Text))
	}
	return next
}

// again writes what change makes of each document, if anything, all in one transaction, over whatever versions there are.
func (s *Service) again(ctx context.Context, project stead.ProjectID, store string, all []*putting, change func(old File, was bool, w *putting) (File, bool)) error {
	var err error
	for range maxTries {
		var changes []memory.Change
		var written []*putting
		changes, written, err = s.changesOf(ctx, project, store, all, change)
		var records []memory.Record
		if err == nil && len(changes) > 0 {
			records, err = s.cfg.Records.WriteMemories(ctx, filesOf(project, store), changes)
		}
		for i := 0; err == nil && i < len(records); i++ {
			written[i].file, err = fileOf(records[i])
		}
		if k := stead.KindOf(err); k != stead.KindConflict && k != stead.KindNotFound {
			return err
		}
	}
	return err
}

func (s *Service) changesOf(ctx context.Context, project stead.ProjectID, store string, all []*putting, change func(old File, was bool, w *putting) (File, bool)) ([]memory.Change, []*putting, error) {
	place := filesOf(project, store)
	old := make(map[string]File, len(all))
	if err := s.tables.With(ctx, place, func(t *table) {
		for _, w := range all {
			if f, ok := t.files[w.id]; ok {
				old[w.id] = f
			}
		}
	}); err != nil {
		return nil, nil, err
	}
	var changes []memory.Change
	var written []*putting
	for _, w := range all {
		was, ok := old[w.id]
		if ok && was.Status == removed { // it comes back: as another record of the same id
			if err := s.bury(ctx, project, store, was); err != nil {
				return nil, nil, err
			}
			was, ok = File{}, false
		}
		next, write := change(was, ok, w)
		w.file = next
		if !write {
			continue
		}
		c, err := changeOf(place, next)
		if err != nil {
			return nil, nil, err
		}
		changes, written = append(changes, c), append(written, w)
	}
	return changes, written, nil
}

// RemoveDocuments takes documents out of a store, with everything that they said, as they were read: one that was changed
// meanwhile stays. It says how many they were. What they said is found by nobody from then on, and goes behind the call.
func (s *Service) RemoveDocuments(ctx context.Context, project stead.ProjectID, store string, files []File) (int, error) {
	place := filesOf(project, store)
	n := 0
	for some := range slices.Chunk(files, memory.MaxChanges) {
		changes := make([]memory.Change, len(some))
		for i, f := range some {
			f.Status = removed
			var err error
			if changes[i], err = changeOf(place, f); err != nil {
				return n, err
			}
		}
		_, err := s.cfg.Records.WriteMemories(ctx, place, changes)
		if err == nil {
			n += len(some)
			continue
		}
		if k := stead.KindOf(err); k != stead.KindConflict && k != stead.KindNotFound {
			return n, err
		}
		for _, f := range some { // one of them is not as it was read: each by itself
			now, err := s.change(ctx, place, f.ID, func(now *File) {
				if now.Attachment == f.Attachment && now.Next == f.Next {
					now.Status = removed
				}
			})
			if gone(err) != nil {
				return n, err
			}
			if err == nil && now.Status == removed {
				n++
			}
		}
	}
	if len(files) == 0 {
		return 0, nil
	}
	return n, s.nudge(ctx, project, store)
}

// texts are the passages of a document, in their order.
func (s *Service) texts(ctx context.Context, project stead.ProjectID, store string, f File) ([]string, error) {
	out := []string{}
	for after := f.Attachment; ; {
		records, err := s.cfg.Records.ListMemories(ctx, memory.Query{Place: passagesOf(project, store), After: after, Limit: memory.MaxChanges})
		if err != nil {
			return nil, err
		}
		for _, r := range records {
			p, err := passageOf(r)
			if err != nil || p.Attachment != f.Attachment {
				return out, err
			}
			out, after = append(out, p.Text), r.ID
		}
		if len(records) == 0 {
			return out, nil
		}
	}
}

// uploaded refuses what is a document of a source: that one says what it holds. One that is not seen is not there.
func (s *Service) uploaded(ctx context.Context, p stead.Principal, store, id string) error {
	f, err := s.file(ctx, filesOf(p.Project, store), id)
	if err != nil || f.Origin == nil {
		return err
	}
	if v := s.sight(ctx, p, store); !v.sees(f) {
		if v.err != nil {
			return v.err
		}
		return notIn(id)
	}
	e := stead.Errorf(stead.KindConflict, "%.80q is a document of source %s, which says what it holds", id, f.Origin.Source)
	e.Hint = "Change the source, or delete it."
	return e
}

// Writable says whether somebody may change what is in a store; KindConflict for one that has expired.
func (s *Service) Writable(ctx context.Context, p stead.Principal, store string) error {
	_, err := s.open(ctx, p, policy.VectorStoreWrite, store)
	return err
}

// Readable says whether somebody may read a store.
func (s *Service) Readable(ctx context.Context, p stead.Principal, store string) error {
	_, err := s.open(ctx, p, policy.VectorStoreRead, store)
	return err
}

// There says whether there is a store that has not expired, and forgets what came into one that is gone.
func (s *Service) There(ctx context.Context, project stead.ProjectID, store string) (bool, error) {
	k := storeKey(project, store)
	d, err := s.cfg.Documents.GetDocument(ctx, k)
	if stead.KindOf(err) == stead.KindNotFound {
		return false, s.empty(ctx, k)
	}
	if err != nil {
		return false, err
	}
	data, err := decodeStore(d)
	return !data.Expired && (d.ExpiresAt == 0 || d.ExpiresAt > s.now()), err
}

// Files is how many there are in a store, of any kind.
func (s *Service) Files(ctx context.Context, project stead.ProjectID, store string) (int, error) {
	n := 0
	err := s.tables.With(ctx, filesOf(project, store), func(t *table) { n = t.Len() })
	return n, err
}

// CheckAttributes holds attributes of documents to what the API allows, and CheckPlan a plan.
func CheckAttributes(a map[string]any) error { return checkAttributes("attributes", a) }

// CheckPlan sets what a plan leaves out.
func CheckPlan(p *passage.Plan) error { return checkPlan(p) }

// Page is the page of a passage of a PDF, from 1; 0: it has none. Passages that were cut before they knew it may run over several: those
// name none, since the heading is that of the first.
func (r Result) Page() int {
	n := r.Passage.Page
	if n == 0 && strings.HasSuffix(strings.ToLower(r.File.Filename), ".pdf") && !strings.Contains(r.Text, "\n## Page ") {
		_, _ = fmt.Sscanf(r.Heading, "Page %d", &n) // 0 where it says none
	}
	return n
}
