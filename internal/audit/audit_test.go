package audit_test

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stead-dev/stead"
	"github.com/stead-dev/stead/internal/audit"
	"github.com/stead-dev/stead/internal/audit/audittest"
	"github.com/stead-dev/stead/internal/identity"
	"github.com/stead-dev/stead/internal/policy"
)

func TestMemorySuite(t *testing.T) {
	audittest.Suite(t, func(*testing.T) (audit.Store, audit.Store) {
		m := &audittest.Memory{}
		return m, m
	})
}

// reference is the Merkle tree hash as RFC 6962, 2.1 defines it.
func reference(t *testing.T, leaves [][]byte) audit.Hash {
	t.Helper()
	if len(leaves) == 1 {
		return audit.LeafHash(leaves[0])
	}
	k := 1
	for k*2 < len(leaves) {
		k *= 2
	}
	left, right := reference(t, leaves[:k]), reference(t, leaves[k:])
	// The root of a tree of two leaves is a node over their hashes, whatever those are of.
	return audit.Tree{}.Add(left).Add(right).Root()
}

func TestTheRootIsThatOfRFC6962(t *testing.T) {
	var leaves [][]byte
	var tree audit.Tree
	for i := range 130 {
		leaf := fmt.Appendf(nil, "leaf %d", i)
		leaves = append(leaves, leaf)
		tree = tree.Add(audit.LeafHash(leaf))
		if want := reference(t, leaves); tree.Root() != want {
			t.Fatalf("root of %d leaves is %s, want %s", i+1, tree.Root(), want)
		}
		again, err := audit.TreeOf(tree.Size, tree.Bytes())
		if err != nil || again.Root() != tree.Root() || again.Last != tree.Last {
			t.Fatalf("tree of %d leaves reads back as %+v: %v", i+1, again, err)
		}
	}
	empty, none := audit.LeafHash(nil), audit.Tree{}.Root()
	if got := hex.EncodeToString(empty[:]); got != "6e340b9cffb37a989ca544e6bb780a2c78901d3fb33738768511a30617afa01d" {
		t.Errorf("the hash of an empty leaf is %s", got)
	}
	if got := hex.EncodeToString(none[:]); got != "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855" {
		t.Errorf("the root of no leaves is %s", got)
	}
	if _, err := audit.TreeOf(7, tree.Bytes()); err == nil {
		t.Error("a tree of another size is read")
	}
}

// exported is a log of ten records with checkpoints behind the fourth, the seventh and the last.
func exported(t *testing.T) (lines [][]byte, store *audittest.Memory) {
	t.Helper()
	store = &audittest.Memory{}
	signer := audittest.Signer(t)
	for i := 1; i <= 10; i++ {
		r := audit.Record{At: int64(i), Principal: audit.Principal{Kind: "user", ID: "ada"}, Action: "file.write", Resource: fmt.Sprint("file_", i), Decision: audit.Allow}
		if err := store.AppendAudit(t.Context(), "one/two", []audit.Record{r}); err != nil {
			t.Fatal(err)
		}
		if i == 4 || i == 7 {
			tree, _ := store.AuditTree(t.Context(), "one/two")
			note := signer.Sign(audit.Checkpoint{Project: "one/two", Size: tree.Size, Root: tree.Root(), At: 5})
			if err := store.AddAuditNote(t.Context(), "one/two", audit.Note{Size: tree.Size, Text: note}); err != nil {
				t.Fatal(err)
			}
		}
	}
	lines = bytes.SplitAfter(audittest.Export(t, store, "one/two"), []byte("\n"))
	return lines[:len(lines)-1], store // behind the last end there is nothing
}

func verify(lines [][]byte, keys []audit.Verifier, earlier []audit.Checkpoint) error {
	_, err := audit.Verify(bytes.NewReader(bytes.Join(lines, nil)), keys, earlier)
	return err
}

// place is the index of a record's line: behind the header, and the checkpoints of 4 and 7.
func place(record int) int {
	switch {
	case record > 7:
		return record + 2
	case record > 4:
		return record + 1
	}
	return record
}

// begins is the first record that the checkpoint of a record covers anew.
func begins(record int) int64 {
	switch {
	case record > 7:
		return 8
	case record > 4:
		return 5
	}
	return 1
}

