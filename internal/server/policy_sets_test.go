package server

import (
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/stead-dev/stead/internal/document/documenttest"
	"github.com/stead-dev/stead/internal/identity"
	"github.com/stead-dev/stead/internal/policy"
	"github.com/stead-dev/stead/internal/policy/policyset"
)

func policyDoor(t *testing.T) *door {
	t.Helper()
	documents := documenttest.NewMemory()
	live := policyset.NewLive(documents, identity.Approvers(), time.Now, nil)
	sets := policyset.NewService(policyset.Config{Documents: documents, Policy: policy.AllowLocal{}, Live: live, Approvers: identity.Approvers(), Now: time.Now})
	return open(t, filled(), func(c *Config) { c.PolicySets = sets })
}

func TestPolicySets(t *testing.T) {
	const (
		sets = "/v1/policy_sets"
		one  = sets + "/pset_shop"
		text = `"text":"@id(\"x\") forbid(principal, action == Action::\"tool.call\", resource);"`
		next = `"text":"@id(\"y\") permit(principal, action, resource);"`
	)
	d := policyDoor(t)
	d.says("GET "+sets, "", 200, `"data":[]`)
	d.says("POST "+sets, `{"name":"shop",`+text+`,"description":"d","metadata":{"k":"v"}}`, 200,
		`"id":"pset_shop"`, `"object":"policy_set"`, `"version":1`, `"mode":"enforce"`, `"policies":1`, `"metadata":{"k":"v"}`, `"problem":null`, `"restored_version":null`)
	d.says("POST "+sets, `{"name":"shop",`+text+`}`, 409, "already", "next version")
	res, _ := d.call("GET", one, "")
	if tag := res.Header.Get("ETag"); tag != `"1"` {
		t.Errorf("ETag %s", tag)
	}
	d.says("POST "+one, `{`+next+`}`, 400, `"param":"expected_version"`, "If-Match")
	d.says("POST "+one, `{`+next+`,"expected_version":2}`, 409, "at version 1, not 2")
	if res, body := d.call("POST", one, `{`+next+`,"mode":"shadow"}`, `If-Match: "1"`, "Idempotency-Key: k"); res.StatusCode != http.StatusOK || !strings.Contains(body, `"version":2`) || !strings.Contains(body, `"description":"d"`) || !strings.Contains(body, `"mode":"shadow"`) {
		t.Errorf("the second version: %d %s", res.StatusCode, body)
	}
	if res, body := d.call("POST", one, `{`+next+`,"mode":"shadow"}`, `If-Match: "1"`, "Idempotency-Key: k"); res.StatusCode != http.StatusOK || !strings.Contains(body, `"version":2`) {
		t.Errorf("the same request again: %d %s", res.StatusCode, body)
	}
	d.says("POST "+one, `{"description":null,"metadata":null,"expected_version":2}`, 200, `"version":3`, `"description":""`, `"metadata":{}`, `"mode":"shadow"`, `@id(\"y\")`)
	d.says("POST "+one+"/rollback", `{"version":9,"expected_version":3}`, 400, `"param":"version"`)
	d.says("POST "+one+"/rollback", `{"version":1}`, 400, `"param":"expected_version"`)
	d.says("POST "+one+"/rollback", `{"version":1,"expected_version":3}`, 200, `"version":4`, `"restored_version":1`, `"mode":"enforce"`, `@id(\"x\")`, `"metadata":{"k":"v"}`)
	d.says("GET "+one+"/versions?limit=2", "", 200, `"first_id":"4"`, `"last_id":"3"`, `"has_more":true`, `"object":"policy_set.version"`)
	d.says("GET "+one+"/versions?after=3", "", 200, `"first_id":"2"`, `"last_id":"1"`, `"has_more":false`)
	d.says("GET "+one+"/versions?order=asc&after=3", "", 200, `"first_id":"4"`, `"last_id":"4"`)
	d.says("GET "+one+"/versions?after=x", "", 400, `"param":"after"`)
	d.says("GET "+one+"/versions/2", "", 200, `"version":2`, `@id(\"y\")`)
	d.says("GET "+one+"/versions/9", "", 404)
	d.says("GET "+one+"/versions/x", "", 404)
	d.says("GET "+sets+"/pset_other", "", 404)
	d.says("POST "+sets+"/pset_other", `{`+next+`,"expected_version":1}`, 404)
	if res, body := d.call("DELETE", one, "", `If-Match: "3"`); res.StatusCode != http.StatusConflict {
		t.Errorf("deleted over another version: %d %s", res.StatusCode, body)
	}
	d.says("DELETE "+one, "", 200, `"object":"policy_set.deleted"`)
	d.says("DELETE "+one, "", 404)
	d.says("GET "+sets, "", 200, `"data":[]`)
	d.says("GET "+one+"/versions/5", "", 200, `"deleted":true`)
	d.says("POST "+one+"/rollback", `{"version":5,"expected_version":5}`, 400, `"param":"version"`, "deleted")
	d.says("POST "+sets, `{"name":"shop",`+text+`,"mode":"shadow"}`, 200, `"version":6`)
}

