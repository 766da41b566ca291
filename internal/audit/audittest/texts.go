package audittest

import (
	"bytes"
	"context"
	"slices"
	"strings"
	"testing"

	"github.com/stead-dev/stead"
	"github.com/stead-dev/stead/internal/audit"
	"github.com/stead-dev/stead/internal/policy"
)

// answer is the record of somebody's answer to a request of eve's, with a reason.
func answer(session stead.SessionID, by, reason string) audit.Record {
	return audit.Record{
		At: 1, Session: session, Principal: audit.Principal{Kind: "user", ID: by}, Action: audit.ActAnswer, Resource: "req_1", Decision: audit.Deny, Reason: reason,
		Approval: &policy.Asking{ID: "req_1", For: "user:eve"},
	}
}

// handed is the record of an approval that ada handed on, with a reason.
func handed(kind stead.PrincipalKind, id string, role stead.Role) audit.Record {
	r := answer("", "ada", "they know Mr. Miller")
	r.Approval.To = policy.Delegate{Kind: kind, ID: id, Role: role}.String()
	return r
}

const secret = "Mr. John Miller, SSN 123-45-6789,\nis a \x00fraud"

// forgotten: what people wrote into records is found by session and by person, goes with its salt, and what is left is verified as before.
func forgotten(t *testing.T, here, there audit.Store) {
	ctx := t.Context()
	records := []audit.Record{
		answer("sess_1", "ada", secret), answer("sess_1", "bob", secret), answer("sess_2", "ada", "no"), answer("", "bob", "never"),
		{At: 1, Principal: audit.Principal{Kind: "user", ID: "op"}, Action: "project.control", Decision: audit.Allow, Written: map[string]string{"scope": "user", "of": "mallory", "reason": secret, "id": "k"}},
		{At: 1, Principal: audit.Principal{Kind: "user", ID: "mallory"}, Action: "file.write", Decision: audit.Deny, By: "kill_switch", Reason: "the user was stopped: " + secret, Quotes: "op"},
		{At: 1, Principal: audit.Principal{Kind: "user", ID: "ada"}, Action: "file.write", Decision: audit.Deny, By: "role", Reason: "the role may not"},
		handed("service", "zoe", ""), handed("", "", "owner"),
		{At: 1, Principal: audit.Principal{Kind: "user", ID: "ada"}, Action: "model.call", Decision: audit.Deny, By: "kill_switch", Reason: "the user was stopped: " + secret, Quotes: "op", About: "mallory"},
	}
	if err := here.AppendAudit(ctx, project, records); err != nil {
		t.Fatal(err)
	}
	if err := here.AppendAudit(ctx, "another", []audit.Record{answer("sess_1", "ada", "elsewhere")}); err != nil {
		t.Fatal(err)
	}
	before := Export(t, there, project)
	verified := func(export []byte, texts, erased int) {
		t.Helper()
		v, err := audit.Verify(bytes.NewReader(export), nil, nil)
		if err != nil || v.Texts != texts || v.Erased != erased || v.Records != int64(len(records)) {
			t.Fatalf("%+v, want %d texts, %d erased: %v\n%s", v, texts, erased, err, export)
		}
	}
	verified(before, 9, 0)
	rows, err := there.AuditRows(ctx, audit.Query{Project: project})
	if err != nil {
		t.Fatal(err)
	}
	if one, other := audit.Digests(rows[0].Data), audit.Digests(rows[1].Data); len(one) != 1 || len(other) != 1 || one[0] == other[0] {
		t.Fatalf("the same text has the digests %q and %q", one, other)
	}
	if err := audit.Fill(ctx, there, project, rows); err != nil {
		t.Fatal(err)
	}
	for i, row := range rows {
		r, err := audit.Decode(row.Data)
		if err != nil || bytes.Contains(row.Data, []byte("Miller")) {
			t.Fatalf("%s: %v", row.Data, err)
		}
		if got, want := r.With(row.Texts), records[i]; got.Reason != want.Reason || got.Written["reason"] != want.Written["reason"] {
			t.Errorf("record %d says %+v, want %+v", i+1, got, want)
		}
	}
	changed := bytes.Replace(before, []byte("123-45"), []byte("123-46"), 1)
	if _, err := audit.Verify(bytes.NewReader(changed), nil, nil); err == nil || !strings.Contains(err.Error(), "is not the one that was written") {
		t.Errorf("another text is believed: %v", err)
	}
	swapped := bytes.SplitAfter(bytes.TrimSuffix(before, []byte("\n")), []byte("\n"))
	swapped[2], swapped[4] = swapped[4], swapped[2]
	if _, err := audit.Verify(bytes.NewReader(bytes.Join(swapped, nil)), nil, nil); err == nil {
		t.Error("texts behind other records than theirs are believed")
	}
	flipped(t, before)

	forget := func(q audit.TextQuery, which func(string) bool, want int) {
		t.Helper()
		for _, want := range []int{want, 0} { // the second finds nothing to do
			n, err := audit.Forget(context.Background(), there, project, q, which)
			if err != nil || n != want {
				t.Fatalf("%+v: %d are forgotten, want %d: %v", q, n, want, err)
			}
		}
	}
	forget(audit.TextQuery{Session: "sess_2"}, audit.Repeats([]string{"something else"}), 0)
	forget(audit.TextQuery{Session: "sess_2"}, audit.Repeats([]string{"no"}), 1)
	forget(audit.TextQuery{Session: "sess_1"}, nil, 2)
	paging(t, here, there)
	forget(audit.TextQuery{Session: ""}, nil, 0)
	forget(audit.TextQuery{Person: "adam"}, nil, 0)
	forget(audit.TextQuery{Person: "zoe"}, nil, 1)
	forget(audit.TextQuery{Person: "owner"}, nil, 0) // a role is nobody
	forget(audit.TextQuery{Person: "eve"}, nil, 2)
	forget(audit.TextQuery{Person: "mallory"}, nil, 3)
	after := Export(t, here, project)
	verified(after, 0, 9)
	if lines := slices.Collect(strings.Lines(string(before))); bytes.Contains(after, []byte("Miller")) || !strings.Contains(string(after), lines[1]) {
		t.Errorf("what is left is\n%s", after)
	}
	if left, err := here.AuditTexts(ctx, "another", audit.TextQuery{Person: "ada"}); err != nil || len(left) != 1 || left[0].Text != "elsewhere" || left[0].Session != "sess_1" {
		t.Errorf("of another project are left %+v: %v", left, err)
	}
	prunedTexts(t, here, there)
}

