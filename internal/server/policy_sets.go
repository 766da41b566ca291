package server

import (
	"context"
	"math"
	"net/http"
	"strconv"

	"github.com/stead-dev/stead"
	"github.com/stead-dev/stead/internal/param"
	"github.com/stead-dev/stead/internal/policy"
	"github.com/stead-dev/stead/internal/policy/policyset"
)

// PolicySets keep what projects upload: see package policyset, which implements it.
type PolicySets interface {
	Create(ctx context.Context, p stead.Principal, n policyset.New, w policyset.Write) (policyset.Set, error)
	Update(ctx context.Context, p stead.Principal, id string, c policyset.Change, w policyset.Write) (policyset.Set, error)
	Rollback(ctx context.Context, p stead.Principal, id string, version int64, w policyset.Write) (policyset.Set, error)
	Delete(ctx context.Context, p stead.Principal, id string, over int64) error
	Get(ctx context.Context, p stead.Principal, id string) (policyset.Set, error)
	List(ctx context.Context, p stead.Principal, q policyset.Query) ([]policyset.Set, bool, error)
	Versions(ctx context.Context, p stead.Principal, id string, after int64, desc bool, limit int) ([]policyset.Set, bool, error)
	Version(ctx context.Context, p stead.Principal, id string, version int64) (policyset.Set, error)
	Validate(ctx context.Context, p stead.Principal, name, mode, text string) (policyset.Checked, error)
}

// withPolicySets serves a route of policy sets, where there are any.
func (s *server) withPolicySets(handle handler) handler {
	return func(w http.ResponseWriter, r *http.Request, p stead.Principal) error {
		if s.PolicySets == nil {
			return stead.Errorf(stead.KindNotImplemented, "this server has no policy sets")
		}
		return handle(w, r, p)
	}
}

type wirePolicySet struct {
	ID          string            `json:"id"`
	Object      string            `json:"object"` // "policy_set"
	Name        string            `json:"name"`
	Description string            `json:"description"`
	Metadata    map[string]string `json:"metadata"`
	Mode        string            `json:"mode"`
	Version     int64             `json:"version"`
	Digest      string            `json:"digest"` // of the text: SHA-256 in hex
	Bytes       int               `json:"bytes"`
	Policies    int               `json:"policies"`
	Restored    *int64            `json:"restored_version"` // that this version repeats; null: none
	Deleted     bool              `json:"deleted"`          // this version is that the set was deleted
	WrittenBy   string            `json:"written_by"`       // id of the principal
	CreatedAt   int64             `json:"created_at"`       // of the set
	UpdatedAt   int64             `json:"updated_at"`       // of this version
	Problem     *string           `json:"problem"`          // why it can't be asked, so that it refuses; null: it can
	Text        *string           `json:"text,omitempty"`   // of one; lists leave it out
}

func wirePolicySetOf(v policyset.Set, object string) wirePolicySet {
	out := wirePolicySet{
		ID: v.ID, Object: object, Name: v.Name, Description: v.Description, Metadata: v.Metadata, Mode: v.Mode, Version: v.Version,
		Digest: v.Digest, Bytes: v.Bytes, Policies: v.Policies, Deleted: v.Deleted, WrittenBy: v.By,
		CreatedAt: v.CreatedAt / 1000, UpdatedAt: v.UpdatedAt / 1000, Problem: known(v.Problem), Text: known(v.Text),
	}
	if v.Metadata == nil {
		out.Metadata = map[string]string{}
	}
	if v.Restored > 0 {
		out.Restored = &v.Restored
	}
	return out
}

const (
	objectPolicySet        = "policy_set"
	objectPolicySetVersion = "policy_set.version"
)

// writePolicySet answers with a set. Its ETag is its version, for the next write's If-Match.
func (s *server) writePolicySet(w http.ResponseWriter, v policyset.Set, object string) error {
	w.Header().Set("ETag", strconv.Quote(strconv.FormatInt(v.Version, 10)))
	return s.write(w, wirePolicySetOf(v, object))
}

