package session

import "github.com/stead-dev/stead"

// requested begins a call that code asks for. Without a running turn there is nobody whose rights it
// could have: then nothing begins, and the code is told.
func (v *View) requested(e stead.Event, p ToolRequested) {
	t := v.Turn
	if t == nil || t.Cancelling {
		return
	}
	v.heard(SourceEnvironment) // whose code it is nobody knows, and no output of its command was shown yet
	c := newCall(e, e.Seq, 0, t.Outputs, ReplyItem{
		Item: stead.Item{Type: p.Type, CallID: p.CallID, Name: p.Name, Arguments: p.Arguments}, Tool: &p.Tool,
	})
	c.Code = true
	v.asks(c)
	t.Calls = append(t.Calls, c)
	t.Outputs++
}

// codeWaits: a command waits for a call that somebody must answer.
func (v *View) codeWaits() bool {
	t := v.Turn
	for _, c := range t.Calls {
		if c.Code && (c.State == CallReady && (t.Budget != nil || v.awaitsEffect(c)) || c.State == CallWaiting || c.State == CallApproval || c.State == CallUnknown) {
			return true
		}
	}
	return false
}

// CodeDone returns how a call that code asked for has ended; done is false while it has not.
func (v *View) CodeDone(callID string) (output []stead.Content, failure string, done bool) {
	c := v.CallByID(callID)
	switch {
	case c == nil:
		return nil, "The turn has ended.", true
	case c.State != CallDone:
		return nil, "", false
	}
	output, failure = c.told()
	return output, failure, true
}

// CodeAsks are the calls that code asked for and that were not made yet.
func (v *View) CodeAsks() (callIDs []string) {
	if v.Turn == nil {
		return nil
	}
	for _, c := range v.Turn.Calls {
		if c.Code && c.asks() {
			callIDs = append(callIDs, c.CallID)
		}
	}
	return callIDs
}