func TestTamperingIsFoundWithItsPlace(t *testing.T) {
	whole, _ := exported(t)
	if err := verify(whole, nil, nil); err != nil {
		t.Fatal(err)
	}
	for record := 1; record <= 10; record++ {
		i := place(record)
		for name, c := range map[string]struct {
			change func([][]byte) [][]byte
			at     int64
		}{
			"changed": {func(l [][]byte) [][]byte {
				l[i] = bytes.Replace(l[i], []byte(`"ada"`), []byte(`"eve"`), 1)
				return l
			}, int64(record)},
			"given another byte that says nothing": {func(l [][]byte) [][]byte {
				l[i] = bytes.Replace(l[i], []byte(`"prev"`), []byte(` "prev"`), 1)
				return l
			}, int64(record)},
			"dropped":      {func(l [][]byte) [][]byte { return slices.Delete(l, i, i+1) }, int64(record)},
			"repeated":     {func(l [][]byte) [][]byte { return slices.Insert(l, i, l[i]) }, int64(record)},
			"cut off here": {func(l [][]byte) [][]byte { return l[:i] }, int64(record)},
		} {
			lines := c.change(slices.Clone(whole))
			err := verify(lines, nil, nil)
			if (record == 5 || record == 8) && name == "cut off here" {
				if err != nil {
					t.Errorf("what ends with a checkpoint is whole without an earlier one: %v", err)
				}
				continue
			}
			p, ok := errors.AsType[*audit.Problem](err)
			if !ok {
				t.Errorf("record %d %s is not found: %v", record, name, err)
				continue
			}
			// The last record is vouched for by its checkpoint alone, together with those before it.
			from := c.at
			switch last := record == 10; {
			case last && (name == "changed" || strings.HasPrefix(name, "given")), name == "cut off here":
				from = begins(record)
			}
			if p.Record != from {
				t.Errorf("record %d %s is found at %d, want %d: %v", record, name, p.Record, from, err)
			}
		}
		if record < 10 {
			lines := slices.Clone(whole)
			j := place(record + 1)
			lines[i], lines[j] = lines[j], lines[i]
			p, ok := errors.AsType[*audit.Problem](verify(lines, nil, nil))
			if !ok || p.Record != int64(record) {
				t.Errorf("records %d and %d swapped: %v", record, record+1, p)
			}
		}
	}
}

// TestEveryByteCounts: a byte that is added anywhere is found, also where readers of JSON and of signed notes see none, with its line; so is one that is
// taken from the end.
func TestEveryByteCounts(t *testing.T) {
	whole, store := exported(t)
	for _, add := range []string{" ", "\r", "\t", "x", "\x00", "\n", "}"} {
		for i := range whole {
			for _, at := range []int{0, 1, len(whole[i]) / 2, len(whole[i]) - 2, len(whole[i]) - 1} {
				lines := slices.Clone(whole)
				lines[i] = slices.Concat(whole[i][:at], []byte(add), whole[i][at:])
				p, ok := errors.AsType[*audit.Problem](verify(lines, nil, nil))
				last, covers := place(10), i+1 // a record that was changed is found by the next one, and the last by its checkpoint
				if ok && p.Line > covers && !bytes.HasPrefix(whole[i], []byte(`{"checkpoint"`)) {
					covers = min(covers+2, last+2)
				}
				if !ok || p.Line > covers+1 || p.Line < i+1 {
					t.Errorf("%q in line %d at byte %d: %v", add, i+1, at, p)
				}
			}
		}
	}
	for name, change := range map[string]func(string) string{
		"a signature of nobody": func(n string) string { return n + "— stead AAAA\n" },
		"a line of another":     func(n string) string { return n + "— witness AAAAAAAA\n" },
		"an empty line":         func(n string) string { return n + "\n" },
		"a blank at its end":    func(n string) string { return n + " " },
		"a pair of nobody":      func(n string) string { return n + "— stead-keys AAAA\n" },
		"no end":                func(n string) string { return strings.TrimSuffix(n, "\n") },
	} {
		lines := slices.Clone(whole)
		notes, err := store.AuditNotes(t.Context(), "one/two", 0, 10)
		if err != nil || len(notes) == 0 {
			t.Fatal(notes, err)
		}
		i := place(4) + 1
		line, err := audit.CheckpointLine(audit.Note{Size: 4, Text: change(notes[0].Text)})
		if err != nil {
			t.Fatal(err)
		}
		lines[i] = append(line, '\n')
		if p, ok := errors.AsType[*audit.Problem](verify(lines, nil, nil)); !ok || p.Line != i+1 || p.Record != 1 {
			t.Errorf("%s in a checkpoint: %v", name, p)
		}
	}
	lines := slices.Clone(whole)
	lines[len(lines)-1] = bytes.TrimSuffix(lines[len(lines)-1], []byte("\n"))
	if p, ok := errors.AsType[*audit.Problem](verify(lines, nil, nil)); !ok || p.Line != len(lines) {
		t.Errorf("the end of the last line is not missed: %v", p)
	}
}

