// Package audittest holds what every audit.Store must pass, and one in memory.
//
// Shape: Suite(open); Memory; Export. open returns a new, empty store, and a second access to it such
// as another node has.
package audittest

import (
	"bytes"
	"fmt"
	"slices"
	"sync"
	"testing"

	"github.com/stead-dev/stead"
	"github.com/stead-dev/stead/internal/audit"
)

const project stead.ProjectID = "proj"

// Suite checks a store against its contract.
func Suite(t *testing.T, open func(t *testing.T) (here, there audit.Store)) {
	for name, test := range map[string]func(t *testing.T, here, there audit.Store){
		"records are chained in the order of their appends": chained,
		"a page goes on after a place, either way":          paged,
		"two nodes keep one chain without gaps":             raced,
		"checkpoints are kept once a size":                  noted,
		"projects have logs of their own":                   apart,
		"what is left of a pruned log is verified":          pruned,
		"what people wrote goes, and the log stays":         forgotten,
	} {
		t.Run(name, func(t *testing.T) {
			here, there := open(t)
			test(t, here, there)
		})
	}
}

func add(t *testing.T, s audit.Store, p stead.ProjectID, resources ...string) {
	t.Helper()
	var records []audit.Record
	for _, r := range resources {
		records = append(records, audit.Record{At: 1, Principal: audit.Principal{Kind: "user", ID: "ada"}, Action: "file.write", Resource: r, Decision: audit.Allow})
	}
	if err := s.AppendAudit(t.Context(), p, records); err != nil {
		t.Error(err)
	}
}

