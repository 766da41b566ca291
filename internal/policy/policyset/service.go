package policyset

import (
	"context"
	"errors"
	"slices"
	"time"

	"github.com/stead-dev/stead"
	"github.com/stead-dev/stead/internal/document"
	"github.com/stead-dev/stead/internal/policy"
	"github.com/stead-dev/stead/internal/policy/cedar"
)

func (s *Service) allow(ctx context.Context, p stead.Principal, effect policy.Effect, id string) error {
	return s.allowWrite(ctx, p, effect, id, nil)
}

// allowWrite is allow for what writes a version, which stands in the audit log before it does.
func (s *Service) allowWrite(ctx context.Context, p stead.Principal, effect policy.Effect, id string, next *policy.SetVersion) error {
	_, err := policy.Check(ctx, s.cfg.Policy, policy.Request{Principal: p, Effect: effect, Resource: id, Set: next})
	return err
}

// upcoming is the version that is about to be written over h; done: this very request has written h; failed: nothing will be written.
func (h head) upcoming(next policy.SetVersion, done bool, failed error) *policy.SetVersion {
	switch {
	case done:
		next = policy.SetVersion{Version: h.doc.Version, Mode: h.Mode, Digest: h.Digest, Restored: h.Restored}
	case failed == nil:
		next.Version = h.doc.Version + 1
	}
	return &next
}

// Create makes a set of a name that no other has: of one that was deleted, the next version.
func (s *Service) Create(ctx context.Context, p stead.Principal, n New, w Write) (Set, error) {
	h, done, lost := s.free(ctx, p, n.Name, w)
	next := policy.SetVersion{Mode: n.Mode, Digest: digestOf(n.Text)}
	if err := s.allowWrite(ctx, p, policy.PolicyWrite, Prefix+n.Name, h.upcoming(next, done, lost)); err != nil { // whoever may not is not told what there is
		return Set{}, err
	}
	if lost != nil {
		return Set{}, lost
	}
	if done {
		return s.withText(ctx, p, h, h.stored)
	}
	v := stored{Description: n.Description, Metadata: n.Metadata, Mode: n.Mode, Request: request(w)}
	if err := s.check(ctx, p, n.Name, &v, n.Text); err != nil {
		return Set{}, err
	}
	return s.putWithin(ctx, p, h, v, n.Text)
}

// free reads what a new set of a name is written over; done: this very request has made it.
func (s *Service) free(ctx context.Context, p stead.Principal, name string, w Write) (h head, done bool, err error) {
	if err := checkName(name); err != nil {
		return h, false, err
	}
	h, err = s.head(ctx, headKey(p.Project, Prefix+name))
	if err != nil || !h.there() {
		return h, false, err
	}
	if w.Key != "" && h.Request == request(w) {
		return h, true, nil
	}
	e := h.doc.Key.Taken()
	e.(*stead.Error).Hint = "Write its next version instead."
	return h, false, e
}

// Update writes the next version of a set.
func (s *Service) Update(ctx context.Context, p stead.Principal, id string, c Change, w Write) (Set, error) {
	h, done, lost := s.over(ctx, p, id, w)
	if lost == nil && !h.there() {
		lost = h.doc.Key.NotFound()
	}
	said, text := policy.SetVersion{Mode: h.Mode, Digest: h.Digest}, ""
	if c.Mode != nil {
		said.Mode = *c.Mode
	}
	if c.Text != nil {
		text, said.Digest = *c.Text, digestOf(*c.Text)
	}
	if err := s.allowWrite(ctx, p, policy.PolicyWrite, id, h.upcoming(said, done, lost)); err != nil {
		return Set{}, err
	}
	if lost != nil {
		return Set{}, lost
	}
	if done {
		return s.withText(ctx, p, h, h.stored)
	}
	next := stored{Description: h.Description, Metadata: h.Metadata, Mode: said.Mode, Request: request(w)}
	if c.Description != nil {
		next.Description = *c.Description
	}
	if c.Metadata != nil {
		next.Metadata = *c.Metadata
	}
	if c.Text == nil {
		var err error
		if text, err = s.text(ctx, p, h, h.stored); err != nil {
			return Set{}, err
		}
	}
	if err := s.check(ctx, p, h.name, &next, text); err != nil {
		return Set{}, err
	}
	return s.putWithin(ctx, p, h, next, text)
}

