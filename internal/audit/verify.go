package audit

import (
	"bufio"
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"slices"

	"github.com/stead-dev/stead"
)

// An export is lines of JSON, each with its end, in the one form in which they are written: a byte that says nothing is found as well.
//
//	{"stead_audit":1,"project":"default","key":"stead+…"}     the first line; of a log that was pruned with "begins" and "tree"
//	{"seq":1,"prev":"…", …}                                   a record, in the bytes that are hashed
//	{"text":{"digest":"…","salt":"…","text":"…"}}             what somebody wrote into the record before it; not there once it was erased
//	{"checkpoint":"stead/default\n2\n…"}                      behind the records that it covers

// exportVersion is that of the form of exports.
const exportVersion = 1

type header struct {
	Version int             `json:"stead_audit"`
	Project stead.ProjectID `json:"project"`
	Key     string          `json:"key"`
	// Begins is behind how many records the log begins, and Tree the right edge of theirs (Tree.Bytes): those were removed.
	Begins int64  `json:"begins,omitempty"`
	Tree   []byte `json:"tree,omitempty"`
}

type noteLine struct {
	Checkpoint string `json:"checkpoint"`
}

type textLine struct {
	Text exportedText `json:"text"`
}

type exportedText struct {
	Digest string `json:"digest"`
	Salt   []byte `json:"salt"`
	Text   string `json:"text"`
}

// TextLine is a text as exports have it, behind its record, without its end.
func TextLine(t Text) ([]byte, error) {
	return json.Marshal(textLine{exportedText{t.Digest, t.Salt, t.Text}})
}

// CheckpointLine is a checkpoint as exports have it, without its end.
func CheckpointLine(n Note) ([]byte, error) { return json.Marshal(noteLine{n.Text}) }

// Exporter writes an export.
type Exporter struct {
	w     *bufio.Writer
	notes []Note // that were not written yet, the smallest first
}

// NewExporter begins an export of a log with a base, which is the zero Tree unless it was pruned. The notes must be in order of
// their sizes; of a pruned log the first is of the base.
func NewExporter(w io.Writer, project stead.ProjectID, key string, base Tree, notes []Note) (*Exporter, error) {
	e := &Exporter{bufio.NewWriter(w), notes}
	h := header{Version: exportVersion, Project: project, Key: key, Begins: base.Size}
	if base.Size > 0 {
		h.Tree = base.Bytes()
	}
	if err := e.line(h); err != nil || base.Size == 0 {
		return e, err
	}
	return e, e.notesUpTo(base.Size)
}

func (e *Exporter) notesUpTo(size int64) error {
	for len(e.notes) > 0 && e.notes[0].Size <= size {
		if err := e.line(noteLine{e.notes[0].Text}); err != nil {
			return err
		}
		e.notes = e.notes[1:]
	}
	return nil
}

// Record writes a record, its texts, and the checkpoints that end with it. Records come in order.
func (e *Exporter) Record(row Row) error {
	if _, err := e.w.Write(row.Data); err != nil {
		return err
	}
	if err := e.w.WriteByte('\n'); err != nil {
		return err
	}
	for _, t := range row.Texts {
		if err := e.line(textLine{exportedText{t.Digest, t.Salt, t.Text}}); err != nil {
			return err
		}
	}
	return e.notesUpTo(row.Seq)
}

// Close writes what is left.
func (e *Exporter) Close() error {
	for _, n := range e.notes {
		if err := e.line(noteLine{n.Text}); err != nil {
			return err
		}
	}
	return e.w.Flush()
}

func (e *Exporter) line(v any) error {
	b, err := json.Marshal(v)
	if err == nil {
		_, err = e.w.Write(append(b, '\n'))
	}
	return err
}

// Problem is what is wrong with an export, and where.
type Problem struct {
	Line   int   // of the file, from 1
	Record int64 // the first place in the log that can't be believed; 0: it is about none
	What   string
}

func (p *Problem) Error() string {
	if p.Record > 0 {
		return fmt.Sprintf("line %d, record %d: %s", p.Line, p.Record, p.What)
	}
	return fmt.Sprintf("line %d: %s", p.Line, p.What)
}

