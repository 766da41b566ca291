package semantics

import (
	"context"
	"database/sql"
	"encoding/json"
	"path/filepath"
	"strings"
	"testing"
	"time"

	_ "modernc.org/sqlite"

	"github.com/stead-dev/stead"
	"github.com/stead-dev/stead/internal/policy"
	"github.com/stead-dev/stead/internal/semantic"
	"github.com/stead-dev/stead/internal/semantic/layer"
	"github.com/stead-dev/stead/internal/semantic/sqlread"
	"github.com/stead-dev/stead/internal/semantic/upload"
	"github.com/stead-dev/stead/internal/tool"
	"github.com/stead-dev/stead/internal/tool/schema"
)

const shop = `
name: shop
version: 1
sources: {books: {database: books}}
entities:
  order:
    table: orders
    key: [id]
    attributes: {id: {type: text}, buyer: {type: text}, status: {type: text}}
    rows: [{where: [{attribute: buyer, principal: id}]}]
metrics: {orders: {description: How many., entity: order, aggregate: count}}
actions:
  refund:
    description: Pay an order back.
    tool: erp/refund
    effect: idempotent
    approval: true
    entity: order
    key: {id: order}
    arguments: {properties: {order: {type: string}}, required: [order]}
    with: {cents: 500}
    preconditions: [{says: It is delivered., where: [{attribute: status, value: delivered}]}]
`

// none is a source without servers.
type none struct{}

func (none) Tools(context.Context, tool.Server) ([]tool.Tool, error) {
	return nil, stead.Errorf(stead.KindUnavailable, "the next source was asked")
}

type shelf []upload.Loaded

func (s shelf) Models(context.Context, stead.ProjectID) ([]upload.Loaded, error) { return s, nil }

func check(raw, arguments []byte) error {
	s, err := schema.NewCache().Compile(raw)
	if err != nil {
		return err
	}
	return s.Check(arguments)
}

func open(t *testing.T, text string, uploaded ...upload.Loaded) (*Source, *sql.DB) {
	t.Helper()
	file := filepath.Join(t.TempDir(), "books.db")
	raw, err := sql.Open("sqlite", file)
	if err == nil {
		_, err = raw.Exec("CREATE TABLE orders (id TEXT, buyer TEXT, status TEXT); INSERT INTO orders VALUES ('1', 'ada', 'delivered'), ('2', 'ada', 'open'), ('3', 'bob', 'delivered')")
	}
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { raw.Close() })
	db, err := sqlread.Open(sqlread.Config{Name: "books", Dialect: semantic.SQLite, DSN: file})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { db.Close() })
	m, err := semantic.Parse([]byte(text))
	if err != nil {
		t.Fatal(err)
	}
	l, err := layer.New(layer.Config{Databases: map[string]semantic.Database{"books": db}, Models: []layer.Declared{{Model: m}}, Uploaded: shelf(uploaded), Policy: policy.AllowLocal{}, Now: time.Now})
	if err != nil {
		t.Fatal(err)
	}
	return New(l, check, none{}), raw
}

// tools are those of an agent, by their names.
func (s *Source) named(t *testing.T, models, allowed []string) map[string]tool.Tool {
	t.Helper()
	all, err := s.Tools(t.Context(), tool.Server{Label: "semantic", Allowed: allowed, Semantic: &tool.Semantic{Project: "one", Models: models}})
	if err != nil {
		t.Fatal(err)
	}
	out := map[string]tool.Tool{}
	for _, one := range all {
		out[one.Spec().Name] = one
	}
	return out
}

func asks(id, arguments string) tool.Call {
	return tool.Call{Arguments: json.RawMessage(arguments), Principal: stead.Principal{Kind: stead.PrincipalUser, ID: id, Role: "developer"}, Session: stead.SessionKey{Project: "one", Session: "sess_1"}}
}

func TestWhichToolsThereAre(t *testing.T) {
	s, _ := open(t, shop)
	if all := s.named(t, nil, nil); len(all) != 3 || !strings.Contains(all["act"].Spec().Description, "shop: refund.") || !strings.Contains(all["query"].Spec().Description, "Metrics: shop: orders. Entities: shop: order.") {
		t.Errorf("tools are %v", all)
	}
	if all := s.named(t, nil, []string{"describe"}); len(all) != 1 || all["describe"] == nil {
		t.Errorf("an agent that may describe has %v", all)
	}
	if _, err := s.Tools(t.Context(), tool.Server{Label: "erp"}); stead.KindOf(err) != stead.KindUnavailable {
		t.Errorf("another server: %v", err)
	}
	if _, err := s.Tools(t.Context(), tool.Server{Semantic: &tool.Semantic{Project: "one", Models: []string{"none"}}}); stead.KindOf(err) != stead.KindInvalid {
		t.Errorf("a model that is not there: %v", err)
	}
	actless, _ := open(t, shop[:strings.Index(shop, "actions:")])
	if all := actless.named(t, nil, nil); len(all) != 2 || all["act"] != nil {
		t.Errorf("without actions the tools are %v", all)
	}
}

