package server

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"mime/multipart"
	"net/http"
	"net/textproto"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stead-dev/stead/internal/asset"
	"github.com/stead-dev/stead/internal/blob"
	"github.com/stead-dev/stead/internal/capability"
	"github.com/stead-dev/stead/internal/document/documenttest"
	"github.com/stead-dev/stead/internal/file"
	"github.com/stead-dev/stead/internal/identity"
	"github.com/stead-dev/stead/internal/policy"
	"github.com/stead-dev/stead/internal/seal"
	"github.com/stead-dev/stead/internal/skill"
	"github.com/stead-dev/stead/internal/template"
)

// configuredDoor is a door with the real services of templates, files and skills, over documents in
// memory and blobs on disk.
func configuredDoor(t *testing.T) *door {
	t.Helper()
	blobs, err := blob.OpenDir(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { blobs.Close() })
	keys, err := seal.New(make([]byte, seal.KeyBytes))
	if err != nil {
		t.Fatal(err)
	}
	documents := documenttest.NewMemory()
	assets := asset.New(documents, blobs, time.Now)
	files := file.NewService(file.Config{Documents: documents, Assets: assets, Policy: policy.AllowLocal{}, Now: time.Now})
	skills := skill.NewService(skill.Config{Documents: documents, Assets: assets, Policy: policy.AllowLocal{}, Now: time.Now})
	return open(t, filled(), func(c *Config) {
		c.Files, c.Skills = files, skills
		c.Keys = identity.NewService(identity.Config{Documents: documents, Policy: policy.AllowLocal{}, Now: time.Now})
		c.Templates = template.NewService(template.ServiceConfig{
			Documents: documents, Assets: assets, Policy: policy.AllowLocal{}, Keys: keys, Files: files, Skills: skills, Now: time.Now,
		})
	})
}

// field is a part of a multipart body; a file has a name.
type field struct{ name, file, value string }

func (d *door) form(path string, fields []field, headers ...string) (*http.Response, string) {
	d.t.Helper()
	var body bytes.Buffer
	w := multipart.NewWriter(&body)
	for _, f := range fields {
		h := textproto.MIMEHeader{}
		disposition := fmt.Sprintf(`form-data; name=%q`, f.name)
		if f.file != "" {
			disposition += fmt.Sprintf(`; filename=%q`, f.file)
		}
		h.Set("Content-Disposition", disposition)
		part, err := w.CreatePart(h)
		if err != nil {
			d.t.Fatal(err)
		}
		if _, err := io.WriteString(part, f.value); err != nil {
			d.t.Fatal(err)
		}
	}
	if err := w.Close(); err != nil {
		d.t.Fatal(err)
	}
	return d.call("POST", path, body.String(), append(headers, "Content-Type: "+w.FormDataContentType())...)
}

// id is the id in an answer, which must have the status.
func (d *door) id(status int, res *http.Response, body string) string {
	d.t.Helper()
	var v struct{ ID string }
	if err := json.Unmarshal([]byte(body), &v); err != nil || res.StatusCode != status {
		d.t.Fatalf("status %d, want %d: %s", res.StatusCode, status, body)
	}
	return v.ID
}

func (d *door) says(call string, body string, status int, want ...string) string {
	d.t.Helper()
	method, path, _ := strings.Cut(call, " ")
	res, got := d.call(method, path, body)
	if res.StatusCode != status {
		d.t.Fatalf("%s: status %d, want %d: %s", call, res.StatusCode, status, got)
	}
	for _, w := range want {
		if !strings.Contains(got, w) {
			d.t.Errorf("%s: want %s in\n%s", call, w, got)
		}
	}
	return got
}

