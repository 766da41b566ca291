package session

import (
	"bufio"
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"hash"
	"io"
	"strings"

	"github.com/stead-dev/stead"
)

// Limits of reading an export.
const (
	// maxEventLine is the longest line of an event: its JSON may be escaped otherwise than ours.
	maxEventLine = 2 * stead.MaxEventBytes
	// maxExportEventBytes is the most that all events of a file hold, since they are kept in memory.
	maxExportEventBytes = 512 << 20
	// maxReplyItems is the most items of one reply, and parts of one item.
	maxReplyItems = 4096
	// maxExportLine is the longest line: a blob of MaxTextBytes in base64, its digest and its keys.
	maxExportLine = (stead.MaxTextBytes+2)/3*4 + 256
)

// ReadExport reads an export and checks all of it: the order and the counts, the checksum, that the
// events fold, that each blob is what its digest says and that none is missing. blob is called with
// each blob as it is read; what it stored must be thrown away when ReadExport fails. Errors of blob
// are returned as they are; a file that is not in order is KindInvalid, and the message names the
// line; one above a limit is KindTooLarge. hold is told how many bytes are kept in memory more than before,
// before they are there, and may refuse: its errors are returned as they are; nil: nobody counts.
func ReadExport(r io.Reader, hold func(bytes int) error, blob func(digest string, data []byte) error) (ExportHeader, []stead.Event, error) {
	if hold == nil {
		hold = func(int) error { return nil }
	}
	rd := &importer{r: bufio.NewReaderSize(r, 64<<10), sum: sha256.New(), hold: hold, blob: blob}
	if err := rd.file(); err != nil {
		return ExportHeader{}, nil, err
	}
	return rd.header, rd.events, nil
}

type importer struct {
	r    *bufio.Reader
	sum  hash.Hash // of all lines before the present one
	n    int       // lines read
	buf  []byte
	kept int // of the longest line so far, with what it says
	hold func(bytes int) error
	blob func(string, []byte) error

	header  ExportHeader
	events  []stead.Event
	bytes   int
	state   *State
	missing map[string]bool // blobs that the events refer to and that have not come; nil before the first
	blobs   int
}

func (i *importer) file() error {
	line, err := i.next()
	if err != nil {
		return err
	}
	if err := i.first(line); err != nil {
		return err
	}
	i.sum.Write(line)
	for {
		if line, err = i.next(); err != nil {
			return err
		}
		var l exportLine
		if err := i.decode(line, &l); err != nil {
			return err
		}
		switch {
		case l.Event != nil && l.Blob == nil && l.End == nil:
			err = i.event(*l.Event, len(line))
		case l.Blob != nil && l.Event == nil && l.End == nil:
			err = i.take(*l.Blob)
		case l.End != nil && l.Event == nil && l.Blob == nil:
			return i.end(*l.End)
		default:
			err = i.invalid(nil, "it is neither an event nor a blob nor the end")
		}
		if err != nil {
			return err
		}
		i.sum.Write(line)
	}
}

// next reads a line with its newline. It is valid until the next call.
func (i *importer) next() ([]byte, error) {
	i.n++
	i.buf = i.buf[:0]
	for {
		part, err := i.r.ReadSlice('\n')
		if err := i.keep(len(i.buf) + len(part)); err != nil {
			return nil, err
		}
		i.buf = append(i.buf, part...)
		switch {
		case len(i.buf) > maxExportLine:
			return nil, stead.Errorf(stead.KindTooLarge, "line %d of the export is longer than the limit of %d bytes", i.n, maxExportLine)
		case err == nil:
			return i.buf, nil
		case errors.Is(err, bufio.ErrBufferFull):
		case errors.Is(err, io.EOF):
			return nil, i.invalid(nil, "the file ends before its last line")
		default:
			return nil, stead.Wrap(stead.KindUnavailable, err, "the export can't be read on at line %d", i.n)
		}
	}
}

// keep counts a line that is longer than those before, and what is decoded of it.
func (i *importer) keep(line int) error {
	more := 2*line - i.kept
	if more <= 0 {
		return nil
	}
	if err := i.hold(more); err != nil {
		return err
	}
	i.kept += more
	return nil
}

func (i *importer) invalid(cause error, what string) error {
	return stead.Wrap(stead.KindInvalid, cause, "line %d of the export: %s", i.n, what)
}

func (i *importer) decode(line []byte, into any) error {
	d := json.NewDecoder(bytes.NewReader(line))
	d.DisallowUnknownFields()
	if err := d.Decode(into); err != nil {
		return i.invalid(err, "it is not the JSON of this format")
	}
	if _, err := d.Token(); !errors.Is(err, io.EOF) {
		return i.invalid(err, "there is more than one value in it")
	}
	return nil
}

func (i *importer) first(line []byte) error {
	var kind struct {
		Format  string `json:"format"`
		Version int    `json:"version"`
	}
	if err := json.Unmarshal(line, &kind); err != nil || kind.Format != ExportFormat {
		return i.invalid(err, "this is not an export of a session")
	}
	if kind.Version != ExportVersion {
		return stead.Errorf(stead.KindInvalid, "the export is of version %d; this server reads version %d", kind.Version, ExportVersion)
	}
	if err := i.decode(line, &i.header); err != nil {
		return err
	}
	if i.header.Events > stead.MaxImportEvents {
		return stead.Errorf(stead.KindTooLarge, "an export of %d events is above the limit of %d", i.header.Events, stead.MaxImportEvents)
	}
	i.state = NewState(stead.SessionKey{Project: i.header.Project, Session: i.header.Session})
	return nil
}

