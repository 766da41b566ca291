package filesearch

import (
	"context"
	"encoding/json"
	"fmt"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/stead-dev/stead"
	"github.com/stead-dev/stead/internal/asset"
	"github.com/stead-dev/stead/internal/blob"
	"github.com/stead-dev/stead/internal/file"
	"github.com/stead-dev/stead/internal/passage"
	"github.com/stead-dev/stead/internal/policy"
	"github.com/stead-dev/stead/internal/sqlite"
	"github.com/stead-dev/stead/internal/tool"
	"github.com/stead-dev/stead/internal/vectorstore"
)

// shelf is the real services, with files in vector stores.
type shelf struct {
	*testing.T
	files  *file.Service
	stores *vectorstore.Service
	db     *sqlite.Store
}

func open(t *testing.T) *shelf {
	t.Helper()
	db, err := sqlite.Open(t.Context(), filepath.Join(t.TempDir(), "stead.db"), sqlite.Options{})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { db.Close() })
	blobs, err := blob.OpenDir(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { blobs.Close() })
	s := &shelf{T: t, db: db, files: file.NewService(file.Config{Documents: db, Assets: asset.New(db, blobs, time.Now), Policy: policy.AllowLocal{}, Now: time.Now})}
	s.stores = vectorstore.NewService(vectorstore.Config{Documents: db, Records: db, Files: s.files, Policy: policy.AllowLocal{}, Now: time.Now})
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan struct{})
	go func() { defer close(done); s.stores.Run(ctx) }()
	t.Cleanup(func() { cancel(); <-done })
	return s
}

// store makes a vector store of texts, each a file "0.txt", "1.txt" … with its number as an attribute.
func (s *shelf) store(texts ...string) string {
	s.Helper()
	var in []vectorstore.Attachment
	for i, text := range texts {
		name := fmt.Sprint(i, ".txt")
		f, err := s.files.Create(s.Context(), stead.LocalPrincipal(), strings.NewReader(text), func() (file.New, error) { return file.New{Filename: name, Purpose: "assistants"}, nil }, "")
		if err != nil {
			s.Fatal(err)
		}
		in = append(in, vectorstore.Attachment{File: f.ID, Attributes: map[string]any{"n": float64(i)}})
	}
	made, err := s.stores.CreateStore(s.Context(), stead.LocalPrincipal(), vectorstore.Fields{Name: "manuals"}, in, "", "")
	if err != nil {
		s.Fatal(err)
	}
	for until := time.Now().Add(20 * time.Second); ; time.Sleep(5 * time.Millisecond) {
		if now, err := s.stores.GetStore(s.Context(), stead.LocalPrincipal(), made.ID); err != nil || now.Files.Completed == len(texts) {
			return made.ID
		} else if time.Now().After(until) {
			s.Fatal("the files stay in progress")
		}
	}
}

// none is a source without servers.
type none struct{}

func (none) Tools(context.Context, tool.Server) ([]tool.Tool, error) {
	return nil, stead.Errorf(stead.KindInvalid, "no such server")
}

// search calls the tool for a session of a project; its answer is the names of what was found, with "+n" of
// n that did not fit, or what it said instead.
func (s *shelf) search(project stead.ProjectID, options, queries string, stores ...string) string {
	s.Helper()
	tools, err := New(s.stores, none{}).Tools(s.Context(), tool.Server{Label: tool.FileSearchName, Files: &tool.FileSearch{Stores: stores, Options: json.RawMessage(options)}})
	if err != nil || len(tools) != 1 {
		s.Fatal(tools, err)
	}
	r, err := tools[0].Call(s.Context(), tool.Call{Arguments: json.RawMessage(`{"queries":` + queries + `}`), Principal: stead.LocalPrincipal(), Session: stead.SessionKey{Project: project, Session: "sess_1"}})
	if err != nil {
		s.Fatal(err)
	}
	said := r.Content[0].Text.Inline
	if r.IsError {
		return said
	}
	var o output
	if err := json.Unmarshal([]byte(said), &o); err != nil {
		s.Fatal(err, said)
	}
	names := ""
	for _, f := range o.Results {
		if f.Text == "" || f.FileID == "" || f.Score <= 0 || f.Attributes["n"] == nil {
			s.Errorf("result %+v", f)
		}
		names += strings.TrimSuffix(f.Filename, ".txt")
	}
	if o.LeftOut > 0 {
		names += fmt.Sprint("+", o.LeftOut)
	}
	return names
}

