package vectorstore_test

import (
	"context"
	"fmt"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stead-dev/stead"
	"github.com/stead-dev/stead/internal/asset"
	"github.com/stead-dev/stead/internal/blob"
	"github.com/stead-dev/stead/internal/document"
	"github.com/stead-dev/stead/internal/file"
	"github.com/stead-dev/stead/internal/memory"
	"github.com/stead-dev/stead/internal/passage"
	"github.com/stead-dev/stead/internal/policy"
	"github.com/stead-dev/stead/internal/postgres"
	"github.com/stead-dev/stead/internal/postgres/pgtest"
	"github.com/stead-dev/stead/internal/sqlite"
	"github.com/stead-dev/stead/internal/vectorstore"
)

// database is what both databases offer.
type database interface {
	document.Store
	memory.Store
}

// rig is a node: the services over a database, and a clock that the test moves.
type rig struct {
	*testing.T
	*vectorstore.Service
	files *file.Service
	db    database
	blobs blob.Store
	ahead *atomic.Int64 // of the real clock, in nanoseconds
	me    stead.Principal
	stop  func() // ends the node's work; waits for it
	read  func(ctx context.Context, name string, data []byte) (passage.Document, error)
	hurry func(*vectorstore.Service) // before it works; nil: it takes its time
}

func (r *rig) now() time.Time { return time.Now().Add(time.Duration(r.ahead.Load())) }

// both runs a test on either database.
func both(t *testing.T, test func(*rig)) {
	t.Run("sqlite", func(t *testing.T) {
		s, err := sqlite.Open(t.Context(), filepath.Join(t.TempDir(), "stead.db"), sqlite.Options{})
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { s.Close() })
		test(newRig(t, s))
	})
	t.Run("postgres", func(t *testing.T) {
		s, err := postgres.Open(t.Context(), pgtest.URL(t), postgres.Options{})
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { s.Close() })
		test(newRig(t, s))
	})
}

func newRig(t *testing.T, db database) *rig {
	t.Helper()
	blobs, err := blob.OpenDir(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { blobs.Close() })
	r := &rig{T: t, db: db, blobs: blobs, ahead: &atomic.Int64{}, me: stead.LocalPrincipal()}
	r.restart()
	t.Cleanup(func() { r.stop() })
	return r
}

// restart makes the services anew, and begins their work.
func (r *rig) restart() {
	var s *vectorstore.Service
	r.files = file.NewService(file.Config{Documents: r.db, Assets: asset.New(r.db, r.blobs, r.now), Policy: policy.AllowLocal{}, Now: r.now,
		Removed: func(ctx context.Context, project stead.ProjectID, id string) error {
			return s.FileRemoved(ctx, project, id)
		}})
	s = vectorstore.NewService(vectorstore.Config{Documents: r.db, Records: r.db, Files: r.files, Policy: policy.AllowLocal{}, Now: r.now, Read: r.read})
	if r.Service = s; r.hurry != nil {
		r.hurry(s)
	}
	r.begin()
}

func (r *rig) begin() {
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan struct{})
	go func() { defer close(done); r.Service.Run(ctx) }()
	r.stop = func() { cancel(); <-done }
}

func (r *rig) upload(name, text string) string {
	r.Helper()
	f, err := r.files.Create(r.Context(), r.me, strings.NewReader(text), func() (file.New, error) { return file.New{Filename: name, Purpose: "assistants"}, nil }, "")
	if err != nil {
		r.Fatal(err)
	}
	return f.ID
}

func (r *rig) store(files ...string) string {
	r.Helper()
	in := make([]vectorstore.Attachment, len(files))
	for i, f := range files {
		in[i] = vectorstore.Attachment{File: f}
	}
	made, err := r.CreateStore(r.Context(), r.me, vectorstore.Fields{Name: "manuals"}, in, "", "")
	if err != nil {
		r.Fatal(err)
	}
	return made.ID
}

