package e2e

import (
	"errors"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	openai "github.com/openai/openai-go/v3"
	"github.com/openai/openai-go/v3/packages/param"
)

func TestEnvironmentTemplates(t *testing.T) {
	n, client, ctx := setup(t)
	templates := client.Beta.Agents.Environments.Templates
	made, err := templates.New(ctx, openai.BetaAgentEnvironmentTemplateNewParams{
		Name:          openai.String("data"),
		Env:           map[string]string{"TOKEN": "s3cret"},
		SetupCommands: []openai.SetupCommandParam{{Command: "echo s3cret"}},
		Files:         []openai.HostedEnvironmentFileParamUnion{openai.HostedEnvironmentFileParamOfParamInline("aGVsbG8=", "/workspace/hello.txt")},
		Network:       openai.BetaAgentEnvironmentTemplateNewParamsNetwork{Access: "restricted", AllowedDomains: []string{"pypi.org"}},
		Packages:      openai.BetaAgentEnvironmentTemplateNewParamsPackages{Python: []string{"requests==2.32.3"}},
	})
	if err != nil {
		t.Fatal(err)
	}
	if made.Name != "data" || made.Network.AllowedDomains[0] != "pypi.org" || made.Files[0].SizeBytes != 5 || strings.Contains(made.RawJSON(), "s3cret") {
		t.Errorf("made %s", made.RawJSON())
	}
	n.kill() // what was answered is durable, and its secrets open again after a start
	n.start()
	client = n.client()
	templates = client.Beta.Agents.Environments.Templates
	changed, err := templates.Update(ctx, made.ID, openai.BetaAgentEnvironmentTemplateUpdateParams{
		Name: param.Null[string](), Network: param.NullStruct[openai.BetaAgentEnvironmentTemplateUpdateParamsNetwork](),
	})
	if err != nil {
		t.Fatal(err)
	}
	if changed.Name != "" || changed.Network.Access != "disabled" || changed.Packages.Python[0] != "requests==2.32.3" || len(changed.Files) != 1 {
		t.Errorf("changed %s", changed.RawJSON())
	}
	ids := []string{made.ID}
	for range 2 {
		more, err := templates.New(ctx, openai.BetaAgentEnvironmentTemplateNewParams{})
		if err != nil {
			t.Fatal(err)
		}
		ids = append(ids, more.ID)
	}
	var listed []string
	pager := templates.ListAutoPaging(ctx, openai.BetaAgentEnvironmentTemplateListParams{Limit: openai.Int(1), Order: "asc"})
	for pager.Next() {
		listed = append(listed, pager.Current().ID)
	}
	if err := pager.Err(); err != nil || !slices.Equal(listed, ids) {
		t.Errorf("listed %v %v, want %v", listed, err, ids)
	}
	_, err = templates.New(ctx, openai.BetaAgentEnvironmentTemplateNewParams{Packages: openai.BetaAgentEnvironmentTemplateNewParamsPackages{System: []string{"jq; id"}}})
	if e, ok := errors.AsType[*openai.Error](err); !ok || e.StatusCode != http.StatusBadRequest || e.Param != "packages.system[0]" {
		t.Errorf("a package that is none: %v", err)
	}
	if d, err := templates.Delete(ctx, made.ID); err != nil || !d.Deleted {
		t.Errorf("delete: %v %v", d, err)
	}
	_, err = templates.Get(ctx, made.ID)
	if e, ok := errors.AsType[*openai.Error](err); !ok || e.StatusCode != http.StatusNotFound {
		t.Errorf("get a deleted template: %v", err)
	}
}

func TestFiles(t *testing.T) {
	_, client, ctx := setup(t)
	content := strings.Repeat("a line of a larger file\n", 250_000) // 6 MB: more than one part
	made, err := client.Files.New(ctx, openai.FileNewParams{File: openai.File(strings.NewReader(content), "large.txt", "text/plain"), Purpose: openai.FilePurposeUserData})
	if err != nil {
		t.Fatal(err)
	}
	if made.Bytes != int64(len(content)) || made.Filename != "large.txt" || made.Status != "processed" {
		t.Errorf("made %s", made.RawJSON())
	}
	res, err := client.Files.Content(ctx, made.ID)
	if err != nil {
		t.Fatal(err)
	}
	defer res.Body.Close()
	if got, err := io.ReadAll(res.Body); err != nil || string(got) != content {
		t.Errorf("%d bytes came back of %d, %v", len(got), len(content), err)
	}
	brief, err := client.Files.New(ctx, openai.FileNewParams{File: openai.File(strings.NewReader("{}"), "b.jsonl", "application/jsonl"), Purpose: openai.FilePurposeBatch, ExpiresAfter: openai.FileNewParamsExpiresAfter{Seconds: 3600}})
	if err != nil {
		t.Fatal(err)
	}
	if brief.ExpiresAt != brief.CreatedAt+3600 {
		t.Errorf("an hour's file: %s", brief.RawJSON())
	}
	var listed []string
	pager := client.Files.ListAutoPaging(ctx, openai.FileListParams{Limit: openai.Int(1), Order: "asc"})
	for pager.Next() {
		listed = append(listed, pager.Current().ID)
	}
	if err := pager.Err(); err != nil || !slices.Equal(listed, []string{made.ID, brief.ID}) {
		t.Errorf("listed %v, %v", listed, err)
	}
	if d, err := client.Files.Delete(ctx, made.ID); err != nil || !d.Deleted {
		t.Errorf("delete: %v %v", d, err)
	}
	_, err = client.Files.Get(ctx, made.ID)
	if e, ok := errors.AsType[*openai.Error](err); !ok || e.StatusCode != http.StatusNotFound {
		t.Errorf("get a deleted file: %v", err)
	}
}

