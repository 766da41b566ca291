package cedar

import (
	"archive/tar"
	"bytes"
	"compress/gzip"
	"encoding/json"
	"errors"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"

	cedargo "github.com/cedar-policy/cedar-go"
	"github.com/cedar-policy/cedar-go/types"
	"github.com/cedar-policy/cedar-go/x/exp/schema"

	"github.com/stead-dev/stead/internal/policy"
)

// corpusShare: each so many-th of the 7,750 policy sets is run, since under the race detector all take a quarter of a minute.
// STEAD_CEDAR_CORPUS=all runs all.
const corpusShare = 8

// corpusCase is a file of Cedar's integration tests.
type corpusCase struct {
	Policies, Entities, Schema string
	Requests                   []struct {
		Description                 string
		Principal, Action, Resource types.EntityUID
		Context                     types.Record
		Decision                    string
		Reason, Errors              []string
	}
}

// Cedar's own integration tests (its corpus, as cedar-go brings it along), through our index, our parting of forbids from
// permits and our reading of what Cedar said: the same decision by the same policies, but that an error is a no here.
func TestCorpus(t *testing.T) {
	files := corpus(t)
	var cases, decisions, failing int
	share := corpusShare
	if os.Getenv("STEAD_CEDAR_CORPUS") == "all" {
		share = 1
	}
	for i, name := range corpusNames(files) {
		if i%share != 0 {
			continue
		}
		var c corpusCase
		if err := json.Unmarshal(files[name], &c); err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		cases++
		asked, failed := c.run(t, name, files)
		decisions, failing = decisions+asked, failing+failed
	}
	t.Logf("%d policy sets, %d decisions, %d of them with policies that can't be evaluated", cases, decisions, failing)
	if decisions < 50_000/share || failing == 0 {
		t.Errorf("the corpus shrank: %d decisions, %d with errors", decisions, failing)
	}
}

func (c *corpusCase) run(t *testing.T, name string, files map[string][]byte) (asked, failing int) {
	t.Helper()
	parsed, err := cedargo.NewPolicyListFromBytes(name, files[c.Policies])
	if err != nil {
		t.Fatalf("%s: %v", name, err)
	}
	entities := types.EntityMap{}
	if err := json.Unmarshal(files[c.Entities], &entities); err != nil {
		t.Fatalf("%s: %v", name, err)
	}
	for _, r := range c.Requests {
		if _, ok := entities[r.Action]; !ok {
			entities[r.Action] = types.Entity{UID: r.Action}
		}
	}
	s := &Set{deny: true, actions: entities}
	for i, p := range parsed {
		r := &rule{policy: p, Rule: policy.Rule{ID: "policy" + strconv.Itoa(i), Effect: "forbid", Mode: policy.Enforce}}
		if p.Effect() == cedargo.Permit {
			r.Effect = "permit"
		}
		r.key = r.ID
		s.rules = append(s.rules, r)
	}
	s.index = shelve(s.rules, s.actions, corpusSchemes(t, name, files[c.Schema]))
	for _, r := range c.Requests {
		q := &question{actions: entities, labels: -1, given: &r.Context, request: cedargo.Request{Principal: r.Principal, Action: r.Action, Resource: r.Resource, Context: r.Context}}
		q.about = ancestors(entities, ancestors(entities, nil, r.Principal), r.Resource)
		found := make([]found, 1)
		if sh := s.index[r.Action]; sh != nil {
			found[0].find(sh, q, len(s.rules))
		}
		m := matchesOf(q.ask(found, types.Record{}), found[0].forbid, found[0].permit)
		d := s.settle(m, policy.Decision{Allow: true})
		slices.Sort(r.Reason)
		slices.Sort(r.Errors)
		asked++
		if got := ids(m.failed); !slices.Equal(got, r.Errors) && len(got)+len(r.Errors) > 0 {
			t.Errorf("%s, %s: %q can't be evaluated, not %q", name, r.Description, r.Errors, got)
		}
		if len(r.Errors) > 0 {
			if failing++; d.Allow {
				t.Errorf("%s, %s: it is allowed although %q can't be evaluated", name, r.Description, r.Errors)
			}
			continue
		}
		if d.Allow != (r.Decision == "allow") || !slices.Equal(d.Policies, r.Reason) && len(d.Policies)+len(r.Reason) > 0 {
			t.Errorf("%s, %s: want %s by %q, got allow=%v by %q", name, r.Description, r.Decision, r.Reason, d.Allow, d.Policies)
		}
	}
	return asked, failing
}

// corpusSchemes are what the schema of a case says of its requests.
func corpusSchemes(t *testing.T, name string, text []byte) map[types.EntityUID]*scheme {
	t.Helper()
	var s schema.Schema
	if err := s.UnmarshalCedar(text); err != nil {
		t.Fatalf("%s: %v", name, err)
	}
	known, err := s.Resolve()
	if err != nil {
		t.Fatalf("%s: %v", name, err)
	}
	return schemesOf(known)
}

// ancestors adds a thing and all that it is in.
func ancestors(entities types.EntityMap, to []types.EntityUID, uid types.EntityUID) []types.EntityUID {
	if contains(to, uid) {
		return to
	}
	to = append(to, uid)
	for parent := range entities[uid].Parents.All() {
		to = ancestors(entities, to, parent)
	}
	return to
}

// corpusNames are the files that hold requests, in order.
func corpusNames(files map[string][]byte) []string {
	var names []string
	for name := range files {
		if strings.HasSuffix(name, ".json") && !strings.HasSuffix(name, ".entities.json") {
			names = append(names, name)
		}
	}
	slices.Sort(names)
	return names
}

// corpus is name → content of the archive in the module of cedar-go.
func corpus(t *testing.T) map[string][]byte {
	t.Helper()
	dir, err := exec.Command("go", "list", "-m", "-f", "{{.Dir}}", "github.com/cedar-policy/cedar-go").Output()
	if err != nil {
		t.Fatal(err)
	}
	packed, err := os.ReadFile(filepath.Join(strings.TrimSpace(string(dir)), "corpus-tests.tar.gz"))
	if err != nil {
		t.Fatal(err)
	}
	plain, err := gzip.NewReader(bytes.NewReader(packed))
	if err != nil {
		t.Fatal(err)
	}
	files := map[string][]byte{}
	for archive := tar.NewReader(plain); ; {
		h, err := archive.Next()
		if errors.Is(err, io.EOF) {
			return files
		}
		if err != nil {
			t.Fatal(err)
		}
		if h.Typeflag != tar.TypeReg || strings.HasPrefix(filepath.Base(h.Name), "._") {
			continue
		}
		if files[h.Name], err = io.ReadAll(archive); err != nil {
			t.Fatal(err)
		}
	}
}