// Verified is what was found of an export without a Problem.
type Verified struct {
	Project     stead.ProjectID
	Begins      int64 // behind how many records the log begins; they were removed
	Records     int64 // the place of the last
	Uncompared  int   // earlier checkpoints of fewer records than were removed: nothing is known of them
	Checkpoints int
	Texts       int        // that people wrote into records, and are what the records were made of
	Erased      int        // those that the records name and the export does not have: they were erased
	Last        Checkpoint // covers all records
	Key         string     // named by the export itself: proves nothing unless the reader knows it
}

// Verify reads an export and returns the first thing that is wrong with it, as a *Problem. keys are
// those by which checkpoints may be signed; none: the one that the export names. earlier are
// checkpoints that were kept apart from the server: the log must hold what they say, so that one
// that was cut short, or written anew with the server's own key, is found too.
func Verify(r io.Reader, keys []Verifier, earlier []Checkpoint) (Verified, error) {
	v := &verifier{keys: keys, earlier: map[int64][]Checkpoint{}}
	for _, c := range earlier {
		v.earlier[c.Size] = append(v.earlier[c.Size], c)
	}
	in := bufio.NewScanner(r)
	in.Buffer(nil, MaxRecordBytes+1) // with the line's end
	in.Split(wholeLines)
	for in.Scan() {
		v.line++
		line, ended := bytes.CutSuffix(in.Bytes(), []byte("\n"))
		if err := v.read(line); err != nil {
			return v.found, err
		}
		if !ended {
			return v.found, v.problem(v.at(), "the line has no end: something was cut off")
		}
	}
	if err := in.Err(); errors.Is(err, bufio.ErrTooLong) {
		v.line++
		return v.found, v.problem(v.tree.Size+1, "the line is longer than %d bytes", MaxRecordBytes)
	} else if err != nil {
		return v.found, stead.Wrap(stead.KindUnavailable, err, "the export can't be read")
	}
	return v.end()
}

// wholeLines splits behind the ends of lines, and leaves these and all else as it is.
func wholeLines(data []byte, atEOF bool) (advance int, token []byte, err error) {
	if i := bytes.IndexByte(data, '\n'); i >= 0 {
		return i + 1, data[:i+1], nil
	}
	if atEOF && len(data) > 0 {
		return len(data), data, nil
	}
	return 0, nil, nil
}

// written reports whether a line is what v is written as.
func written(line []byte, v any) bool {
	b, err := json.Marshal(v)
	return err == nil && bytes.Equal(b, line)
}

// notWritten is what is wrong with a line that says what it should in other bytes than it was written in.
const notWritten = "the line is not as it was written: something that says nothing was added to it, or changed"

type verifier struct {
	keys    []Verifier
	earlier map[int64][]Checkpoint // by size, those that are not seen yet

	line  int
	tree  Tree
	found Verified
	// doubt is that a checkpoint does not hold. The record that follows may say more exactly where: it
	// names the one that was there before it.
	doubt error
	owed  []string // digests of texts of the record before, which were not seen
	bare  bool     // the log begins behind records that no checkpoint has covered yet
}

// at is the first place in the log that can't be believed if this line can't.
func (v *verifier) at() int64 { return v.found.Last.Size + 1 }

func (v *verifier) problem(record int64, format string, args ...any) error {
	return &Problem{v.line, record, fmt.Sprintf(format, args...)}
}

func (v *verifier) read(line []byte) error {
	switch {
	case v.line == 1:
		return v.header(line)
	case bytes.HasPrefix(line, []byte(`{"checkpoint":`)):
		var n noteLine
		if err := json.Unmarshal(line, &n); err != nil {
			return v.problem(v.at(), "this is no checkpoint")
		}
		if !written(line, n) {
			return v.problem(v.at(), notWritten)
		}
		return v.checkpoint(n.Checkpoint)
	case bytes.HasPrefix(line, []byte(`{"text":`)):
		return v.text(line)
	}
	return v.record(line)
}