// What actions stand for is known also of models that can't be used; where it is not, that is said.
func TestWhatActionsStandFor(t *testing.T) {
	other, err := semantic.Parse([]byte(strings.NewReplacer("name: shop", "name: other", "erp/refund", "crm/write").Replace(shop)))
	if err != nil {
		t.Fatal(err)
	}
	s, _ := open(t, shop, upload.Loaded{Name: "other", Err: stead.Invalid("text", "no grant"), Ungranted: other})
	act := s.named(t, nil, nil)["act"].(tool.Binder)
	if to, err := act.Bound(); err != nil || len(to) != 2 || to[0] != (tool.Target{Server: "erp", Name: "refund"}) || to[1] != (tool.Target{Server: "crm", Name: "write"}) {
		t.Errorf("actions stand for %v, %v", to, err)
	}
	if !strings.Contains(act.Spec().Description, "can't be used at present") {
		t.Errorf("act is %q", act.Spec().Description)
	}
	s, _ = open(t, shop[:strings.Index(shop, "actions:")], upload.Loaded{Name: "other", Err: stead.Invalid("text", "garbled")})
	if act, is := s.named(t, nil, nil)["act"].(tool.Binder); !is {
		t.Error("where nobody knows what actions stand for there is no act")
	} else if _, err := act.Bound(); err == nil {
		t.Error("what actions stand for is said to be known")
	}
}

func TestAct(t *testing.T) {
	s, db := open(t, shop)
	act := s.named(t, nil, nil)["act"].(tool.Binder)
	bound, err := act.Bind(json.RawMessage(`{"action":"refund","arguments":{"order":"1"}}`))
	if err != nil || bound.Title != "refund" || bound.Effect != tool.Idempotent || !bound.Approval || string(bound.Arguments) != `{"cents":500,"order":"1"}` {
		t.Errorf("bound is %+v, %v", bound, err)
	}
	for in, want := range map[string]string{
		`{"action":"refnd"}`:                                           "Did you mean refund?",
		`{"action":"refund","arguments":{}}`:                           "The arguments do not fit the action refund",
		`{"action":"refund","model":"none","arguments":{"order":"1"}}`: `no semantic model "none"`,
		`{"action":"refund","arguments":{"order":"1","cents":7000}}`:   "do not fit",
		`[]`: "can't be read",
	} {
		if _, err := act.Bind(json.RawMessage(in)); stead.KindOf(err) != stead.KindInvalid || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v, want %q", in, err, want)
		}
	}
	asked := json.RawMessage(`{"action":"refund","arguments":{"order":"1"}}`)
	if args, err := act.Rebind(asked, json.RawMessage(`{"order":"2"}`)); err != nil || string(args) != `{"cents":500,"order":"2"}` {
		t.Errorf("rebound is %s, %v", args, err)
	}
	if _, err := act.Rebind(asked, json.RawMessage(`{"order":"2","cents":1}`)); stead.KindOf(err) != stead.KindInvalid || !strings.Contains(err.Error(), "it is the action refund") {
		t.Errorf("another amount: %v", err)
	}
	if err := act.Ready(t.Context(), asked, asks("ada", `{"cents":500,"order":"1"}`)); err != nil {
		t.Errorf("order 1: %v", err)
	}
	for who, want := range map[string]string{`ada {"order":"2"}`: `(status is "open")`, `ada {"order":"3"}`: "there is no order with id 3", `bob {"order":"1"}`: "there is no order with id 1"} {
		id, args, _ := strings.Cut(who, " ")
		if err := act.Ready(t.Context(), asked, asks(id, args)); stead.KindOf(err) != stead.KindConflict || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v, want %q", who, err, want)
		}
	}
	if _, err := act.Call(t.Context(), asks("ada", `{}`)); stead.KindOf(err) != stead.KindInternal {
		t.Errorf("an action that is called by itself: %v", err)
	}
	if _, err := db.Exec("DROP TABLE orders"); err != nil {
		t.Fatal(err)
	}
	if err := act.Ready(t.Context(), asked, asks("ada", `{"order":"1"}`)); err == nil {
		t.Error("it may be taken though nobody can look")
	}
}

// What models, policies and databases refuse is said to the model; a result is JSON.
func TestAnswersAndRefusals(t *testing.T) {
	s, _ := open(t, shop)
	all := s.named(t, nil, nil)
	for in, want := range map[string]string{
		`query {"metrics":["orders"]}`:              `"rows":[[2]]`,
		`query {"metrics":["ordrs"]}`:               `error: There is no metric "ordrs"`,
		`query {"sql":"DROP TABLE orders"}`:         "error: The query can't be read",
		`describe {}`:                               `"actions":[{"name":"refund"`,
		`describe {"term":"refund"}`:                `"checked":["It is delivered."]`,
		`describe {"term":"refund","model":"none"}`: `error: `,
		`describe []`:                               "error: The arguments can't be read",
	} {
		name, args, _ := strings.Cut(in, " ")
		r, err := all[name].Call(t.Context(), asks("ada", args))
		if err != nil {
			t.Fatal(in, err)
		}
		got := r.Content[0].Text.Inline
		if r.IsError {
			got = "error: " + got
		} else if !json.Valid([]byte(got)) {
			t.Errorf("%s is no JSON: %s", in, got)
		}
		if !strings.Contains(strings.ToLower(got), strings.ToLower(want)) {
			t.Errorf("%s: %s, want %s", in, got, want)
		}
	}
}
