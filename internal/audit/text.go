package audit

import (
	"bytes"
	"context"
	"crypto/rand"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"maps"
	"slices"
	"strings"

	"github.com/stead-dev/stead"
	"github.com/stead-dev/stead/internal/policy"
)

// What people write into a record, such as why they deny, is about people, and may have to go; what is hashed can't. The line therefore
// has a commitment to it, and the text stands beside the log:
//
//	line    … "reason_digest":"HEX" …              HEX = SHA-256(salt ‖ text)
//	beside  digest → salt, text, and whose it is   until somebody forgets it
//
// Once salt and text are gone, nobody finds the text by trying. A draft carries its texts behind its line, so that a store has both in
// one transaction:
//
//	draft = line [ "\n" JSON of the texts ]

// saltBytes is the length of a salt. Base64 of it has no padding, and each of its characters counts.
const saltBytes = 24

// Text is what somebody wrote into a record.
type Text struct {
	Digest string `json:"digest"` // as the record has it, in hex
	Salt   []byte `json:"salt"`
	Text   string `json:"text"`

	// Session is that of the record, and People are the ids of whom it is of, who wrote it, and whom it is about.
	Session stead.SessionID `json:"session,omitempty"`
	People  []string        `json:"people,omitempty"`
}

// TextQuery says which texts of a project: those of the digests, of the session, or of the person.
type TextQuery struct {
	Digests []string
	Session stead.SessionID
	Person  string
	After   string // digest to go on after; "": from the first on
}

// MaxTexts is the most texts of one page of a store.
const MaxTexts = 1000

// Takes reports whether a text is of what is asked for. Stores that have no better way use it.
func (q TextQuery) Takes(t Text) bool {
	if t.Digest <= q.After {
		return false
	}
	return slices.Contains(q.Digests, t.Digest) || q.Session != "" && t.Session == q.Session || q.Person != "" && slices.Contains(t.People, q.Person)
}

// peopleEnd ends each of the ids that a store keeps with a text, and begins the first: what lies between two is one.
const peopleEnd = "\x1f"

// JoinPeople is the form in which stores keep people, and PersonIn what is in it exactly where somebody is one of them.
func JoinPeople(ids []string) []byte {
	if len(ids) == 0 {
		return []byte{}
	}
	return []byte(peopleEnd + strings.Join(ids, peopleEnd) + peopleEnd)
}

// PersonIn is what JoinPeople has for one.
func PersonIn(id string) []byte { return []byte(peopleEnd + id + peopleEnd) }

func commitment(salt []byte, text string) string {
	sum := sha256.Sum256(append(slices.Clip(salt), text...))
	return hex.EncodeToString(sum[:])
}

// holds reports whether the text is the one that its digest was made of.
func (t Text) holds() bool { return len(t.Salt) >= saltBytes && commitment(t.Salt, t.Text) == t.Digest }

// writtenReason is the name under which Record.Written has a reason that somebody gave, and writtenDigest its digest.
const (
	writtenReason = "reason"
	writtenDigest = "reason_digest"
)

// setAside replaces what people wrote by digests, and returns it.
func (r Record) setAside() (Record, []Text) {
	var out []Text
	aside := func(text string) string {
		t := Text{Salt: make([]byte, saltBytes), Text: text, Session: r.Session, People: r.people()}
		rand.Read(t.Salt) //nolint:errcheck // it never fails
		t.Digest = commitment(t.Salt, text)
		out = append(out, t)
		return t.Digest
	}
	if r.Reason != "" && r.free() {
		r.ReasonDigest, r.Reason = aside(r.Reason), ""
	}
	if said := r.Written[writtenReason]; said != "" {
		r.Written = maps.Clone(r.Written)
		delete(r.Written, writtenReason)
		r.Written[writtenDigest] = aside(said)
	}
	return r, out
}

// free reports whether the reason is somebody's own words, or repeats them.
func (r Record) free() bool {
	return r.Action == ActAnswer || r.Action == ActGuardrail || r.Quotes != ""
}

