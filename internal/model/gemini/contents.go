package gemini

import (
	"encoding/json"
	"mime"
	"path"
	"strconv"
	"strings"

	"github.com/stead-dev/stead"
	"github.com/stead-dev/stead/internal/model"
	"github.com/stead-dev/stead/internal/model/upstream"
)

// content is one of the wire's; roles alternate.
type content struct {
	Role  string   `json:"role"`
	Parts []fields `json:"parts"`
}

const (
	roleUser  = "user"
	roleModel = "model"
	// noSignature is what Google takes for the signature of a call that no Gemini made.
	noSignature = "skip_thought_signature_validator"
	// opening stands where a conversation does not begin with the user, which the wire insists on.
	opening = "(The conversation goes on.)"

	// The kinds of what is sealed in a reasoning item: what stands before its dot.
	sealedThought = "thought"
	sealedCall    = "call"
	sealedText    = "text:" // and the length in bytes of the text that it belongs to
)

// talk is a conversation in the making.
type talk struct {
	provider   string
	generation float64
	system     []fields
	contents   []content
	names      map[string]string // call id → function
	signature  string            // of the call to come
	pictures   []fields          // of function responses, which follow when all of those are there
	turn       int               // the content from which on calls belong to the turn at hand
}

// read takes a request's conversation. Its error is a picture or document that cannot be read.
func (t *talk) read(req model.Request) *model.Error {
	if req.Instructions != "" {
		t.system = append(t.system, fields{"text": req.Instructions})
	}
	for _, it := range upstream.Paired(req.Items) {
		if it.Type != stead.ItemFunctionCallOutput {
			t.showPictures()
		}
		if err := t.item(it); err != nil {
			return err
		}
	}
	t.showPictures()
	if len(t.contents) == 0 || t.contents[0].Role != roleUser {
		t.contents = append([]content{{roleUser, []fields{{"text": opening}}}}, t.contents...)
		t.turn++
	}
	if t.generation >= hasLevels {
		t.vouch()
	}
	return nil
}

func (t *talk) say(role string, part fields) {
	if n := len(t.contents); n > 0 && t.contents[n-1].Role == role {
		t.contents[n-1].Parts = append(t.contents[n-1].Parts, part)
		return
	}
	t.contents = append(t.contents, content{role, []fields{part}})
}

func (t *talk) item(it stead.Item) *model.Error {
	switch it.Type {
	case stead.ItemMessage:
		return t.message(it)
	case stead.ItemReasoning:
		if it.Encrypted != nil && it.Provider == t.provider {
			t.unseal(it)
		}
	case stead.ItemFunctionCall:
		t.names[it.CallID] = it.Name
		part := fields{"functionCall": fields{"id": it.CallID, "name": it.Name,
			"args": json.RawMessage(upstream.WireArguments(it.Arguments))}}
		part.Text("thoughtSignature", t.signature)
		t.signature = ""
		t.say(roleModel, part)
	case stead.ItemFunctionCallOutput:
		return t.response(it)
	}
	return nil
}

func (t *talk) message(it stead.Item) *model.Error {
	switch it.Role {
	case stead.RoleAssistant:
		if text := upstream.Joined(it.Content); text != "" {
			t.say(roleModel, fields{"text": text})
		}
	case stead.RoleSystem, stead.RoleDeveloper:
		text := upstream.Joined(it.Content)
		switch {
		case text == "":
		case len(t.contents) > 0:
			t.say(roleUser, fields{"text": "<system>\n" + text + "\n</system>"})
		default:
			t.system = append(t.system, fields{"text": text})
		}
	default:
		for _, c := range it.Content {
			part, err := partOf(c)
			if err != nil {
				return err
			}
			if part["text"] != "" { // the wire wants no empty ones
				t.say(roleUser, part)
			}
		}
		t.turn = len(t.contents)
	}
	return nil
}

