package server

import (
	"bytes"
	"context"
	"encoding/base64"
	"encoding/json"
	"strings"

	"github.com/stead-dev/stead"
	"github.com/stead-dev/stead/internal/seal"
)

// What /v1/responses/compact returns is sealed, for its project: whoever has it on the way can't read it, and
// nobody can make one. The server keeps nothing of it. It opens on every node with the key, and as long as
// that is configured.

// Seals is what the door needs of seal.Keys.
type Seals interface {
	Seal(l seal.Label, plain []byte) []byte
	Open(l seal.Label, sealed []byte) ([]byte, error)
}

// compacted begins the content of a compaction of ours; behind it is base64 of what was sealed.
const compacted = "stead.compaction:"

// summaryIntroduction is what a model reads before a summary.
const summaryIntroduction = stead.NoticePrefix + "the conversation before this message was summed up as follows.\n\n"

func compactionLabel(p stead.Principal) seal.Label {
	return seal.Label{Project: p.Project, Kind: "compaction", ID: "summary"}
}

// summed is what a compaction of ours holds: text goes on being labelled as what it sums up.
type summed struct {
	Text   string       `json:"text"`
	Labels stead.Labels `json:"labels,omitempty"`
}

// sealedSummary is the content of a compaction.
func (s *server) sealedSummary(p stead.Principal, summary string, labels stead.Labels) string {
	return compacted + base64.RawURLEncoding.EncodeToString(s.Seals.Seal(compactionLabel(p), mustJSON(summed{summary, labels})))
}

// settled makes an input of what it names that this server alone can read: compactions of ours, and uploaded
// files. A call that is passed on is so as one that is translated: no upstream could read them.
func (s *server) settled(ctx context.Context, p stead.Principal, req request) (request, error) {
	req, err := s.opened(p, req)
	if err != nil {
		return req, err
	}
	return s.inlined(ctx, p, req)
}

// opened puts the summaries of our compactions in their places. Those of others are left: the upstream that made
// them reads them, and every reader here refuses them.
func (s *server) opened(p stead.Principal, req request) (request, error) {
	if s.Seals == nil {
		return req, nil
	}
	in, any := inliner{}, false
	for _, name := range []string{"input", "items"} {
		raw, ok := req.Raw(name)
		if !ok || !bytes.Contains(raw, []byte(compacted)) {
			continue
		}
		list, changed, err := in.list(name, raw, func(at string, o members) (bool, error) { return s.openItem(p, at, o, &req.labels) })
		if err != nil {
			return req, err
		}
		if changed {
			any, req.Object = true, req.With(name, list)
		}
	}
	if any {
		req.raw = req.JSON()
	}
	return req, nil
}

func (s *server) openItem(p stead.Principal, at string, o members, labels *stead.Labels) (bool, error) {
	text, ours := strings.CutPrefix(textOf(o["encrypted_content"]), compacted)
	if kind := textOf(o["type"]); !ours || kind != "compaction" && kind != "compaction_summary" {
		return false, nil
	}
	path := at + ".encrypted_content"
	sealed, err := base64.RawURLEncoding.DecodeString(text)
	if err != nil {
		return false, stead.Invalid(path, "%s is damaged: it must come back as it was given", path)
	}
	plain, err := s.Seals.Open(compactionLabel(p), sealed)
	switch stead.KindOf(err) {
	case "":
	case stead.KindUnavailable:
		e := stead.Invalid(path, "%s was sealed with a key that this server does not have", path)
		e.Hint = "Nodes that serve the same clients need the same seal_key; a key that was replaced stays configured behind the new one."
		return false, e
	default:
		return false, stead.Invalid(path, "%s is damaged, or was made for another project", path)
	}
	var summary summed
	if err := json.Unmarshal(plain, &summary); err != nil {
		return false, stead.Invalid(path, "%s was made by another version of this server", path)
	}
	*labels = labels.And(summary.Labels)
	clear(o)
	o["type"], o["role"] = mustJSON("message"), mustJSON(stead.RoleUser)
	o["content"] = mustJSON([]map[string]string{{"type": stead.ContentInputText, "text": summaryIntroduction + summary.Text}})
	return true, nil
}