func TestALogThatWasWrittenAnewIsFoundByAnEarlierCheckpoint(t *testing.T) {
	whole, _ := exported(t)
	kept, err := audit.Checkpoints(bytes.NewReader(bytes.Join(whole[:place(8)], nil)), nil) // as exported after seven
	if err != nil || len(kept) != 2 {
		t.Fatalf("%d checkpoints: %v", len(kept), err)
	}
	if err := verify(whole, nil, kept); err != nil {
		t.Fatalf("the log that grew: %v", err)
	}
	// A stream of all projects brings the checkpoints of each: those of others say nothing of this one, and alone they prove nothing.
	another := kept[0]
	another.Project, another.Root = "another", audit.Hash{1}
	if err := verify(whole, nil, append([]audit.Checkpoint{another}, kept...)); err != nil {
		t.Errorf("beside those of another project: %v", err)
	}
	if err := verify(whole, nil, []audit.Checkpoint{another}); err == nil || !strings.Contains(err.Error(), "none of the earlier checkpoints") {
		t.Errorf("by those of another project alone: %v", err)
	}
	forged := &audittest.Memory{} // by somebody with the server's key and database
	for range 10 {
		if err := forged.AppendAudit(t.Context(), "one/two", []audit.Record{{Action: "file.write", Decision: audit.Allow}}); err != nil {
			t.Fatal(err)
		}
	}
	export := audittest.Export(t, forged, "one/two")
	if _, err := audit.Verify(bytes.NewReader(export), nil, nil); err != nil {
		t.Fatalf("by itself it is consistent: %v", err)
	}
	if _, err := audit.Verify(bytes.NewReader(export), nil, kept); err == nil {
		t.Error("a log that was written anew is believed")
	}
	if err := verify(whole[:place(5)], nil, kept); err == nil {
		t.Error("a log that was cut short at a checkpoint is believed")
	}
	if err := verify(whole[:1], nil, kept); err == nil {
		t.Error("a log that was emptied is believed")
	}
}

func TestAnotherKeyIsFound(t *testing.T) {
	whole, _ := exported(t)
	other, err := audit.NewSigner(bytes.Repeat([]byte{8}, audit.SeedBytes))
	if err != nil {
		t.Fatal(err)
	}
	if err := verify(whole, []audit.Verifier{other.Verifier()}, nil); err == nil {
		t.Error("checkpoints of another key are believed")
	}
	key, err := audit.ParseVerifier(audittest.Signer(t).Verifier().String())
	if err != nil {
		t.Fatal(err)
	}
	if err := verify(whole, []audit.Verifier{other.Verifier(), key}, nil); err != nil {
		t.Errorf("by either of two keys: %v", err)
	}
	for _, bad := range []string{"", "stead", key.String() + "A", strings.Replace(key.String(), "+", "+0", 1)} {
		if _, err := audit.ParseVerifier(bad); stead.KindOf(err) != stead.KindInvalid {
			t.Errorf("key %q: %v", bad, err)
		}
	}
}

type house struct {
	store *audittest.Memory
	gate  *audit.Authorizer
	log   *audit.Log
}

func newHouse() *house {
	h := &house{store: &audittest.Memory{}}
	h.log = audit.NewLog(h.store)
	h.gate = audit.NewAuthorizer(identity.Authorizer{}, h.log, audit.LevelDenied, func() time.Time { return time.UnixMilli(7) }, slog.New(slog.DiscardHandler))
	return h
}

func (h *house) records(t *testing.T) (out []audit.Record) {
	t.Helper()
	rows, err := h.store.AuditRows(t.Context(), audit.Query{Project: "p"})
	if err != nil {
		t.Fatal(err)
	}
	for _, row := range rows {
		r, err := audit.Decode(row.Data)
		if err != nil {
			t.Fatal(err)
		}
		out = append(out, r)
	}
	return out
}

