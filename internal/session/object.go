package session

import (
	"cmp"
	"encoding/json"
	"maps"
	"slices"

	"github.com/stead-dev/stead"
	"github.com/stead-dev/stead/internal/agent"
	"github.com/stead-dev/stead/internal/citation"
	"github.com/stead-dev/stead/internal/policy"
)

// Texts loads a text that may live in a blob. It never fails: what can't be loaded reads as a
// sentence that says so.
type Texts func(stead.Text) string

// Session makes the wire's session object of the view.
func (v *View) Session() Session {
	c := v.Created
	s := Session{
		ID: v.Key.Session, Object: "agent.session",
		Agent:           wireAgent(c.Agent),
		CreatedAt:       v.CreatedAt / 1000,
		Environment:     v.environmentObject(),
		LastActiveAt:    v.LastActive / 1000,
		Metadata:        maps.Clone(c.Metadata),
		RequiredActions: v.RequiredActions(),
		Status:          v.Status(),
		VaultIDs:        append([]string{}, c.VaultIDs...),
		Paused:          v.Paused,
		ForkedFrom:      c.Origin.shown(),
		Conversation:    c.Conversation,
		Owner:           c.Principal,
	}
	if s.Metadata == nil {
		s.Metadata = map[string]string{}
	}
	if v.Usage.Total() > 0 {
		s.Usage = wireUsage(v.Usage)
	}
	if v.Failed != nil {
		s.Error = &v.Failed.Message
	}
	if c.CacheTTL != "" {
		s.CacheOptions = &CacheOptions{c.CacheTTL}
	}
	if c.Review != "none" {
		s.Review = c.Review
	}
	if c.SpendLimitCents != nil {
		used := v.Cost / MicroCentsPerCent
		s.SpendControl = &SpendControl{Consumed: &used, Limit: *c.SpendLimitCents}
	}
	return s
}

func wireAgent(pin AgentPin) SessionAgent {
	spec := pin.Spec
	tools := make([]agent.WireTool, len(spec.Tools))
	for i, t := range spec.Tools {
		tools[i] = agent.WireTool{Tool: t}
	}
	return SessionAgent{
		ID: pin.ID, Version: pin.Version, Instructions: spec.Instructions, Model: spec.Model,
		MultiAgent: spec.MultiAgent, Name: spec.Name, Reasoning: spec.Reasoning,
		ServiceTier: spec.ServiceTier, Text: spec.Text, Tools: tools,
		Compaction: spec.Compaction, Experimental: spec.Experimental, MaxSteps: spec.MaxSteps,
	}
}

// RequiredActions lists what somebody must do, in the order of the calls. Never nil.
func (v *View) RequiredActions() []RequiredAction {
	out := []RequiredAction{}
	v.each(func(u *View) bool {
		out = u.requiredActions(out)
		return true
	})
	return out
}

// requiredActions appends those of a thread.
func (v *View) requiredActions(out []RequiredAction) []RequiredAction {
	if v.Turn == nil {
		return append(out, v.effectActions()...)
	}
	turn := TurnID(v.Key.Session, v.Turn.Seq)
	if v.awaitsServers() || slices.ContainsFunc(v.Turn.Calls, v.unconnected) {
		out = append(out, RequiredAction{Type: ActionEnvironmentConnection, EnvironmentID: EnvironmentID(v.Key.Session)})
	}
	if v.Turn.Budget != nil {
		out = append(out, v.budgetAction())
	}
	out = append(out, v.effectActions()...)
	for _, w := range v.Turn.Consents {
		out = append(out, v.consentAction(w))
	}
	for _, c := range v.Turn.Calls {
		switch c.State {
		case CallWaiting:
			if v.Turn.handsBack(c) {
				continue
			}
			out = append(out, RequiredAction{Type: ActionFunctionCall, TurnID: turn, CallID: c.CallID, Name: c.Name, Arguments: c.Args()})
		case CallApproval:
			if !v.Turn.asks(c) {
				out = append(out, v.approvalAction(c, turn))
			}
		case CallUnknown:
			a := v.personAction(c, turn, ActionOutcomeUnknown, "T"+c.title()[1:]+" was cut off: it may or may not have taken effect. Say whether it happened.")
			a.CallID, a.Request.Key = c.CallID, c.Key(v.Key.Session)
			out = append(out, a)
		}
	}
	return out
}