// settled waits until nothing of a store is in progress.
func (r *rig) settled(store string) vectorstore.Store {
	r.Helper()
	for until := time.Now().Add(20 * time.Second); time.Now().Before(until); time.Sleep(5 * time.Millisecond) {
		if s, err := r.GetStore(r.Context(), r.me, store); err != nil {
			r.Fatal(err)
		} else if s.Files.InProgress == 0 {
			return s
		}
	}
	r.Fatal("the files stay in progress")
	return vectorstore.Store{}
}

// finds searches, and returns the names of the files that were found, best first.
func (r *rig) finds(store, query string, f vectorstore.Filter) string {
	r.Helper()
	found, err := r.Search(r.Context(), r.me, store, vectorstore.Search{Queries: []string{query}, Filter: f})
	if err != nil {
		r.Fatal(err)
	}
	var names []string
	for _, h := range found {
		names = append(names, h.File.Filename)
	}
	return strings.Join(names, " ")
}

// passages counts what the database holds of a store.
func (r *rig) passages(store string) int {
	r.Helper()
	records, err := r.db.ListMemories(r.Context(), memory.Query{Place: memory.Place{Project: r.me.Project, Store: store + ".passages"}})
	if err != nil {
		r.Fatal(err)
	}
	return len(records)
}

func (r *rig) must(err error) {
	r.Helper()
	if err != nil {
		r.Fatal(err)
	}
}

func any1() vectorstore.Filter { return vectorstore.Filter{} }

func TestFilesAreFoundUntilTheyAreGone(t *testing.T) {
	both(t, func(r *rig) {
		refunds := r.upload("refunds.md", "# Shop\n\n## Refunds\n\nMoney comes back within thirty days.\n")
		trains := r.upload("trains.txt", "The train to Lyon leaves at noon.")
		pdf := r.upload("a.pdf", "%PDF-1.7 train")
		old := r.upload("old.csv", "Ware;Preis\nK\xe4se;2,50\n")
		store := r.store(refunds, trains, pdf, old)
		if s := r.settled(store); s.Files != (vectorstore.Counts{Completed: 3, Failed: 1}) || s.Bytes == 0 {
			r.Fatalf("store %+v", s)
		}
		failed, err := r.GetFile(r.Context(), r.me, store, pdf)
		if err != nil || failed.Failure == nil || failed.Failure.Code != "unsupported_file" {
			r.Errorf("the PDF: %+v, %v", failed, err)
		}
		if read, err := r.GetFile(r.Context(), r.me, store, old); err != nil || read.Charset != "windows-1252" || r.finds(store, "Käse", any1()) != "old.csv" {
			r.Errorf("a file in another charset: %+v, %v", read, err)
		}
		r.must(r.Detach(r.Context(), r.me, store, old))
		if got := r.finds(store, "when does the train leave?", any1()); got != "trains.txt" {
			r.Errorf("found %q", got)
		}
		if got := r.finds(store, "refund", any1()); got != "refunds.md" {
			r.Errorf("found %q by its heading", got)
		}
		r.stop()
		r.restart()
		if got := r.finds(store, "train", any1()); got != "trains.txt" {
			r.Errorf("found %q after a restart", got)
		}
		r.must(r.Detach(r.Context(), r.me, store, refunds))
		if n := r.passages(store); n != 1 {
			r.Errorf("%d passages are left of one file", n)
		}
		r.must(r.files.Delete(r.Context(), r.me, trains))
		if got, n := r.finds(store, "train", any1()), r.passages(store); got != "" || n != 0 {
			r.Errorf("found %q among %d passages of a file that was deleted", got, n)
		}
		if s := r.settled(store); s.Files.Total() != 1 {
			r.Errorf("counts %+v", s.Files)
		}
		// What was detached can come back.
		_, err = r.Attach(r.Context(), r.me, store, vectorstore.Attachment{File: refunds})
		r.must(err)
		r.settled(store)
		if got := r.finds(store, "money", any1()); got != "refunds.md" {
			r.Errorf("found %q after it came back", got)
		}
		r.must(r.DeleteStore(r.Context(), r.me, store))
		if n := r.passages(store); n != 0 {
			r.Errorf("%d passages are left of a store that was deleted", n)
		}
		if _, err := r.GetStore(r.Context(), r.me, store); stead.KindOf(err) != stead.KindNotFound {
			r.Errorf("the store: %v", err)
		}
		r.must(r.files.Delete(r.Context(), r.me, refunds)) // nothing holds it
	})
}

