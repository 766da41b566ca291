package session

import (
	"bytes"
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"hash"
	"io"
	"maps"
	"slices"

	"github.com/stead-dev/stead"
)

// The export format: a whole session as JSON lines (UTF-8, each line ends with "\n").
//
//	{"format":"stead.session","version":1,"session":"sess_…","project":"default","events":2,"exported_at":1790000000000}
//	{"event":{"seq":1,"at":…,"kind":"session.created","data":{…}}}
//	{"event":{"seq":2,…}}
//	{"blob":{"digest":"<64 hex digits>","data":"<base64>"}}
//	{"end":{"events":2,"blobs":1,"sha256":"<64 hex digits>"}}
//
// The header tells how many events follow; they are the journal as it is, from Seq 1. Then comes
// every blob that the events refer to, once. The last line counts both, and holds the SHA-256 of
// all bytes before it, so that a file that was cut or garbled is refused whole.
//
// Units: exported_at is in Unix milliseconds. Limits: see MaxImportEvents, MaxTextBytes and the
// constants below.

// ExportFormat and ExportVersion name the format.
const (
	ExportFormat  = "stead.session"
	ExportVersion = 1
)

// ExportHeader is the first line of an export.
type ExportHeader struct {
	Format     string          `json:"format"`
	Version    int             `json:"version"`
	Session    stead.SessionID `json:"session"`
	Project    stead.ProjectID `json:"project"`
	Events     int             `json:"events"`
	ExportedAt int64           `json:"exported_at"` // Unix milliseconds
}

// exportLine is every later line: exactly one field is set.
type exportLine struct {
	Event *stead.Event `json:"event,omitempty"`
	Blob  *exportBlob  `json:"blob,omitempty"`
	End   *exportEnd   `json:"end,omitempty"`
}

type exportBlob struct {
	Digest string `json:"digest"`
	Data   []byte `json:"data"` // base64
}

type exportEnd struct {
	Events int    `json:"events"`
	Blobs  int    `json:"blobs"`
	SHA256 string `json:"sha256"`
}

// Exporter writes an export: first all events, then all blobs, then Close.
type Exporter struct {
	w      io.Writer
	sum    hash.Hash
	header ExportHeader
	events int
	blobs  int
	err    error
}

// NewExporter begins an export of so many events.
func NewExporter(w io.Writer, key stead.SessionKey, events int, at int64) *Exporter {
	x := &Exporter{w: w, sum: sha256.New()}
	x.header = ExportHeader{
		Format: ExportFormat, Version: ExportVersion, Session: key.Session, Project: key.Project,
		Events: events, ExportedAt: at,
	}
	x.line(x.header)
	return x
}

// Event writes the next event of the journal.
func (x *Exporter) Event(e stead.Event) error {
	x.events++
	if x.err == nil && (x.blobs > 0 || int(e.Seq) != x.events) {
		x.err = fmt.Errorf("export session %s: event %d is out of order", x.header.Session, e.Seq)
	}
	return x.line(exportLine{Event: &e})
}

// Blob writes a blob that the events refer to.
func (x *Exporter) Blob(data []byte) error { return x.BlobFrom(digestOf(data), bytes.NewReader(data)) }

// BlobFrom writes a blob as it is read: it is never in memory as a whole, however slowly the export is
// taken. The reader's errors are returned as they are.
func (x *Exporter) BlobFrom(digest string, from io.Reader) error {
	x.blobs++
	if x.err != nil {
		return x.err
	}
	to := io.MultiWriter(x.sum, x.w)
	_, x.err = io.WriteString(to, `{"blob":{"digest":"`+digest+`","data":"`)
	encoder := base64.NewEncoder(base64.StdEncoding, to)
	if x.err == nil {
		_, x.err = io.Copy(encoder, from)
	}
	if x.err == nil {
		x.err = encoder.Close()
	}
	if x.err == nil {
		_, x.err = io.WriteString(to, "\"}}\n")
	}
	return x.err
}

// Close writes the last line. It fails when another number of events was written than announced.
func (x *Exporter) Close() error {
	if x.err == nil && x.events != x.header.Events {
		x.err = fmt.Errorf("export session %s: %d events written, %d announced", x.header.Session, x.events, x.header.Events)
	}
	return x.line(exportLine{End: &exportEnd{Events: x.events, Blobs: x.blobs, SHA256: hex.EncodeToString(x.sum.Sum(nil))}})
}

func (x *Exporter) line(v any) error {
	if x.err != nil {
		return x.err
	}
	var buf bytes.Buffer
	enc := json.NewEncoder(&buf) // ends with a newline
	enc.SetEscapeHTML(false)
	if x.err = enc.Encode(v); x.err != nil {
		return x.err
	}
	x.sum.Write(buf.Bytes())
	_, x.err = x.w.Write(buf.Bytes())
	return x.err
}

func digestOf(data []byte) string {
	sum := sha256.Sum256(data)
	return hex.EncodeToString(sum[:])
}

// Digests returns the blobs that events refer to, each once, in order of first use. What a workspace
// held that has expired since is not among them, unless something else holds it too.
func Digests(events []stead.Event) []string { return digests(events, false, false) }

// EveryDigest is Digests with those of what is, or was, stored apart: no journal needs these, and a session that is erased has them.
func EveryDigest(events []stead.Event) []string { return digests(events, true, true) }

// Named is Digests with those that nothing needs but what was under way when they were dropped: see Dropped. A sweep keeps them.
func Named(events []stead.Event) []string { return digests(events, false, true) }

func digests(events []stead.Event, withApart, withDropped bool) []string {
	skip := func(key string) bool { return key == droppedKey && !withDropped }
	var out []string
	seen := map[string]bool{}
	expired := slices.IndexFunc(events, expires) // what events before it say of a workspace is over; -1: never
	for i, e := range events {
		if !bytes.Contains(e.Data, []byte(`"blob"`)) || !withApart && apart(e) {
			continue
		}
		var payload any
		if json.Unmarshal(e.Data, &payload) != nil {
			continue // folding it fails, with a better message
		}
		if i < expired {
			payload = withoutWorkspace(e.Kind, payload)
		}
		walkDigests(payload, skip, func(d string) {
			if !seen[d] {
				seen[d] = true
				out = append(out, d)
			}
		})
	}
	return out
}

// withoutWorkspace takes out of a payload what only the session's workspace needed.
func withoutWorkspace(kind string, payload any) any {
	switch kind {
	case KindInputFile:
		return nil
	case KindEnvironmentPrepared, KindEnvironmentCheckpointed, KindEnvironmentSuspended:
		if fields, ok := payload.(map[string]any); ok {
			delete(fields, "blobs") // artifacts stay
			delete(fields, droppedKey)
		}
	}
	return payload
}

// walkDigests finds the objects that are the JSON of a stead.Text in a blob. Arguments of calls and
// what an agent declares are other people's JSON, and hold none.
func walkDigests(v any, skip func(key string) bool, found func(string)) {
	switch v := v.(type) {
	case []any:
		for _, x := range v {
			walkDigests(x, skip, found)
		}
	case map[string]any:
		digest, isString := v["blob"].(string)
		_, isNumber := v["bytes"].(float64)
		if len(v) == 2 && isString && isNumber {
			found(digest)
			return
		}
		for _, k := range slices.Sorted(maps.Keys(v)) {
			if !skip(k) && k != "arguments" && k != "agent" && k != "tools" && k != "environment" && k != "config" && k != "object" && k != "request" && k != "spec" {
				walkDigests(v[k], skip, found)
			}
		}
	}
}
