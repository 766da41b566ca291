package audit_test

import (
	"bytes"
	"strings"
	"testing"

	"github.com/stead-dev/stead/internal/audit"
)

// A log goes on through changes of its key: whoever kept one of the keys believes it all, and nobody else's key comes in.
func TestALogOutlivesItsKeys(t *testing.T) {
	seed := func(b byte) []byte { return bytes.Repeat([]byte{b}, audit.SeedBytes) }
	signer := func(b byte, others ...byte) audit.Signer {
		var all [][]byte
		for _, o := range others {
			all = append(all, seed(o))
		}
		s, err := audit.NewSigner(seed(b), all...)
		if err != nil {
			t.Fatal(err)
		}
		return s
	}
	export := func(signers ...audit.Signer) []byte {
		var tree audit.Tree
		var rows []audit.Row
		var notes []audit.Note
		for i, s := range signers {
			r := audit.Record{Seq: int64(i + 1), Prev: tree.Last, Project: "p", Action: "a", At: 1, Decision: audit.Allow, Principal: audit.Principal{ID: "ada"}}
			line, err := r.Encode()
			if err != nil {
				t.Fatal(err)
			}
			tree = tree.Add(audit.LeafHash(line))
			rows = append(rows, audit.Row{Seq: r.Seq, Data: line})
			notes = append(notes, audit.Note{Size: tree.Size, Text: s.Sign(audit.Checkpoint{Project: "p", Size: tree.Size, Root: tree.Root(), At: 1})})
		}
		var out bytes.Buffer
		e, err := audit.NewExporter(&out, "p", signers[len(signers)-1].Verifier().String(), audit.Tree{}, notes)
		for _, row := range rows {
			if err == nil {
				err = e.Record(row)
			}
		}
		if err == nil {
			err = e.Close()
		}
		if err != nil {
			t.Fatal(err)
		}
		return out.Bytes()
	}
	holds := func(file []byte, keys ...audit.Verifier) error {
		known, err := audit.Vouched(bytes.NewReader(file), keys)
		if err == nil {
			_, err = audit.Verify(bytes.NewReader(file), known, nil)
		}
		return err
	}
	one, two, three, thief := signer(1).Verifier(), signer(2).Verifier(), signer(3).Verifier(), signer(9).Verifier()
	whole := export(signer(1), signer(1, 2), signer(2, 1), signer(2), signer(3, 2), signer(3))
	for name, keys := range map[string][]audit.Verifier{"no key": nil, "the first": {one}, "one between": {two}, "the last": {three}, "two": {one, three}} {
		if err := holds(whole, keys...); err != nil {
			t.Errorf("by %s: %v", name, err)
		}
	}
	if err := holds(whole, thief); err == nil {
		t.Error("by a key that has signed nothing it holds")
	}
	// What says nothing of the change does not hold, and the message names the key.
	if err := holds(export(signer(1), signer(2)), one); err == nil || !strings.Contains(err.Error(), "it names the key") {
		t.Errorf("a key that nobody has vouched for: %v", err)
	}
	// A thief signs on by their own key, with a line that only they have signed in both places.
	forged := export(signer(1), signer(9, 1))
	if err := holds(forged, one); err != nil { // who has both keys is the node: that is no thief
		t.Fatal(err)
	}
	line := strings.Index(string(forged), "stead-keys ") + len("stead-keys ")
	for _, at := range []int{90, 130, 180, 240} { // in the signature of either
		broken := bytes.Clone(forged)
		if broken[line+at] = 'A'; forged[line+at] == 'A' {
			broken[line+at] = 'B'
		}
		if holds(broken, one) == nil {
			t.Errorf("with another letter at %d of what pairs the keys it holds", at)
		}
	}
}

// Where a line is too long, it is for Verify to say so, and on which line.
func TestALineTooLongIsForVerifyToSay(t *testing.T) {
	log := strings.NewReader("{}\n" + strings.Repeat("x", audit.MaxRecordBytes+1))
	if keys, err := audit.Vouched(log, nil); err != nil || len(keys) > 0 {
		t.Errorf("%v, %v", keys, err)
	}
}
