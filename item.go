package stead

import (
	"bytes"
	"encoding/json"
	"unicode/utf8"
)

// ItemType says what an item is; the names are the wire's.
type ItemType string

// The types of item. A mcp_call and a
// command_execution hold their own output; a function_call is answered by a
// function_call_output of its own. A mcp_approval_response answers whether a mcp_call may be made, which a
// response gave to the application; it is for the runtime, and no model gets it.
const (
	ItemMessage            ItemType = "message"
	ItemReasoning          ItemType = "reasoning"
	ItemFunctionCall       ItemType = "function_call"
	ItemFunctionCallOutput ItemType = "function_call_output"
	ItemMCPCall            ItemType = "mcp_call"
	ItemCommandExecution   ItemType = "command_execution"
	ItemApprovalResponse   ItemType = "mcp_approval_response"
)

// What an agent does with its subagents. These calls hold no output on the wire; the model gets one.
const (
	ItemCreateSubagent    ItemType = "create_subagent_call"
	ItemSendSubagent      ItemType = "send_subagent_input_call"
	ItemResumeSubagent    ItemType = "resume_subagent_call"
	ItemWaitForSubagents  ItemType = "wait_for_subagents_call"
	ItemInterruptSubagent ItemType = "interrupt_subagent_call"
	ItemCloseSubagent     ItemType = "close_subagent_call"
)

// IsSubagentCall reports whether an item is one of them.
func (t ItemType) IsSubagentCall() bool {
	switch t {
	case ItemCreateSubagent, ItemSendSubagent, ItemResumeSubagent, ItemWaitForSubagents, ItemInterruptSubagent, ItemCloseSubagent:
		return true
	}
	return false
}

// IsCall reports whether an item asks for something to be done.
func (t ItemType) IsCall() bool {
	return t == ItemFunctionCall || t == ItemMCPCall || t == ItemCommandExecution || t.IsSubagentCall()
}

// ItemStatus is how far an item has come.
type ItemStatus string

// The statuses of an item. Incomplete: a crash, a cancel or a lost connection cut it off.
const (
	ItemInProgress ItemStatus = "in_progress"
	ItemCompleted  ItemStatus = "completed"
	ItemFailed     ItemStatus = "failed"
	ItemIncomplete ItemStatus = "incomplete"
)

// Roles of a message. System and developer messages are instructions that stand within the
// conversation; upstreams that know only one of the two, or neither, get the nearest that they know.
const (
	RoleUser      = "user"
	RoleAssistant = "assistant"
	RoleSystem    = "system"
	RoleDeveloper = "developer"
)

// NoticePrefix begins a message that the runtime itself puts into a conversation, with the role of
// the user, since no other role is known to every model.
const NoticePrefix = "Notice from the runtime: "

// Types of Content.
const (
	ContentInputText  = "input_text"
	ContentInputImage = "input_image"
	ContentInputFile  = "input_file"
	ContentOutputText = "output_text"
	ContentRefusal    = "refusal" // what a model says instead of an answer
)

// Text is a string that may live in a blob. Below MaxInlineBytes it is held inline; above, Digest
// names the blob (SHA-256, 64 hex digits) and Inline is empty until it is loaded.
// As JSON it is a string, or {"blob": digest, "bytes": n}.
type Text struct {
	Inline string
	Digest string
	Bytes  int // length of the whole text
}

// NewText holds s inline, whatever its length; the writer to the journal spills it.
func NewText(s string) Text { return Text{Inline: s, Bytes: len(s)} }

// IsBlob reports whether the text must be loaded from its blob before it can be read.
func (t Text) IsBlob() bool { return t.Digest != "" && t.Inline == "" }

// MarshalJSON implements json.Marshaler.
func (t Text) MarshalJSON() ([]byte, error) {
	if t.Digest != "" {
		return json.Marshal(textBlob{t.Digest, t.Bytes})
	}
	return quote(t.Inline)
}

// quote is the JSON string of s. It leaves <, > and & as they are: nobody puts the journal into a
// page, and escaped they take six bytes each.
func quote(s string) ([]byte, error) {
	plain := utf8.ValidString(s)
	for i := 0; plain && i < len(s); i++ {
		plain = s[i] >= ' ' && s[i] != '"' && s[i] != '\\'
	}
	if plain {
		b := make([]byte, 0, len(s)+2)
		return append(append(append(b, '"'), s...), '"'), nil
	}
	var out bytes.Buffer
	enc := json.NewEncoder(&out)
	enc.SetEscapeHTML(false)
	if err := enc.Encode(s); err != nil {
		return nil, err
	}
	return bytes.TrimSuffix(out.Bytes(), []byte("\n")), nil
}

// UnmarshalJSON implements json.Unmarshaler.
func (t *Text) UnmarshalJSON(b []byte) error {
	if len(b) > 0 && b[0] == '{' {
		var ref textBlob
		if err := json.Unmarshal(b, &ref); err != nil {
			return err
		}
		*t = Text{Digest: ref.Blob, Bytes: ref.Bytes}
		return nil
	}
	var s string
	if err := json.Unmarshal(b, &s); err != nil {
		return err
	}
	*t = NewText(s)
	return nil
}

type textBlob struct {
	Blob  string `json:"blob"`
	Bytes int    `json:"bytes"`
}

