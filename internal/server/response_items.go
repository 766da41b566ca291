package server

import (
	"encoding/json"
	"net/url"
	"slices"

	"github.com/stead-dev/stead"
	"github.com/stead-dev/stead/internal/agent"
	"github.com/stead-dev/stead/internal/citation"
	"github.com/stead-dev/stead/internal/responses"
	"github.com/stead-dev/stead/internal/session"
)

// The items of sessions, in the words of the Responses API.

// included is what of items is shown only to those who ask.
type included struct {
	results   bool // what a search of files found
	encrypted bool // what reasoning can be sent back with
}

// includedOf is what a query asks for.
func includedOf(q url.Values) included {
	asks := func(what string) bool {
		return slices.Contains(q["include"], what) || slices.Contains(q["include[]"], what)
	}
	return included{asks(responses.IncludeFileResults), asks(responses.IncludeEncrypted)}
}

// includedIn is what a response asked for when it was made.
func includedIn(res session.Response) included {
	return included{res.Ask.FileResults, res.Ask.Encrypted}
}

// responseItem writes an item; nil for those that the Responses API has no word for.
func responseItem(item session.Item, more included) any {
	switch it := item.(type) {
	case *session.MessageItem:
		return &responses.Message{ID: it.ID, Type: "message", Role: it.Role, Status: it.Status, Phase: it.Phase, Content: responseParts(it.Content)}
	case *session.ReasoningItem:
		out := &responses.Reasoning{ID: it.ID, Type: "reasoning", Summary: []responses.SummaryPart{}}
		if it.Status != nil {
			out.Status = *it.Status
		}
		for _, s := range it.Summary {
			out.Summary = append(out.Summary, responses.SummaryPart(s))
		}
		if more.encrypted && it.Made != nil {
			sealed := responses.Seal(it.Made())
			out.Encrypted = &sealed
		}
		return out
	case *session.FunctionCallItem:
		return &responses.FunctionCall{ID: it.ID, Type: "function_call", CallID: it.CallID, Name: it.Name,
			Arguments: responses.ArgumentText(it.Arguments), Status: callStatus(it.Status)}
	case *session.FunctionOutputItem:
		return &responses.FunctionOutput{ID: it.ID, Type: "function_call_output", CallID: it.CallID, Output: functionOutput(it), Status: callStatus(it.Status)}
	case *session.MCPCallItem:
		if it.ServerLabel == agent.ToolFileSearch && it.Name == agent.ToolFileSearch {
			return fileSearch(it, more.results)
		}
		return serverCall(it)
	case *session.ToolListItem:
		return &responses.ToolList{ID: it.ID, Type: it.Type, ServerLabel: it.ServerLabel, Tools: it.Tools, Error: it.Error}
	case *session.ApprovalRequestItem:
		return &responses.ApprovalRequest{ID: it.ID, Type: it.Type, ServerLabel: it.ServerLabel, Name: it.Name, Arguments: responses.ArgumentText(it.Arguments)}
	case *session.ApprovalResponseItem:
		return &responses.ApprovalResponse{ID: it.ID, Type: it.Type, RequestID: it.RequestID, Approve: it.Approve, Reason: it.Reason}
	}
	return nil
}

// callStatus is a status that the Responses API knows for functions: it has no failed ones.
func callStatus(s stead.ItemStatus) stead.ItemStatus {
	if s == stead.ItemFailed {
		return stead.ItemIncomplete
	}
	return s
}

func responseParts(content []session.WireContent) []responses.Part {
	out := make([]responses.Part, len(content))
	for i, c := range content {
		text, kind := c.Text, c.Type
		switch {
		case c.Refusal != nil:
			text = c.Refusal
		case c.ImageURL != nil:
			text = c.ImageURL
		case c.FileURL != nil:
			text = c.FileURL
		}
		out[i] = responses.NewPart(kind, *text, c.Filename)
		out[i].Look(c.Detail)
		out[i].Cite(c.Annotations)
	}
	return out
}