func principal(role stead.Role) stead.Principal {
	return stead.Principal{Project: "p", Kind: stead.PrincipalUser, ID: "ada", Role: role}
}

func TestActsAndRefusalsAreRecordedBeforeTheyAreAnswered(t *testing.T) {
	h := newHouse()
	for _, req := range []policy.Request{
		{Principal: principal(identity.Owner), Effect: policy.KeyWrite, Resource: "key_1"},
		{Principal: principal(identity.Owner), Effect: policy.SessionDelete, Session: stead.SessionKey{Project: "p", Session: "sess_1"}},
		{Principal: principal(identity.Owner), Effect: policy.SessionRead},                            // nothing changes
		{Principal: principal(identity.Owner), Effect: policy.SessionWrite},                           // it is in the journal
		{Principal: principal(identity.Auditor), Effect: policy.FileWrite, Resource: "file_1"},        // refused
		{Principal: principal(identity.Agent), Effect: policy.AuditRead},                              // refused
		{Principal: principal(identity.Developer), Effect: policy.AuditRead},                          // refused
		{Principal: principal(identity.Approver), Effect: policy.ApprovalGive, Resource: "approve_1"}, //
	} {
		ctx := audit.WithCall(t.Context(), audit.Call{Request: "req_1", Act: "POST /v1/x", Key: "key_9", From: "10.0.0.1"})
		if _, err := h.gate.Decide(ctx, req); err != nil {
			t.Fatal(err)
		}
	}
	var got []string
	for _, r := range h.records(t) {
		got = append(got, r.Action+" "+string(r.Decision))
	}
	want := []string{"key.write allow", "session.delete allow", "file.write deny", "audit.read deny", "audit.read deny", "approval.give allow"}
	if !slices.Equal(got, want) {
		t.Fatalf("recorded are\n%q, want\n%q", got, want)
	}
	r := h.records(t)[0]
	if r.Principal != (audit.Principal{Kind: "user", ID: "ada", Role: "owner", Key: "key_9"}) || r.Resource != "key_1" || r.Request != "req_1" || r.Detail != "POST /v1/x" || r.From != "10.0.0.1" || r.At != 7 || r.By != "role" {
		t.Errorf("the record says %+v", r)
	}
}

// TestAnswersAreRecorded: who, what, why, and of what was shown; at every level.
func TestAnswersAreRecorded(t *testing.T) {
	h := newHouse()
	for decision, want := range map[string]audit.Decision{"approve": audit.Allow, "edit": audit.Allow, "delegate to user bob": audit.Allow, "deny": audit.Deny, "cancel": audit.Deny} {
		req := policy.Request{
			Principal: principal(identity.Approver), Effect: policy.ApprovalGive, Resource: "req_1", Carried: true, Arguments: []byte(`{"amount":5}`),
			Answer: &policy.Answer{Decision: decision, Why: "it is Friday", Tool: "shop/refund", Digest: "d1"},
		}
		draft := h.gate.Draft(t.Context(), req, policy.Decision{Allow: true, By: "person"})
		for _, has := range []string{`"action":"approval.answer"`, `"decision":"` + string(want) + `"`, `"reason_digest":"`, `"text":"it is Friday"`, `"resource":"req_1"`, decision + " shop/refund, effect d1", `"id":"ada"`, `"arguments":"`} {
			if !strings.Contains(string(draft), has) {
				t.Errorf("the record of %s lacks %s: %s", decision, has, draft)
			}
		}
		if line, texts := audit.Carried(draft); strings.Contains(string(line), "Friday") || len(texts) != 1 || !slices.Equal(texts[0].People, []string{"ada"}) {
			t.Errorf("what is hashed of %s is %s, beside it stands %+v", decision, line, texts)
		}
	}
}

