package session

import (
	"slices"

	"github.com/stead-dev/stead"
)

// Origin is where a session's first events were copied from.
type Origin struct {
	Session stead.SessionID `json:"session"`
	Seq     stead.Seq       `json:"seq"`              // last event copied
	How     string          `json:"how"`              // OriginFork or OriginImport
	By      stead.Principal `json:"by,omitzero"`      // who made the copy; zero: it was made before copies said so
	Events  stead.Seq       `json:"events,omitempty"` // how many events the copy begins with; 0: it was made before copies counted them
	// Of are those whom what was copied was made for, and who made copies on the way, as far as events of the copy do not say it: they stand
	// behind it too.
	Of []stead.Principal `json:"of,omitempty"`
}

// How a session was copied.
const (
	OriginFork   = "fork"
	OriginImport = "import"
)

// made are those who stand behind a session as it was made.
func (c *Created) made() []stead.Principal {
	out := []stead.Principal{c.Principal}
	if o := c.Origin; o != nil {
		for _, by := range append(slices.Clip(o.Of), o.By) {
			if by.ID != "" && !slices.Contains(out, by) && len(out) <= maxWrote {
				out = append(out, by)
			}
		}
	}
	return out
}

// shown is the origin as the wire has it: how much of it was copied is the meter's business, and by whom the journal's.
func (o *Origin) shown() *Origin {
	if o == nil {
		return nil
	}
	out := *o
	out.Events, out.By, out.Of = 0, stead.Principal{}, nil
	return &out
}
