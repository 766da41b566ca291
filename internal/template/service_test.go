package template_test

import (
	"context"
	"encoding/base64"
	"errors"
	"fmt"
	"io/fs"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stead-dev/stead"
	"github.com/stead-dev/stead/internal/asset"
	"github.com/stead-dev/stead/internal/blob"
	"github.com/stead-dev/stead/internal/capability"
	"github.com/stead-dev/stead/internal/document"
	"github.com/stead-dev/stead/internal/document/documenttest"
	"github.com/stead-dev/stead/internal/environment"
	"github.com/stead-dev/stead/internal/policy"
	"github.com/stead-dev/stead/internal/seal"
	"github.com/stead-dev/stead/internal/template"
)

type rig struct {
	*testing.T
	*template.Service
	documents *documenttest.Memory
	dir       string
	me        stead.Principal
}

// uploads stands for files and skills: file_1 has 7 bytes, skill_1 has versions 1 and 2.
type uploads struct{ t *testing.T }

func (uploads) Size(_ context.Context, _ stead.Principal, id string) (int64, error) {
	if id != "file_1" {
		return 0, stead.NotFound("file", id)
	}
	return 7, nil
}

func (u uploads) Archive(_ context.Context, _ stead.Principal, id, version string) (capability.About, string, []byte, error) {
	if id != "skill_1" {
		return capability.About{}, "", nil, stead.NotFound("skill", id)
	}
	number := map[string]string{"": "1", "latest": "2", "1": "1", "2": "2"}[version]
	data, err := base64.StdEncoding.DecodeString(zipOf(u.t, "SKILL.md", "---\nname: stored\ndescription: v"+number+"\n---\n"))
	return capability.About{Name: "stored", Description: "v" + number}, number, data, err
}

func newRig(t *testing.T) *rig {
	t.Helper()
	r := &rig{T: t, documents: documenttest.NewMemory(), dir: t.TempDir(), me: stead.LocalPrincipal()}
	blobs, err := blob.OpenDir(r.dir)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { blobs.Close() })
	keys, err := seal.New(make([]byte, seal.KeyBytes))
	if err != nil {
		t.Fatal(err)
	}
	r.Service = template.NewService(template.ServiceConfig{
		Documents: r.documents, Assets: asset.New(r.documents, blobs, time.Now), Policy: policy.AllowLocal{}, Keys: keys,
		Files: uploads{t}, Skills: uploads{t}, Now: time.Now,
	})
	return r
}

func (r *rig) patch(text string) template.Patch {
	r.Helper()
	p, err := template.DecodePatch(object(r.T, text))
	if err != nil {
		r.Fatal(err)
	}
	return p
}

func (r *rig) create(text string) string {
	r.Helper()
	t, err := r.Create(r.Context(), r.me, r.patch(text), "", "")
	if err != nil {
		r.Fatal(err)
	}
	return t.ID
}

func (r *rig) blobs() int {
	n := 0
	err := filepath.WalkDir(r.dir, func(_ string, d fs.DirEntry, err error) error {
		if err == nil && d.Type().IsRegular() {
			n++
		}
		return err
	})
	if err != nil {
		r.Fatal(err)
	}
	return n
}

func TestWhatIsStoredShowsNoSecret(t *testing.T) {
	r := newRig(t)
	id := r.create(`{"env":{"TOKEN":"s3cret"},"setup_commands":[{"command":"s3cret"}]}`)
	d, err := r.documents.GetDocument(t.Context(), document.Key{Project: r.me.Project, Kind: "environment template", ID: id})
	if err != nil {
		t.Fatal(err)
	}
	if text := string(d.Data); strings.Contains(text, "s3cret") || strings.Contains(text, base64.StdEncoding.EncodeToString([]byte("s3cret"))) {
		t.Errorf("the document shows the secret: %s", text)
	}
}

func TestASessionFromATemplate(t *testing.T) {
	r := newRig(t)
	id := r.create(`{"env":{"TOKEN":"s3cret"},"setup_commands":[{"command":"run"}],"network":{"access":"restricted","allowed_domains":["a.de"]},
		"files":[{"type":"inline","path":"/workspace/a","data":"YQ=="},{"type":"file_id","path":"/workspace/b","file_id":"file_1"}],
		"skills":[{"type":"skill_reference","skill_id":"skill_1","version":"latest"},` + inlineSkill(t, "pdf") + `]}`)
	c, err := r.Resolve(t.Context(), r.me, decode(t, `{"type":"hosted","environment_template_id":"`+id+`","env":{"OTHER":"x"},"container_size":"small"}`), "environment")
	if err != nil {
		t.Fatal(err)
	}
	if fmt.Sprint(c.Env) != "map[OTHER:x]" || fmt.Sprint(c.Commands) != "[run]" || c.Size != environment.SizeSmall || c.Network.Allowed[0] != "a.de" {
		t.Errorf("resolved %+v", c)
	}
	if c.Files[1].Size != 7 || c.Skills[0].Version != "2" || c.Skills[0].Name != "stored" || c.Skills[0].Description != "v2" {
		t.Errorf("files %+v, skills %+v", c.Files, c.Skills)
	}
	if len(c.Digests()) != 3 || len(c.Bytes) != 3 {
		t.Errorf("%d digests, %d blobs", len(c.Digests()), len(c.Bytes))
	}
	for _, digest := range c.Digests() {
		if blob.Digest(c.Bytes[digest]) != digest {
			t.Errorf("the bytes of %s are not there", digest)
		}
	}
	wire := string(c.WireEnvironment("env_1", ""))
	for _, want := range []string{`"id":"env_1"`, `"size_bytes":7`, `"version":"2"`, `"name":"stored"`, `"container_size":"small"`} {
		if !strings.Contains(wire, want) {
			t.Errorf("want %s in %s", want, wire)
		}
	}
}