// TestWordsOfPeopleStandBesideTheLog: what quotes somebody does, as do reasons that are given with what is written; what a policy or a role says does not.
func TestWordsOfPeopleStandBesideTheLog(t *testing.T) {
	store := &audittest.Memory{}
	quoting := policy.Decision{By: "kill_switch", Reason: "it was stopped: mad", Quotes: "op"}
	gate := audit.NewAuthorizer(says(quoting), audit.NewLog(store), audit.LevelAll, time.Now, slog.New(slog.DiscardHandler))
	for _, req := range []policy.Request{
		{Principal: principal(identity.Owner), Effect: policy.FileWrite},
		{Principal: principal(identity.Owner), Effect: policy.KillSwitchWrite, Written: map[string]string{"scope": "user", "of": "eve", "reason": "bad", "id": "k"}},
	} {
		if _, err := gate.Decide(t.Context(), req); err != nil {
			t.Fatal(err)
		}
	}
	plain := audit.NewAuthorizer(identity.Authorizer{}, audit.NewLog(store), audit.LevelAll, time.Now, slog.New(slog.DiscardHandler))
	if _, err := plain.Decide(t.Context(), policy.Request{Principal: principal(identity.Auditor), Effect: policy.FileWrite}); err != nil {
		t.Fatal(err)
	}
	rows, err := store.AuditRows(t.Context(), audit.Query{Project: "p"})
	if err != nil || len(rows) != 3 || strings.Contains(string(rows[0].Data)+string(rows[1].Data), "mad") || strings.Contains(string(rows[1].Data), "bad") || !strings.Contains(string(rows[2].Data), `"reason":"`) {
		t.Fatalf("%+v: %v", rows, err)
	}
	for who, want := range map[string]int{"ada": 3, "op": 3, "eve": 2, "e": 0} { // of whom the records are, whom they quote, whom they are about
		if found, err := store.AuditTexts(t.Context(), "p", audit.TextQuery{Person: who}); err != nil || len(found) != want {
			t.Errorf("about %s: %+v, %v", who, found, err)
		}
	}
}

// says is a decider of one answer.
type says policy.Decision

func (s says) Decide(context.Context, policy.Request) (policy.Decision, error) {
	return policy.Decision(s), nil
}

// TestLevels: what is recorded of sessions, by itself or as the draft of an append, and never as both.
func TestLevels(t *testing.T) {
	acts := []policy.Request{
		{Principal: principal(identity.Owner), Effect: policy.ToolCall, Acting: true, Agent: "agent_1", Resource: "sh/run", Arguments: []byte(`{"secret":1}`)},
		{Principal: principal(identity.Auditor), Effect: policy.ToolCall, Acting: true, Resource: "sh/no"}, // refused
		{Principal: principal(identity.Owner), Effect: policy.MemoryRead, Acting: true, Resource: "mem"},
		{Principal: principal(identity.Owner), Effect: policy.SessionCreate, Resource: "agent_1"},
		{Principal: principal(identity.Owner), Effect: policy.SessionRead, Resource: "read"},
		{Principal: principal(identity.Auditor), Effect: policy.SessionCreate, Resource: "refused"},
		{Principal: principal(identity.Owner), Effect: policy.CredentialUse, Acting: true, Resource: "v/c"},
		{Principal: principal(identity.Owner), Effect: policy.ModelCall, Resource: "stateless"},
		{Principal: principal(identity.Owner), Effect: policy.ModelCall, Resource: "permitted"},      // by a policy
		{Principal: principal(identity.Auditor), Effect: policy.ModelCall, Resource: "stateless-no"}, // refused
	}
	for level, want := range map[audit.Level]string{
		audit.LevelEvery: "sh/run sh/no mem agent_1 refused v/c stateless permitted stateless-no", audit.LevelAll: "sh/run sh/no mem agent_1 refused v/c permitted stateless-no",
		audit.LevelDenied: "sh/no refused v/c stateless-no", audit.LevelNone: "refused v/c stateless-no",
	} {
		for _, carried := range []bool{false, true} {
			h := newHouse()
			h.gate = audit.NewAuthorizer(byRole{}, h.log, level, func() time.Time { return time.UnixMilli(7) }, slog.New(slog.DiscardHandler))
			var got []string
			for _, req := range acts {
				req.Carried = carried
				d, _ := h.gate.Decide(t.Context(), req)
				if carried && (req.Acting || d.Allow) {
					if draft := h.gate.Draft(t.Context(), req, d); draft != nil {
						rows, _ := audit.ExtendDrafts(audit.Tree{}, [][]byte{draft})
						r, err := audit.Decode(rows[0].Data)
						if err != nil || strings.Contains(string(draft), "secret") {
							t.Fatalf("draft %s: %v", draft, err)
						}
						if whole, _ := r.Encode(); string(whole) != string(rows[0].Data) {
							t.Fatalf("a draft with its place is\n%s, want\n%s", rows[0].Data, whole)
						}
						got = append(got, r.Resource)
						if r.Resource == "sh/run" && (r.Agent != "agent_1" || r.Arguments != fmt.Sprintf("%x", sha256.Sum256(req.Arguments))) {
							t.Errorf("of a tool call is recorded %+v", r)
						}
					}
					if n := len(h.records(t)); n > 0 && h.records(t)[n-1].Resource == req.Resource {
						t.Errorf("%s is recorded beside its draft", req.Resource)
					}
				}
				for _, r := range h.records(t) {
					if !slices.Contains(got, r.Resource) {
						got = append(got, r.Resource)
					}
				}
			}
			if said := strings.Join(got, " "); said != want {
				t.Errorf("at level %s, carried %t, recorded are %q, want %q", level, carried, said, want)
			}
		}
	}
}