// Rollback writes an older version again, as the next one: also of a set that was deleted.
func (s *Service) Rollback(ctx context.Context, p stead.Principal, id string, version int64, w Write) (Set, error) {
	o, lost := s.older(ctx, p, id, version, w)
	said := policy.SetVersion{Mode: o.was.Mode, Digest: o.was.Digest, Restored: version}
	if err := s.allowWrite(ctx, p, policy.PolicyWrite, id, o.over.upcoming(said, o.done, lost)); err != nil {
		return Set{}, err
	}
	if lost != nil {
		return Set{}, lost
	}
	if o.done {
		return s.withText(ctx, p, o.over, o.over.stored)
	}
	next := stored{Description: o.was.Description, Metadata: o.was.Metadata, Mode: o.was.Mode, Restored: version, Request: request(w)}
	if err := s.check(ctx, p, o.over.name, &next, o.text); err != nil { // what can be said may have changed since
		return Set{}, err
	}
	return s.putWithin(ctx, p, o.over, next, o.text)
}

// older is a version that is to be written again, and what it is written over.
type older struct {
	was  stored
	over head
	text string
	done bool // this very request has written it
}

func (s *Service) older(ctx context.Context, p stead.Principal, id string, version int64, w Write) (o older, err error) {
	if o.over, o.done, err = s.over(ctx, p, id, w); err != nil || o.done {
		return o, err
	}
	all, err := s.records(ctx, o.over.doc.Key)
	if err != nil {
		return o, err
	}
	var ok bool
	switch o.was, ok = find(history(o.over, all), version); {
	case !ok:
		return o, stead.Invalid("version", "%s has no version %d", id, version)
	case o.was.Deleted:
		return o, stead.Invalid("version", "version %d of %s is that it was deleted", version, id)
	}
	o.text, err = s.text(ctx, p, o.over, o.was)
	return o, err
}

// Delete takes a set out of force. What it was can be read by its versions, and restored.
func (s *Service) Delete(ctx context.Context, p stead.Principal, id string, over int64) error {
	h, _, lost := s.over(ctx, p, id, Write{Over: over})
	if lost == nil && !h.there() {
		lost = h.doc.Key.NotFound()
	}
	said := policy.SetVersion{Mode: h.Mode, Digest: h.Digest}
	if err := s.allowWrite(ctx, p, policy.PolicyDelete, id, h.upcoming(said, false, lost)); err != nil {
		return err
	}
	if lost != nil {
		return lost
	}
	_, err := s.put(ctx, p, h, stored{Description: h.Description, Metadata: h.Metadata, Mode: h.Mode, Deleted: true}, "")
	return err
}

// over reads the set that a version is to be written over; done: this very request has written it.
func (s *Service) over(ctx context.Context, p stead.Principal, id string, w Write) (h head, done bool, err error) {
	h, err = s.head(ctx, headKey(p.Project, id))
	switch {
	case err != nil:
		return h, false, err
	case h.doc.Version == 0:
		return h, false, h.doc.Key.NotFound()
	case w.Key != "" && h.Request == request(w) && h.there():
		return h, true, nil
	case w.Over != AnyVersion && w.Over != h.doc.Version:
		return h, false, h.doc.Key.Stale(h.doc.Version, w.Over)
	}
	return h, false, nil
}

