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
	// Foreign is how many of the session's first events came with a file: what is copied of them alone is as little to be believed. 0: none.
	Foreign stead.Seq `json:"foreign,omitempty"`
}

// foreign is how many of a session's events came with a file.
func foreign(events []stead.Event) (stead.Seq, error) {
	c, err := Decode[Created](events[CreatedAt(events)])
	if err != nil || c.Origin == nil {
		return 0, err
	}
	if c.Origin.How == OriginImport { // also one from before imports counted it
		return max(c.Origin.Foreign, c.Origin.Events, c.Origin.Seq), nil
	}
	return c.Origin.Foreign, nil
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
	out.Events, out.By, out.Of, out.Foreign = 0, stead.Principal{}, nil, 0
	return &out
}
