package server

import (
	"crypto/sha256"
	"encoding/json"
	"net/url"
	"strings"
	"unicode/utf8"

	"github.com/stead-dev/stead"
	"github.com/stead-dev/stead/internal/param"
	"github.com/stead-dev/stead/internal/session"
)

// Types of input event. The last is ours.
const (
	inputMessage     = "agent.session.input.message"
	inputCancel      = "agent.session.input.cancel"
	inputToolResult  = "agent.session.input.tool_result"
	inputApproval    = "agent.session.input.mcp_approval_request_result"
	inputComputerUse = "agent.session.input.computer_use_approval_request_result"
	inputOutcome     = "agent.session.input.outcome_unknown_result"
)

// Decisions of the answers to required actions.
const (
	decideApprove     = "approve"
	decideDeny        = "deny"
	decideCancel      = "cancel"
	decideDelegate    = "delegate"
	decideHappened    = "happened"
	decideNotHappened = "not_happened"
	decideGiveUp      = "give_up"
)

// eventFields are the fields of each type of input event.
var eventFields = map[string][]string{
	inputMessage:    {"type", "input"},
	inputCancel:     {"type"},
	inputToolResult: {"type", "turn_id", "call_id", "success", "output", "error"},
	inputApproval:   {"type", "request_id", "response"},
	inputOutcome:    {"type", "request_id", "response"},
}

// inputEvents reads the body of a POST of events.
func inputEvents(o param.Object) ([]session.Input, error) {
	list, err := param.Need(o.List("events"))(o.Path("events"))
	if err != nil {
		return nil, err
	}
	if len(list) == 0 || len(list) > stead.MaxInputEvents {
		return nil, stead.Invalid("events", "events must hold 1 to %d events, not %d", stead.MaxInputEvents, len(list))
	}
	inputs := make([]session.Input, len(list))
	for i, raw := range list {
		e, err := param.Parse(param.Index("events", i), raw)
		if err != nil {
			return nil, err
		}
		if inputs[i], err = inputEvent(e); err != nil {
			return nil, err
		}
	}
	return inputs, nil
}

func inputEvent(o param.Object) (session.Input, error) {
	kind, err := param.Need(o.String("type"))(o.Path("type"))
	if err != nil {
		return session.Input{}, err
	}
	if fields := eventFields[kind]; fields != nil {
		if err := o.Only("an input event of type "+kind, fields...); err != nil {
			return session.Input{}, err
		}
	}
	switch kind {
	case inputMessage:
		raw, ok := o.Raw("input")
		if !ok {
			return session.Input{}, stead.Invalid(o.Path("input"), "%s is required", o.Path("input"))
		}
		messages, err := inputMessages(o.Path("input"), raw)
		return session.Input{Message: messages}, err
	case inputCancel:
		return session.Input{Cancel: true}, nil
	case inputToolResult:
		return toolResult(o)
	case inputApproval:
		return approvalInput(o)
	case inputOutcome:
		return outcome(o)
	case inputComputerUse:
		return session.Input{}, stead.Invalid(o.Path("type"), "%s: this version of Stead has no computer use, so there is nothing to answer", o.Path("type"))
	default:
		return session.Input{}, stead.Invalid(o.Path("type"), "%s %.80q is no type of input event: those are %s", o.Path("type"), kind,
			strings.Join([]string{inputMessage, inputCancel, inputToolResult, inputApproval, inputOutcome}, ", "))
	}
}

func toolResult(o param.Object) (session.Input, error) {
	res := &session.ToolResultInput{}
	var err error
	if res.TurnID, err = param.Need(o.String("turn_id"))(o.Path("turn_id")); err != nil {
		return session.Input{}, err
	}
	if res.CallID, err = param.Need(o.String("call_id"))(o.Path("call_id")); err != nil {
		return session.Input{}, err
	}
	if res.Success, err = param.Need(o.Bool("success"))(o.Path("success")); err != nil {
		return session.Input{}, err
	}
	if res.Error, _, err = o.String("error"); err != nil {
		return session.Input{}, err
	}
	if len(res.Error) > stead.MaxTextBytes {
		return session.Input{}, tooLong(o.Path("error"), stead.MaxTextBytes)
	}
	res.Output, err = output(o)
	return session.Input{Result: res}, err
}

// output reads what a tool returned: a string, a list of content, or nothing.
func output(o param.Object) ([]stead.Content, error) {
	raw, ok := o.Raw("output")
	if !ok {
		return nil, nil
	}
	return contents(o.Path("output"), raw)
}

