package session

import (
	"encoding/json"
	"fmt"

	"github.com/stead-dev/stead"
)

// State is everything that the holder of a session's lease needs: what decides and what the model
// sees. It is a pure fold of the journal.
type State struct {
	View
	Context Context `json:"context"`
	// Contexts are those of the subagents, by the event that made each.
	Contexts map[stead.Seq]*Context `json:"contexts,omitempty"`
}

// NewState is the state of a session without events.
func NewState(key stead.SessionKey) *State { return &State{View: View{Key: key}} }

// Apply folds the next event; see View.Apply for its errors.
func (s *State) Apply(e stead.Event) error {
	if s.focus == e.Thread {
		return s.apply(e)
	}
	if s.Subagent(e.Thread) == nil && e.Thread != 0 {
		return s.View.Apply(e)
	}
	return s.On(e.Thread, func() error { return s.apply(e) })
}

// apply folds the next event on its thread.
func (s *State) apply(e stead.Event) error {
	var items []stead.Item
	if e.Kind == KindModelReplied {
		p, err := Decode[ModelReplied](e)
		if err != nil {
			return err
		}
		// A reply to a call that was given up is no part of the conversation.
		if s.Turn == nil || s.Turn.Model == nil || s.Turn.Model.Seq != p.Call {
			return s.View.Apply(e)
		}
		items = s.whole(p)
	}
	before := s.Turn
	if err := s.View.Apply(e); err != nil {
		return err
	}
	if err := s.Context.apply(e, before, &s.View, items); err != nil {
		return err
	}
	s.open(e)
	if e.Thread != 0 || !sessionWide(e.Kind) {
		return nil
	}
	return s.elsewhere(e)
}

// Bytes estimates the size of what all agents of the session have said and heard.
func (s *State) Bytes() int {
	n := s.Context.Bytes()
	for _, c := range s.Contexts {
		n += c.Bytes()
	}
	return n
}

// open begins the context of a subagent that was just made.
func (s *State) open(e stead.Event) {
	if e.Kind == KindSubagentCreated && s.Subagent(e.Seq) != nil {
		if s.Contexts == nil {
			s.Contexts = map[stead.Seq]*Context{}
		}
		s.Contexts[e.Seq] = &Context{}
	}
}

// elsewhere has the contexts of subagents follow what happened to the session.
func (s *State) elsewhere(e stead.Event) error {
	for _, sub := range s.Subagents {
		before := sub.Turn
		err := s.On(sub.ID, func() error { return s.Context.shared(e, before, &s.View) })
		if err != nil {
			return err
		}
	}
	return nil
}

// snapshotFormat changes whenever the shape or the meaning of State does: older snapshots are then
// ignored, and the journal is folded again.
const snapshotFormat = 11

type snapshot struct {
	Format int    `json:"format"`
	State  *State `json:"state"`
}

// Snapshot encodes the state.
func (s *State) Snapshot() ([]byte, error) {
	return json.Marshal(snapshot{Format: snapshotFormat, State: s})
}

// LoadState decodes a snapshot. Any error means that it must be ignored.
func LoadState(key stead.SessionKey, data []byte) (*State, error) {
	var snap snapshot
	if err := json.Unmarshal(data, &snap); err != nil {
		return nil, err
	}
	if snap.Format != snapshotFormat || snap.State == nil || snap.State.Key != key {
		return nil, fmt.Errorf("the snapshot is of format %d or of another session than %s", snap.Format, key.Session)
	}
	return snap.State, nil
}