// byRole allows everything to owners alone, and one thing by a policy.
type byRole struct{}

func (byRole) Decide(_ context.Context, req policy.Request) (policy.Decision, error) {
	d := policy.Decision{Allow: req.Principal.Role == identity.Owner, By: "test"}
	if req.Resource == "permitted" {
		d.Policies = []string{"models"}
	}
	return d, nil
}

// Reads of people are recorded as far as the operator wants it, whatever the level; those of agents and of the node are not theirs.
func TestReadsAreRecordedWhenAskedFor(t *testing.T) {
	owner := principal(identity.Owner)
	acts := []policy.Request{
		{Principal: owner, Effect: policy.SessionRead, Session: stead.SessionKey{Project: "p", Session: "sess_1"}}, {Principal: owner, Effect: policy.FileRead},
		{Principal: owner, Effect: policy.MemoryRead}, {Principal: owner, Effect: policy.EnvironmentRead}, {Principal: owner, Effect: policy.VectorStoreRead}, {Principal: owner, Effect: policy.AuditRead},
		{Principal: owner, Effect: policy.AgentRead}, {Principal: owner, Effect: policy.KeyRead}, {Principal: owner, Effect: policy.UsageRead},
		{Principal: owner, Effect: policy.MemoryEntryRead}, {Principal: owner, Effect: policy.MemoryRead, Acting: true},
		{Principal: stead.Principal{Project: "p", Kind: stead.PrincipalNode, ID: "node", Role: identity.Owner}, Effect: policy.EnvironmentRead},
	}
	const content = "session.read file.read memory.read environment.read vector_store.read audit.read"
	for reads, want := range map[audit.Reads]string{"": "", audit.ReadsNone: "", audit.ReadsContent: content, audit.ReadsAll: content + " agent.read key.read usage.read"} {
		h := newHouse()
		h.gate = audit.NewAuthorizer(byRole{}, h.log, audit.LevelNone, func() time.Time { return time.UnixMilli(7) }, slog.New(slog.DiscardHandler))
		h.gate.Recording(reads)
		var got []string
		for _, req := range acts {
			if _, err := policy.Check(t.Context(), h.gate, req); err != nil {
				t.Fatal(err)
			}
		}
		for _, r := range h.records(t) {
			got = append(got, r.Action)
		}
		if said := strings.Join(got, " "); said != want {
			t.Errorf("reads %q: %q, want %q", reads, said, want)
		}
		if want != "" && h.records(t)[0].Session != "sess_1" {
			t.Errorf("%+v", h.records(t)[0])
		}
		h.store.Fail(stead.Errorf(stead.KindUnavailable, "the disk is full"))
		_, err := policy.Check(t.Context(), h.gate, acts[0])
		if recorded := want != ""; recorded != (stead.KindOf(err) == stead.KindUnavailable) {
			t.Errorf("reads %q, without room for the record: %v", reads, err)
		}
	}
}