// putWithin is put for a version that is in force, within the project's limits.
func (s *Service) putWithin(ctx context.Context, p stead.Principal, h head, next stored, text string) (Set, error) {
	if err := s.room(ctx, h, next.Policies); err != nil {
		return Set{}, err
	}
	h, err := s.put(ctx, p, h, next, text)
	if stead.KindOf(err) == stead.KindConflict && next.Request != "" { // the same request may have come twice at once
		if now, wrong := s.head(ctx, h.doc.Key); wrong == nil && now.there() && now.Request == next.Request {
			return s.withText(ctx, p, now, now.stored)
		}
	}
	if err != nil {
		return Set{}, err
	}
	out := h.set()
	out.Text = text
	return out, nil
}

// check checks what is to be written, and fills in what follows from the text.
func (s *Service) check(ctx context.Context, p stead.Principal, name string, next *stored, text string) error {
	if err := checkFields(next.Description, next.Mode); err != nil {
		return err
	}
	set, err := s.compile(ctx, p, name, next.Mode, text)
	if err != nil {
		return err
	}
	next.Digest, next.Bytes, next.Policies = digestOf(text), len(text), len(set.Rules())
	return nil
}

// compile is Compile, one at a time of a project: checking takes a core.
func (s *Service) compile(ctx context.Context, p stead.Principal, name, mode, text string) (*cedar.Set, error) {
	slot, _ := s.checking.LoadOrStore(p.Project, make(chan struct{}, 1))
	busy := slot.(chan struct{})
	limit := time.NewTimer(CheckWait)
	defer limit.Stop()
	select {
	case busy <- struct{}{}:
		defer func() { <-busy }()
		return Compile(name, mode, text, s.cfg.Approvers)
	case <-ctx.Done():
		return nil, context.Cause(ctx)
	case <-limit.C:
		return nil, &stead.Error{Kind: stead.KindLimited, Message: "other policies of the project are being checked, which are so one at a time", RetryAfter: time.Second}
	}
}

// room refuses what is more than a project may have.
func (s *Service) room(ctx context.Context, h head, policies int) error {
	names, sets := 1, 1
	err := each(ctx, s.cfg.Documents, document.Query{Project: h.doc.Project, Kind: kindHead}, func(d document.Document) bool {
		if d.ID == h.doc.ID {
			return true
		}
		names++
		if other := headOf(d); other.there() {
			sets, policies = sets+1, policies+other.Policies
		}
		return true
	})
	switch {
	case err != nil:
		return err
	case sets > MaxSets && !h.there():
		return stead.Errorf(stead.KindConflict, "the project has %d policy sets, which is the limit", sets-1)
	case names > MaxNames && h.doc.Version == 0:
		return stead.Errorf(stead.KindConflict, "the project has used %d names for policy sets, which is the limit: use one again", names-1)
	case policies > MaxPolicies:
		return stead.Invalid("text", "the project would have %d policies in its sets, the limit is %d", policies, MaxPolicies)
	}
	return nil
}

// Get returns a set with its text.
func (s *Service) Get(ctx context.Context, p stead.Principal, id string) (Set, error) {
	h, err := s.read(ctx, p, id)
	if err != nil {
		return Set{}, err
	}
	if !h.there() {
		return Set{}, h.doc.Key.NotFound()
	}
	out, err := s.withText(ctx, p, h, h.stored)
	if err == nil && out.Problem == "" {
		if _, wrong := Compile(h.name, h.Mode, out.Text, s.cfg.Approvers); wrong != nil { // by what can be said now
			out.Problem = wrong.Error()
		}
	}
	return out, err
}

// read reads a set that somebody may see, also one that was deleted.
func (s *Service) read(ctx context.Context, p stead.Principal, id string) (head, error) {
	if err := s.allow(ctx, p, policy.PolicyRead, id); err != nil {
		return head{}, err
	}
	h, err := s.head(ctx, headKey(p.Project, id))
	if err == nil && h.doc.Version == 0 {
		err = h.doc.Key.NotFound()
	}
	return h, err
}