func (v *View) personAction(c *Call, turn, kind, message string) RequiredAction {
	name, server := c.Tool.Name, c.Tool.Server
	switch {
	case c.Tool.Subagent != nil:
		name, server = string(c.Tool.Subagent.Action), serverSubagents
	case c.Function():
		name, server = c.Name, policy.FunctionServer
	case server == "":
		server = agent.ToolEnvironment
	}
	return RequiredAction{
		Type: kind, TurnID: turn, RequestID: c.RequestID(v.Key.Session),
		Request: &ActionRequest{Type: "mcp_tool_call", Arguments: c.Args(), Message: message, Name: &name, ServerLabel: server},
	}
}

// turnObject makes the wire's turn of a turn view, in a status.
func (v *View) turnObject(t *TurnView, status string, endedAt int64, failure *TurnError) Turn {
	out := Turn{
		ID: TurnID(v.Key.Session, t.Seq), Object: "agent.session.turn", AgentID: stead.AgentID(v.AgentOf(v.focus)),
		CreatedAt: t.CreatedAt / 1000, SessionID: v.Key.Session, Status: status, Error: failure,
	}
	if t.StartedAt > 0 {
		out.StartedAt = seconds(t.StartedAt)
	}
	if endedAt > 0 {
		out.CompletedAt = seconds(endedAt)
	}
	if t.Replied {
		out.Usage = wireUsage(t.Usage)
	}
	if v.focus != 0 {
		id := v.AgentOf(v.focus)
		out.SubagentID = &id
	}
	if v.Created.CacheTTL != "" {
		out.CacheOptions = &CacheOptions{v.Created.CacheTTL}
	}
	return out
}

func seconds(ms int64) *int64 {
	s := ms / 1000
	return &s
}

// CurrentTurn is the wire's object of the running turn; false when there is none.
func (v *View) CurrentTurn() (Turn, bool) {
	if v.Turn == nil {
		return Turn{}, false
	}
	status := TurnInProgress
	switch {
	case v.Turn.StartedAt == 0:
		status = TurnQueued
	case v.blocked():
		status = TurnWaiting
	}
	return v.turnObject(v.Turn, status, 0, nil), true
}

// messagePrefix begins the ids of messages.
const messagePrefix = "msg"

// ids of items, by what made them.
func messageID(s stead.SessionID, seq stead.Seq, i int) string {
	return stead.DerivedID(messagePrefix, s, seq, i)
}
func reasoningID(s stead.SessionID, seq stead.Seq, i int) string {
	return stead.DerivedID("rs", s, seq, i)
}

// callPrefix begins the ids of calls of tool servers. One that the application allowed is named by the input
// with its answer, others by the model's call.
const callPrefix = "mcp"

func callItemID(s stead.SessionID, c *Call) string {
	switch c.Type {
	case stead.ItemMCPCall:
		return stead.DerivedID(callPrefix, s, c.Seq, c.Index)
	case stead.ItemCommandExecution:
		return stead.DerivedID(commandPrefix, s, c.Seq, c.Index)
	}
	if c.Type.IsSubagentCall() {
		return stead.DerivedID(subagentCallPrefix, s, c.Seq, c.Index)
	}
	return stead.DerivedID(functionPrefix, s, c.Seq, c.Index)
}

func userMessage(s stead.SessionID, turn string, seq stead.Seq, i int, m InputMessage, texts Texts) *MessageItem {
	return &MessageItem{
		ID: messageID(s, seq, i), Type: "message", Role: stead.RoleUser, Status: stead.ItemCompleted,
		TurnID: turn, Content: wireContent(m.Content, texts),
	}
}

func wireContent(content []stead.Content, texts Texts) []WireContent {
	out := make([]WireContent, len(content))
	for i, c := range content {
		s := texts(c.Text)
		out[i] = WireContent{Type: c.Type}
		switch c.Type {
		case stead.ContentInputImage:
			out[i].ImageURL, out[i].Detail = &s, c.Detail
		case stead.ContentInputFile:
			out[i].FileURL, out[i].Filename = &s, c.Name
		case stead.ContentRefusal:
			out[i].Refusal = &s
		default:
			out[i].Text, out[i].Annotations = &s, citation.Annotations(c.Cites)
		}
	}
	return out
}

func outputMessage(id, turn string, said WireContent, phase string, status stead.ItemStatus) *MessageItem {
	m := &MessageItem{
		ID: id, Type: "message", Role: stead.RoleAssistant, Status: status, TurnID: turn,
		Content: []WireContent{said},
	}
	if phase != "" {
		m.Phase = &phase
	}
	return m
}