func (s *server) createPolicySet(w http.ResponseWriter, r *http.Request, p stead.Principal) error {
	req, err := read(w, r)
	if err != nil {
		return err
	}
	if err := req.Only("a policy set", "name", "text", "mode", "description", "metadata"); err != nil {
		return err
	}
	n := policyset.New{Mode: policy.Enforce}
	if n.Name, err = param.Need(req.String("name"))("name"); err != nil {
		return err
	}
	c, err := policySetChange(req.Object)
	if err != nil {
		return err
	}
	if c.Text == nil {
		return stead.Invalid("text", "text is required: policies in Cedar")
	}
	n.Text = *c.Text
	for from, into := range map[*string]*string{c.Mode: &n.Mode, c.Description: &n.Description} {
		if from != nil {
			*into = *from
		}
	}
	if c.Metadata != nil {
		n.Metadata = *c.Metadata
	}
	made, err := s.PolicySets.Create(r.Context(), p, n, policyset.Write{Key: req.key, Digest: req.digest})
	if err != nil {
		return err
	}
	return s.writePolicySet(w, made, objectPolicySet)
}

// policySetChange reads what a version says anew: null clears a description and metadata.
func policySetChange(o param.Object) (policyset.Change, error) {
	var c policyset.Change
	for name, into := range map[string]**string{"text": &c.Text, "mode": &c.Mode, "description": &c.Description} {
		v, ok, err := o.String(name)
		if err != nil {
			return c, err
		}
		if ok || o.Null(name) && name == "description" {
			*into = &v
		}
	}
	if o.Has("metadata") {
		c.Metadata = new(map[string]string)
		if err := setMetadata(o, c.Metadata); err != nil {
			return c, err
		}
	}
	return c, nil
}

// policySetOver says over which version a request writes: a policy that somebody else has just written must not be lost unseen, so
// that it must say so, "*" for whichever there is.
func policySetOver(r *http.Request, req request) (policyset.Write, error) {
	over, err := versionOver(r, req)
	return policyset.Write{Over: over, Key: req.key, Digest: req.digest}, err
}

// versionOver is the version that a request is written over; 0: whichever there is.
func versionOver(r *http.Request, req request) (int64, error) {
	over, err := expectedVersion(r)
	if err != nil {
		return 0, err
	}
	n, ok, err := req.Int("expected_version", 1, maxVersion)
	switch {
	case err != nil:
		return 0, err
	case ok:
		return n, nil
	case r.Header.Get("If-Match") == "":
		e := stead.Invalid("expected_version", "expected_version is required, or If-Match: the version that this one is written over")
		e.Hint = "It is the version, and the ETag, of what you have read. If-Match: * is any."
		return 0, e
	}
	return max(over, 0), nil
}

func (s *server) updatePolicySet(w http.ResponseWriter, r *http.Request, p stead.Principal) error {
	req, err := read(w, r)
	if err != nil {
		return err
	}
	if err := req.Only("a version of a policy set", "text", "mode", "description", "metadata", "expected_version"); err != nil {
		return err
	}
	how, err := policySetOver(r, req)
	if err != nil {
		return err
	}
	c, err := policySetChange(req.Object)
	if err != nil {
		return err
	}
	made, err := s.PolicySets.Update(r.Context(), p, r.PathValue("id"), c, how)
	if err != nil {
		return err
	}
	return s.writePolicySet(w, made, objectPolicySet)
}

func (s *server) rollbackPolicySet(w http.ResponseWriter, r *http.Request, p stead.Principal) error {
	req, err := read(w, r)
	if err != nil {
		return err
	}
	if err := req.Only("a rollback", "version", "expected_version"); err != nil {
		return err
	}
	version, err := param.Need(req.Int("version", 1, maxVersion))("version")
	if err != nil {
		return err
	}
	how, err := policySetOver(r, req)
	if err != nil {
		return err
	}
	made, err := s.PolicySets.Rollback(r.Context(), p, r.PathValue("id"), version, how)
	if err != nil {
		return err
	}
	return s.writePolicySet(w, made, objectPolicySet)
}