func TestFilesAreUploadedAndReadBack(t *testing.T) {
	d := configuredDoor(t)
	content := strings.Repeat("0123456789abcdef", file.PartBytes/16) + "and a second part"
	res, body := d.form("/v1/files", []field{{"file", "a \"b\".bin", content}, {"purpose", "", "user_data"}})
	id := d.id(200, res, body)
	d.says("GET /v1/files/"+id, "", 200, fmt.Sprintf(`"bytes":%d`, len(content)), `"status":"processed"`, `"filename":"a \"b\".bin"`)
	if got := d.says("GET /v1/files/"+id+"/content", "", 200); got != content {
		t.Errorf("%d bytes came back of %d", len(got), len(content))
	}
	res, _ = d.call("GET", "/v1/files/"+id+"/content", "")
	if h := res.Header; h.Get("X-Content-Type-Options") != "nosniff" || !strings.HasPrefix(h.Get("Content-Disposition"), "attachment") || h.Get("Content-Type") != "application/octet-stream" {
		t.Errorf("a browser would show it: %v", h)
	}
	res, body = d.form("/v1/files", []field{{"expires_after[anchor]", "", "created_at"}, {"expires_after[seconds]", "", "3600"}, {"purpose", "", "batch"}, {"file", "b.jsonl", ""}})
	other := d.id(200, res, body)
	if !strings.Contains(body, `"expires_at":`) || !strings.Contains(body, `"bytes":0`) {
		t.Errorf("an empty file that expires: %s", body)
	}
	d.says("GET /v1/files?limit=1", "", 200, `"first_id":"`+other+`"`, `"has_more":true`)
	d.says("GET /v1/files?limit=1&after="+other, "", 200, `"first_id":"`+id+`"`, `"has_more":false`)
	d.says("GET /v1/files?purpose=batch", "", 200, `"last_id":"`+other+`"`, `"first_id":"`+other+`"`)
	d.says("DELETE /v1/files/"+id, "", 200, `"object":"file"`)
	d.says("GET /v1/files/"+id+"/content", "", 404, `"code":"not_found"`)
	d.says("DELETE /v1/files/"+id, "", 404)
}

func TestUploadsThatAreWrong(t *testing.T) {
	d := configuredDoor(t)
	good := field{"file", "a", "x"}
	for name, tc := range map[string]struct {
		fields []field
		param  string
	}{
		"no file":         {[]field{{"purpose", "", "user_data"}}, "file"},
		"no purpose":      {[]field{good}, "purpose"},
		"wrong purpose":   {[]field{good, {"purpose", "", "party"}}, "purpose"},
		"two files":       {[]field{good, {"purpose", "", "user_data"}, good}, "file"},
		"no name":         {[]field{{"file", "", "x"}, {"purpose", "", "user_data"}}, "file"},
		"wrong anchor":    {[]field{good, {"purpose", "", "user_data"}, {"expires_after[anchor]", "", "now"}, {"expires_after[seconds]", "", "3600"}}, "expires_after.anchor"},
		"too short":       {[]field{good, {"purpose", "", "user_data"}, {"expires_after[anchor]", "", "created_at"}, {"expires_after[seconds]", "", "3599"}}, "expires_after.seconds"},
		"a long field":    {[]field{{"purpose", "", strings.Repeat("x", MaxFieldBytes+1)}, good}, "purpose"},
		"seconds of text": {[]field{good, {"purpose", "", "user_data"}, {"expires_after[anchor]", "", "created_at"}, {"expires_after[seconds]", "", "soon"}}, "expires_after.seconds"},
	} {
		if res, body := d.form("/v1/files", tc.fields); res.StatusCode != 400 || !strings.Contains(body, `"param":"`+tc.param+`"`) {
			t.Errorf("%s: %d %s", name, res.StatusCode, body)
		}
	}
	d.says("POST /v1/files", `{"purpose":"user_data"}`, 400, `"param":"file"`, "multipart/form-data")
	res, body := d.call("POST", "/v1/files", "--x\r\nContent-Disposition: form-data; name=\"file\"; filename=\"a\"\r\n\r\nbroken off", "Content-Type: multipart/form-data; boundary=x")
	if res.StatusCode != 400 || !strings.Contains(body, "broke off") {
		t.Errorf("broken off: %d %s", res.StatusCode, body)
	}
	d.says("GET /v1/files", "", 200, `"data":[]`)
	d.says("GET /v1/files?after=agent_1", "", 400, `"param":"after"`)
}

// endless is a body without an end.
type endless struct{ sent atomic.Int64 }

func (e *endless) Read(b []byte) (int, error) {
	if e.sent.Load() > file.MaxBytes {
		return 0, errors.New("the server reads on beyond the limit")
	}
	e.sent.Add(int64(len(b)))
	return len(b), nil
}

func TestAnUploadThatSaysThatItIsTooLargeIsRefusedAtOnce(t *testing.T) {
	d := configuredDoor(t)
	body := &endless{}
	req, err := http.NewRequest("POST", d.url+"/v1/files", body)
	if err != nil {
		t.Fatal(err)
	}
	req.ContentLength = file.MaxBytes * 2
	req.Header.Set("Content-Type", "multipart/form-data; boundary=x")
	res, err := d.client.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer res.Body.Close()
	if res.StatusCode != http.StatusRequestEntityTooLarge || body.sent.Load() > file.MaxBytes/2 {
		t.Errorf("status %d after %d bytes", res.StatusCode, body.sent.Load())
	}
}

