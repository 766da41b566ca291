package session

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"slices"

	"github.com/stead-dev/stead"
	"github.com/stead-dev/stead/internal/environment"
	"github.com/stead-dev/stead/internal/policy"
)

// Where policies want an approval of what is stored (environment.save), the workspace is stored apart, and its environment ends: nothing runs while
// people think, and no node need live.
//
//	environment.called suspend, apart ─▶ environment.suspended, apart    its blobs are on stable storage, and the session's checkpoint is the one before
//	effect.held                                                          what would be stored is asked about, once it is to be: at a turn's end, or beside turns
//	  approved          ─▶ environment.called save, keep; environment.checkpointed, in one append: it needs no environment, and reads no file again
//	  denied, or lapsed ─▶ it is forgotten
//	a command that may change files, a file that is given ─▶ the question is over: it is stored apart and asked about anew
//
// What is apart is no checkpoint of the session: copies and exports are without it, and what is in outputs is no artifact. The agent's own environment is opened with
// it while it is asked about, wherever that is, and whoever may read that environment can look at the files, to know what to answer.

// Apart is a workspace that is stored apart.
type Apart struct {
	EnvironmentSuspended
	Seq     stead.Seq `json:"seq"`               // of the event that says so
	At      int64     `json:"at"`                // its time, in Unix milliseconds
	Publish bool      `json:"publish,omitempty"` // its outputs are among it
	// Stale: the workspace may be another one by now.
	Stale bool `json:"stale,omitempty"`
}

// lostDeclined is EnvironmentView.Lost of an environment that ended, whose files nobody stores.
const lostDeclined = "it was stored apart until somebody approved that its files are kept, and that was not approved"

// MaxShownArtifacts is how many outputs a question names.
const MaxShownArtifacts = 100

// storedApart: the residence has ended, and its workspace waits for an approval, unless that was denied already.
func (v *View) storedApart(ev stead.Event, p EnvironmentSuspended, publishes bool) {
	e := v.Environment
	if was := e.Checkpoint; was != nil && was.Digest == p.Checkpoint.Digest && len(p.Artifacts)+len(p.TooLarge) == 0 { // there is nothing to ask about
		v.checkpoint(ev, p.Checkpoint, p.Upto, p.Call)
		if publishes {
			e.Unpublished, e.Cancelled = false, 0
		}
		return
	}
	if e.Touched == 0 { // by what was given, or ran in the background
		e.Touched = p.Call
	}
	e.given(e.dropUploads(p.Upto), p.Refused)
	e.Asked, e.Reopened, e.Unsaved = 0, 0, false
	if e.Wanted < p.Call {
		e.Wanted = 0
	}
	if e.Declined {
		e.Lost, e.Unsaved, e.Orphans = lostDeclined, true, true
		return
	}
	e.Orphans = e.Apart != nil
	e.Apart = &Apart{EnvironmentSuspended: p, Seq: ev.Seq, At: ev.At, Publish: publishes}
	if w := v.savingWait(); w != nil && string(w.Shown) != string(v.ApartShown()) {
		v.dropEnvironmental(ActionSave)
	}
}

// aside: all that the workspace holds is stored apart.
func (e *EnvironmentView) aside() bool { return e.Apart != nil && !e.Apart.Stale }

// savingWait is the question about what is stored apart; nil: there is none.
func (v *View) savingWait() *EffectWait {
	for _, w := range v.Effects {
		if w.Effect == policy.EnvironmentSave {
			return w
		}
	}
	return nil
}

// keeps: what is stored apart becomes the session's as soon as it is approved, and is asked about beside turns, where it came about beside one. At the end of a
// turn that is asked by keepFirst.
func (s *State) keeps() bool {
	e := s.Environment
	if s.Failed != nil || !e.aside() || e.Unsaved || e.Expiring {
		return false
	}
	w := s.savingWait()
	return w != nil && w.Passed || w == nil && s.Turn == nil
}

func (e *EnvironmentView) keep() EnvironmentAction {
	return EnvironmentAction{Action: ActionSave, Attempt: e.Attempts + 1, Keep: true, Publish: e.Apart.Publish}
}

// keepFirst has what a turn made kept before it ends: it waits for whoever is asked. What was asked about beside turns, and the turn changed nothing of, is no matter
// of the turn.
func (s *State) keepFirst(end EndTurn) []Command {
	e := s.Environment
	if e.Action != "" {
		return nil // its outcome comes
	}
	switch w := s.savingWait(); {
	case w == nil, !w.Open():
		return []Command{e.keep()}
	case w.Turn == s.Turn.Seq:
		return s.untilExpiry()
	}
	return []Command{end}
}