func (s *server) deletePolicySet(w http.ResponseWriter, r *http.Request, p stead.Principal) error {
	over, err := expectedVersion(r)
	if err != nil {
		return err
	}
	id := r.PathValue("id")
	if err := s.PolicySets.Delete(r.Context(), p, id, max(over, 0)); err != nil {
		return err
	}
	return s.write(w, deleted{id, true, "policy_set.deleted"})
}

func (s *server) getPolicySet(w http.ResponseWriter, r *http.Request, p stead.Principal) error {
	found, err := s.PolicySets.Get(r.Context(), p, r.PathValue("id"))
	if err != nil {
		return err
	}
	return s.writePolicySet(w, found, objectPolicySet)
}

func (s *server) listPolicySets(w http.ResponseWriter, r *http.Request, p stead.Principal) error {
	q, err := idPage(r.URL.Query(), policyset.Prefix)
	if err != nil {
		return err
	}
	found, more, err := s.PolicySets.List(r.Context(), p, policyset.Query{After: q.After, Desc: q.Desc, Limit: q.Limit})
	if err != nil {
		return err
	}
	data := make([]wirePolicySet, len(found))
	for i, v := range found {
		data[i] = wirePolicySetOf(v, objectPolicySet)
	}
	return s.write(w, listOf(data, more, func(v wirePolicySet) string { return v.ID }))
}

func (s *server) listPolicySetVersions(w http.ResponseWriter, r *http.Request, p stead.Principal) error {
	q, err := page(r.URL.Query())
	if err != nil {
		return err
	}
	after, _, err := queryInt(r.URL.Query(), "after", 1, math.MaxInt32)
	if err != nil {
		return err
	}
	found, more, err := s.PolicySets.Versions(r.Context(), p, r.PathValue("id"), int64(after), q.Desc, q.Limit)
	if err != nil {
		return err
	}
	data := make([]wirePolicySet, len(found))
	for i, v := range found {
		data[i] = wirePolicySetOf(v, objectPolicySetVersion)
	}
	return s.write(w, listOf(data, more, func(v wirePolicySet) string { return strconv.FormatInt(v.Version, 10) }))
}

func (s *server) getPolicySetVersion(w http.ResponseWriter, r *http.Request, p stead.Principal) error {
	n, err := strconv.ParseInt(r.PathValue("version"), 10, 64)
	if err != nil || n < 1 {
		return stead.Errorf(stead.KindNotFound, "%s has no version %.40q", r.PathValue("id"), r.PathValue("version"))
	}
	found, err := s.PolicySets.Version(r.Context(), p, r.PathValue("id"), n)
	if err != nil {
		return err
	}
	return s.write(w, wirePolicySetOf(found, objectPolicySetVersion))
}

type wirePolicyCheck struct {
	Object   string          `json:"object"` // "policy_set.validation"
	Valid    bool            `json:"valid"`
	Policies []policy.Rule   `json:"policies"`
	Mistakes policy.Mistakes `json:"mistakes"`
}

func (s *server) validatePolicySet(w http.ResponseWriter, r *http.Request, p stead.Principal) error {
	req, err := read(w, r)
	if err != nil {
		return err
	}
	if err := req.Only("a validation", "name", "text", "mode"); err != nil {
		return err
	}
	text, err := param.Need(req.String("text"))("text")
	if err != nil {
		return err
	}
	name, mode := "set", policy.Enforce
	for field, into := range map[string]*string{"name": &name, "mode": &mode} {
		v, ok, err := req.String(field)
		if err != nil {
			return err
		}
		if ok {
			*into = v
		}
	}
	got, err := s.PolicySets.Validate(r.Context(), p, name, mode, text)
	if err != nil {
		return err
	}
	out := wirePolicyCheck{Object: "policy_set.validation", Valid: len(got.Mistakes) == 0, Policies: got.Policies, Mistakes: got.Mistakes}
	if out.Policies == nil {
		out.Policies = []policy.Rule{}
	}
	if out.Mistakes == nil {
		out.Mistakes = policy.Mistakes{}
	}
	return s.write(w, out)
}
