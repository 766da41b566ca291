package session

import (
	"slices"
	"strings"

	"github.com/stead-dev/stead"
	"github.com/stead-dev/stead/internal/environment"
)

// PublishedArtifact is an artifact with its place in the journal.
type PublishedArtifact struct {
	environment.Published
	Seq   stead.Seq `json:"seq"`
	Index int       `json:"index"`
	At    int64     `json:"at"` // Unix milliseconds
	Turn  stead.Seq `json:"turn"`
}

func (v *View) artifactDeleted(_ stead.Event, p ArtifactInput) {
	seq, index, ok := p.place()
	e := v.Environment
	at := slices.IndexFunc(e.Artifacts, func(a PublishedArtifact) bool { return ok && a.Seq == seq && a.Index == index })
	if at < 0 {
		return
	}
	gone := e.Artifacts[at]
	e.Artifacts = slices.Delete(slices.Clone(e.Artifacts), at, at+1)
	newer := func(a PublishedArtifact) bool { return a.Path == gone.Path && a.behind(gone) }
	if slices.ContainsFunc(e.Artifacts, newer) || slices.ContainsFunc(e.Withdrawn, newer) {
		return
	}
	gone.Parts = nil // they are deleted; what is remembered is the digest
	e.Withdrawn = append(slices.DeleteFunc(slices.Clone(e.Withdrawn), func(a PublishedArtifact) bool { return a.Path == gone.Path }), gone)
	e.Withdrawn = e.Withdrawn[max(0, len(e.Withdrawn)-MaxArtifacts):]
}

// behind reports whether an artifact was published later than another one.
func (a PublishedArtifact) behind(b PublishedArtifact) bool {
	return a.Seq > b.Seq || a.Seq == b.Seq && a.Index > b.Index
}

// Known is what the file of each path held when it was published last, or found too large: what holds the same
// becomes no artifact again.
func (e *EnvironmentView) Known() map[string]string {
	known := make(map[string]string, len(e.Artifacts))
	for _, a := range slices.Concat(e.Artifacts, e.Withdrawn) {
		known[a.Path] = a.Digest
	}
	for _, l := range e.TooLarge {
		known[l.Path] = l.Mark()
	}
	return known
}

// place is where the artifact that was deleted stands in the journal. In a copy the id is still the one
// that it had in the source, under another session.
func (p ArtifactInput) place() (seq stead.Seq, index int, ok bool) {
	_, rest, _ := strings.Cut(p.ID, "_")
	tail, _, _ := strings.Cut(rest, "_")
	_, seq, index, ok = stead.ParseDerivedID(stead.SessionID(stead.SessionPrefix+tail), p.ID)
	return seq, index, ok && index >= 0
}