// text reads a version's for a change that leaves it as it is.
func (s *Service) text(ctx context.Context, p stead.Principal, h head, r stored) (string, error) {
	if r.VID == "" {
		return "", stead.Invalid("text", "text is required: %s %s", h.doc.ID, h.problem)
	}
	out, err := text(ctx, s.cfg.Documents, p.Project, r)
	if c, ok := errors.AsType[corrupt](err); ok {
		return "", stead.Invalid("text", "text is required: %s", c)
	}
	return out, err
}

// withText is a version with its text; what can't be read is its Problem.
func (s *Service) withText(ctx context.Context, p stead.Principal, h head, r stored) (Set, error) {
	out := h.version(r)
	if out.Problem != "" || r.Deleted {
		return out, nil
	}
	t, err := text(ctx, s.cfg.Documents, p.Project, r)
	if c, ok := errors.AsType[corrupt](err); ok {
		out.Problem = string(c)
		return out, nil
	}
	out.Text = t
	return out, err
}

// List returns a page of the sets, by their names, without texts; and whether there are more.
func (s *Service) List(ctx context.Context, p stead.Principal, q Query) ([]Set, bool, error) {
	if err := s.allow(ctx, p, policy.PolicyRead, ""); err != nil {
		return nil, false, err
	}
	docs, err := s.cfg.Documents.ListDocuments(ctx, document.Query{Project: p.Project, Kind: kindHead, Tag: tagLive, After: q.After, Desc: q.Desc, Limit: q.Limit + 1})
	if err != nil {
		return nil, false, err
	}
	out := []Set{}
	for _, d := range docs[:min(len(docs), q.Limit)] {
		out = append(out, headOf(d).set())
	}
	return out, len(docs) > q.Limit, nil
}

// Versions returns a page of the versions of a set, also of one that was deleted, without texts. After is a version, as a number.
func (s *Service) Versions(ctx context.Context, p stead.Principal, id string, after int64, desc bool, limit int) ([]Set, bool, error) {
	h, was, err := s.versions(ctx, p, id)
	if err != nil {
		return nil, false, err
	}
	if !desc {
		slices.Reverse(was)
	}
	out := []Set{}
	for _, r := range was {
		switch {
		case after > 0 && (desc && r.Version >= after || !desc && r.Version <= after):
		case len(out) == limit:
			return out, true, nil
		default:
			out = append(out, h.version(r))
		}
	}
	return out, false, nil
}

// Version returns one with its text.
func (s *Service) Version(ctx context.Context, p stead.Principal, id string, version int64) (Set, error) {
	h, was, err := s.versions(ctx, p, id)
	if err != nil {
		return Set{}, err
	}
	r, ok := find(was, version)
	if !ok {
		return Set{}, stead.Errorf(stead.KindNotFound, "%s has no version %d", id, version)
	}
	return s.withText(ctx, p, h, r)
}

func (s *Service) versions(ctx context.Context, p stead.Principal, id string) (head, []stored, error) {
	h, err := s.read(ctx, p, id)
	if err != nil {
		return h, nil, err
	}
	all, err := s.records(ctx, h.doc.Key)
	was := history(h, all)
	h.problem = "" // of the head: versions speak for themselves
	return h, was, err
}

// Checked is what is said of a text that is not stored.
type Checked struct {
	Policies []policy.Rule
	Mistakes policy.Mistakes
}

// Validate checks a text as an upload does.
func (s *Service) Validate(ctx context.Context, p stead.Principal, name, mode, text string) (Checked, error) {
	if err := s.allow(ctx, p, policy.PolicyRead, ""); err != nil {
		return Checked{}, err
	}
	if err := checkName(name); err != nil {
		return Checked{}, err
	}
	if err := checkFields("", mode); err != nil {
		return Checked{}, err
	}
	set, err := s.compile(ctx, p, name, mode, text)
	if m, ok := errors.AsType[policy.Mistakes](err); ok {
		return Checked{Mistakes: m}, nil
	}
	if err != nil {
		return Checked{}, err
	}
	return Checked{Policies: set.Rules()}, nil
}
