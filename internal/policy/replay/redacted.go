package replay

import (
	"encoding/json"

	"github.com/stead-dev/stead"
	"github.com/stead-dev/stead/internal/session"
)

// noArguments is why a call is not asked about: policies would decide about arguments that it never had.
const noArguments = "what calls were made with was redacted"

// lookForRedactions notes which events were written anew. They stand before those that say so.
func (r *reader) lookForRedactions() error {
	for _, e := range r.events {
		if e.Kind != session.KindItemRedacted {
			continue
		}
		p, err := session.Decode[session.ItemRedacted](e)
		if err != nil {
			return err
		}
		if r.anew == nil {
			r.anew, r.blank = map[stead.Seq]bool{}, map[string]bool{}
		}
		for _, of := range p.Events {
			r.anew[of.Seq] = true
		}
	}
	return nil
}

// redactions notes the calls that an event asks for without their arguments. Ids come again, so that one which has them is another.
func (r *reader) redactions(items ...session.ReplyItem) {
	if r.anew == nil {
		return
	}
	for _, it := range items {
		if it.CallID != "" {
			r.blank[it.CallID] = r.anew[r.events[r.at].Seq] && session.RedactedJSON(it.Arguments)
		}
	}
}

// redacted reports whether a call is asked about, or was made, with arguments that are not known any more.
func (r *reader) redacted(id string, arguments json.RawMessage) bool {
	return r.blank[id] && session.RedactedJSON(arguments)
}
