package policyset

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
	"github.com/stead-dev/stead/internal/policy"
)

// stored is a version as it is written: in its own document, and in the head while it is the newest.
type stored struct {
	VID         string            `json:"vid"`              // id of the version's documents
	Version     int64             `json:"version"`          // that of the head
	Before      string            `json:"before,omitempty"` // VID of the version before it
	Description string            `json:"description,omitempty"`
	Metadata    map[string]string `json:"metadata,omitempty"`
	Mode        string            `json:"mode"`
	Digest      string            `json:"digest"`
	Bytes       int               `json:"bytes"`
	Policies    int               `json:"policies"`
	Restored    int64             `json:"restored,omitempty"`
	Deleted     bool              `json:"deleted,omitempty"`
	By          string            `json:"by"`
	At          int64             `json:"at"` // Unix milliseconds
	// Request is the digest of the idempotency key and the request that it was written with; "": it had no key.
	Request string `json:"request,omitempty"`
}

type storedText struct {
	Text string `json:"text"`
}

// The tag of the head of a set that there is. Others are not read for decisions.
const tagLive = "live"

// head is a set's newest version.
type head struct {
	stored
	name    string
	doc     document.Document
	problem string // why it can't be read; "": it can
}

// there reports whether there is such a set: also one that can't be read is.
func (h head) there() bool { return h.doc.Version > 0 && !h.Deleted }

func headKey(project stead.ProjectID, id string) document.Key {
	return document.Key{Project: project, Kind: kindHead, ID: id}
}

func headOf(d document.Document) head {
	h := head{doc: d, name: strings.TrimPrefix(d.ID, Prefix)}
	if err := json.Unmarshal(d.Data, &h.stored); err != nil || h.Mode != policy.Enforce && h.Mode != policy.Shadow {
		h.stored = stored{Mode: policy.Enforce, At: d.UpdatedAt} // of what nobody knows, the strict reading
		h.problem = "what is stored of it can't be read"
	}
	h.Version = d.Version
	return h
}

// head reads a set's; one of version 0 where there was never such a set.
func (s *Service) head(ctx context.Context, k document.Key) (head, error) {
	d, err := s.cfg.Documents.GetDocument(ctx, k)
	if stead.KindOf(err) == stead.KindNotFound {
		return head{doc: document.Document{Key: k}, name: strings.TrimPrefix(k.ID, Prefix)}, nil
	}
	return headOf(d), err
}

// each calls f with the documents that a query selects, page by page, until it says no.
func each(ctx context.Context, store document.Store, q document.Query, f func(document.Document) bool) error {
	q.Limit = stead.MaxPageSize
	for {
		page, err := store.ListDocuments(ctx, q)
		if err != nil {
			return err
		}
		for _, d := range page {
			if !f(d) {
				return nil
			}
		}
		if len(page) < q.Limit {
			return nil
		}
		q.After = page[len(page)-1].ID
	}
}

// records reads what was written as versions of a set, by VID: also what never was one.
func (s *Service) records(ctx context.Context, k document.Key) (map[string]stored, error) {
	all := map[string]stored{}
	err := each(ctx, s.cfg.Documents, document.Query{Project: k.Project, Kind: kindVersion, Tag: k.ID}, func(d document.Document) bool {
		var r stored
		if json.Unmarshal(d.Data, &r) == nil {
			r.VID = d.ID
			all[d.ID] = r
		}
		return true
	})
	return all, err
}

// history are the versions that were: from the head back, the newest first.
func history(h head, all map[string]stored) []stored {
	at := h.VID
	if at == "" { // the head can't be read: the newest that there is
		for vid, r := range all {
			if r.Version <= h.Version && (at == "" || r.Version > all[at].Version) {
				at = vid
			}
		}
	}
	var out []stored
	for r, ok := all[at]; ok; r, ok = all[at] {
		out = append(out, r)
		delete(all, at) // what leads back to itself has an end, too
		at = r.Before
	}
	return out
}

// corrupt is why what is stored of a set can't be used: another than that the store does not answer.
type corrupt string

// Error implements error.
func (c corrupt) Error() string { return string(c) }

// text reads a version's.
func text(ctx context.Context, store document.Store, project stead.ProjectID, r stored) (string, error) {
	d, err := store.GetDocument(ctx, document.Key{Project: project, Kind: kindText, ID: r.VID})
	if stead.KindOf(err) == stead.KindNotFound {
		return "", corrupt("its text is not there")
	}
	if err != nil {
		return "", err
	}
	var t storedText
	if err := json.Unmarshal(d.Data, &t); err != nil || digestOf(t.Text) != r.Digest {
		return "", corrupt("its text is not what was uploaded")
	}
	return t.Text, nil
}

