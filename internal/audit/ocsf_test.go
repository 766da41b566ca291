package audit_test

import (
	"encoding/json"
	"fmt"
	"math"
	"slices"
	"strings"
	"testing"

	"github.com/stead-dev/stead"
	"github.com/stead-dev/stead/internal/audit"
	"github.com/stead-dev/stead/internal/policy"
)

// attribute is what the schema says of one.
type attribute struct {
	kind     string // string, integer, object, array (of objects) or any
	required bool
	enum     []int  // of an integer; nil: any
	of       object // of an object or an array
}

type object struct {
	attributes map[string]attribute
	any        []string // at least one of these is there
}

// apiActivity are the attributes of OCSF's class API Activity (6003) that we may write, after github.com/ocsf/ocsf-schema:
// events/base_event.json, events/application/api_activity.json, and of objects: metadata, product, actor, user, authorization,
// policy, api, request, network_endpoint, resource_details. Written down by hand, of commits about 1.3.0 and not of its tag alone.
func apiActivity() object {
	text, number := attribute{kind: "string"}, attribute{kind: "integer"}
	need := func(a attribute) attribute { a.required = true; return a }
	one := func(o object) attribute { return attribute{kind: "object", of: o} }
	enum := func(of ...int) attribute { return attribute{kind: "integer", required: true, enum: of} }
	product := object{attributes: map[string]attribute{"name": text, "vendor_name": need(text), "version": text, "uid": text}}
	user := object{attributes: map[string]attribute{
		"uid": text, "name": text, "type": text, "type_id": {kind: "integer", enum: []int{0, 1, 2, 3, 99}}, "credential_uid": text,
	}, any: []string{"account", "name", "uid"}}
	granted := object{attributes: map[string]attribute{
		"decision": text, "policy": one(object{attributes: map[string]attribute{"uid": text, "name": text, "version": text}, any: []string{"name", "uid"}}),
	}}
	request := object{attributes: map[string]attribute{"uid": need(text), "flags": text}}
	return object{attributes: map[string]attribute{
		"activity_id": enum(0, 1, 2, 3, 4, 99), "category_uid": enum(6), "class_uid": enum(6003), "type_uid": enum(600300, 600301, 600302, 600303, 600304, 600399),
		"severity_id": enum(0, 1, 2, 3, 4, 5, 6, 99), "time": need(number), "status_id": {kind: "integer", enum: []int{0, 1, 2, 99}}, "status_detail": text,
		"metadata": need(one(object{attributes: map[string]attribute{
			"version": need(text), "product": need(one(product)), "uid": text, "sequence": number, "tenant_uid": text,
		}})),
		"actor": need(one(object{attributes: map[string]attribute{
			"user": one(user), "app_uid": text, "app_name": text, "authorizations": {kind: "array", of: granted},
		}, any: []string{"process", "user", "invoked_by", "session", "app_name", "app_uid"}})),
		"api": need(one(object{attributes: map[string]attribute{"operation": need(text), "request": one(request)}})),
		"src_endpoint": need(one(object{attributes: map[string]attribute{"ip": text, "name": text, "port": number},
			any: []string{"ip", "uid", "name", "hostname", "svc_name", "instance_uid", "interface_uid", "interface_name"}})),
		"resources": {kind: "array", of: object{attributes: map[string]attribute{"uid": text, "type": text, "name": text}, any: []string{"name", "uid"}}},
		"unmapped":  {kind: "any"},
	}}
}

// check says what of a value is not as the schema has it.
func (o object) check(at string, v map[string]any) (wrong []string) {
	for name, a := range o.attributes {
		if _, ok := v[name]; a.required && !ok {
			wrong = append(wrong, at+name+" is missing")
		}
	}
	if len(o.any) > 0 && !slices.ContainsFunc(o.any, func(name string) bool { _, ok := v[name]; return ok }) {
		wrong = append(wrong, at+" has none of "+strings.Join(o.any, ", "))
	}
	for name, x := range v {
		a, ok := o.attributes[name]
		if !ok {
			wrong = append(wrong, at+name+" is not in the schema")
			continue
		}
		wrong = append(wrong, a.check(at+name, x)...)
	}
	return wrong
}

func (a attribute) check(at string, v any) []string {
	switch v := v.(type) {
	case string:
		if a.kind == "string" && v != "" {
			return nil
		}
	case float64:
		if a.kind == "integer" && v == math.Trunc(v) && (a.enum == nil || slices.Contains(a.enum, int(v))) {
			return nil
		}
	case map[string]any:
		if a.kind == "object" {
			return a.of.check(at+".", v)
		}
	case []any:
		if a.kind == "array" {
			var wrong []string
			for _, x := range v {
				one, _ := x.(map[string]any)
				wrong = append(wrong, a.of.check(at+"[].", one)...)
			}
			return wrong
		}
	}
	if a.kind == "any" {
		return nil
	}
	return []string{fmt.Sprintf("%s is %v", at, v)}
}

// TestOCSFIsAsTheSchemaHasIt: whatever is recorded becomes an event whose attributes, types and enumerations are the class's.
func TestOCSFIsAsTheSchemaHasIt(t *testing.T) {
	schema := apiActivity()
	if wrong := schema.check("", map[string]any{"activity_id": 7.0, "other": "x", "src_endpoint": map[string]any{}}); len(wrong) < 10 {
		t.Fatalf("of what is no event, wrong is %q", wrong)
	}
	var actions []string
	for _, e := range policy.Effects() {
		actions = append(actions, string(e))
	}
	actions = append(actions, "authenticate", audit.ActConfiguration, audit.ActConnect, audit.ActErase, audit.ActExecutor, audit.ActForget, audit.ActGuardrail, audit.ActModels, audit.ActPolicies, audit.ActRetention)
	for _, action := range actions {
		for _, full := range []bool{true, false} {
			for _, d := range []audit.Decision{audit.Allow, audit.Deny, audit.RequireApproval} {
				r := audit.Record{Seq: 3, At: 5, Project: "p", Principal: audit.Principal{Kind: stead.PrincipalUser, ID: "ada"}, Action: action, Decision: d}
				if full {
					r.Principal = audit.Principal{Kind: stead.PrincipalService, ID: "root", Role: "owner", Key: "key_1"}
					r.Agent, r.Session, r.Arguments, r.Resource, r.By, r.Reason = "agent_1", "sess_1", strings.Repeat("0", 64), "x", "policy", "because"
					r.Policies, r.Version, r.Request, r.From, r.Detail = []string{"a", "b"}, "v", "req_1", "10.0.0.1", "DELETE /v1/x/y"
				}
				line, err := r.OCSF()
				if err != nil {
					t.Fatal(err)
				}
				var event map[string]any
				if err := json.Unmarshal(line, &event); err != nil {
					t.Fatal(err)
				}
				if wrong := schema.check("", event); len(wrong) > 0 {
					t.Errorf("%s %s: %s\n%s", action, d, strings.Join(wrong, "; "), line)
				}
				if event["type_uid"] != event["class_uid"].(float64)*100+event["activity_id"].(float64) {
					t.Errorf("%s: type_uid is not made of class and activity: %s", action, line)
				}
			}
		}
	}
}