// paging forgets what stands behind more texts than a page has, and those alone.
func paging(t *testing.T, here, there audit.Store) {
	t.Helper()
	const more = 5
	var records []audit.Record
	for range audit.MaxTexts + more {
		records = append(records, answer("sess_9", "ada", "so"))
	}
	for range more {
		records = append(records, answer("sess_9", "ada", "one of a few"))
	}
	if err := here.AppendAudit(t.Context(), "long", records); err != nil {
		t.Fatal(err)
	}
	for which, want := range map[string]int{"one of a few": more, "so": audit.MaxTexts + more} {
		if n, err := audit.Forget(t.Context(), there, "long", audit.TextQuery{Session: "sess_9"}, audit.Repeats([]string{which})); err != nil || n != want {
			t.Errorf("of %q are forgotten %d, want %d: %v", which, n, want, err)
		}
	}
}

// flipped changes the lines of an export that have texts in every byte: it is never believed.
func flipped(t *testing.T, export []byte) {
	t.Helper()
	lines := bytes.SplitAfter(export, []byte("\n"))
	for i, line := range lines {
		if !bytes.HasPrefix(line, []byte(`{"text"`)) {
			continue
		}
		for j, b := range line[:len(line)-1] {
			other := slices.Clone(lines)
			other[i] = slices.Clone(line)
			other[i][j] = b ^ 1
			if _, err := audit.Verify(bytes.NewReader(bytes.Join(other, nil)), nil, nil); err == nil {
				t.Errorf("with byte %d of line %d changed it is believed", j, i+1)
			}
		}
	}
}

// prunedTexts: what was written into records goes when they are old enough.
func prunedTexts(t *testing.T, here, there audit.Store) {
	t.Helper()
	tree, err := here.AuditTree(t.Context(), "another")
	if err != nil {
		t.Fatal(err)
	}
	if err := here.AppendAudit(t.Context(), "another", []audit.Record{answer("sess_1", "ada", "later")}); err != nil {
		t.Fatal(err)
	}
	if err := there.PruneAudit(t.Context(), "another", tree); err != nil {
		t.Fatal(err)
	}
	if left, err := here.AuditTexts(t.Context(), "another", audit.TextQuery{Session: "sess_1"}); err != nil || len(left) != 1 || left[0].Text != "later" {
		t.Errorf("left are %+v: %v", left, err)
	}
}