func TestAKeyStoresAnUploadOnce(t *testing.T) {
	d := configuredDoor(t)
	upload := func(content string) (*http.Response, string) {
		return d.form("/v1/files", []field{{"file", "a", content}, {"purpose", "", "user_data"}}, "Idempotency-Key: k")
	}
	res, body := upload("x")
	id := d.id(200, res, body)
	if res, body = upload("x"); d.id(200, res, body) != id {
		t.Errorf("the same upload made another file: %s", body)
	}
	if res, _ = upload("y"); res.StatusCode != 409 {
		t.Errorf("another upload under the key: %d", res.StatusCode)
	}
	if got := d.says("GET /v1/files/"+id+"/content", "", 200); got != "x" {
		t.Errorf("the file holds %q", got)
	}
}

const skillMD = "---\nname: pdf\ndescription: Reads PDFs.\n---\nRead.\n"

func skillZIP(t *testing.T, name string) string {
	t.Helper()
	b, err := capability.New([]capability.File{{Path: "top/SKILL.md", Data: []byte(strings.Replace(skillMD, "pdf", name, 1))}, {Path: "top/run.sh", Data: []byte("true"), Executable: true}})
	if err != nil {
		t.Fatal(err)
	}
	data, err := b.Pack()
	if err != nil {
		t.Fatal(err)
	}
	return string(data)
}

func TestSkillsAndTheirVersions(t *testing.T) {
	d := configuredDoor(t)
	res, body := d.form("/v1/skills", []field{{"files[]", "pdf/SKILL.md", skillMD}, {"files[]", "pdf/lib/a.py", "pass"}})
	id := d.id(200, res, body)
	d.says("GET /v1/skills/"+id, "", 200, `"default_version":"1"`, `"latest_version":"1"`, `"name":"pdf"`, `"description":"Reads PDFs."`)
	bundle, err := capability.Open([]byte(d.says("GET /v1/skills/"+id+"/content", "", 200)))
	if err != nil || len(bundle) != 2 || bundle[1].Path != "lib/a.py" {
		t.Fatalf("the archive: %+v, %v", bundle, err)
	}
	res, body = d.form("/v1/skills/"+id+"/versions", []field{{"files", "x.zip", skillZIP(t, "pdf2")}})
	second := d.id(200, res, body)
	res, body = d.form("/v1/skills/"+id+"/versions", []field{{"files", "x.zip", skillZIP(t, "pdf3")}, {"default", "", "true"}})
	d.id(200, res, body)
	d.says("GET /v1/skills/"+id, "", 200, `"default_version":"3"`, `"latest_version":"3"`, `"name":"pdf3"`)
	d.says("POST /v1/skills/"+id, `{"default_version":"2"}`, 200, `"name":"pdf2"`)
	d.says("POST /v1/skills/"+id, `{"default_version":"9"}`, 400, `"param":"default_version"`)
	d.says("GET /v1/skills/"+id+"/versions?limit=2", "", 200, `"version":"3"`, `"version":"2"`, `"has_more":true`, `"last_id":"`+second+`"`)
	d.says("GET /v1/skills/"+id+"/versions?after="+second, "", 200, `"version":"1"`, `"has_more":false`)
	d.says("GET /v1/skills/"+id+"/versions/2", "", 200, second, `"skill_id":"`+id+`"`)
	d.says("GET /v1/skills/"+id+"/versions/9", "", 404)
	if b, err := capability.Open([]byte(d.says("GET /v1/skills/"+id+"/versions/3/content", "", 200))); err != nil || !b[1].Executable {
		t.Errorf("the third archive: %+v, %v", b, err)
	}
	d.says("DELETE /v1/skills/"+id+"/versions/2", "", 409, "default")
	d.says("DELETE /v1/skills/"+id+"/versions/3", "", 200, `"version":"3"`, `"id":"`+id+`"`)
	d.says("GET /v1/skills/"+id+"/versions/3/content", "", 404)
	res, body = d.form("/v1/skills/"+id+"/versions", []field{{"files", "x.zip", skillZIP(t, "pdf4")}})
	if d.id(200, res, body); !strings.Contains(body, `"version":"4"`) {
		t.Errorf("a number was used again: %s", body)
	}
	d.says("GET /v1/skills", "", 200, `"first_id":"`+id+`"`)
	d.says("DELETE /v1/skills/"+id, "", 200, `"object":"skill.deleted"`)
	d.says("GET /v1/skills/"+id+"/content", "", 404)
}