func reasoningItem(id, turn string, parts []string, status stead.ItemStatus) *ReasoningItem {
	r := &ReasoningItem{ID: id, Type: "reasoning", Status: &status, TurnID: turn, Summary: []SummaryText{}}
	for _, p := range parts {
		r.Summary = append(r.Summary, SummaryText{"summary_text", p})
	}
	return r
}

// made is an item that holds what its provider encrypted, loaded when it is asked for: it may live in a blob, and few ask.
// nil: it holds nothing.
func made(it stead.Item, texts Texts) func() stead.Item {
	if it.Encrypted == nil {
		return nil
	}
	return func() stead.Item {
		loaded := stead.NewText(texts(*it.Encrypted))
		return stead.Item{Type: stead.ItemReasoning, Provider: it.Provider, Encrypted: &loaded}
	}
}

// callItemOf makes the item of a call in its present state.
func callItemOf(s stead.SessionID, turn string, c *Call, texts Texts) Item {
	if c.Type == stead.ItemFunctionCall {
		return &FunctionCallItem{
			ID: callItemID(s, c), Type: "function_call", Arguments: c.Args(), CallID: c.CallID,
			Name: c.Name, Status: c.Status, TurnID: turn,
		}
	}
	if c.Type == stead.ItemCommandExecution {
		return commandItem(s, turn, c, texts)
	}
	if c.Type.IsSubagentCall() {
		return subagentCallItem(s, turn, c)
	}
	item := &MCPCallItem{
		ID: callItemID(s, c), Type: "mcp_call", Arguments: c.Args(), Name: cmp.Or(c.Tool.Name, c.Name),
		ServerLabel: c.Tool.Server, Status: c.Status, TurnID: turn,
		Error: null, Output: null,
	}
	item.RequestID = c.Request
	if c.Error != "" {
		item.Error = mustJSON(map[string]string{"message": c.Error})
	}
	if len(c.Output) > 0 {
		item.Output = mustJSON(map[string]any{"content": wireContent(c.Output, texts)})
	}
	return item
}

// questionItem asks the application whether a call may be made.
func questionItem(s stead.SessionID, turn string, c *Call) Item {
	return &ApprovalRequestItem{
		ID: c.QuestionID(s), Type: "mcp_approval_request", Arguments: c.Args(), Name: cmp.Or(c.Tool.Name, c.Name),
		ServerLabel: c.Tool.Server, TurnID: turn,
	}
}

// outputItem is the function_call_output of a finished function call.
func outputItem(id, turn string, c *Call, texts Texts) *FunctionOutputItem {
	item := &FunctionOutputItem{
		ID: id, Type: "function_call_output", CallID: c.CallID, Status: c.Status, TurnID: turn, Output: null,
	}
	if c.Error != "" {
		item.Error = &c.Error
	}
	switch {
	case len(c.Output) == 1 && c.Output[0].Type == stead.ContentInputText:
		item.Output = mustJSON(texts(c.Output[0].Text))
	case len(c.Output) > 0:
		item.Output = mustJSON(wireContent(c.Output, texts))
	}
	return item
}

var null = json.RawMessage("null")

// mustJSON encodes what can't fail to be encoded: strings, maps and our own structs.
func mustJSON(v any) json.RawMessage {
	b, err := json.Marshal(v)
	if err != nil {
		panic("session: encode: " + err.Error())
	}
	return b
}

// Approvals lists what waits for a person: the inbox entries of this session.
func (v *View) Approvals() []Approval {
	var out []Approval
	for _, a := range v.RequiredActions() {
		if a.RequestID == "" {
			continue // the application's
		}
		entry := Approval{Object: "approval", ID: a.RequestID, SessionID: v.Key.Session, Action: a}
		v := v.OfRequest(a.RequestID)
		if v == nil {
			continue // nobody asks any more
		}
		if w := v.EffectByRequest(a.RequestID); w != nil {
			entry.CreatedAt, entry.Effect, entry.Resource = w.Since/1000, w.Effect, w.Of
		} else if c := v.CallByRequest(a.RequestID); c != nil {
			entry.CreatedAt = c.Since / 1000
		} else if w := v.Turn.Budget; w != nil && a.Type == ActionBudgetLimit {
			entry.CreatedAt = w.Since / 1000
		} else if w := v.ConsentByRequest(a.RequestID); w != nil {
			entry.CreatedAt = w.Since / 1000
		}
		out = append(out, entry)
	}
	return out
}
