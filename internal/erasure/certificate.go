package erasure

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"net/url"
	"strings"

	"github.com/stead-dev/stead"
	"github.com/stead-dev/stead/internal/audit"
	"github.com/stead-dev/stead/internal/session"
)

// Certificate says what was erased. Its text form is a signed note, as a checkpoint of the audit log is, by the same key:
//
//	stead-erasure/<project>
//	<the certificate as JSON, in one line>
//
//	— stead <base64>
type Certificate struct {
	ID          string              `json:"id"`
	Project     stead.ProjectID     `json:"project"`
	Subject     Subject             `json:"subject"`
	By          audit.Principal     `json:"by"`
	RequestedAt int64               `json:"requested_at"` // Unix milliseconds
	CompletedAt int64               `json:"completed_at"` // Unix milliseconds: nothing of it was left
	Erased      Totals              `json:"erased"`
	Digest      string              `json:"digest"`            // over all of Sessions and Files: see Totals.add. Hex
	Sessions    []session.Holdings  `json:"sessions"`          // the first MaxListed
	Files       []string            `json:"files,omitempty"`   // ids of the first MaxListed
	Items       []session.Redaction `json:"items,omitempty"`   // the first MaxListed: what was redacted of an item and of its copies
	Entries     []string            `json:"entries,omitempty"` // the first MaxListed memories that were meant, as STORE/ENTRY
	Shown       []session.Redaction `json:"shown,omitempty"`   // the first MaxListed items of sessions out of which it was taken what they showed of it
	Forks       bool                `json:"forks"`             // copies of the session were looked for, and went with it
	Answers     bool                `json:"answers,omitempty"` // so did what agents of sessions said that were shown any of it
	// Bytes is what became of the bytes of it; nil: nobody looked.
	Bytes *Bytes `json:"bytes,omitempty"`
}

// Bytes says how what was deleted went from the files of the database.
type Bytes struct {
	At       int64  `json:"at"`                // Unix milliseconds
	Database string `json:"database"`          // truncated, vacuumed (package journal), or BytesLeft
	Problem  string `json:"problem,omitempty"` // why they are left; for people
}

// MaxListed is the most sessions and files that a certificate names one by one. Its counts and its digest are of all.
const MaxListed = 1000

// Totals are what went.
type Totals struct {
	Sessions    int64 `json:"sessions"`
	Events      int64 `json:"events"`
	Bytes       int64 `json:"bytes"` // of the events' data
	Blobs       int64 `json:"blobs"`
	Checkpoints int64 `json:"checkpoints"`
	Memories    int64 `json:"memories"`         // entries that are gone
	Changed     int64 `json:"memories_changed"` // entries that lost a source, and have others
	Files       int64 `json:"files"`
	FileBytes   int64 `json:"file_bytes"`
	Items       int64 `json:"items"` // redacted; of their sessions nothing else went
	// Credentials are tokens that the user consented to.
	Credentials int64 `json:"credentials,omitempty"`
	// Texts are what people wrote into audit records, such as why they denied: the records stay.
	Texts int64 `json:"audit_texts,omitempty"`
	// ShownSessions are those that were shown what went, and out of whose journals it was taken: out of ShownItems of theirs.
	ShownSessions int64 `json:"shown_sessions,omitempty"`
	ShownItems    int64 `json:"shown_items,omitempty"`
	// ShownFiles are files of theirs that showed it, out of checkpoints of their workspaces, in each once.
	ShownFiles int64 `json:"shown_files,omitempty"`
	// Entries are the memories that were meant, of Memories: an entry, or those of a scope.
	Entries int64 `json:"entries,omitempty"`
}

// over is the digest with one line more: SHA-256 of the digest before it, in hex, a newline and the line.
func over(digest, line string) string {
	sum := sha256.Sum256([]byte(digest + "\n" + line))
	return hex.EncodeToString(sum[:])
}

func (c *Certificate) addSession(h session.Holdings, gone session.Erased) error {
	line, err := json.Marshal(h)
	if err != nil {
		return stead.Wrap(stead.KindInternal, err, "what was erased can't be written")
	}
	c.Digest = over(c.Digest, string(line))
	if len(c.Sessions) < MaxListed {
		c.Sessions = append(c.Sessions, h)
	}
	t := &c.Erased
	t.Sessions, t.Events, t.Bytes = t.Sessions+1, t.Events+h.Events, t.Bytes+h.Bytes
	t.Blobs, t.Checkpoints = t.Blobs+int64(h.Blobs), t.Checkpoints+int64(h.Checkpoints)
	c.addGone(gone)
	return nil
}