func approvalInput(o param.Object) (session.Input, error) {
	a := &session.ApprovalInput{}
	var err error
	if a.RequestID, err = param.Need(o.String("request_id"))(o.Path("request_id")); err != nil {
		return session.Input{}, err
	}
	res, err := param.Need(o.Object("response"))(o.Path("response"))
	if err != nil {
		return session.Input{}, err
	}
	if err := res.Only("an answer", "type", "decision", "reason", "digest", "arguments", "to", "extra"); err != nil {
		return session.Input{}, err
	}
	if _, _, err := res.Enum("type", "mcp_tool_call", session.ActionBudgetLimit, session.ActionConsent, session.ActionEffectApproval); err != nil {
		return session.Input{}, err
	}
	if a.Decision, err = param.Need(res.Enum("decision", decideApprove, decideDeny, decideCancel, decideDelegate))(res.Path("decision")); err != nil {
		return session.Input{}, err
	}
	if a.Extra, err = extraOf(res); err != nil {
		return session.Input{}, err
	}
	if a.Digest, err = shownDigest(res); err != nil {
		return session.Input{}, err
	}
	if a.To, err = delegateOf(res); err != nil {
		return session.Input{}, err
	}
	if a.Arguments, err = editedArguments(res); err != nil {
		return session.Input{}, err
	}
	a.Reason, err = reasonOf(res)
	return session.Input{Approval: a}, err
}

// delegateOf reads to whom an approval is handed; nil: nobody is named.
func delegateOf(o param.Object) (*session.Delegate, error) {
	to, ok, err := o.Object("to")
	if err != nil || !ok {
		return nil, err
	}
	if err := to.Only("a delegate", "kind", "id", "role"); err != nil {
		return nil, err
	}
	kind, _, err := to.Enum("kind", string(stead.PrincipalUser), string(stead.PrincipalService))
	if err != nil {
		return nil, err
	}
	id, _, err := to.String("id")
	if err != nil {
		return nil, err
	}
	role, _, err := to.String("role")
	if err != nil {
		return nil, err
	}
	if len(id) > stead.MaxInlineBytes || (role == "") != (kind != "" && id != "") || (kind == "") != (id == "") {
		return nil, stead.Invalid(to.Path("id"), "%s is a kind (user or service) with an id, or a role", o.Path("to"))
	}
	return &session.Delegate{Kind: stead.PrincipalKind(kind), ID: id, Role: stead.Role(role)}, nil
}

// editedArguments reads the arguments that a call is to be made with instead; "": those that were asked for.
func editedArguments(o param.Object) (string, error) {
	if _, ok, err := o.Object("arguments"); err != nil || !ok {
		return "", err
	}
	raw, _ := o.Raw("arguments")
	return string(raw), nil
}

// shownDigest reads the digest of what whoever answers was shown; "": it is not said.
func shownDigest(o param.Object) (string, error) {
	digest, _, err := o.String("digest")
	if err == nil && digest != "" && len(digest) != 2*sha256.Size {
		err = stead.Invalid(o.Path("digest"), "%s is the digest that the request shows: %d hexadecimal digits", o.Path("digest"), 2*sha256.Size)
	}
	return digest, err
}

// reasonOf reads why somebody decided so, ours: the model is told.
func reasonOf(o param.Object) (string, error) {
	reason, _, err := o.String("reason")
	if err == nil && len(reason) > stead.MaxInlineBytes {
		err = tooLong(o.Path("reason"), stead.MaxInlineBytes)
	}
	return reason, err
}

func outcome(o param.Object) (session.Input, error) {
	out := &session.OutcomeInput{}
	var err error
	if out.RequestID, err = param.Need(o.String("request_id"))(o.Path("request_id")); err != nil {
		return session.Input{}, err
	}
	res, err := param.Need(o.Object("response"))(o.Path("response"))
	if err != nil {
		return session.Input{}, err
	}
	if err := res.Only("an answer", "type", "decision", "output"); err != nil {
		return session.Input{}, err
	}
	if out.Decision, err = param.Need(res.Enum("decision", decideHappened, decideNotHappened, decideGiveUp))(res.Path("decision")); err != nil {
		return session.Input{}, err
	}
	out.Output, err = outcomeOutput(res, out.Decision)
	return session.Input{Outcome: out}, err
}

func outcomeOutput(o param.Object, decision string) ([]stead.Content, error) {
	out, err := output(o)
	if err != nil {
		return nil, err
	}
	if decision != decideHappened && len(out) > 0 {
		return nil, stead.Invalid(o.Path("output"), `%s belongs only to the decision "happened"`, o.Path("output"))
	}
	return out, nil
}