func TestSkills(t *testing.T) {
	_, client, ctx := setup(t)
	files := func(description string) []io.Reader {
		return []io.Reader{
			openai.File(strings.NewReader("---\nname: greet\ndescription: "+description+"\n---\nSay hello.\n"), "greet/SKILL.md", "text/markdown"),
			openai.File(strings.NewReader("print('hello')"), "greet/scripts/hello.py", "text/x-python"),
		}
	}
	made, err := client.Skills.New(ctx, openai.SkillNewParams{Files: openai.SkillNewParamsFilesUnion{OfFileArray: files("Greets.")}})
	if err != nil {
		t.Fatal(err)
	}
	if made.Name != "greet" || made.Description != "Greets." || made.DefaultVersion != "1" {
		t.Errorf("made %s", made.RawJSON())
	}
	res, err := client.Skills.Content.Get(ctx, made.ID)
	if err != nil {
		t.Fatal(err)
	}
	defer res.Body.Close()
	archive, err := io.ReadAll(res.Body)
	if err != nil {
		t.Fatal(err)
	}
	second, err := client.Skills.Versions.New(ctx, made.ID, openai.SkillVersionNewParams{
		Files: openai.SkillVersionNewParamsFilesUnion{OfFile: openai.File(strings.NewReader(string(archive)), "greet.zip", "application/zip")}, Default: openai.Bool(true),
	})
	if err != nil || second.Version != "2" {
		t.Fatalf("second version: %+v, %v", second, err)
	}
	if now, err := client.Skills.Update(ctx, made.ID, openai.SkillUpdateParams{DefaultVersion: "1"}); err != nil || now.DefaultVersion != "1" || now.LatestVersion != "2" {
		t.Errorf("default version: %+v, %v", now, err)
	}
	var versions []string
	pager := client.Skills.Versions.ListAutoPaging(ctx, made.ID, openai.SkillVersionListParams{Limit: openai.Int(1)})
	for pager.Next() {
		versions = append(versions, pager.Current().Version)
	}
	if err := pager.Err(); err != nil || !slices.Equal(versions, []string{"2", "1"}) {
		t.Errorf("versions %v, %v", versions, err)
	}
	if d, err := client.Skills.Versions.Delete(ctx, made.ID, "2"); err != nil || d.Version != "2" {
		t.Errorf("delete a version: %+v, %v", d, err)
	}
	if all, err := client.Skills.List(ctx, openai.SkillListParams{}); err != nil || len(all.Data) != 1 {
		t.Errorf("list: %+v, %v", all, err)
	}
	if d, err := client.Skills.Delete(ctx, made.ID); err != nil || !d.Deleted {
		t.Errorf("delete: %v %v", d, err)
	}
	_, err = client.Skills.New(ctx, openai.SkillNewParams{Files: openai.SkillNewParamsFilesUnion{OfFile: openai.File(strings.NewReader("no archive"), "x.zip", "application/zip")}})
	if e, ok := errors.AsType[*openai.Error](err); !ok || e.Param != "files" {
		t.Errorf("what is no skill: %v", err)
	}
}

// An upload that a policy holds passes with the SDK as it is once somebody approved it, though the SDK sends it in another boundary each time.
func TestUploadsWaitForApproval(t *testing.T) {
	n := &node{t: t, data: t.TempDir()}
	n.config = filepath.Join(n.data, "stead.yaml")
	if err := os.WriteFile(n.config, []byte("policies:\n  inline: |\n    @id(\"uploads\") @approval(\"owner\") forbid(principal, action == Action::\"file.write\", resource);\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	n.start()
	t.Cleanup(n.kill)
	client, ctx := n.client(), t.Context()
	upload := func() error {
		_, err := client.Files.New(ctx, openai.FileNewParams{File: openai.File(strings.NewReader("the notes"), "notes.txt", "text/plain"), Purpose: openai.FilePurposeUserData})
		return err
	}
	e, ok := errors.AsType[*openai.Error](upload())
	if !ok || e.StatusCode != http.StatusForbidden || e.Code != "approval_required" {
		t.Fatalf("it did not wait: %v", e)
	}
	id := regexp.MustCompile(`apr_[0-9a-f]+`).FindString(e.RawJSON())
	if err := client.Post(ctx, "approvals/"+id, map[string]any{"decision": "approve"}, nil); err != nil {
		t.Fatal(err)
	}
	if err := upload(); err != nil {
		t.Errorf("approved: %v", err)
	}
	if err := upload(); err == nil {
		t.Error("it passed twice")
	}
}