// text holds what somebody wrote against the record that it stands behind. One that is not there was erased.
func (v *verifier) text(line []byte) error {
	var l textLine
	if err := json.Unmarshal(line, &l); err != nil {
		return v.problem(v.tree.Size, "this is no text of it")
	}
	if !written(line, l) {
		return v.problem(v.tree.Size, notWritten)
	}
	at := slices.Index(v.owed, l.Text.Digest)
	if at < 0 {
		return v.problem(v.tree.Size, "here stands a text that it does not have")
	}
	if t := (Text{Digest: l.Text.Digest, Salt: l.Text.Salt, Text: l.Text.Text}); !t.holds() {
		return v.problem(v.tree.Size, "the text behind it is not the one that was written")
	}
	v.owed = slices.Delete(v.owed, at, at+1)
	v.found.Texts, v.found.Erased = v.found.Texts+1, v.found.Erased-1
	return nil
}

func (v *verifier) header(line []byte) error {
	var h header
	if json.Unmarshal(line, &h) != nil || h.Version != exportVersion {
		return v.problem(0, "this is no export of an audit log of version %d, which begins with what `stead audit export` writes first: {\"stead_audit\":%d,\"project\":…,\"key\":…}", exportVersion, exportVersion)
	}
	if !written(line, h) {
		return v.problem(0, notWritten)
	}
	v.found.Project, v.found.Key, v.found.Begins = h.Project, h.Key, h.Begins
	base, err := TreeOf(h.Begins, h.Tree)
	if err != nil {
		return v.problem(0, "the export does not say what the log begins behind")
	}
	v.tree, v.found.Records, v.bare = base, base.Size, base.Size > 0
	if !v.keepOwn() {
		return v.problem(0, "it is of project %.80q, and none of the earlier checkpoints is", h.Project)
	}
	for size := range v.earlier {
		if size < base.Size {
			v.found.Uncompared += len(v.earlier[size])
			delete(v.earlier, size)
		}
	}
	v.compare()
	if len(v.keys) > 0 {
		return nil
	}
	key, err := ParseVerifier(h.Key)
	if err != nil {
		return v.problem(0, "the export names no key")
	}
	v.keys = []Verifier{key}
	return nil
}

// keepOwn leaves out earlier checkpoints of other projects, since a stream brings those of all. false: there were some, and none is of this one.
func (v *verifier) keepOwn() bool {
	some := len(v.earlier) > 0
	for size, all := range v.earlier {
		if all = slices.DeleteFunc(all, func(c Checkpoint) bool { return c.Project != v.found.Project }); len(all) == 0 {
			delete(v.earlier, size)
		} else {
			v.earlier[size] = all
		}
	}
	return !some || len(v.earlier) > 0
}

func (v *verifier) record(line []byte) error {
	next := v.tree.Size + 1
	r, err := Decode(line)
	switch {
	case err != nil:
		return v.problem(next, "this is no record")
	case v.bare:
		return v.problem(next, "no checkpoint covers the %d records that the log begins behind", v.found.Begins)
	case r.Seq > next:
		return v.problem(next, "it is missing, or not in its place: here is record %d", r.Seq)
	case r.Seq < next:
		return v.problem(r.Seq, "it stands here again, or not in its place, where record %d is expected", next)
	case r.Project != v.found.Project:
		return v.problem(next, "it is of project %.80q, not %.80q", r.Project, v.found.Project)
	case r.Prev != v.tree.Last && next == 1:
		return v.problem(next, "the first record names one before it")
	case r.Prev != v.tree.Last:
		return v.problem(next-1, "it is not the one that was recorded: record %d names another before it", next)
	case v.doubt != nil:
		return v.doubt
	}
	v.tree = v.tree.Add(LeafHash(line))
	v.found.Records, v.owed = v.tree.Size, r.digests()
	v.found.Erased += len(v.owed) // until they are seen
	v.compare()
	return nil
}

