package main

import (
	"net/url"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/stead-dev/stead"
)

// momentForms says how a time is written.
const momentForms = ": 2026-11-26, 2026-11-26T08:00:00Z or Unix seconds"

// moment reads the time of a flag, in Unix seconds. A day is that of UTC.
func moment(flag, s string) (int64, error) {
	if n, err := strconv.ParseInt(s, 10, 64); err == nil && n >= 0 && len(s) > len("2026") {
		return n, nil
	}
	for _, form := range []string{time.RFC3339, time.DateOnly} {
		if t, err := time.Parse(form, s); err == nil && t.Unix() >= 0 {
			return t.Unix(), nil
		}
	}
	return 0, stead.Invalid(flag, "--%s must be a time since 1970%s; not %.40q", flag, momentForms, s)
}

// scopeOf reads user:ID, agent:ID, team:ID or project.
func scopeOf(flag, s string) (map[string]string, error) {
	kind, id, _ := strings.Cut(s, ":")
	switch known := kind == "user" || kind == "agent" || kind == "team"; {
	case kind == "project" && id == "":
		return map[string]string{"type": kind}, nil
	case known && id != "":
		return map[string]string{"type": kind, "id": id}, nil
	}
	return nil, stead.Invalid(flag, "--%s must be user:ID, agent:ID, team:ID or project, not %.80q", flag, s)
}

// pairsOf reads KEY=VALUE flags; a single empty one is none.
func pairsOf(flag string, list []string) (map[string]string, error) {
	out := map[string]string{}
	for _, pair := range list {
		k, v, ok := strings.Cut(pair, "=")
		if pair == "" && len(list) == 1 {
			break
		}
		if !ok || k == "" {
			return nil, stead.Invalid(flag, "--%s must be KEY=VALUE, not %.80q", flag, pair)
		}
		out[k] = v
	}
	return out, nil
}

// memoryFilter are the flags that select memories.
type memoryFilter struct {
	scopes, kinds, labels, without, metadata []string
	user, session, writtenBy, since, until   string
}

func (f *memoryFilter) register(c *cobra.Command) {
	fs := c.Flags()
	fs.StringSliceVar(&f.scopes, "scope", nil, "only of this scope: user:ID, agent:ID, team:ID or project; of any of several")
	fs.StringVar(&f.user, "user", "", "only of this user: as --scope user:ID")
	fs.StringSliceVar(&f.kinds, "kind", nil, "only fact, preference, episode, procedure, passage or item; any of several")
	fs.StringSliceVar(&f.labels, "label", nil, "only with this label; all of several")
	fs.StringSliceVar(&f.without, "without-label", nil, "none with this label, such as untrusted; any of several")
	fs.StringArrayVar(&f.metadata, "metadata", nil, "only with this KEY=VALUE in its metadata; all of several")
	fs.StringVar(&f.session, "session", "", "only of this session")
	fs.StringVar(&f.writtenBy, "written-by", "", "only what the principal of this id (ada, or user:ada, service:ci) wrote last, or is named the author of")
	fs.StringVar(&f.since, "since", "", "only what was said or happened since"+momentForms)
	fs.StringVar(&f.until, "until", "", "only what was said or happened before")
}

// body are the filters as the wire's requests have them.
func (f *memoryFilter) body() (map[string]any, error) {
	out := map[string]any{}
	var scopes []map[string]string
	for _, s := range f.scopes {
		scope, err := scopeOf("scope", s)
		if err != nil {
			return nil, err
		}
		scopes = append(scopes, scope)
	}
	if f.user != "" {
		if err := idAlone(f.user); err != nil {
			return nil, err
		}
		scopes = append(scopes, map[string]string{"type": "user", "id": f.user})
	}
	if len(scopes) > 0 {
		out["scopes"] = scopes
	}
	for name, list := range map[string][]string{"kinds": f.kinds, "labels": f.labels, "without_labels": f.without} {
		if len(list) > 0 {
			out[name] = list
		}
	}
	for name, v := range map[string]string{"session_id": f.session, "written_by": f.writtenBy} {
		if v != "" {
			out[name] = v
		}
	}
	if len(f.metadata) > 0 {
		pairs, err := pairsOf("metadata", f.metadata)
		if err != nil {
			return nil, err
		}
		out["metadata"] = pairs
	}
	for _, t := range []struct{ wire, flag, value string }{{"from", "since", f.since}, {"until", "until", f.until}} {
		if t.value == "" {
			continue
		}
		at, err := moment(t.flag, t.value)
		if err != nil {
			return nil, err
		}
		out[t.wire] = at
	}
	return out, nil
}