func TestAProcessThatDiesLeavesTheWorkToTheNext(t *testing.T) {
	both(t, func(r *rig) {
		r.stop() // nobody works
		var long strings.Builder
		for i := range 3000 {
			fmt.Fprintf(&long, "Paragraph %d says something about shelf %d.\n\n", i, i)
		}
		id := r.upload("long.txt", long.String())
		store := r.store(id)
		if _, err := r.Attach(r.Context(), r.me, store, vectorstore.Attachment{File: id, Plan: passage.Plan{Size: 100}}); err != nil {
			r.Fatal(err)
		}
		// A worker that gets no further than the first passages: it is told to stop when they are there.
		ctx, cancel := context.WithCancel(r.Context())
		done := make(chan struct{})
		go func() { defer close(done); r.Service.Run(ctx) }()
		for r.passages(store) == 0 {
			time.Sleep(time.Millisecond)
		}
		cancel()
		<-done
		r.ahead.Add(int64(2 * time.Minute)) // its lease is over
		r.restart()
		s := r.settled(store)
		if s.Files.Completed != 1 {
			r.Fatalf("counts %+v", s.Files)
		}
		d, err := passage.Read("long.txt", []byte(long.String()))
		r.must(err)
		if want, n := len(d.Cut(passage.Plan{Size: 100})), r.passages(store); n != want {
			r.Errorf("%d passages, want %d: each once", n, want)
		}
		if got := r.finds(store, "shelf 2999", any1()); !strings.HasPrefix(got, "long.txt") {
			r.Errorf("found %q", got)
		}
	})
}

func TestWorkersOfSeveralNodesWriteEachPassageOnce(t *testing.T) {
	both(t, func(r *rig) {
		other := newRig(r.T, r.db)
		other.stop()
		other.files = r.files
		other.Service = vectorstore.NewService(vectorstore.Config{Documents: r.db, Records: r.db, Files: r.files, Policy: policy.AllowLocal{}, Now: r.now})
		other.begin()
		store := r.store()
		for i := range 20 {
			id := r.upload(fmt.Sprintf("%d.txt", i), fmt.Sprintf("File number%d stands alone.", i))
			_, err := []*rig{r, other}[i%2].Attach(r.Context(), r.me, store, vectorstore.Attachment{File: id})
			r.must(err)
		}
		if s := r.settled(store); s.Files.Completed != 20 {
			r.Fatalf("counts %+v", s.Files)
		}
		if n := r.passages(store); n != 20 {
			r.Errorf("%d passages of 20 files", n)
		}
		if got := other.finds(store, "number13", any1()); got != "13.txt" {
			r.Errorf("the other node found %q", got)
		}
	})
}

