package model

import "encoding/json"

// Effects reports whether the call may do something at its provider that must not be done twice: it
// stores the answer there, goes on in the background, continues what is stored, or has the provider run
// tools (Runs). What can't be read counts as such. A Request has no effects: adapters store nothing upstream,
// and its tools are all run by others than the provider.
//
// Source: npm openai 7.57.0, resources/chat/completions (store) and resources/responses (store, background,
// previous_response_id, conversation).
func (f *Forward) Effects() bool {
	if f.Dialect == DialectEmbeddings {
		return false
	}
	if f.Runs {
		return true
	}
	var b struct {
		Store      *bool           `json:"store"`
		Background *bool           `json:"background"`
		Previous   json.RawMessage `json:"previous_response_id"`
		Thread     json.RawMessage `json:"conversation"`
	}
	if json.Unmarshal(f.Body, &b) != nil {
		return true
	}
	stored := b.Store != nil && *b.Store || b.Store == nil && f.Dialect == DialectResponses // there it is the default
	return stored || b.Background != nil && *b.Background || said(b.Previous) || said(b.Thread)
}

func said(raw json.RawMessage) bool { return len(raw) > 0 && string(raw) != "null" }