// TestASetUpIsOfATemplateOrOfASession: what a session says of it itself makes all of it the session's.
func TestASetUpIsOfATemplateOrOfASession(t *testing.T) {
	r := newRig(t)
	id := r.create(`{"setup_commands":[{"command":"run"}],"env":{"A":"1"}}`)
	now, err := r.Version(t.Context(), r.me.Project, id)
	if err != nil || now == 0 {
		t.Fatalf("the version is %d, %v", now, err)
	}
	for text, want := range map[string]int64{"": now, `,"container_size":"small"`: now, `,"network":{"access":"disabled"}`: now,
		`,"env":{"A":"2"}`: 0, `,"setup_commands":[]`: 0, `,"files":[]`: 0} {
		c, err := r.Resolve(t.Context(), r.me, decode(t, `{"type":"hosted","environment_template_id":"`+id+`"`+text+`}`), "environment")
		if err != nil || c.TemplateVersion != want {
			t.Errorf("%s: the set-up is of version %d, want %d, %v", text, c.TemplateVersion, want, err)
		}
	}
	if err := r.Delete(t.Context(), r.me, id); err != nil {
		t.Fatal(err)
	}
	if _, err := r.Version(t.Context(), r.me.Project, id); stead.KindOf(err) != stead.KindNotFound {
		t.Errorf("of one that is deleted: %v", err)
	}
}

func TestWhatCanNotBeResolvedIsNamed(t *testing.T) {
	r := newRig(t)
	id := r.create(`{"skills":[` + inlineSkill(t, "stored") + `]}`)
	for text, param := range map[string]string{
		`"environment_template_id":"envtmpl_x"`:                                                       "environment.environment_template_id",
		`"files":[{"type":"file_id","path":"/workspace/b","file_id":"file_2"}]`:                       "environment.files[0].file_id",
		`"skills":[{"type":"skill_reference","skill_id":"skill_2"}]`:                                  "environment.skills[0].skill_id",
		`"environment_template_id":"` + id + `","network":{"access":"enabled"}`:                       "environment.network.access",
		`"skills":[{"type":"skill_reference","skill_id":"skill_1"},` + inlineSkill(t, "stored") + `]`: "environment.skills[1]",
	} {
		_, err := r.Resolve(t.Context(), r.me, decode(t, `{"type":"hosted",`+text+`}`), "environment")
		if e, ok := errors.AsType[*stead.Error](err); !ok || e.Param != param {
			t.Errorf("%s: %v", text, err)
		}
	}
}

func TestBytesComeAndGoWithTheirTemplate(t *testing.T) {
	r := newRig(t)
	id := r.create(`{"files":[{"type":"inline","path":"/workspace/a","data":"YQ=="},{"type":"inline","path":"/workspace/b","data":"Yg=="}]}`)
	for _, step := range []struct {
		patch string
		blobs int
	}{
		{`{"name":"same files"}`, 2}, {`{"files":[{"type":"inline","path":"/workspace/c","data":"Yw=="}]}`, 1}, {`{"files":null}`, 0},
		{`{"files":[{"type":"inline","path":"/workspace/c","data":"Yw=="}]}`, 1},
	} {
		if _, err := r.Update(t.Context(), r.me, id, r.patch(step.patch)); err != nil {
			t.Fatal(err)
		}
		if n := r.blobs(); n != step.blobs || r.documents.Count(r.me.Project, "claim") != 0 {
			t.Errorf("after %s: %d blobs, %d claims", step.patch, n, r.documents.Count(r.me.Project, "claim"))
		}
	}
	if err := r.Delete(t.Context(), r.me, id); err != nil || r.blobs() != 0 {
		t.Errorf("after the deletion: %v, %d blobs", err, r.blobs())
	}
}

// TestUpdatesAtOnce: some win and some are told to try again; what is left is one whole version.
func TestUpdatesAtOnce(t *testing.T) {
	r := newRig(t)
	id := r.create(`{}`)
	const callers = 8
	var wg sync.WaitGroup
	for i := range callers {
		p := r.patch(fmt.Sprintf(`{"files":[{"type":"inline","path":"/workspace/a","data":%q}]}`, base64.StdEncoding.EncodeToString([]byte{byte(i)})))
		wg.Go(func() {
			if _, err := r.Update(t.Context(), r.me, id, p); err != nil && stead.KindOf(err) != stead.KindConflict {
				t.Error(err)
			}
		})
	}
	wg.Wait()
	c, err := r.Resolve(t.Context(), r.me, decode(t, `{"type":"hosted","environment_template_id":"`+id+`"}`), "environment")
	if err != nil || len(c.Bytes) != 1 {
		t.Fatalf("%d blobs, %v", len(c.Bytes), err)
	}
	if n := r.blobs(); n != 1 {
		t.Errorf("%d blobs are left", n)
	}
}

func TestAKeyMakesOneTemplate(t *testing.T) {
	r := newRig(t)
	p := r.patch(`{"files":[{"type":"inline","path":"/workspace/a","data":"YQ=="}]}`)
	one, err := r.Create(t.Context(), r.me, p, "k", "d")
	if err != nil {
		t.Fatal(err)
	}
	two, err := r.Create(t.Context(), r.me, p, "k", "d")
	if err != nil || two.ID != one.ID || r.blobs() != 1 {
		t.Errorf("%s and %s, %v, %d blobs", one.ID, two.ID, err, r.blobs())
	}
	if _, err := r.Create(t.Context(), r.me, p, "k", "e"); stead.KindOf(err) != stead.KindConflict || r.blobs() != 1 {
		t.Errorf("another request: %v, %d blobs", err, r.blobs())
	}
}