func TestPolicySetsThatAreWrong(t *testing.T) {
	const sets = "/v1/policy_sets"
	d := policyDoor(t)
	good := `"text":"permit(principal, action, resource);"`
	for body, want := range map[string][]string{
		`{` + good + `}`:              {`"param":"name"`},
		`{"name":"A b",` + good + `}`: {`"param":"name"`, "a-z"},
		`{"name":"` + strings.Repeat("x", 65) + `",` + good + `}`: {`"param":"name"`, "64"},
		`{"name":"x"}`:                  {`"param":"text"`},
		`{"name":"x","text":""}`:        {`"param":"text"`, "no policies"},
		`{"name":"x","text":"// none"}`: {`"param":"text"`, "no policies"},
		`{"name":"x","text":"` + strings.Repeat(" ", policyset.MaxTextBytes+1) + `"}`:                    {`"param":"text"`, "262144"},
		`{"name":"x",` + good + `,"mode":"maybe"}`:                                                       {`"param":"mode"`, "maybe"},
		`{"name":"x",` + good + `,"description":"` + strings.Repeat("x", 1025) + `"}`:                    {`"param":"description"`, "1024"},
		`{"name":"x",` + good + `,"metadata":{"k":5}}`:                                                   {`"param":"metadata.k"`},
		`{"name":"x",` + good + `,"txet":"y"}`:                                                           {`"param":"txet"`},
		`{"name":"x","text":"@id(\"a\")\nforbid(principal, action == Action::\"tool.cal\", resource);"}`: {`"param":"text"`, `"code":"invalid_policies"`, `"mistakes":[{"source":"x","line":2,"column":37,"policy":"x/a","problem":"unrecognized action`, `"near":["tool.call"]`},
		`{"name":"x","text":"forbid(principal, action, resource) when {"}`:                               {`"param":"text"`, `"mistakes":[{"source":"x","line":1,"column":`, "parse error"},
	} {
		d.says("POST "+sets, body, 400, want...)
	}
	d.says("GET "+sets, "", 200, `"data":[]`)
	d.says("POST "+sets+"/validate", `{`+good+`,"name":"x","mode":"shadow"}`, 200, `"valid":true`, `"mistakes":[]`, `"id":"x#1"`, `"set":"x"`, `"mode":"shadow"`)
	d.says("POST "+sets+"/validate", `{"text":"forbid(principal, action, resource == Tol::\"a/b\");"}`, 200, `"valid":false`, `"policies":[]`, `"line":1,"column":39`, `"near":["Tool"]`)
	d.says("POST "+sets+"/validate", `{}`, 400, `"param":"text"`)
	d.says("GET "+sets, "", 200, `"data":[]`)
}