// idAlone refuses a user written as principals are shown (user:ada): nobody has that id, so that nothing would be found, or erased, and it
// would look as if all of it were.
func idAlone(user string) error {
	kind, id, ok := strings.Cut(user, ":")
	if of := stead.PrincipalKind(kind); !ok || of != stead.PrincipalUser && of != stead.PrincipalService {
		return nil
	}
	e := stead.Invalid("user", "--user is the id alone, without its kind: %s, not %s", id, user)
	e.Hint = "Whose id begins so is named through the API."
	return e
}

// query are the filters as a list has them in its URL.
func (f *memoryFilter) query(asOf string) (url.Values, error) {
	q := url.Values{"kind": f.kinds, "label": f.labels, "without_label": f.without}
	body, err := f.body()
	if err != nil {
		return nil, err
	}
	q["scope"] = f.scopes
	if f.user != "" {
		q.Add("scope", "user:"+f.user)
	}
	for name, v := range body {
		switch v := v.(type) {
		case string:
			q.Set(name, v)
		case int64:
			q.Set(name, strconv.FormatInt(v, 10))
		case map[string]string:
			for key, value := range v {
				q.Set(name+"["+key+"]", value)
			}
		}
	}
	if asOf != "" {
		at, err := moment("as-of", asOf)
		if err != nil {
			return nil, err
		}
		q.Set("as_of", strconv.FormatInt(at, 10))
	}
	return q, nil
}

// memoryFields are the flags of what stands in a memory.
type memoryFields struct {
	kind, caption, user, scope, from, until, author, at, session, item string
	confidence, importance                                             float64
	labels, metadata                                                   []string
}

func (f *memoryFields) register(c *cobra.Command) {
	fs := c.Flags()
	fs.StringVar(&f.kind, "kind", "fact", "fact, preference, episode, procedure, passage or item")
	fs.StringVar(&f.caption, "caption", "", "what a picture or a file shows that belongs to it")
	fs.StringVar(&f.scope, "scope", "", "whom it is about, or for: user:ID, agent:ID, team:ID or project")
	fs.StringVar(&f.user, "user", "", "the user whom it is about: as --scope user:ID")
	fs.StringSliceVar(&f.labels, "label", nil, "label; may be given several times")
	fs.StringArrayVar(&f.metadata, "metadata", nil, "KEY=VALUE; may be given several times")
	fs.StringVar(&f.from, "valid-from", "", "since when it is true"+momentForms)
	fs.StringVar(&f.until, "valid-until", "", "until when it is true")
	fs.Float64Var(&f.confidence, "confidence", 1, "how sure it is, from 0 to 1")
	fs.Float64Var(&f.importance, "importance", 0.5, "how much it weighs in searches, from 0 to 1")
	fs.StringVar(&f.author, "author", "", "who said it")
	fs.StringVar(&f.at, "at", "", "when it was said, or happened")
	fs.StringVar(&f.session, "session", "", "the session that it comes from")
	fs.StringVar(&f.item, "item", "", "the item of that session")
}

// body are the fields that were given, as the wire's requests have them: an empty label, metadata, or time takes away what there is.
func (f *memoryFields) body(c *cobra.Command) (map[string]any, error) {
	out := map[string]any{}
	for name, v := range map[string]any{"kind": f.kind, "caption": f.caption, "confidence": f.confidence, "importance": f.importance, "labels": f.labels} {
		if c.Flags().Changed(strings.TrimSuffix(name, "s")) {
			out[name] = v
		}
	}
	if f.user != "" && f.scope != "" {
		return nil, stead.Invalid("user", "say either --user or --scope")
	}
	if f.user != "" {
		if err := idAlone(f.user); err != nil {
			return nil, err
		}
		f.scope = "user:" + f.user
	}
	var err error
	if f.scope != "" {
		if out["scope"], err = scopeOf("scope", f.scope); err != nil {
			return nil, err
		}
	}
	if c.Flags().Changed("metadata") {
		if out["metadata"], err = pairsOf("metadata", f.metadata); err != nil {
			return nil, err
		}
	}
	for _, t := range []struct{ wire, flag, value string }{{"valid_from", "valid-from", f.from}, {"valid_until", "valid-until", f.until}} {
		if !c.Flags().Changed(t.flag) {
			continue
		}
		if out[t.wire] = nil; t.value != "" {
			if out[t.wire], err = moment(t.flag, t.value); err != nil {
				return nil, err
			}
		}
	}
	source := map[string]any{}
	for name, v := range map[string]string{"author": f.author, "session_id": f.session, "item_id": f.item} {
		if v != "" {
			source[name] = v
		}
	}
	if f.at != "" {
		if source["at"], err = moment("at", f.at); err != nil {
			return nil, err
		}
	}
	if len(source) > 0 {
		out["source"] = source
	}
	return out, nil
}