// overtaken: the workspace may be another one than what was asked about, or denied.
func (v *View) overtaken() {
	e := v.Environment
	e.Declined = false
	if !e.aside() {
		return
	}
	a := *e.Apart
	a.Stale, e.Apart = true, &a
	v.dropEnvironmental(ActionSave)
}

// restoredApart: the environment was opened with what is stored apart, since what it was later is gone.
func (e *EnvironmentView) restoredApart() {
	a := *e.Apart
	a.Stale, e.Apart = false, &a
	e.Touched, e.Commands, e.Unstored, e.Background = a.Call, nil, nil, nil
}

// dropApart forgets what is stored apart. Its blobs are swept with the next action that sweeps.
func (v *View) dropApart() {
	e := v.Environment
	if e.Apart == nil {
		return
	}
	e.Apart, e.Orphans = nil, true
	v.dropEnvironmental(ActionSave)
}

// declined: what is stored apart does not become the session's. The workspace stays where it is, on its node.
func (v *View) declined(ev stead.Event, why string) {
	e := v.Environment
	v.dropApart()
	e.stays()
	e.Unstored = nil // whatever was said before
	v.notStored(ev, EnvironmentError{Code: codeSandbox, Type: "invalid_request_error", Message: why})
	e.Unstored.Declined = true
}

// stays: what the workspace holds is where it is, and nowhere else.
func (e *EnvironmentView) stays() {
	if e.Declined = true; e.Status != EnvironmentConnectedNow && e.Lost == "" {
		e.Lost = lostDeclined
	}
}

// Opens is the digest of what the environment is opened with, or read from, where its workspace is not.
func (e *EnvironmentView) Opens() string {
	switch {
	case e.Apart != nil:
		return e.Apart.Checkpoint.Digest
	case e.Checkpoint != nil:
		return e.Checkpoint.Digest
	}
	return ""
}

// shownSave is what whoever answers is shown of a workspace that is to be stored. The checkpoint's digest is that of a list of all its files, with their digests.
type shownSave struct {
	Environment string               `json:"environment"`
	Agent       string               `json:"agent"`
	Checkpoint  string               `json:"checkpoint"`
	Files       int                  `json:"files"`
	Bytes       int64                `json:"bytes"`
	Changes     *environment.Changes `json:"changes,omitempty"` // since the checkpoint before
	Artifacts   []shownArtifact      `json:"artifacts,omitempty"`
	// Of more than MaxShownArtifacts, how many there are, and a SHA-256 of all.
	Published int    `json:"artifacts_total,omitempty"`
	Sum       string `json:"artifacts_sha256,omitempty"`
}

type shownArtifact struct {
	Path   string `json:"path"`
	Size   int64  `json:"size"` // bytes
	SHA256 string `json:"sha256"`
}

// ApartShown is what is shown of what is stored apart; nil: nothing is.
func (v *View) ApartShown() json.RawMessage {
	a := v.Environment.Apart
	if a == nil {
		return nil
	}
	out := shownSave{Environment: EnvironmentID(v.Key.Session), Agent: string(v.Created.Agent.ID), Checkpoint: a.Checkpoint.Digest, Files: a.Checkpoint.Files, Bytes: a.Checkpoint.Bytes, Changes: a.Changes}
	for _, p := range a.Artifacts {
		out.Artifacts = append(out.Artifacts, shownArtifact{p.Path, p.Size, p.Digest})
	}
	if n := len(out.Artifacts); n > MaxShownArtifacts {
		sum := sha256.Sum256(mustJSON(out.Artifacts))
		out.Artifacts, out.Published, out.Sum = out.Artifacts[:MaxShownArtifacts], n, hex.EncodeToString(sum[:])
	}
	return mustJSON(out)
}

// apart reports whether an event stores a workspace apart: its blobs are no session's yet.
func apart(e stead.Event) bool {
	if e.Kind != KindEnvironmentSuspended {
		return false
	}
	p, err := Decode[EnvironmentSuspended](e)
	return err == nil && p.Apart
}

// StoredApart are the digests of the blobs that a session's journal names for what is stored apart still.
func StoredApart(key stead.SessionKey, events []stead.Event) ([]string, error) {
	if !slices.ContainsFunc(events, apart) {
		return nil, nil
	}
	v := NewView(key)
	for _, e := range events {
		if err := v.Apply(e); err != nil {
			return nil, err
		}
	}
	if v.Environment == nil || v.Environment.Apart == nil || v.Environment.Gone() {
		return nil, nil
	}
	a, out := v.Environment.Apart, []string(nil)
	for _, b := range a.Blobs {
		out = append(out, b.Digest)
	}
	for _, p := range a.Artifacts {
		for _, part := range p.Parts {
			out = append(out, part.Digest)
		}
	}
	return out, nil
}