func digestOf(text string) string {
	sum := sha256.Sum256([]byte(text))
	return hex.EncodeToString(sum[:])
}

// put writes the version behind h. A no of the store leaves h in force; so does a crash before the last of the writes.
func (s *Service) put(ctx context.Context, p stead.Principal, h head, next stored, text string) (head, error) {
	all, err := s.records(ctx, h.doc.Key)
	if err != nil {
		return h, err
	}
	was := history(h, all)
	next.Version, next.By, next.At = h.doc.Version+1, p.ID, s.cfg.Now().UnixMilli()
	next.VID, next.Before = document.NewID("pver_"), ""
	if len(was) > 0 {
		next.Before = was[0].VID
	}
	if err := s.write(ctx, h.doc.Key, next, text); err != nil {
		return h, err
	}
	d := document.Document{Key: h.doc.Key, Version: next.Version, CreatedAt: next.At, UpdatedAt: next.At, Data: encode(next)}
	if !next.Deleted {
		d.Tag = tagLive
	}
	defer s.cfg.Live.Forget(p.Project)
	if h.doc.Version == 0 {
		d, err = s.cfg.Documents.CreateDocument(ctx, d, "", "")
	} else {
		d, err = s.cfg.Documents.UpdateDocument(ctx, d)
	}
	if err != nil {
		if stead.KindOf(err) == stead.KindConflict { // another was quicker, so that this one will never be
			s.remove(ctx, p.Project, next.VID)
		}
		return h, err
	}
	s.sweep(ctx, p.Project, next, was, all)
	return headOf(d), nil
}

// write writes what the head will name.
func (s *Service) write(ctx context.Context, k document.Key, next stored, text string) error {
	d := document.Document{Key: document.Key{Project: k.Project, Kind: kindVersion, ID: next.VID}, CreatedAt: next.At, UpdatedAt: next.At, Tag: k.ID, Data: encode(next)}
	if _, err := s.cfg.Documents.CreateDocument(ctx, d, "", ""); err != nil || next.Deleted {
		return err
	}
	d.Kind, d.Tag, d.Data = kindText, "", encode(storedText{text})
	_, err := s.cfg.Documents.CreateDocument(ctx, d, "", "")
	return err
}

// sweep removes versions beyond MaxVersions, and others that were written over a version that has another successor now. What it
// can't remove the next write does.
func (s *Service) sweep(ctx context.Context, project stead.ProjectID, next stored, was []stored, others map[string]stored) {
	for i, r := range was {
		if i+1 >= MaxVersions {
			s.remove(ctx, project, r.VID)
		}
	}
	for vid, r := range others {
		// What is older than all that is known to have been may have been too, where the chain to it is broken.
		if r.Version <= next.Version && len(was) > 0 && r.Version >= was[len(was)-1].Version {
			s.remove(ctx, project, vid)
		}
	}
}

func (s *Service) remove(ctx context.Context, project stead.ProjectID, vid string) {
	for _, kind := range []document.Kind{kindText, kindVersion} { // that which leads to the other is the last
		err := s.cfg.Documents.DeleteDocument(ctx, document.Key{Project: project, Kind: kind, ID: vid}, 0)
		if err != nil && stead.KindOf(err) != stead.KindNotFound {
			return
		}
	}
}

func encode(v any) []byte {
	data, err := json.Marshal(v)
	if err != nil {
		panic(err) // texts and numbers always encode
	}
	return data
}

// set is a version as callers see it.
func (h head) set() Set { return h.version(h.stored) }

// version is an older one.
func (h head) version(r stored) Set {
	return Set{
		ID: Prefix + h.name, Name: h.name, Description: r.Description, Metadata: r.Metadata, Mode: r.Mode, Version: r.Version,
		Digest: r.Digest, Bytes: r.Bytes, Policies: r.Policies, Restored: r.Restored, Deleted: r.Deleted,
		By: r.By, CreatedAt: h.doc.CreatedAt, UpdatedAt: r.At, Problem: h.problem,
	}
}

// request is what of a request with an idempotency key is stored; "": it has none.
func request(w Write) string {
	if w.Key == "" {
		return ""
	}
	return digestOf(fmt.Sprintf("%q %s", w.Key, w.Digest))
}

// find is the one of a version.
func find(was []stored, version int64) (stored, bool) {
	i := slices.IndexFunc(was, func(r stored) bool { return r.Version == version })
	if i < 0 {
		return stored{}, false
	}
	return was[i], true
}