func (c *Certificate) addGone(gone session.Erased) {
	c.Erased.Texts += int64(gone.Texts)
	c.Erased.Memories, c.Erased.Changed = c.Erased.Memories+int64(gone.Removed), c.Erased.Changed+int64(gone.Changed)
}

func (c *Certificate) addFile(id string, bytes int64) {
	c.Digest = over(c.Digest, id)
	if len(c.Files) < MaxListed {
		c.Files = append(c.Files, id)
	}
	c.Erased.Files, c.Erased.FileBytes = c.Erased.Files+1, c.Erased.FileBytes+bytes
}

func (c *Certificate) addEntry(id string) {
	c.Digest = over(c.Digest, id)
	if len(c.Entries) < MaxListed {
		c.Entries = append(c.Entries, id)
	}
	c.Erased.Entries++
}

func (c *Certificate) addItem(r session.Redaction) error {
	line, err := json.Marshal(r)
	if err != nil {
		return stead.Wrap(stead.KindInternal, err, "what was redacted can't be written")
	}
	c.Digest = over(c.Digest, string(line))
	if len(c.Items) < MaxListed {
		c.Items = append(c.Items, r)
	}
	t := &c.Erased
	t.Items, t.Events, t.Blobs = t.Items+1, t.Events+int64(len(r.Events)), t.Blobs+int64(r.Blobs)
	return nil
}

// addShown adds what was taken out of sessions that were shown what went: those of a session stand together.
func (c *Certificate) addShown(all []session.Redaction) error {
	for i, r := range all {
		line, err := json.Marshal(r)
		if err != nil {
			return stead.Wrap(stead.KindInternal, err, "what was taken out of a session can't be written")
		}
		c.Digest = over(c.Digest, string(line))
		if len(c.Shown) < MaxListed {
			c.Shown = append(c.Shown, r)
		}
		c.Erased.ShownFiles += int64(r.Files)
		if c.Erased.ShownItems++; i == 0 || all[i-1].Session != r.Session {
			c.Erased.ShownSessions++
		}
	}
	return nil
}

const originPrefix = "stead-erasure/"

func (c *Certificate) note(s audit.Signer) (string, error) {
	line, err := json.Marshal(c)
	if err != nil {
		return "", stead.Wrap(stead.KindInternal, err, "the certificate can't be written")
	}
	return s.SignNote(originPrefix + url.PathEscape(string(c.Project)) + "\n" + string(line) + "\n"), nil
}

// Open reads a signed certificate and checks it: the signature by whichever of the keys made it, and that what it lists is
// what its digest and its counts say, where it lists everything. KindInvalid says what is wrong.
func Open(note string, keys []audit.Verifier) (Certificate, error) {
	var c Certificate
	text, err := audit.OpenNote(note, keys)
	if err != nil {
		return c, stead.Errorf(stead.KindInvalid, "this is no certificate that the key signed: its text was changed, or it is another's")
	}
	origin, line, _ := strings.Cut(text, "\n")
	if err := json.Unmarshal([]byte(line), &c); err != nil || origin != originPrefix+url.PathEscape(string(c.Project)) {
		return c, stead.Errorf(stead.KindInvalid, "this is no certificate of an erasure")
	}
	if c.Erased.Sessions > MaxListed || c.Erased.Files > MaxListed || c.Erased.Items > MaxListed || c.Erased.Entries > MaxListed || c.Erased.ShownItems > MaxListed {
		return c, nil
	}
	again := Certificate{}
	for _, h := range c.Sessions {
		if err := again.addSession(h, session.Erased{}); err != nil {
			return c, err
		}
	}
	for _, r := range c.Items {
		if err := again.addItem(r); err != nil {
			return c, err
		}
	}
	for _, f := range c.Files {
		again.addFile(f, 0)
	}
	for _, id := range c.Entries {
		again.addEntry(id)
	}
	if err := again.addShown(c.Shown); err != nil {
		return c, err
	}
	again.Erased.Credentials, again.Erased.Texts = c.Erased.Credentials, c.Erased.Texts
	again.Erased.Memories, again.Erased.Changed, again.Erased.FileBytes = c.Erased.Memories, c.Erased.Changed, c.Erased.FileBytes
	if again.Digest != c.Digest || again.Erased != c.Erased {
		return c, stead.Errorf(stead.KindInvalid, "what the certificate lists is not what its digest and counts say")
	}
	return c, nil
}