func TestSkillsThatAreNone(t *testing.T) {
	d := configuredDoor(t)
	for name, fields := range map[string][]field{
		"nothing":        {{"other", "", "x"}},
		"no SKILL.md":    {{"files[]", "a/b", "x"}},
		"no ZIP":         {{"files", "x.zip", "hello"}},
		"leads out":      {{"files[]", "../SKILL.md", skillMD}},
		"broken archive": {{"files", "x.zip", "PK\x03\x04hello"}},
		"wrong default":  {{"files[]", "SKILL.md", skillMD}, {"default", "", "perhaps"}},
	} {
		if res, body := d.form("/v1/skills", fields); res.StatusCode != 400 || !strings.Contains(body, `"param":"files"`) && name != "wrong default" {
			t.Errorf("%s: %d %s", name, res.StatusCode, body)
		}
	}
	d.says("POST /v1/skills", `{}`, 400, `"param":"files"`)
	for _, end := range []string{"", "\r\n--x", "\r\n--x\r\nContent-Disposition: form-data; name=\"default\"\r\n\r\n"} {
		body := "--x\r\nContent-Disposition: form-data; name=\"files\"; filename=\"SKILL.md\"\r\n\r\n" + skillMD + end
		if res, got := d.call("POST", "/v1/skills", body, "Content-Type: multipart/form-data; boundary=x"); res.StatusCode != 400 || !strings.Contains(got, "broke off") {
			t.Errorf("broken off behind %q: %d %s", end, res.StatusCode, got)
		}
	}
	d.says("GET /v1/skills", "", 200, `"data":[]`)
	if res, _ := d.form("/v1/skills/skill_x/versions", []field{{"files[]", "SKILL.md", skillMD}}); res.StatusCode != 404 {
		t.Errorf("a version of nothing: %d", res.StatusCode)
	}
}

func TestTemplates(t *testing.T) {
	d := configuredDoor(t)
	const templates = "/v1/agents/environments/templates"
	body := d.says("POST "+templates, `{"name":"base","env":{"TOKEN":"s3cret"},"setup_commands":[{"command":"curl s3cret"}],
		"network":{"access":"restricted","blocked_domains":["bad.example"]},"packages":{"npm":["left-pad@1"]},
		"files":[{"type":"inline","path":"/workspace/a","data":"czNjcmV0"},{"type":"file_id","path":"/workspace/b","file_id":"file_1"}],
		"skills":[{"type":"skill_reference","skill_id":"skill_1","version":"latest"},{"type":"skill_reference","skill_id":"skill_2"}]}`, 200,
		`"name":"base"`, `"blocked_domains":["bad.example"]`, `"size_bytes":6`, `"version":"latest"`, `"version":null`, `"npm":["left-pad@1"]`)
	if strings.Contains(body, "s3cret") || strings.Contains(body, "TOKEN") || strings.Contains(body, "czNjcmV0") {
		t.Errorf("the answer shows a secret: %s", body)
	}
	var made struct{ ID string }
	if err := json.Unmarshal([]byte(body), &made); err != nil {
		t.Fatal(err)
	}
	one := templates + "/" + made.ID
	d.says("GET "+one, "", 200, `"object":"agent.environment.template"`)
	d.says("POST "+one, `{"name":null,"network":null,"files":[]}`, 200, `"name":null`, `"access":"disabled"`, `"files":[]`, `"npm":["left-pad@1"]`)
	d.says("POST "+one, `{"network":{"access":"open"}}`, 400, `"param":"network.access"`)
	d.says("POST "+one, `{"container_size":"large"}`, 400, `"param":"container_size"`)
	d.says("POST "+templates, `{"desktop":{"enabled":true}}`, 501, `"param":"desktop.enabled"`)
	second := d.says("POST "+templates, "", 200, `"access":"disabled"`)
	d.says("GET "+templates+"?limit=1&order=asc", "", 200, `"first_id":"`+made.ID+`"`, `"has_more":true`)
	if got := d.says("GET "+templates+"?order=asc&after="+made.ID, "", 200, `"has_more":false`); !strings.Contains(got, strings.TrimSpace(second)) {
		t.Errorf("the second page: %s", got)
	}
	d.says("DELETE "+one, "", 200, `"object":"agent.environment.template.deleted"`)
	d.says("GET "+one, "", 404)
	d.says("POST "+one, `{}`, 404)
	d.says("DELETE "+one, "", 404)

	// This path is two routes of the document, so nothing is held against it here: files wins.
	res, err := http.Get(d.url + templates + "/files")
	if err != nil {
		t.Fatal(err)
	}
	defer res.Body.Close()
	if b, err := io.ReadAll(res.Body); err != nil || !strings.Contains(string(b), `"environment_id":"templates"`) {
		t.Errorf("the files of an environment: %s, %v", b, err)
	}
	d.says("GET /v1/agents/environments/env_1/nothing", "", 404, "there is no GET")
	if res, body := d.call("PUT", one, "{}"); res.StatusCode != 405 || !strings.Contains(body, "DELETE, GET, POST") {
		t.Errorf("a wrong method: %d %s", res.StatusCode, body)
	}
}