// people are those whom a text of the record may be about.
func (r Record) people() (out []string) {
	add := func(id string) {
		if id != "" && !slices.Contains(out, id) {
			out = append(out, id)
		}
	}
	add(r.Principal.ID)
	add(r.Quotes)
	add(r.About)
	if a := r.Approval; a != nil {
		_, id, _ := strings.Cut(a.For, ":")
		add(id)
		for _, kind := range []stead.PrincipalKind{stead.PrincipalUser, stead.PrincipalService} { // a role is nobody
			if id, ok := strings.CutPrefix(a.To, policy.Delegate{Kind: kind}.String()); ok {
				add(id)
			}
		}
	}
	if r.Written["scope"] == "user" {
		add(r.Written["of"])
	}
	return out
}

// digests are those of the record's texts.
func (r Record) digests() (out []string) {
	for _, d := range []string{r.ReasonDigest, r.Written[writtenDigest]} {
		if len(d) == hex.EncodedLen(sha256.Size) {
			out = append(out, d)
		}
	}
	return out
}

// Digests are those of the texts of a record, by its line.
func Digests(line []byte) []string {
	if !bytes.Contains(line, []byte(`reason_digest":"`)) {
		return nil
	}
	r, err := Decode(line)
	if err != nil {
		return nil
	}
	return r.digests()
}

// With is the record with the texts that it was made of, as far as they are there.
func (r Record) With(texts []Text) Record {
	for _, t := range texts {
		if t.Digest == r.ReasonDigest {
			r.Reason = t.Text
		}
		if t.Digest == r.Written[writtenDigest] {
			r.Written = maps.Clone(r.Written)
			r.Written[writtenReason] = t.Text
		}
	}
	return r
}

// carry is a draft with its texts.
func carry(line []byte, texts []Text) ([]byte, error) {
	if len(texts) == 0 {
		return line, nil
	}
	behind, err := json.Marshal(texts)
	if err != nil {
		return nil, stead.Wrap(stead.KindInternal, err, "the texts of an audit record can't be written")
	}
	return slices.Concat(line, []byte{'\n'}, behind), nil
}

// Carried are the parts of a draft. What can't be read of its texts is left out: a line says that there was one.
func Carried(draft []byte) (line []byte, texts []Text) {
	line, behind, found := bytes.Cut(draft, []byte{'\n'})
	if found {
		_ = json.Unmarshal(behind, &texts)
	}
	return line, texts
}

// CarriedAll are the parts of drafts.
func CarriedAll(drafts [][]byte) (lines [][]byte, texts []Text) {
	lines = make([][]byte, len(drafts))
	for i, d := range drafts {
		var own []Text
		lines[i], own = Carried(d)
		texts = append(texts, own...)
	}
	return lines, texts
}

// Fill gives rows the texts of their records that are there.
func Fill(ctx context.Context, s Store, project stead.ProjectID, rows []Row) error {
	at := map[string]int{}
	var digests []string
	for i, row := range rows {
		for _, d := range Digests(row.Data) {
			at[d], digests = i, append(digests, d)
		}
	}
	for some := range slices.Chunk(digests, MaxTexts) {
		found, err := s.AuditTexts(ctx, project, TextQuery{Digests: some})
		if err != nil {
			return err
		}
		for _, t := range found {
			rows[at[t.Digest]].Texts = append(rows[at[t.Digest]].Texts, t)
		}
	}
	return nil
}

// Forget removes those texts that a query finds and that which takes (nil: all), with their salts, and says how many they were.
func Forget(ctx context.Context, s Store, project stead.ProjectID, q TextQuery, which func(text string) bool) (n int, err error) {
	for {
		found, err := s.AuditTexts(ctx, project, q)
		if err != nil {
			return n, err
		}
		var digests []string
		for _, t := range found {
			if which == nil || which(t.Text) {
				digests = append(digests, t.Digest)
			}
		}
		gone, err := s.ForgetAuditTexts(ctx, project, digests)
		if n += gone; err != nil || len(found) < MaxTexts {
			return n, err
		}
		q.After = found[len(found)-1].Digest
	}
}

// Repeats makes a function that says which texts repeat one of those that were said: a reason, by itself or behind who gave it.
func Repeats(said []string) func(text string) bool {
	return func(text string) bool {
		return slices.ContainsFunc(said, func(one string) bool {
			one = short(one)
			return one != "" && (text == one || strings.HasSuffix(text, ": "+one) || len(one) >= minQuoted && strings.Contains(text, one))
		})
	}
}

// minQuoted is how long what was said must be to be found within other words; what is shorter may be there by chance.
const minQuoted = 16