func TestFileSearch(t *testing.T) {
	s := open(t)
	shop := s.store("Refunds take thirty days.", "Parcels travel by train.", "Refunds of parcels are rare.")
	trains := s.store("Trains leave at noon.")
	here := stead.DefaultProject
	for _, tc := range []struct{ options, queries, stores, want string }{
		{`{}`, `["thirty days"]`, shop, "0"},
		{`{}`, `["thirty days","noon"]`, shop + " " + trains, "00"},
		{`{"max_num_results":1}`, `["refunds of parcels"]`, shop, "2"},
		{`{"filters":{"type":"eq","key":"n","value":1}}`, `["refunds","parcels"]`, shop, "1"},
		{`{"ranking_options":{"ranker":"auto","score_threshold":1}}`, `["refunds thirty badgers"]`, shop, ""},
		{`{}`, `["badgers"]`, shop, ""},
		{`{}`, `[]`, shop, "query must be 1 to 16 texts"},
	} {
		if got := s.search(here, tc.options, tc.queries, strings.Fields(tc.stores)...); got != tc.want {
			t.Errorf("%s for %s: %q, want %q", tc.options, tc.queries, got, tc.want)
		}
	}
	if got := s.search(here, `{}`, `["x"]`, "vs_missing"); !strings.Contains(got, "vs_missing") {
		t.Errorf("a store that is not there: %q", got)
	}
	if got := s.search("elsewhere", `{}`, `["refunds"]`, shop); !strings.Contains(got, shop) || strings.Contains(got, "thirty") {
		t.Errorf("a session of another project finds %q", got)
	}
	if _, err := New(s.stores, none{}).Tools(t.Context(), tool.Server{Label: tool.FileSearchName}); stead.KindOf(err) != stead.KindInvalid {
		t.Errorf("a server of that name that is none of ours: %v", err)
	}
}

// The labels of documents become the session's, as those of memories do: of what is shown, and of nothing else.
func TestLabelsOfDocuments(t *testing.T) {
	s := open(t)
	store := s.store("Parcels travel by train.")
	put := func(path, text string, labels ...string) vectorstore.Put {
		return vectorstore.Put{Filename: path, Data: []byte(text), Plan: passage.Plan{Size: 800, Overlap: 400}, Attributes: map[string]any{"n": 1.0}, Origin: vectorstore.Origin{Source: "src_1", Kind: "directory", Path: path, Version: "1", Labels: labels}}
	}
	if _, err := s.stores.PutDocuments(t.Context(), stead.DefaultProject, store, []vectorstore.Put{put("a.txt", "Anna earns ninety thousand.", "salary", "confidential"), put("b.txt", "The board meets.", "board")}); err != nil {
		t.Fatal(err)
	}
	tools, err := New(s.stores, none{}).Tools(t.Context(), tool.Server{Label: tool.FileSearchName, Files: &tool.FileSearch{Stores: []string{store}, Options: json.RawMessage(`{}`)}})
	if err != nil {
		t.Fatal(err)
	}
	for queries, want := range map[string][]string{`["ninety thousand"]`: {"confidential", "salary"}, `["parcels"]`: nil} {
		r, err := tools[0].Call(t.Context(), tool.Call{Arguments: json.RawMessage(`{"queries":` + queries + `}`), Principal: stead.LocalPrincipal(), Session: stead.SessionKey{Project: stead.DefaultProject, Session: "sess_1"}})
		if err != nil || r.IsError || !slices.Equal(r.Labels, want) {
			t.Errorf("%s: %q, %v, want %q", queries, r.Labels, err, want)
		}
	}
}

// What other stores have that had no room was not shown: the session goes on as it was when that is forgotten.
func TestWhatHadNoRoomIsNotShown(t *testing.T) {
	s := open(t)
	best, other := s.store("The okapi sleeps at night."), s.store("An okapi is an animal, of which there are others, and each of them sleeps.")
	if got := s.search(stead.DefaultProject, `{"max_num_results":1}`, `["okapi night"]`, other, best); got != "0" {
		t.Fatalf("found %q", got)
	}
	for _, tt := range []struct {
		store string
		stale bool
	}{{other, false}, {best, true}} {
		if err := s.stores.DeleteStore(t.Context(), stead.LocalPrincipal(), tt.store); err != nil {
			t.Fatal(err)
		}
		if _, is, err := s.db.StaleSince(t.Context(), stead.DefaultProject, "sess_1"); err != nil || is != tt.stale {
			t.Errorf("what the session was shown is forgotten: %t, %v, want %t", is, err, tt.stale)
		}
	}
}

// What was found stands in every model call that follows: it is bounded, and what is missing is counted.
func TestFileSearchIsBounded(t *testing.T) {
	long := vectorstore.Result{}
	long.Text = strings.Repeat("x", maxTextBytes/2)
	if got := fitting([]vectorstore.Result{long, long, long, long}); len(got.Results) != 2 || got.LeftOut != 2 {
		t.Errorf("%d results and %d left out", len(got.Results), got.LeftOut)
	}
}