func TestWhatCantBeRecordedIsRefused(t *testing.T) {
	h := newHouse()
	h.store.Fail(stead.Errorf(stead.KindUnavailable, "the disk is full"))
	_, err := policy.Check(t.Context(), h.gate, policy.Request{Principal: principal(identity.Owner), Effect: policy.FileWrite})
	if stead.KindOf(err) != stead.KindUnavailable {
		t.Fatalf("an act that can't be recorded: %v, want it refused as unavailable", err)
	}
	if _, err := policy.Check(t.Context(), h.gate, policy.Request{Principal: principal(identity.Owner), Effect: policy.FileRead}); err != nil {
		t.Errorf("what needs no record: %v", err)
	}
	h.store.Fail(nil)
	if _, err := policy.Check(t.Context(), h.gate, policy.Request{Principal: principal(identity.Owner), Effect: policy.FileWrite}); err != nil {
		t.Errorf("once the disk has space: %v", err)
	}
}

// slow is a store whose commits wait for a token.
type slow struct {
	audittest.Memory
	token   chan struct{}
	commits int // of one project: made one after the other
}

func (s *slow) AppendAudit(ctx context.Context, p stead.ProjectID, records []audit.Record) error {
	<-s.token
	s.commits++
	return s.Memory.AppendAudit(ctx, p, records)
}

func TestRecordsThatWaitShareACommit(t *testing.T) {
	const writers = 50
	s := &slow{token: make(chan struct{})}
	log := audit.NewLog(s)
	var wg, begun sync.WaitGroup
	begun.Add(writers)
	for range writers {
		wg.Go(func() {
			begun.Done()
			if err := log.Append(t.Context(), audit.Record{Project: "p", Action: "x"}); err != nil {
				t.Error(err)
			}
		})
	}
	begun.Wait()
	go func() {
		for {
			select {
			case s.token <- struct{}{}:
			case <-t.Context().Done():
				return
			}
		}
	}()
	wg.Wait()
	if err := log.Close(t.Context()); err != nil {
		t.Fatal(err)
	}
	tree, _ := s.AuditTree(t.Context(), "p")
	if tree.Size != writers || s.commits > writers {
		t.Errorf("%d records in %d commits, want %d", tree.Size, s.commits, writers)
	}
}

func TestALongRecordIsCut(t *testing.T) {
	h := newHouse()
	long := strings.Repeat("x", 10*audit.MaxFieldBytes) + "\xff"
	if err := h.log.Append(t.Context(), audit.Record{Project: "p", Action: long, Policies: make([]string, 1000)}); err != nil {
		t.Fatal(err)
	}
	if r := h.records(t)[0]; len(r.Action) != audit.MaxFieldBytes || len(r.Policies) != audit.MaxPolicies {
		t.Errorf("%d bytes, %d policies", len(r.Action), len(r.Policies))
	}
}

func TestTheServiceSignsWhatHasGrown(t *testing.T) {
	h := newHouse()
	s := audit.NewService(audit.Config{Store: h.store, Policy: h.gate, Signer: audittest.Signer(t), Now: func() time.Time { return time.UnixMilli(9) }, Log: slog.New(slog.DiscardHandler)})
	for _, p := range []stead.ProjectID{"p", "q"} {
		if err := h.log.Append(t.Context(), audit.Record{Project: p, Action: "x"}); err != nil {
			t.Fatal(err)
		}
	}
	for range 2 { // the second finds nothing to do
		if err := s.SignAll(t.Context()); err != nil {
			t.Fatal(err)
		}
	}
	notes, more, err := s.Checkpoints(t.Context(), principal(identity.Auditor), 0, 10)
	if err != nil || more || len(notes) != 1 {
		t.Fatalf("checkpoints %+v, more %t: %v", notes, more, err)
	}
	c, err := audit.Open(notes[0].Text, []audit.Verifier{s.Verifier()})
	if err != nil || c.Project != "p" || c.Size != 1 || c.At != 9 {
		t.Errorf("checkpoint %+v: %v", c, err)
	}
	if _, _, err := s.Checkpoints(t.Context(), principal(identity.Developer), 0, 10); stead.KindOf(err) != stead.KindForbidden {
		t.Errorf("a developer reads checkpoints: %v", err)
	}
	rows, more, err := s.List(t.Context(), principal(identity.Auditor), audit.ListQuery{Filter: audit.Filter{Decision: audit.Deny}, Limit: 10})
	if err != nil || more || len(rows) != 1 {
		t.Errorf("refusals: %d, more %t: %v", len(rows), more, err)
	}
}