// compare holds the tree against the earlier checkpoints of its size.
func (v *verifier) compare() {
	for _, c := range v.earlier[v.tree.Size] {
		if c.Root != v.tree.Root() {
			v.doubt = v.problem(v.found.Last.Size+1, "the log is not the one of the earlier checkpoint of %d records", c.Size)
		}
	}
	delete(v.earlier, v.tree.Size)
}

func (v *verifier) checkpoint(note string) error {
	from := v.at() // everything up to there is believed
	c, err := Open(note, v.keys)
	switch {
	case err != nil:
		return v.problem(from, "%s", err)
	case !plainNote(note):
		return v.problem(from, "the checkpoint of %d records: behind its signature stands what this log does not sign", c.Size)
	case c.Project != v.found.Project:
		return v.problem(from, "the checkpoint is of project %.80q, not %.80q", c.Project, v.found.Project)
	case c.Size > v.tree.Size:
		return v.problem(v.tree.Size+1, "it is missing: the checkpoint covers %d records", c.Size)
	case c.Size < v.tree.Size:
		return v.problem(from, "the checkpoint of %d records stands behind %d", c.Size, v.tree.Size)
	case c.Root != v.tree.Root():
		v.doubt = v.problem(from, "the records %d to %d are not those that the checkpoint was signed over", from, c.Size)
	}
	if v.doubt != nil {
		return nil
	}
	v.bare = false
	v.found.Last = c
	v.found.Checkpoints++
	return nil
}

func (v *verifier) end() (Verified, error) {
	v.line++
	if v.line == 1 {
		return v.found, v.problem(0, "the file is empty")
	}
	if v.doubt != nil {
		return v.found, v.doubt
	}
	for size := range v.earlier {
		return v.found, v.problem(v.tree.Size+1, "it is missing: an earlier checkpoint covers %d records", size)
	}
	if v.bare || v.found.Last.Size < v.tree.Size {
		return v.found, v.problem(v.found.Last.Size+1, "no checkpoint covers it and what follows")
	}
	if v.found.Checkpoints == 0 { // nobody has signed that there is nothing
		return v.found, v.problem(v.tree.Size+1, "it is missing, or was never there: the export has no checkpoint")
	}
	return v.found, nil
}

// Checkpoints returns the checkpoints of an export that was verified before: what Verify can be told
// of the next one.
func Checkpoints(r io.Reader, keys []Verifier) ([]Checkpoint, error) {
	var out []Checkpoint
	in := newNotes(r, keys)
	for in.next() {
		c, err := Open(in.note, in.keys)
		if err != nil {
			return nil, &Problem{in.line, 0, err.Error()}
		}
		out = append(out, c)
	}
	if err := in.lines.Err(); err != nil {
		return nil, stead.Wrap(stead.KindUnavailable, err, "the earlier export can't be read")
	}
	if len(out) == 0 { // a log that is held against nothing would be found to agree with it
		return nil, &Problem{in.line, 0, "there is no checkpoint in it, and so nothing that a later log could be held against"}
	}
	return out, nil
}

// notes reads the signed notes of an export, and passes over its records.
type notes struct {
	lines *bufio.Scanner
	line  int        // of note
	note  string     // the one that next has found
	keys  []Verifier // that were given, or the one that the export names
}

func newNotes(r io.Reader, keys []Verifier) *notes {
	n := &notes{lines: bufio.NewScanner(r), keys: keys}
	n.lines.Buffer(nil, MaxRecordBytes)
	return n
}

// next finds the next note; false: there are no more.
func (n *notes) next() bool {
	for n.lines.Scan() {
		n.line++
		text := n.lines.Bytes()
		var h header
		if n.line == 1 && len(n.keys) == 0 && json.Unmarshal(text, &h) == nil {
			if key, err := ParseVerifier(h.Key); err == nil {
				n.keys = []Verifier{key}
			}
		}
		var l noteLine
		if bytes.Contains(text, []byte("checkpoint")) && json.Unmarshal(text, &l) == nil && l.Checkpoint != "" {
			n.note = l.Checkpoint
			return true
		}
	}
	return false
}