func (i *importer) event(e stead.Event, size int) error {
	i.bytes += len(e.Data)
	switch {
	case size > maxEventLine || len(e.Data) > stead.MaxEventBytes:
		return stead.Errorf(stead.KindTooLarge, "line %d of the export: an event is larger than the limit of %d bytes", i.n, stead.MaxEventBytes)
	case i.bytes > maxExportEventBytes:
		return stead.Errorf(stead.KindTooLarge, "the events of the export are larger than the limit of %d bytes", maxExportEventBytes)
	case i.missing != nil:
		return i.invalid(nil, "an event follows a blob")
	case len(i.events) >= i.header.Events:
		return i.invalid(nil, "there are more events than the first line says")
	case e.Seq != stead.Seq(len(i.events)+1):
		return i.invalid(nil, "events are not in order")
	case e.Seq == 1 && e.Kind != KindSessionCreated && e.Kind != KindEnvironmentCreated:
		return i.invalid(nil, "a session begins with "+KindSessionCreated+", or with the "+KindEnvironmentCreated+" of what it attached")
	case e.Kind == KindSessionCreated && CreatedAt(i.events) >= 0:
		return i.invalid(nil, "a session is created once")
	case strings.Contains(e.Kind, "@"): // which stands between kind and thread where events are stored
		return i.invalid(nil, "no kind of event has a @")
	case e.Thread != 0 && (i.state.Subagent(e.Thread) == nil || sessionWide(e.Kind)):
		return i.invalid(nil, "the event is of a thread that is not there, or of none")
	}
	if err := i.bounded(e); err != nil {
		return err
	}
	if err := i.hold(size); err != nil {
		return err
	}
	if err := i.state.Apply(e); err != nil {
		return i.invalid(err, "the event can't be read")
	}
	if len(i.state.Subagents) > stead.MaxSubagents {
		return i.invalid(nil, "it makes more subagents than a session may have")
	}
	i.events = append(i.events, e)
	return nil
}

// bounded refuses counts that a runner never writes and that folding relies on.
func (i *importer) bounded(e stead.Event) error {
	ok := true
	switch e.Kind {
	case KindModelStreamed:
		p, err := Decode[ModelStreamed](e)
		if err != nil {
			return i.invalid(err, "the event can't be read")
		}
		for _, s := range p.Segments {
			ok = ok && inReply(s.Index) && inReply(s.Part)
		}
	case KindModelReplied:
		p, err := Decode[ModelReplied](e)
		if err != nil {
			return i.invalid(err, "the event can't be read")
		}
		ok = len(p.Items) <= maxReplyItems
		for _, it := range p.Items {
			for _, n := range it.Streamed {
				ok = ok && n >= 0
			}
		}
	}
	if !ok {
		return i.invalid(nil, "the event has an index out of range")
	}
	return nil
}

func inReply(n int) bool { return n >= 0 && n < maxReplyItems }

// wanted begins the blobs: all events are there.
func (i *importer) wanted() error {
	if i.missing != nil {
		return nil
	}
	if len(i.events) != i.header.Events || len(i.events) == 0 {
		return i.invalid(nil, "there are fewer events than the first line says")
	}
	if CreatedAt(i.events) < 0 {
		return i.invalid(nil, "there is no "+KindSessionCreated)
	}
	i.missing = map[string]bool{}
	for _, d := range Digests(i.events) {
		i.missing[d] = true
	}
	return nil
}

func (i *importer) take(b exportBlob) error {
	if err := i.wanted(); err != nil {
		return err
	}
	switch {
	case len(b.Data) > stead.MaxTextBytes:
		return stead.Errorf(stead.KindTooLarge, "line %d of the export: a blob is larger than the limit of %d bytes", i.n, stead.MaxTextBytes)
	case digestOf(b.Data) != b.Digest:
		return i.invalid(nil, "the blob is not what its digest says")
	case !i.missing[b.Digest]:
		return i.invalid(nil, "no event refers to the blob, or it came before")
	}
	delete(i.missing, b.Digest)
	i.blobs++
	return i.blob(b.Digest, b.Data)
}

func (i *importer) end(e exportEnd) error {
	if err := i.wanted(); err != nil {
		return err
	}
	if len(i.missing) > 0 {
		return i.invalid(nil, "a blob that the events refer to is missing")
	}
	if e.Events != len(i.events) || e.Blobs != i.blobs {
		return i.invalid(nil, "the counts are not those of the file")
	}
	if e.SHA256 != hex.EncodeToString(i.sum.Sum(nil)) {
		return i.invalid(nil, "the checksum is not the file's: it was changed or damaged")
	}
	if _, err := i.r.ReadByte(); !errors.Is(err, io.EOF) {
		return i.invalid(err, "something follows the last line")
	}
	return nil
}