// annotated is what a message's one text speaks from.
func annotated(item session.Item) []citation.Annotation {
	if m, ok := item.(*session.MessageItem); ok && len(m.Content) > 0 {
		return m.Content[0].Annotations
	}
	return nil
}

func functionOutput(it *session.FunctionOutputItem) any {
	if it.Error != nil && string(it.Output) == "null" {
		return *it.Error
	}
	var parts []session.WireContent
	if json.Unmarshal(it.Output, &parts) == nil && parts != nil {
		return responses.Output(responseParts(parts))
	}
	if string(it.Output) == "null" {
		return ""
	}
	return it.Output // a string
}

func serverCall(it *session.MCPCallItem) *responses.ServerCall {
	out := &responses.ServerCall{ID: it.ID, Type: "mcp_call", ServerLabel: it.ServerLabel, Name: it.Name,
		Arguments: responses.ArgumentText(it.Arguments), Status: it.Status}
	if it.RequestID != "" {
		out.Approval = &it.RequestID
	}
	var failure struct {
		Message string `json:"message"`
	}
	if json.Unmarshal(it.Error, &failure) == nil && failure.Message != "" {
		out.Error = responses.NewCallError(failure.Message)
	}
	var output struct {
		Content []session.WireContent `json:"content"`
	}
	if json.Unmarshal(it.Output, &output) == nil && output.Content != nil {
		text := ""
		for _, c := range output.Content {
			if c.Text != nil {
				text += *c.Text
			}
		}
		out.Output = &text
	}
	return out
}

// responseItems writes those that the API has words for. Text that was cut off, and said again in a
// later try, is left out of a response that was completed.
func responseItems(items []session.Item, completed bool, more included) []any {
	out := []any{}
	for _, item := range items {
		switch it := item.(type) {
		case *session.MessageItem:
			if completed && it.Role == stead.RoleAssistant && it.Status == stead.ItemIncomplete {
				continue
			}
		case *session.ReasoningItem:
			if completed && it.Status != nil && *it.Status == stead.ItemIncomplete {
				continue
			}
		case *session.FunctionOutputItem: // of a call that the runtime refused: the model alone is told
			if completed || it.Status == stead.ItemFailed {
				continue
			}
		}
		if refusedFunction(item) {
			continue
		}
		if w := responseItem(item, more); w != nil {
			out = append(out, w)
		}
	}
	return out
}

// refusedFunction reports whether an item of a response's output is a function that policies, or the runtime, refused. Applications execute
// whatever function calls a response has, whatever their status is: it is not shown.
func refusedFunction(item session.Item) bool {
	call, ok := item.(*session.FunctionCallItem)
	return ok && call.Status == stead.ItemFailed
}

// itemPage cuts a page out of all items.
func itemPage(items []session.Item, q session.PageQuery) ([]session.Item, bool, error) {
	items = slices.Clone(items)
	if q.Desc {
		slices.Reverse(items)
	}
	if q.After != "" {
		at := slices.IndexFunc(items, func(it session.Item) bool { return it.ItemID() == q.After })
		if at < 0 {
			return nil, false, stead.Invalid("after", "no item with id %.80q in this list", q.After)
		}
		items = items[at+1:]
	}
	if len(items) > q.Limit {
		return items[:q.Limit], true, nil
	}
	return items, false, nil
}

// wireList is a page of items as the Responses API lists them.
func wireList(items []session.Item, more bool, shown included) list[any] {
	out := list[any]{Object: "list", Data: []any{}, HasMore: more}
	for _, item := range items {
		if w := responseItem(item, shown); w != nil {
			out.Data = append(out.Data, w)
		}
	}
	if len(items) > 0 {
		first, last := items[0].ItemID(), items[len(items)-1].ItemID()
		out.FirstID, out.LastID = &first, &last
	}
	return out
}