func TestABatchIsCancelledAndFilesAreListed(t *testing.T) {
	both(t, func(r *rig) {
		r.stop() // nobody works: everything stays in progress
		store := r.store()
		var in []vectorstore.Attachment
		for i := range 5 {
			in = append(in, vectorstore.Attachment{File: r.upload(fmt.Sprintf("%d.txt", i), "word"), Attributes: map[string]any{"n": float64(i)}})
		}
		b, err := r.CreateBatch(r.Context(), r.me, store, in, "key", "digest")
		r.must(err)
		again, err := r.CreateBatch(r.Context(), r.me, store, in, "key", "digest")
		if err != nil || again.ID != b.ID || b.Status != vectorstore.InProgress || b.Files.InProgress != 5 {
			r.Errorf("batches %+v, %+v, %v", b, again, err)
		}
		page := func(q vectorstore.Page) string {
			files, more, err := r.ListFiles(r.Context(), r.me, store, vectorstore.FileQuery{Page: q, Batch: b.ID, Status: vectorstore.InProgress})
			r.must(err)
			out := fmt.Sprint(more)
			for _, f := range files {
				out += " " + f.Filename[:1]
			}
			return out
		}
		for _, tc := range []struct {
			q    vectorstore.Page
			want string
		}{
			{vectorstore.Page{Limit: 2}, "true 0 1"}, {vectorstore.Page{Limit: 2, After: in[1].File}, "true 2 3"},
			{vectorstore.Page{Limit: 2, After: in[3].File}, "false 4"}, {vectorstore.Page{Limit: 2, Before: in[3].File}, "true 1 2"},
			{vectorstore.Page{Limit: 9, Desc: true}, "false 4 3 2 1 0"}, {vectorstore.Page{Limit: 2, Desc: true, Before: in[2].File}, "false 4 3"},
		} {
			if got := page(tc.q); got != tc.want {
				r.Errorf("page %+v: %s, want %s", tc.q, got, tc.want)
			}
		}
		b, err = r.CancelBatch(r.Context(), r.me, store, b.ID)
		if err != nil || b.Status != vectorstore.Cancelled || b.Files.Cancelled != 5 {
			r.Errorf("cancelled: %+v, %v", b, err)
		}
		r.begin()
		_, err = r.Attach(r.Context(), r.me, store, in[0]) // is read after all
		r.must(err)
		if s := r.settled(store); s.Files != (vectorstore.Counts{Completed: 1, Cancelled: 4}) || r.passages(store) != 1 {
			r.Errorf("counts %+v", s.Files)
		}
	})
}

func TestFiltersAndScores(t *testing.T) {
	both(t, func(r *rig) {
		store := r.store()
		for name, a := range map[string]map[string]any{"old": {"year": 1999.0, "lang": "en"}, "new": {"year": 2026.0, "lang": "de", "draft": true}, "none": nil} {
			_, err := r.Attach(r.Context(), r.me, store, vectorstore.Attachment{File: r.upload(name, "A report about "+name+" trains and their engines."), Attributes: a})
			r.must(err)
		}
		r.settled(store)
		is := func(kind, key string, values ...any) vectorstore.Filter {
			return vectorstore.Filter{Type: kind, Key: key, Values: values}
		}
		for _, tc := range []struct {
			f    vectorstore.Filter
			want int // bits: old 1, new 2, none 4
		}{
			{any1(), 7}, {is("eq", "year", 1999.0), 1}, {is("ne", "year", 1999.0), 6}, {is("gt", "year", 1999.0), 2}, {is("gte", "year", 1999.0), 3},
			{is("lt", "year", 2026.0), 1}, {is("lte", "lang", "de"), 2}, {is("gt", "lang", 1.0), 0}, {is("in", "lang", "en", "fr"), 1}, {is("nin", "lang", "en", "fr"), 6},
			{is("eq", "draft", true), 2},
			{vectorstore.Filter{Type: "or", Filters: []vectorstore.Filter{is("eq", "lang", "en"), is("eq", "draft", true)}}, 3},
			{vectorstore.Filter{Type: "and", Filters: []vectorstore.Filter{is("gte", "year", 1.0), is("ne", "draft", true)}}, 1},
		} {
			got, names := 0, r.finds(store, "trains", tc.f)
			for i, n := range []string{"old", "new", "none"} {
				if strings.Contains(names, n) {
					got += 1 << i
				}
			}
			if got != tc.want {
				r.Errorf("%+v: found %q", tc.f, names)
			}
		}
		found, err := r.Search(r.Context(), r.me, store, vectorstore.Search{Queries: []string{"new engines", "old engines"}, Least: 0.4})
		if err != nil || len(found) != 2 || found[0].Score > 1 || found[1].Score < 0.4 {
			r.Errorf("found %+v, %v", found, err)
		}
		// What the query has and no file does counts too: little of it is found.
		found, err = r.Search(r.Context(), r.me, store, vectorstore.Search{Queries: []string{"zebras eat purple trains quickly"}, Least: 0.4})
		if err != nil || len(found) != 0 {
			r.Errorf("found %+v, %v", found, err)
		}
		id := ""
		files, _, err := r.ListFiles(r.Context(), r.me, store, vectorstore.FileQuery{Page: vectorstore.Page{Limit: 9}})
		r.must(err)
		for _, f := range files {
			if f.Filename == "none" {
				id = f.ID
			}
		}
		_, err = r.UpdateAttributes(r.Context(), r.me, store, id, map[string]any{"lang": "fr"})
		r.must(err)
		if got := r.finds(store, "trains", is("eq", "lang", "fr")); got != "none" {
			r.Errorf("found %q by its new attributes", got)
		}
	})
}

