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
}

// NewState is the state of a session without events.
func NewState(key stead.SessionKey) *State { return &State{View: View{Key: key}} }

// Apply folds the next event; see View.Apply for its errors.
func (s *State) Apply(e stead.Event) error {
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
	return s.Context.apply(e, before, &s.View, items)
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
