package server

import (
	"context"
	"encoding/base64"
	"encoding/json"
	"io"
	"net/http"
	"path"
	"strings"

	"github.com/stead-dev/stead"
	"github.com/stead-dev/stead/internal/file"
	"github.com/stead-dev/stead/internal/param"
)

// MaxPromptFileBytes is the largest uploaded file that a prompt can name: in base64 it is a text of a prompt like any other.
const MaxPromptFileBytes = (stead.MaxTextBytes - 1024) / 4 * 3

// inlined puts uploaded files into a prompt where it names them by id ({"type": "input_file", "file_id": …}, input_image,
// and chat's file): no provider knows ids of ours, and what was said stays what it was when a file is deleted. The ids
// of others are left: an upstream that a call is passed on to may know them, and every reader here refuses them.
func (s *server) inlined(ctx context.Context, p stead.Principal, req request) (request, error) {
	if s.Files == nil || !namesFile(req.raw) {
		return req, nil
	}
	in := inliner{s: s, ctx: ctx, p: p, left: stead.MaxRequestBytes}
	for _, name := range []string{"input", "messages", "items"} {
		raw, ok := req.Raw(name)
		if !ok {
			continue
		}
		list, changed, err := in.list(name, raw, in.item)
		if err != nil {
			return req, err
		}
		if changed {
			req.Object = req.With(name, list)
		}
	}
	if in.left < stead.MaxRequestBytes {
		req.raw = req.JSON()
	}
	return req, nil
}

// namesFile reports whether there may be a file's id in a prompt. It looks for the rarest character of the word, since
// bytes.Contains compares at every byte once it has met some quotation marks: a tenth of what a forwarded call with a
// long prompt costs beside a bare proxy.
func namesFile(b []byte) bool {
	return param.Mentions(b, `"file`, `_id"`)
}

// inliner replaces parts of one request.
type inliner struct {
	s    *server
	ctx  context.Context
	p    stead.Principal
	left int64 // bytes that may still be put in
}

type members = map[string]json.RawMessage

// list replaces entries of a list of objects. What is none is left to whoever reads the request.
func (in *inliner) list(at string, raw json.RawMessage, replace func(path string, o members) (bool, error)) (json.RawMessage, bool, error) {
	var list []json.RawMessage
	if json.Unmarshal(raw, &list) != nil {
		return raw, false, nil
	}
	changed := false
	for i, entry := range list {
		var o members
		if json.Unmarshal(entry, &o) != nil || o == nil {
			continue
		}
		yes, err := replace(param.Index(at, i), o)
		if err != nil {
			return nil, false, err
		}
		if yes {
			changed, list[i] = true, mustJSON(o)
		}
	}
	if !changed {
		return raw, false, nil
	}
	return mustJSON(list), true, nil
}

// item replaces parts of a message or of a function's output.
func (in *inliner) item(at string, o members) (bool, error) {
	any := false
	for _, field := range []string{"content", "output"} {
		parts, changed, err := in.list(at+"."+field, o[field], in.part)
		if err != nil {
			return false, err
		}
		if changed {
			any, o[field] = true, parts
		}
	}
	return any, nil
}

func (in *inliner) part(at string, o members) (bool, error) {
	switch textOf(o["type"]) {
	case "input_file":
		return in.put(at, o, "file_data", "file_url")
	case "input_image":
		return in.put(at, o, "image_url", "")
	case "file":
		var inner members
		if json.Unmarshal(o["file"], &inner) != nil || inner == nil {
			return false, nil
		}
		changed, err := in.put(at+".file", inner, "file_data", "")
		if changed {
			o["file"] = mustJSON(inner)
		}
		return changed, err
	}
	return false, nil
}

// put replaces file_id by what the file holds. A part that says something else as well is left.
func (in *inliner) put(at string, o members, field, other string) (bool, error) {
	id := textOf(o["file_id"])
	if id == "" || o[field] != nil || o[other] != nil {
		return false, nil
	}
	f, data, err := in.read(at+".file_id", id)
	if err != nil || data == nil {
		return false, err
	}
	media := mediaType(f.Filename, data)
	if field == "image_url" {
		if !strings.HasPrefix(media, "image/") {
			return false, stead.Invalid(at+".file_id", "%s: file %.80q holds no picture but %s: send it as input_file", at+".file_id", id, media)
		}
	} else if o["filename"] == nil {
		o["filename"] = mustJSON(f.Filename)
	}
	delete(o, "file_id")
	o[field] = mustJSON("data:" + media + ";base64," + base64.StdEncoding.EncodeToString(data))
	return true, nil
}

// read returns a file of the project; nil data when there is no such file.
func (in *inliner) read(at, id string) (file.File, []byte, error) {
	r, f, err := in.s.Files.Content(in.ctx, in.p, id)
	if stead.KindOf(err) == stead.KindNotFound || stead.KindOf(err) == stead.KindInvalid {
		return f, nil, nil
	}
	if err != nil {
		return f, nil, err
	}
	defer r.Close()
	if f.Bytes > MaxPromptFileBytes {
		return f, nil, stead.Invalid(at, "%s: file %.80q has %d bytes, and at most %d can be put into a prompt", at, id, f.Bytes, MaxPromptFileBytes)
	}
	if in.left -= int64(base64.StdEncoding.EncodedLen(int(f.Bytes))); in.left < 0 {
		return f, nil, stead.Invalid(at, "%s: with file %.80q the files of the prompt are larger than %d bytes", at, id, stead.MaxRequestBytes)
	}
	data, err := io.ReadAll(r)
	if data == nil {
		data = []byte{}
	}
	return f, data, err
}

// mediaType is what providers tell documents apart by: by the file's name where its bytes don't say.
func mediaType(name string, data []byte) string {
	known := map[string]string{
		".md": "text/markdown", ".csv": "text/csv", ".html": "text/html", ".htm": "text/html", ".json": "application/json", ".xml": "text/xml",
		".pdf": "application/pdf", ".doc": "application/msword", ".docx": "application/vnd.openxmlformats-officedocument.wordprocessingml.document",
		".xls": "application/vnd.ms-excel", ".xlsx": "application/vnd.openxmlformats-officedocument.spreadsheetml.sheet",
		".pptx": "application/vnd.openxmlformats-officedocument.presentationml.presentation",
	}
	if media := known[strings.ToLower(path.Ext(name))]; media != "" {
		return media
	}
	media, _, _ := strings.Cut(http.DetectContentType(data), ";")
	return media
}

func textOf(raw json.RawMessage) string {
	text, _ := asString(raw)
	return text
}

// mustJSON writes what always can be: texts, and JSON that was read.
func mustJSON(v any) json.RawMessage {
	raw, err := json.Marshal(v)
	if err != nil {
		return json.RawMessage("null")
	}
	return raw
}
