package responses

import (
	"encoding/json"
	"strings"

	"github.com/stead-dev/stead"
	"github.com/stead-dev/stead/internal/citation"
)

// The wire's items. Each kind of item is one struct; Encode makes it of the vocabulary's.

// Message is a message of any role.
type Message struct {
	ID      string           `json:"id"`
	Type    string           `json:"type"` // "message"
	Role    string           `json:"role"`
	Status  stead.ItemStatus `json:"status"`
	Phase   *string          `json:"phase,omitempty"`
	Content []Part           `json:"content"`
}

// Part is one part of a message or of an output. Which fields are set depends on Type.
type Part struct {
	Type        string  `json:"type"`
	Text        *string `json:"text,omitempty"`
	Refusal     *string `json:"refusal,omitempty"`
	Annotations *[]any  `json:"annotations,omitempty"` // output_text: citation.Annotation, each
	Logprobs    *[]any  `json:"logprobs,omitempty"`    // output_text: none are known
	ImageURL    *string `json:"image_url,omitempty"`
	Detail      string  `json:"detail,omitempty"`
	FileURL     *string `json:"file_url,omitempty"`
	FileData    *string `json:"file_data,omitempty"`
	Filename    string  `json:"filename,omitempty"`
}

// Reasoning is a summary of what the model thought.
type Reasoning struct {
	ID        string           `json:"id"`
	Type      string           `json:"type"` // "reasoning"
	Status    stead.ItemStatus `json:"status,omitempty"`
	Summary   []SummaryPart    `json:"summary"`
	Encrypted *string          `json:"encrypted_content,omitempty"`
}

// SummaryPart is a part of it.
type SummaryPart struct {
	Type string `json:"type"` // "summary_text"
	Text string `json:"text"`
}

// FunctionCall asks the application for a result. Arguments is JSON as text.
type FunctionCall struct {
	ID        string           `json:"id"`
	Type      string           `json:"type"` // "function_call"
	CallID    string           `json:"call_id"`
	Name      string           `json:"name"`
	Arguments string           `json:"arguments"`
	Status    stead.ItemStatus `json:"status"`
}

// FunctionOutput is the application's result: a text, or a list of Part.
type FunctionOutput struct {
	ID     string           `json:"id"`
	Type   string           `json:"type"` // "function_call_output"
	CallID string           `json:"call_id"`
	Output any              `json:"output"`
	Status stead.ItemStatus `json:"status"`
}

// ServerCall is a call that was made to a tool server.
type ServerCall struct {
	ID          string           `json:"id"`
	Type        string           `json:"type"` // "mcp_call"
	ServerLabel string           `json:"server_label"`
	Name        string           `json:"name"`
	Arguments   string           `json:"arguments"`
	Output      *string          `json:"output"`
	Error       *CallError       `json:"error"`
	Approval    *string          `json:"approval_request_id"`
	Status      stead.ItemStatus `json:"status"`
}

// ToolList says which tools a tool server has. Tools is a list of {"name", "description", "input_schema", "annotations"}.
type ToolList struct {
	ID          string          `json:"id"`
	Type        string          `json:"type"` // "mcp_list_tools"
	ServerLabel string          `json:"server_label"`
	Tools       json.RawMessage `json:"tools"`
	Error       *string         `json:"error"`
}

// ApprovalRequest asks whether a call to a tool server may be made.
type ApprovalRequest struct {
	ID          string `json:"id"`
	Type        string `json:"type"` // "mcp_approval_request"
	ServerLabel string `json:"server_label"`
	Name        string `json:"name"`
	Arguments   string `json:"arguments"`
}

// ApprovalResponse answers it.
type ApprovalResponse struct {
	ID        string  `json:"id"`
	Type      string  `json:"type"` // "mcp_approval_response"
	RequestID string  `json:"approval_request_id"`
	Approve   bool    `json:"approve"`
	Reason    *string `json:"reason"`
}

// FileSearch is a search of vector stores. Results is null unless it was asked for, else as the tool gave it.
type FileSearch struct {
	ID      string           `json:"id"`
	Type    string           `json:"type"` // "file_search_call"
	Status  stead.ItemStatus `json:"status"`
	Queries []string         `json:"queries"`
	Results json.RawMessage  `json:"results"`
}

// CallError says why a tool server's call failed.
type CallError struct {
	Type    string     `json:"type"` // "mcp_tool_execution_error"
	Content []TextPart `json:"content"`
}

// TextPart is a plain text.
type TextPart struct {
	Type string `json:"type"` // "text"
	Text string `json:"text"`
}

// NewCallError is the error of one sentence.
func NewCallError(text string) *CallError {
	return &CallError{"mcp_tool_execution_error", []TextPart{{"text", text}}}
}

// Encode writes an item that a model made, or was given, under an id.
func Encode(id string, it stead.Item, status stead.ItemStatus, encrypted bool) any {
	switch it.Type {
	case stead.ItemReasoning:
		r := &Reasoning{ID: id, Type: "reasoning", Status: status, Summary: []SummaryPart{}}
		for _, t := range it.Summary {
			r.Summary = append(r.Summary, SummaryPart{"summary_text", t.Inline})
		}
		if s := Seal(it); encrypted && s != "" {
			r.Encrypted = &s
		}
		return r
	case stead.ItemFunctionCall:
		return &FunctionCall{id, "function_call", it.CallID, it.Name, ArgumentText(it.Arguments), status}
	case stead.ItemFunctionCallOutput:
		return &FunctionOutput{id, "function_call_output", it.CallID, Output(Parts(it.Output)), status}
	}
	m := &Message{ID: id, Type: "message", Role: it.Role, Status: status, Content: Parts(it.Content)}
	if it.Phase != "" {
		m.Phase = &it.Phase
	}
	return m
}

// Parts writes content, whose texts are inline.
func Parts(content []stead.Content) []Part {
	out := make([]Part, len(content))
	for i, c := range content {
		out[i] = NewPart(c.Type, c.Text.Inline, c.Name)
		out[i].Look(c.Detail)
		out[i].Cite(citation.Annotations(c.Cites))
	}
	return out
}

// NewPart writes one part: a text, or an image or a file by its URL.
func NewPart(kind, text, name string) Part {
	switch kind {
	case stead.ContentInputImage:
		return Part{Type: kind, ImageURL: &text, Detail: "auto"}
	case stead.ContentInputFile:
		p := Part{Type: kind, Filename: name, FileURL: &text}
		if strings.HasPrefix(text, "data:") {
			p.FileURL, p.FileData = nil, &text
		}
		return p
	case stead.ContentOutputText:
		return Part{Type: kind, Text: &text, Annotations: &[]any{}, Logprobs: &[]any{}}
	case stead.ContentRefusal:
		return Part{Type: kind, Refusal: &text}
	}
	return Part{Type: kind, Text: &text}
}

// Look says how closely to look at an image; "" changes nothing.
func (p *Part) Look(detail string) {
	if p.ImageURL != nil && detail != "" {
		p.Detail = detail
	}
}

// Cite says what a text speaks from; none changes nothing.
func (p *Part) Cite(all []citation.Annotation) {
	for _, a := range all {
		*p.Annotations = append(*p.Annotations, a)
	}
}

// Output is a call's result as it is written: one text alone is a string.
func Output(parts []Part) any {
	if len(parts) == 1 && parts[0].Text != nil {
		return *parts[0].Text
	}
	return parts
}