func TestOCSF(t *testing.T) {
	r := audit.Record{Seq: 3, At: 5, Project: "p", Principal: audit.Principal{Kind: "user", ID: "ada", Role: "owner", Key: "key_1"}, Action: "file.write",
		Resource: "file_1", Decision: audit.Deny, Policies: []string{"no-files"}, Version: "abc", Request: "req_1", From: "::1", Detail: "DELETE /v1/files/file_1"}
	line, err := r.OCSF()
	if err != nil {
		t.Fatal(err)
	}
	var e struct {
		ClassUID   int `json:"class_uid"`
		TypeUID    int `json:"type_uid"`
		ActivityID int `json:"activity_id"`
		StatusID   int `json:"status_id"`
		Time       int64
		Actor      struct {
			User           struct{ UID string }
			Authorizations []struct {
				Decision string
				Policy   struct{ UID string }
			}
		}
		Source struct{ IP string } `json:"src_endpoint"`
	}
	if err := json.Unmarshal(line, &e); err != nil {
		t.Fatal(err)
	}
	if e.ClassUID != 6003 || e.ActivityID != 4 || e.TypeUID != 600304 || e.StatusID != 2 || e.Time != 5 || e.Actor.User.UID != "ada" || e.Source.IP != "::1" ||
		len(e.Actor.Authorizations) != 1 || e.Actor.Authorizations[0].Policy.UID != "no-files" {
		t.Errorf("%s reads as %+v", line, e)
	}
}

// counting is a store that counts what is read of it.
type counting struct {
	audittest.Memory
	read int
}

func (c *counting) AuditRows(ctx context.Context, q audit.Query) ([]audit.Row, error) {
	rows, err := c.Memory.AuditRows(ctx, q)
	c.read += len(rows)
	return rows, err
}

// TestTimesAreFound: what a filter of times leaves is what looking at every record leaves, also where clocks differ and where
// the beginning was removed; and it reads little of a long log.
func TestTimesAreFound(t *testing.T) {
	const hour, size = 3_600_000, 5_000
	for _, pruned := range []int64{0, 500} {
		s := &counting{}
		var records []audit.Record
		for i := range int64(size) {
			at := (i + 1000) * hour
			if i%7 == 0 {
				at -= 20 * hour // by a node whose clock is late
			}
			records = append(records, audit.Record{At: at, Action: "x", Resource: fmt.Sprint(i), Decision: audit.Allow})
		}
		if err := s.AppendAudit(t.Context(), "p", records); err != nil {
			t.Fatal(err)
		}
		if pruned > 0 {
			if err := s.PruneAudit(t.Context(), "p", audit.Tree{Size: pruned}); err != nil {
				t.Fatal(err)
			}
		}
		h := newHouse()
		service := audit.NewService(audit.Config{Store: s, Policy: h.gate, Signer: audittest.Signer(t), Now: time.Now, Log: slog.New(slog.DiscardHandler)})
		for _, span := range [][2]int64{{0, 0}, {1500 * hour, 1600 * hour}, {1, 1000 * hour}, {2990 * hour, 0}, {0, 1010 * hour}, {5000 * hour, 0}, {1500 * hour, 1500 * hour}, {1450 * hour, 1520 * hour}} {
			f := audit.Filter{From: span[0], To: span[1]}
			want := map[string]bool{}
			for i, r := range records {
				if int64(i) >= pruned && r.At >= f.From && (f.To == 0 || r.At < f.To) {
					want[r.Resource] = true
				}
			}
			for _, desc := range []bool{false, true} {
				s.read = 0
				got := map[string]bool{}
				for q := (audit.ListQuery{Filter: f, Desc: desc, Limit: 90}); ; {
					rows, more, err := service.List(t.Context(), principal(identity.Auditor), q)
					if err != nil {
						t.Fatal(err)
					}
					for _, row := range rows {
						r, err := audit.Decode(row.Data)
						if err != nil || got[r.Resource] {
							t.Fatalf("record %d comes twice: %v", row.Seq, err)
						}
						got[r.Resource], q.After = true, row.Seq
					}
					if !more {
						break
					}
				}
				if narrow := f.From > hour && f.To > 0; narrow && s.read > size/2 {
					t.Errorf("%v, desc %t: %d records were read", span, desc, s.read)
				}
				if len(got) != len(want) {
					t.Errorf("pruned %d, %v, desc %t: %d records, want %d", pruned, span, desc, len(got), len(want))
				}
			}
		}
	}
}
