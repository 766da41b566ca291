package usage

import (
	"encoding/binary"
	"encoding/hex"
	"encoding/json"
	"strconv"
	"strings"

	"github.com/stead-dev/stead"
	"github.com/stead-dev/stead/internal/journal"
)

// How a record is stored: there are as many of them as there are calls, so that every byte counts.
//
//	name    its event's session, seq and index, or its call's UUID: the id follows from it
//	Shared  kind, user, provider, model, upstream, region, tier, name, prices:
//	        each uvarint length | bytes. The store keeps equal ones once
//	Data    formBinary | uvarint of the bits that follow | what they say, in their order, as varints:
//	        the quantities, the cost, the seq of the turn; then the agent's UUID in 16 bytes; then
//	        turn, agent and hold as length and bytes, where they are no such numbers; then the
//	        model as asked for and the outcome as those; the time of the first word and the score; then the
//	        quantities behind the first eleven, and the seq of the subagent
//
// The agent is no part of what is shared, since an inline one is one session's.
//
// Varints are those of encoding/binary. A field that is zero or empty has no bit. Data that begins
// with a brace is the JSON of a whole record, as it was stored before.
const (
	formBinary = 1
	formJSON   = '{'
)

// The bits of Data behind those of Quantities.fields.
const (
	bitCost = firstFields + iota
	bitTurnSeq
	bitAgentUUID
	bitTurn  // in words: it is none of the session's
	bitAgent // in words
	bitHold
	bitAsked
	bitOutcome
	bitFirst
	bitScore
	bitMore // the quantities behind the first, and behind them the subagent
)

// agentPrefix begins an agent's id before its UUID.
const agentPrefix = "agent_"

// holdOwn begins a stored hold whose id is that of its session's: the rest follows.
const holdOwn = "_"

// Row encodes a record for the store. Names are cut to what a record may hold; KindInternal for an
// id that neither EventID nor a stateless call has made.
func (r Record) Row() (journal.UsageRow, error) {
	r = r.Clean()
	name, err := NameOf(r.Session, r.ID)
	if err != nil {
		return journal.UsageRow{}, err
	}
	return journal.UsageRow{UsageName: name, At: r.At, Shared: r.shared(), Data: r.data()}, nil
}

// sharedFields are what many records say alike.
func (r *Record) sharedFields() [9]*string {
	return [9]*string{(*string)(&r.Kind), &r.User, &r.Provider, &r.Model, &r.Upstream, &r.Region, &r.Tier, &r.Name, &r.Prices}
}

func (r *Record) shared() string {
	b := make([]byte, 0, 192)
	for _, s := range r.sharedFields() {
		b = appendString(b, *s)
	}
	return string(b)
}

func (r *Record) data() []byte {
	w := dataWriter{values: make([]byte, 0, 48)}
	fields := r.fields()
	for i, n := range fields[:firstFields] {
		w.number(i, *n)
	}
	w.number(bitCost, r.Cost)
	turn := r.Turn
	if prefix, seq, index, ok := stead.ParseDerivedID(r.Session, turn); ok && prefix == turnPrefix && index < 0 {
		w.number(bitTurnSeq, int64(seq))
		turn = ""
	}
	agent := string(r.Agent)
	if id, ok := agentUUID(agent); ok {
		w.bits |= 1 << bitAgentUUID
		w.values = append(w.values, id[:]...)
		agent = ""
	}
	w.text(bitTurn, turn)
	w.text(bitAgent, agent)
	hold := r.Hold
	if rest, ok := strings.CutPrefix(hold, HoldPrefix); ok {
		if rest, ok = strings.CutPrefix(rest, string(r.Session)+"_"); ok {
			hold = holdOwn + rest
		}
	}
	w.text(bitHold, hold)
	w.text(bitAsked, r.Asked)
	w.text(bitOutcome, r.Outcome)
	w.number(bitFirst, r.First)
	w.number(bitScore, r.Score)
	more := fields[firstFields:]
	for i, n := range more {
		w.number(bitMore+i, *n)
	}
	if prefix, seq, index, ok := stead.ParseDerivedID(r.Session, r.Subagent); ok && prefix == subagentPrefix && index < 0 {
		w.number(bitMore+len(more), int64(seq))
	}
	b := make([]byte, 0, 4+len(w.values))
	b = binary.AppendUvarint(append(b, formBinary), w.bits)
	return append(b, w.values...)
}

// agentUUID is the UUID in an agent's id, if it says nothing else.
func agentUUID(agent string) (id [16]byte, ok bool) {
	text, ok := strings.CutPrefix(agent, agentPrefix)
	if !ok || len(text) != hex.EncodedLen(len(id)) || strings.ToLower(text) != text {
		return id, false
	}
	_, err := hex.Decode(id[:], []byte(text))
	return id, err == nil
}

// dataWriter writes what follows the bits, and the bits.
type dataWriter struct {
	bits   uint64
	values []byte
}

func (w *dataWriter) number(bit int, n int64) {
	if n != 0 {
		w.bits |= 1 << bit
		w.values = binary.AppendVarint(w.values, n)
	}
}

func (w *dataWriter) text(bit int, s string) {
	if s != "" {
		w.bits |= 1 << bit
		w.values = appendString(w.values, s)
	}
}

func appendString(b []byte, s string) []byte {
	return append(binary.AppendUvarint(b, uint64(len(s))), s...)
}

// Rows encodes records.
func Rows(records []Record) ([]journal.UsageRow, error) {
	rows := make([]journal.UsageRow, 0, len(records))
	for i := range records {
		row, err := records[i].Row()
		if err != nil {
			return nil, err
		}
		rows = append(rows, row)
	}
	return rows, nil
}