// Signer is a signer for tests.
func Signer(t testing.TB) audit.Signer {
	t.Helper()
	s, err := audit.NewSigner(bytes.Repeat([]byte{7}, audit.SeedBytes))
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// Export is an export of everything that a project's log holds, with a checkpoint behind it.
func Export(t testing.TB, s audit.Store, p stead.ProjectID) []byte {
	t.Helper()
	tree, err := s.AuditTree(t.Context(), p)
	if err != nil {
		t.Fatal(err)
	}
	signer := Signer(t)
	base, err := s.AuditBase(t.Context(), p)
	if err != nil {
		t.Fatal(err)
	}
	notes, err := s.AuditNotes(t.Context(), p, 0, audit.MaxRows)
	if err != nil {
		t.Fatal(err)
	}
	if len(notes) == 0 || notes[len(notes)-1].Size < tree.Size {
		notes = append(notes, audit.Note{Size: tree.Size, Text: signer.Sign(audit.Checkpoint{Project: p, Size: tree.Size, Root: tree.Root(), At: 2})})
	}
	var out bytes.Buffer
	e, err := audit.NewExporter(&out, p, signer.Verifier().String(), base, notes)
	if err != nil {
		t.Fatal(err)
	}
	for q := (audit.Query{Project: p}); ; {
		rows, err := s.AuditRows(t.Context(), q)
		if err != nil {
			t.Fatal(err)
		}
		if err := audit.Fill(t.Context(), s, p, rows); err != nil {
			t.Fatal(err)
		}
		for _, r := range rows {
			if err := e.Record(r); err != nil {
				t.Fatal(err)
			}
			q.After = r.Seq
		}
		if len(rows) == 0 {
			break
		}
	}
	if err := e.Close(); err != nil {
		t.Fatal(err)
	}
	return out.Bytes()
}

func chained(t *testing.T, here, there audit.Store) {
	add(t, here, project, "a")
	add(t, there, project, "b", "c")
	add(t, here, project, "d")
	rows, err := there.AuditRows(t.Context(), audit.Query{Project: project})
	if err != nil {
		t.Fatal(err)
	}
	var said string
	for _, row := range rows {
		r, err := audit.Decode(row.Data)
		if err != nil || r.Seq != row.Seq {
			t.Fatalf("record %+v in row %d: %v", r, row.Seq, err)
		}
		said += fmt.Sprint(r.Seq, r.Resource, " ")
	}
	if want := "1a 2b 3c 4d "; said != want {
		t.Fatalf("the log says %q, want %q", said, want)
	}
	if _, err := audit.Verify(bytes.NewReader(Export(t, here, project)), nil, nil); err != nil {
		t.Fatal(err)
	}
}

func paged(t *testing.T, here, _ audit.Store) {
	add(t, here, project, "a", "b", "c", "d", "e")
	for _, c := range []struct {
		q    audit.Query
		want string
	}{
		{audit.Query{}, "12345"}, {audit.Query{Desc: true}, "54321"}, {audit.Query{After: 2, Limit: 2}, "34"}, {audit.Query{After: 3, Desc: true, Limit: 5}, "21"},
		{audit.Query{After: 5}, ""}, {audit.Query{Limit: 1}, "1"},
	} {
		c.q.Project = project
		rows, err := here.AuditRows(t.Context(), c.q)
		if err != nil {
			t.Fatal(err)
		}
		var got string
		for _, r := range rows {
			got += fmt.Sprint(r.Seq)
		}
		if got != c.want {
			t.Errorf("%+v gives %q, want %q", c.q, got, c.want)
		}
	}
}

func raced(t *testing.T, here, there audit.Store) {
	const writers, each = 8, 20
	var wg sync.WaitGroup
	for w := range writers {
		s := here
		if w%2 == 1 {
			s = there
		}
		wg.Go(func() {
			for i := range each {
				add(t, s, project, fmt.Sprint(w, "-", i), "second")
			}
		})
	}
	wg.Wait()
	v, err := audit.Verify(bytes.NewReader(Export(t, here, project)), nil, nil)
	if want := int64(writers * each * 2); err != nil || v.Records != want {
		t.Fatalf("%d records, want %d: %v", v.Records, want, err)
	}
}

func noted(t *testing.T, here, there audit.Store) {
	ctx := t.Context()
	add(t, here, project, "a", "b")
	unsigned := func(want int) {
		t.Helper()
		got, err := there.UnsignedAudit(ctx, 10)
		if err != nil || len(got) != want {
			t.Fatalf("unsigned are %v, want %d: %v", got, want, err)
		}
	}
	unsigned(1)
	for _, n := range []audit.Note{{Size: 2, Text: "first"}, {Size: 2, Text: "second"}, {Size: 1, Text: "smaller"}} {
		if err := here.AddAuditNote(ctx, project, n); err != nil {
			t.Fatal(err)
		}
	}
	unsigned(0)
	for after, want := range []string{"smaller first", "first", ""} {
		notes, err := there.AuditNotes(ctx, project, int64(after), 10)
		if err != nil {
			t.Fatal(err)
		}
		got := ""
		for i, n := range notes {
			got += map[bool]string{true: " "}[i > 0] + n.Text
		}
		if got != want {
			t.Errorf("checkpoints after %d: %q, want %q", after, got, want)
		}
	}
	add(t, here, project, "c")
	unsigned(1)
	if logs, err := there.AuditLogs(ctx, "", 10); err != nil || len(logs) != 1 || logs[0].Size != 3 || logs[0].Signed != 2 {
		t.Errorf("the logs are %+v, want one of 3 records, signed up to 2: %v", logs, err)
	}
}

func apart(t *testing.T, here, there audit.Store) {
	add(t, here, "one", "a")
	add(t, there, "two", "b", "c")
	logs, err := here.AuditLogs(t.Context(), "", 10)
	if want := []audit.LogSize{{Project: "one", Size: 1}, {Project: "two", Size: 2}}; err != nil || !slices.Equal(logs, want) {
		t.Errorf("logs: %v, want %v: %v", logs, want, err)
	}
	if logs, err = here.AuditLogs(t.Context(), "one", 1); err != nil || len(logs) != 1 || logs[0].Project != "two" {
		t.Errorf("behind one: %v, %v", logs, err)
	}
	for p, want := range map[stead.ProjectID]int64{"one": 1, "two": 2, "none": 0} {
		tree, err := there.AuditTree(t.Context(), p)
		if err != nil || tree.Size != want {
			t.Errorf("project %s has %d records, want %d: %v", p, tree.Size, want, err)
		}
	}
}

// pruned removes what is older than a time, up to a checkpoint, and goes on.
func pruned(t *testing.T, here, there audit.Store) {
	ctx := t.Context()
	signer := Signer(t)
	at := func(times ...int64) (checkpoint audit.Checkpoint) {
		t.Helper()
		for _, at := range times {
			if err := here.AppendAudit(ctx, project, []audit.Record{{At: at, Action: "x", Decision: audit.Allow}}); err != nil {
				t.Fatal(err)
			}
		}
		tree, err := here.AuditTree(ctx, project)
		if err != nil {
			t.Fatal(err)
		}
		c := audit.Checkpoint{Project: project, Size: tree.Size, Root: tree.Root(), At: times[len(times)-1]}
		if err := here.AddAuditNote(ctx, project, audit.Note{Size: c.Size, Text: signer.Sign(c)}); err != nil {
			t.Fatal(err)
		}
		return c
	}
	earlier := []audit.Checkpoint{at(1, 2), at(3, 4, 5), at(6, 7)}
	whole := Export(t, here, project)
	prune := func(before, want int64) {
		t.Helper()
		to, err := audit.Prunable(ctx, there, project, before)
		if err != nil || (to == nil) != (want == 0) || to != nil && to.Size != want {
			t.Fatalf("before %d may be removed up to %+v, want %d: %v", before, to, want, err)
		}
		for range 2 { // the second finds nothing to do
			if to != nil {
				if err := there.PruneAudit(ctx, project, *to); err != nil {
					t.Fatal(err)
				}
			}
		}
	}
	prune(2, 0) // record 2 is not old enough, and no checkpoint stands before it
	prune(6, 5)
	prune(6, 0)
	if err := here.PruneAudit(ctx, project, audit.Tree{Size: 1, Peaks: make([]audit.Hash, 1)}); err != nil { // a base only grows
		t.Fatal(err)
	}
	rows, err := here.AuditRows(ctx, audit.Query{Project: project, Desc: true})
	if err != nil || len(rows) != 2 || rows[0].Seq != 7 || rows[1].Seq != 6 {
		t.Fatalf("left are %d records: %v", len(rows), err)
	}
	if _, err := audit.Verify(bytes.NewReader(whole), nil, earlier); err != nil {
		t.Fatalf("what was exported before: %v", err)
	}
	export := Export(t, there, project)
	v, err := audit.Verify(bytes.NewReader(export), []audit.Verifier{signer.Verifier()}, earlier)
	if err != nil || v.Begins != 5 || v.Records != 7 || v.Uncompared != 1 {
		t.Fatalf("%+v: %v\n%s", v, err, export)
	}
	tampered(t, export, signer)
	at(8, 9)
	prune(9, 7)
	if v, err := audit.Verify(bytes.NewReader(Export(t, here, project)), nil, earlier[2:]); err != nil || v.Begins != 7 || v.Records != 9 || v.Uncompared != 0 {
		t.Fatalf("%+v: %v", v, err)
	}
}

// tampered changes an export of a pruned log in every line: it is never believed.
func tampered(t *testing.T, export []byte, signer audit.Signer) {
	t.Helper()
	lines := bytes.SplitAfter(export, []byte("\n"))
	lines = lines[:len(lines)-1] // behind the end of the last one is nothing
	believed := func(lines [][]byte) bool {
		_, err := audit.Verify(bytes.NewReader(bytes.Join(lines, nil)), []audit.Verifier{signer.Verifier()}, nil)
		return err == nil
	}
	if !believed(lines) {
		t.Fatal("the export is not believed")
	}
	for i := range lines {
		if believed(slices.Delete(slices.Clone(lines), i, i+1)) && i != len(lines)-1 {
			t.Errorf("without line %d it is believed: %s", i+1, lines[i])
		}
		for j, b := range lines[i] {
			other := slices.Clone(lines)
			other[i] = slices.Clone(lines[i])
			other[i][j] = b ^ 1
			if believed(other) && !bytes.Contains(lines[i], []byte("stead_audit")) {
				t.Errorf("with byte %d of line %d changed it is believed", j, i+1)
			}
		}
	}
	for _, change := range [][2]string{{`"begins":5`, `"begins":4`}, {`"begins":5`, `"begins":6`}, {`"begins":5,`, ``}} {
		other := slices.Clone(lines)
		if other[0] = bytes.Replace(lines[0], []byte(change[0]), []byte(change[1]), 1); believed(other) {
			t.Errorf("it is believed with %s", other[0])
		}
	}
	at := bytes.Index(lines[0], []byte(`"tree":"`)) + len(`"tree":"`)
	other := slices.Clone(lines)
	other[0] = slices.Clone(lines[0])
	if other[0][at] = 'A'; lines[0][at] == 'A' {
		other[0][at] = 'B'
	}
	if believed(other) {
		t.Error("it is believed behind another tree")
	}
}