func TestAStoreExpiresAfterItWasUsed(t *testing.T) {
	both(t, func(r *rig) {
		id := r.upload("a.txt", "A word.")
		made, err := r.CreateStore(r.Context(), r.me, vectorstore.Fields{LifeDays: 1}, []vectorstore.Attachment{{File: id}}, "", "")
		r.must(err)
		r.settled(made.ID)
		r.ahead.Add(int64(20 * time.Hour))
		r.finds(made.ID, "word", any1()) // is active
		r.ahead.Add(int64(20 * time.Hour))
		if got := r.finds(made.ID, "word", any1()); got != "a.txt" {
			r.Errorf("found %q", got)
		}
		r.ahead.Add(int64(25 * time.Hour))
		for range 2 { // before and after the sweep
			s, err := r.GetStore(r.Context(), r.me, made.ID)
			if err != nil || !s.Expired {
				r.Errorf("store %+v, %v", s, err)
			}
			if _, err := r.Search(r.Context(), r.me, made.ID, vectorstore.Search{Queries: []string{"word"}}); stead.KindOf(err) != stead.KindConflict {
				r.Errorf("a search of an expired store: %v", err)
			}
			if _, err := r.Sweep(r.Context()); err != nil {
				r.Fatal(err)
			}
		}
		if n := r.passages(made.ID); n != 0 {
			r.Errorf("%d passages are left", n)
		}
		r.must(r.DeleteStore(r.Context(), r.me, made.ID))
	})
}

func TestProjectsAreApart(t *testing.T) {
	both(t, func(r *rig) {
		store := r.store(r.upload("a.txt", "A word."))
		r.settled(store)
		stranger := r.me
		stranger.Project = "other"
		if _, err := r.Search(r.Context(), stranger, store, vectorstore.Search{Queries: []string{"word"}}); stead.KindOf(err) != stead.KindNotFound {
			r.Errorf("a stranger's search: %v", err)
		}
		theirs, err := r.CreateStore(r.Context(), stranger, vectorstore.Fields{}, nil, "", "")
		r.must(err)
		files, _, err := r.files.List(r.Context(), r.me, file.Query{Limit: 1})
		r.must(err)
		if _, err := r.Attach(r.Context(), stranger, theirs.ID, vectorstore.Attachment{File: files[0].ID}); stead.KindOf(err) != stead.KindNotFound {
			r.Errorf("a stranger's file: %v", err)
		}
	})
}

// TestThePageOfAPassageIsRight: one of before pages were cut apart, which runs over several, names none.
func TestThePageOfAPassageIsRight(t *testing.T) {
	for _, tc := range []struct {
		name string
		p    passage.Passage
		want int
	}{
		{"a.pdf", passage.Passage{Heading: "Page 3", Text: "## Page 3\n\nFees.", Page: 3}, 3},
		{"a.pdf", passage.Passage{Heading: "Page 3", Text: "## Page 3\n\nFees."}, 3},
		{"a.pdf", passage.Passage{Heading: "Page 3", Text: "## Page 3\n\nFees.\n\n## Page 4\n\nLanterns."}, 0},
		{"a.md", passage.Passage{Heading: "Page 3", Text: "## Page 3\n\nFees."}, 0},
	} {
		if got := (vectorstore.Result{File: vectorstore.File{Filename: tc.name}, Passage: tc.p}).Page(); got != tc.want {
			t.Errorf("%s, %+v: page %d, want %d", tc.name, tc.p, got, tc.want)
		}
	}
}