// inputMessages reads a string, short for one message, or a list of messages.
func inputMessages(path string, raw json.RawMessage) ([]session.InputMessage, error) {
	if text, ok := asString(raw); ok {
		if text == "" {
			return nil, stead.Invalid(path, "%s must not be empty", path)
		}
		if len(text) > stead.MaxTextBytes {
			return nil, tooLong(path, stead.MaxTextBytes)
		}
		return []session.InputMessage{{Content: stead.TextContent(stead.ContentInputText, text)}}, nil
	}
	var list []json.RawMessage
	if err := json.Unmarshal(raw, &list); err != nil {
		return nil, stead.Invalid(path, "%s must be a string or a list of messages", path)
	}
	if len(list) == 0 || len(list) > stead.MaxInputEvents {
		return nil, stead.Invalid(path, "%s must hold 1 to %d messages, not %d", path, stead.MaxInputEvents, len(list))
	}
	messages := make([]session.InputMessage, len(list))
	for i, raw := range list {
		o, err := param.Parse(param.Index(path, i), raw)
		if err != nil {
			return nil, err
		}
		if messages[i], err = inputMessageOf(o); err != nil {
			return nil, err
		}
	}
	return messages, nil
}

func inputMessageOf(o param.Object) (session.InputMessage, error) {
	if _, _, err := o.Enum("type", "message"); err != nil {
		return session.InputMessage{}, err
	}
	if _, err := param.Need(o.Enum("role", stead.RoleUser))(o.Path("role")); err != nil {
		return session.InputMessage{}, err
	}
	raw, ok := o.Raw("content")
	if !ok {
		return session.InputMessage{}, stead.Invalid(o.Path("content"), "%s is required", o.Path("content"))
	}
	parts, err := contents(o.Path("content"), raw)
	if err == nil && len(parts) == 0 {
		err = stead.Invalid(o.Path("content"), "%s must not be empty", o.Path("content"))
	}
	return session.InputMessage{Content: parts}, err
}

// contents reads a string, short for one text, or a list of input_text and input_image parts.
func contents(path string, raw json.RawMessage) ([]stead.Content, error) {
	if text, ok := asString(raw); ok {
		if len(text) > stead.MaxTextBytes {
			return nil, tooLong(path, stead.MaxTextBytes)
		}
		return stead.TextContent(stead.ContentInputText, text), nil
	}
	var list []json.RawMessage
	if err := json.Unmarshal(raw, &list); err != nil {
		return nil, stead.Invalid(path, "%s must be a string or a list of content", path)
	}
	if len(list) > stead.MaxInputEvents {
		return nil, stead.Invalid(path, "%s has %d parts, the limit is %d", path, len(list), stead.MaxInputEvents)
	}
	parts := make([]stead.Content, len(list))
	for i, raw := range list {
		o, err := param.Parse(param.Index(path, i), raw)
		if err != nil {
			return nil, err
		}
		if parts[i], err = content(o); err != nil {
			return nil, err
		}
	}
	return parts, nil
}

func content(o param.Object) (stead.Content, error) {
	kind, err := param.Need(o.Enum("type", stead.ContentInputText, stead.ContentInputImage))(o.Path("type"))
	if err != nil {
		return stead.Content{}, err
	}
	field := "text"
	if kind == stead.ContentInputImage {
		field = "image_url"
	}
	s, err := param.Need(o.String(field))(o.Path(field))
	if err != nil {
		return stead.Content{}, err
	}
	if len(s) > stead.MaxTextBytes {
		return stead.Content{}, tooLong(o.Path(field), stead.MaxTextBytes)
	}
	if kind == stead.ContentInputImage {
		err = imageURL(o.Path(field), s)
	}
	return stead.Content{Type: kind, Text: stead.NewText(s)}, err
}

// imageURL lets through what a provider can be given: https, or the image itself as base64 data.
func imageURL(path, s string) error {
	if head, _, ok := strings.Cut(s, ","); ok && strings.HasPrefix(s, "data:") {
		if !strings.HasPrefix(head, "data:image/") || !strings.HasSuffix(head, ";base64") {
			return stead.Invalid(path, "%s must be data:image/TYPE;base64,…", path)
		}
		return nil
	}
	if len(s) > MaxImageURLBytes {
		return tooLong(path, MaxImageURLBytes)
	}
	u, err := url.Parse(s)
	if err != nil || u.Scheme != "https" || u.Host == "" {
		return stead.Invalid(path, "%s must be an https: or data: URL", path)
	}
	return nil
}

func asString(raw json.RawMessage) (string, bool) {
	if n := len(raw) - 1; n > 0 && raw[0] == '"' && raw[n] == '"' && plainText(raw[1:n]) {
		return string(raw[1:n]), true // as most are
	}
	var s string
	return s, json.Unmarshal(raw, &s) == nil
}

// plainText reports whether a JSON text is written as what it says: in ASCII without escapes.
func plainText(b []byte) bool {
	for _, c := range b {
		if c < ' ' || c >= utf8.RuneSelf || c == '\\' || c == '"' {
			return false
		}
	}
	return true
}

func tooLong(path string, limit int) error {
	return stead.Invalid(path, "%s is longer than the limit of %d bytes", path, limit)
}