// unseal puts a signature where it belongs.
func (t *talk) unseal(it stead.Item) {
	kind, signature, _ := strings.Cut(it.Encrypted.Inline, ".")
	length, ofText := strings.CutPrefix(kind, sealedText)
	switch {
	case kind == sealedThought:
		var text strings.Builder
		for _, s := range it.Summary {
			text.WriteString(s.Inline)
		}
		t.say(roleModel, fields{"text": text.String(), "thought": true, "thoughtSignature": signature})
	case kind == sealedCall:
		t.signature = signature
	case ofText:
		t.signText(length, signature)
	}
}

// signText signs the end of the text that came last; a signature that came alone stays alone.
func (t *talk) signText(length, signature string) {
	n, _ := strconv.Atoi(length) // what is no number signs nothing, and stays alone
	last := len(t.contents) - 1
	if last < 0 || t.contents[last].Role != roleModel || n <= 0 {
		t.say(roleModel, fields{"text": "", "thoughtSignature": signature})
		return
	}
	parts := t.contents[last].Parts
	part := parts[len(parts)-1]
	text, ok := part["text"].(string)
	if !ok || part["thought"] != nil || n > len(text) {
		t.say(roleModel, fields{"text": "", "thoughtSignature": signature})
		return
	}
	if n == len(text) {
		part["thoughtSignature"] = signature
		return
	}
	part["text"] = text[:len(text)-n]
	t.say(roleModel, fields{"text": text[len(text)-n:], "thoughtSignature": signature})
}

// response is a function's answer: an object, as the wire wants it. Pictures are within it where the
// model takes them there, and else follow.
func (t *talk) response(it stead.Item) *model.Error {
	name := t.names[it.CallID]
	f := fields{"id": it.CallID, "name": name}
	var texts []string
	var within []fields
	for _, c := range it.Output {
		if c.Type != stead.ContentInputImage && c.Type != stead.ContentInputFile {
			texts = append(texts, c.Text.Inline)
			continue
		}
		part, err := partOf(c)
		if err != nil {
			return err
		}
		if part["inlineData"] != nil && t.generation >= hasLevels {
			within = append(within, part)
			continue
		}
		t.pictures = append(t.pictures, fields{"text": "Returned by " + name + ":"}, part)
	}
	f["response"] = fields{"output": strings.Join(texts, "\n")}
	if it.Error != "" {
		f["response"] = fields{"error": strings.Join(append([]string{it.Error}, texts...), "\n")}
	}
	if len(within) > 0 {
		f["parts"] = within
	}
	t.say(roleUser, fields{"functionResponse": f})
	return nil
}

func (t *talk) showPictures() {
	for _, p := range t.pictures {
		t.say(roleUser, p)
	}
	t.pictures = nil
}

// vouch signs the first call of each step of the turn at hand that has no signature.
func (t *talk) vouch() {
	for _, c := range t.contents[min(t.turn, len(t.contents)):] {
		for _, part := range c.Parts {
			if part["functionCall"] == nil {
				continue
			}
			if part["thoughtSignature"] == nil {
				part["thoughtSignature"] = noSignature
			}
			break
		}
	}
}

// partOf writes a text, picture or document.
func partOf(c stead.Content) (fields, *model.Error) {
	fallback := "image/jpeg"
	switch c.Type {
	case stead.ContentInputFile:
		fallback = "application/pdf"
	case stead.ContentInputImage:
	default:
		return fields{"text": c.Text.Inline}, nil
	}
	mediaType, data, inline, err := upstream.DataURL(c.Text.Inline)
	if err != nil {
		return nil, err
	}
	if inline {
		return fields{"inlineData": fields{"mimeType": mediaType, "data": data}}, nil
	}
	address, _, _ := strings.Cut(c.Text.Inline, "?")
	if known, _, e := mime.ParseMediaType(mime.TypeByExtension(path.Ext(address))); e == nil {
		fallback = known
	}
	return fields{"fileData": fields{"mimeType": fallback, "fileUri": c.Text.Inline}}, nil
}