// Content is one part of a message or of a tool's output. Text holds the text of input_text, output_text
// and refusal, and the URL (https: or data:) of input_image and input_file.
type Content struct {
	Type   string `json:"type"`
	Text   Text   `json:"text"`
	Name   string `json:"name,omitempty"`   // input_file: the file's name; may be empty
	Detail string `json:"detail,omitempty"` // input_image: how closely to look, one of ImageDetails; "" as "auto"

	Cites []Citation `json:"cites,omitempty"` // output_text: what it speaks from, in the order of Index
}

// Citation says that a text speaks from a passage of a file.
type Citation struct {
	Index    int             `json:"index"` // where in the text it stands, in characters (Unicode code points)
	Mark     string          `json:"mark"`  // by which the model named the passage
	FileID   string          `json:"file_id"`
	Filename string          `json:"filename"`
	Source   json.RawMessage `json:"source,omitempty"`  // where the file comes from, as the search said it
	Passage  json.RawMessage `json:"passage,omitempty"` // where in the file it stands, as the search said it
}

// ImageDetails are how closely a model can be asked to look at an image (the Responses API's words).
func ImageDetails() []string { return []string{"auto", "low", "high", "original"} }

// TextContent is the one-part content of a plain text.
func TextContent(contentType, s string) []Content {
	return []Content{{Type: contentType, Text: NewText(s)}}
}

// Refuses reports whether the content is a refusal. A model's message is one as a whole or not at all.
func Refuses(content []Content) bool { return len(content) > 0 && content[0].Type == ContentRefusal }

// SaidContent is the one-part content of what a model said.
func SaidContent(s string, refusal bool) []Content { return TextContent(SaidType(refusal), s) }

// SaidType is the type of the content of what a model said.
func SaidType(refusal bool) string {
	if refusal {
		return ContentRefusal
	}
	return ContentOutputText
}

// Item is one entry of a conversation, as the journal and the model adapters hold it. Which fields
// are set depends on Type. Its wire form is made by package session.
type Item struct {
	Type    ItemType   `json:"type"`
	Status  ItemStatus `json:"status,omitempty"`
	Role    string     `json:"role,omitempty"`    // message
	Phase   string     `json:"phase,omitempty"`   // message: "commentary", "final_answer" or ""
	Content []Content  `json:"content,omitempty"` // message

	CallID    string          `json:"call_id,omitempty"`   // calls and outputs: unique in the session
	Name      string          `json:"name,omitempty"`      // calls: the tool as the model knows it
	Arguments json.RawMessage `json:"arguments,omitempty"` // calls: a JSON object; what a model garbled is a JSON string
	Output    []Content       `json:"output,omitempty"`    // outputs and finished mcp_calls
	Error     string          `json:"error,omitempty"`     // outputs and failed mcp_calls: what the model is told

	Answer   *Answer   `json:"answer,omitempty"`   // mcp_approval_response; CallID is the call's
	Question *Question `json:"question,omitempty"` // mcp_call of an input: what an answer behind it is about

	Summary   []Text `json:"summary,omitempty"`   // reasoning: parts that may be shown
	Encrypted *Text  `json:"encrypted,omitempty"` // reasoning: opaque, goes back only to the same Provider
	Provider  string `json:"provider,omitempty"`  // reasoning: who made Encrypted

	Told *Told `json:"-"` // message of an input: the call that it tells of, for whoever checks that; not kept
}

// Told is a call that was made elsewhere, and what it returned. Models are told of it in a message.
type Told struct {
	Tool      string          // "server/tool", or the tool's name
	Arguments json.RawMessage // as they were sent
	Output    string
	Words     [2]string // in front of the arguments, and of the output
}

// Message is what models are told.
func (t *Told) Message() Item {
	text := t.Words[0] + string(t.Arguments) + t.Words[1] + t.Output
	return Item{Type: ItemMessage, Role: RoleAssistant, Content: TextContent(ContentOutputText, text), Told: t}
}

// Question is a call that an application was asked about elsewhere, and brings along with its answer.
type Question struct {
	ID     string `json:"id"`
	Server string `json:"server"` // label of the tool server
}

// Answer says whether a call may be made.
type Answer struct {
	Request string `json:"request,omitempty"` // the id of the question, as the door had it
	Approve bool   `json:"approve"`
	Reason  string `json:"reason,omitempty"` // of a denial: the model is told
}

// Usage counts the tokens of one or more model calls.
type Usage struct {
	InputTokens      int64 `json:"input_tokens"`
	CachedTokens     int64 `json:"cached_tokens,omitempty"`      // part of InputTokens: read from a prompt cache
	CacheWriteTokens int64 `json:"cache_write_tokens,omitempty"` // part of InputTokens: written to one
	OutputTokens     int64 `json:"output_tokens"`
	ReasoningTokens  int64 `json:"reasoning_tokens,omitempty"` // part of OutputTokens
}

// Add returns the sum of two usages.
func (u Usage) Add(v Usage) Usage {
	return Usage{
		InputTokens:      u.InputTokens + v.InputTokens,
		CachedTokens:     u.CachedTokens + v.CachedTokens,
		CacheWriteTokens: u.CacheWriteTokens + v.CacheWriteTokens,
		OutputTokens:     u.OutputTokens + v.OutputTokens,
		ReasoningTokens:  u.ReasoningTokens + v.ReasoningTokens,
	}
}

// Total is input and output together.
func (u Usage) Total() int64 { return u.InputTokens + u.OutputTokens }