// FromRow is the inverse of Row; KindInternal for a row that no version of this package wrote.
func FromRow(project stead.ProjectID, row journal.UsageRow) (Record, error) {
	var r Record
	r.ID, r.At, r.Project, r.Session = idOf(row.UsageName), row.At, project, row.Session
	ok := false
	switch {
	case len(row.Data) == 0:
	case row.Data[0] == formJSON:
		ok = json.Unmarshal(row.Data, &r) == nil
		if seq, err := strconv.ParseInt(r.Turn, 10, 64); err == nil && r.Session != "" {
			r.Turn = turnID(r.Session, stead.Seq(seq))
		}
	case row.Data[0] == formBinary:
		ok = r.readShared(row.Shared) && r.readData(row.Data[1:])
	}
	if !ok {
		return r, stead.Errorf(stead.KindInternal, "usage record %s can't be read", r.ID)
	}
	return r, nil
}

func (r *Record) readShared(s string) bool {
	for _, f := range r.sharedFields() {
		size, rest, ok := cutUvarint(s)
		if !ok || size > uint64(len(rest)) {
			return false
		}
		*f, s = rest[:size], rest[size:]
	}
	return s == ""
}

func cutUvarint(s string) (n uint64, rest string, ok bool) {
	for i := 0; i < len(s) && i < binary.MaxVarintLen64; i++ {
		n |= uint64(s[i]&0x7f) << (7 * i)
		if s[i] < 0x80 {
			return n, s[i+1:], true
		}
	}
	return 0, "", false
}

// dataReader reads Data behind its form. ok is false from the first error on.
type dataReader struct {
	rest []byte
	bits uint64
	ok   bool
}

func (d *dataReader) number(bit int) int64 {
	if d.bits&(1<<bit) == 0 {
		return 0
	}
	n, size := binary.Varint(d.rest)
	if size <= 0 {
		d.ok = false
		return 0
	}
	d.rest = d.rest[size:]
	return n
}

func (d *dataReader) text(bit int) string {
	if d.bits&(1<<bit) == 0 {
		return ""
	}
	n, size := binary.Uvarint(d.rest)
	if size <= 0 || n > uint64(len(d.rest)-size) {
		d.ok = false
		return ""
	}
	end := size + int(n)
	s := string(d.rest[size:end])
	d.rest = d.rest[end:]
	return s
}

func (r *Record) readData(b []byte) bool {
	bits, size := binary.Uvarint(b)
	fields := r.fields()
	more := fields[firstFields:]
	if size <= 0 || bits >= 1<<(bitMore+len(more)+1) {
		return false
	}
	d := &dataReader{rest: b[size:], bits: bits, ok: true}
	for i, n := range fields[:firstFields] {
		*n = d.number(i)
	}
	r.Cost = d.number(bitCost)
	if seq := d.number(bitTurnSeq); seq != 0 {
		r.Turn = turnID(r.Session, stead.Seq(seq))
	}
	if bits&(1<<bitAgentUUID) != 0 {
		const size = 16
		if len(d.rest) < size {
			return false
		}
		r.Agent = stead.AgentID(agentPrefix + hex.EncodeToString(d.rest[:size]))
		d.rest = d.rest[size:]
	}
	if turn := d.text(bitTurn); turn != "" {
		r.Turn = turn
	}
	if agent := d.text(bitAgent); agent != "" {
		r.Agent = stead.AgentID(agent)
	}
	r.Hold = d.text(bitHold)
	if rest, ok := strings.CutPrefix(r.Hold, holdOwn); ok {
		r.Hold = HoldPrefix + string(r.Session) + "_" + rest
	}
	r.Asked, r.Outcome, r.First, r.Score = d.text(bitAsked), d.text(bitOutcome), d.number(bitFirst), d.number(bitScore)
	for i, n := range more {
		*n = d.number(bitMore + i)
	}
	if seq := d.number(bitMore + len(more)); seq != 0 {
		r.Subagent = stead.DerivedID(subagentPrefix, r.Session, stead.Seq(seq), -1)
	}
	return d.ok && len(d.rest) == 0
}

// NameOf is how stores name the record of an id; KindInvalid for what is none. Of a record of a
// session that is the session's id, else "".
func NameOf(session stead.SessionID, id string) (journal.UsageName, error) {
	var name journal.UsageName
	if session == "" {
		text, ok := strings.CutPrefix(id, Prefix)
		if n, err := hex.Decode(name.Call[:], []byte(text[:min(len(text), 2*len(name.Call))])); ok && err == nil && 2*n == len(text) && n == len(name.Call) {
			return name, nil
		}
	} else if prefix, seq, index, ok := stead.ParseDerivedID(session, id); ok && prefix == prefixName && index >= 0 {
		return journal.UsageName{Session: session, Seq: seq, Index: index}, nil
	}
	return journal.UsageName{}, stead.Invalid("id", "%.80q is no id of a usage record", id)
}

func idOf(n journal.UsageName) string {
	if n.Seq == 0 {
		return Prefix + hex.EncodeToString(n.Call[:])
	}
	return EventID(n.Session, n.Seq, n.Index)
}

// TimeOf is the time in the id of a record of a stateless call, Unix milliseconds; false for others.
func TimeOf(id string) (int64, bool) {
	name, err := NameOf("", id)
	if err != nil {
		return 0, false
	}
	var ms int64
	for _, b := range name.Call[:6] { // RFC 9562, 5.7: a UUIDv7 begins with 48 bits of Unix milliseconds
		ms = ms<<8 | int64(b)
	}
	return ms, true
}
