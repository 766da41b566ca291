package layer

import (
	"context"
	"database/sql"
	"encoding/json"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	_ "github.com/jackc/pgx/v5/stdlib"

	"github.com/stead-dev/stead"
	"github.com/stead-dev/stead/internal/policy"
	"github.com/stead-dev/stead/internal/postgres/pgtest"
	"github.com/stead-dev/stead/internal/semantic"
	"github.com/stead-dev/stead/internal/semantic/sqlread"
	"github.com/stead-dev/stead/internal/semantic/upload"
	"github.com/stead-dev/stead/internal/tool/schema"
)

const store = `
name: store
version: 2
sources: {books: {database: books}}
entities:
  order:
    table: orders
    key: [id]
    attributes:
      id: {type: integer}
      buyer: {type: text}
      secret: {type: text, hidden: true}
      status: {type: text, samples: true}
      cents: {type: integer}
      paid: {type: boolean}
      placed: {type: timestamp}
    rows:
      - {roles: [owner], all: true}
      - where: [{attribute: buyer, principal: id}]
  visit:
    table: visits
    key: [day, buyer]
    listed: false
    attributes: {day: {type: text}, buyer: {type: text}, pages: {type: integer}}
metrics:
  orders: {description: How many., entity: order, aggregate: count, dimensions: [status]}
  visits: {description: How many., entity: visit, aggregate: count}
actions:
  refund:
    description: Pay an order back.
    synonyms: [pay back]
    tool: erp/refund
    entity: order
    key: {id: order}
    arguments: {properties: {order: {type: integer}, cents: {type: integer}, note: {type: string}}, required: [order]}
    with: {channel: agent}
    preconditions:
      - The customer asked for it.
      - {says: It is delivered and paid., where: [{attribute: status, op: in, values: [delivered, returned]}, {attribute: paid, value: true}]}
      - {says: No more than was paid., where: [{attribute: cents, op: at_least, argument: cents}]}
      - where: [{attribute: secret, op: is_null}]
      - {says: It is their own., where: [{attribute: buyer, principal: id}]}
  forget:
    description: Forget a visit.
    tool: erp/forget
    entity: visit
    key: {day: day, buyer: buyer}
    arguments: {properties: {day: {type: string}}, required: [day]}
    with: {buyer: ada}
    preconditions: [{where: [{attribute: pages, op: less_than, value: 10}]}]
  wave: {description: Wave., tool: erp/wave}
`

const rows = `CREATE TABLE orders (id INTEGER, buyer TEXT, secret TEXT, status TEXT, cents INTEGER, paid BOOLEAN, placed TIMESTAMP);
CREATE TABLE visits (day TEXT, buyer TEXT, pages INTEGER);
INSERT INTO orders VALUES (1, 'ada', NULL, 'delivered', 500, TRUE, '2026-01-05 10:00:00'), (2, 'ada', NULL, 'open', 500, TRUE, NULL), (3, 'bob', NULL, 'delivered', 700, TRUE, NULL),
	(4, 'ada', 'hush', 'returned', NULL, TRUE, NULL), (5, 'ada', NULL, NULL, 500, FALSE, NULL), (6, 'ada', NULL, 'delivered', 1, TRUE, NULL), (6, 'ada', NULL, 'delivered', 1, TRUE, NULL);
INSERT INTO visits VALUES ('mon', 'ada', 3), ('tue', 'ada', 30), ('mon', 'bob', 30)`

// refusing is policies that refuse some effects, and queries that speak of a dimension.
type refusing struct {
	effects   []policy.Effect
	dimension string
}

func (p *refusing) Decide(_ context.Context, req policy.Request) (policy.Decision, error) {
	for _, e := range p.effects {
		if req.Effect == e {
			return policy.Decision{Reason: "not for you"}, nil
		}
	}
	if p.dimension != "" && req.Semantic != nil && slices.Contains(req.Semantic.Dimensions, p.dimension) {
		return policy.Decision{Reason: "not for you"}, nil
	}
	return policy.Decision{Allow: true}, nil
}

// shelf is uploaded models.
type shelf []upload.Loaded

func (s shelf) Models(context.Context, stead.ProjectID) ([]upload.Loaded, error) { return s, nil }

type bench struct {
	*testing.T
	*Layer
	model    *semantic.Model
	policies refusing
	raw      *sql.DB
}

func parse(t testing.TB, text string) *semantic.Model {
	t.Helper()
	m, err := semantic.Parse([]byte(text))
	if err != nil {
		t.Fatal(err)
	}
	return m
}

// onBoth runs a test over the same rows in both kinds of database.
func onBoth(t *testing.T, uploaded Uploaded, test func(b *bench)) {
	for _, dialect := range []semantic.Dialect{semantic.SQLite, semantic.PostgreSQL} {
		t.Run(string(dialect), func(t *testing.T) {
			driver, dsn := "sqlite", filepath.Join(t.TempDir(), "books.db")
			if dialect == semantic.PostgreSQL {
				driver, dsn = "pgx", pgtest.URL(t)
			}
			raw, err := sql.Open(driver, dsn)
			if err != nil {
				t.Fatal(err)
			}
			t.Cleanup(func() { raw.Close() })
			if _, err := raw.Exec(rows); err != nil {
				t.Fatal(err)
			}
			db, err := sqlread.Open(sqlread.Config{Name: "books", Dialect: dialect, DSN: dsn})
			if err != nil {
				t.Fatal(err)
			}
			t.Cleanup(func() { db.Close() })
			b := &bench{T: t, model: parse(t, store), raw: raw}
			if b.Layer, err = New(Config{
				Databases: map[string]semantic.Database{"books": db}, Policy: &b.policies, Now: time.Now, Uploaded: uploaded,
				Models: []Declared{{Model: b.model, Projects: []stead.ProjectID{"one"}}},
			}); err != nil {
				t.Fatal(err)
			}
			test(b)
		})
	}
}

func who(id string, role stead.Role) By {
	return By{Principal: stead.Principal{Project: "one", Kind: stead.PrincipalUser, ID: id, Role: role}, Acting: true}
}

func fails(t *testing.T, what string, err error, kind stead.Kind, want ...string) {
	t.Helper()
	if stead.KindOf(err) != kind {
		t.Errorf("%s: %v is %q, not %q", what, err, stead.KindOf(err), kind)
		return
	}
	text := ""
	if e, ok := err.(*stead.Error); ok {
		text = e.Message + " " + e.Hint
	}
	for _, w := range want {
		not := strings.HasPrefix(w, "not ")
		if strings.Contains(text, strings.TrimPrefix(w, "not ")) == not {
			t.Errorf("%s: it says %q, want %q", what, text, w)
		}
	}
}

// ready asks whether an action may be taken with its tool's arguments.
func (b *bench) ready(by By, action, arguments string) error {
	b.Helper()
	m, name, a, err := FindAction([]*semantic.Model{b.model}, "", action)
	if err != nil {
		b.Fatal(err)
	}
	return b.Ready(b.Context(), by, m, name, a, json.RawMessage(arguments))
}

// An action is taken only where its preconditions hold, of a row that whoever it is for sees; a refusal says which does not, with the
// values that this one may see.
func TestPreconditionsAreChecked(t *testing.T) {
	onBoth(t, nil, func(b *bench) {
		ada, boss := who("ada", "developer"), who("boss", "owner")
		for arguments, want := range map[string][]string{
			`{"order":1,"cents":500,"channel":"agent"}`: nil,
			`{"order":1,"cents":501}`:                   {"the action refund is not taken", "of the order with id 1", `"No more than was paid." does not hold (cents is 500)`, "not delivered"},
			`{"order":2,"cents":1}`:                     {`"It is delivered and paid." does not hold (status is "open", paid is true)`, "not No more"},
			`{"order":3,"cents":1}`:                     {"there is no order with id 3, or none that whoever it is for may see", "not delivered"},
			`{"order":4,"cents":1}`:                     {`"secret is null" does not hold`, "not hush", "not secret is \"", `"No more than was paid." does not hold (cents is not set)`},
			`{"order":5,"cents":1}`:                     {`"It is delivered and paid." does not hold (status is not set, paid is false)`},
			`{"order":6,"cents":1}`:                     {"there is more than one order with id 6"},
			`{"order":99,"cents":1}`:                    {"there is no order with id 99"},
		} {
			if err := b.ready(ada, "refund", arguments); want == nil && err != nil {
				b.Errorf("%s: %v", arguments, err)
			} else if want != nil {
				fails(b.T, arguments, err, stead.KindConflict, want...)
			}
		}
		fails(b.T, "somebody else's order", b.ready(boss, "pay back", `{"order":1,"cents":1}`), stead.KindConflict, `"It is their own." does not hold (buyer is "ada")`)
		fails(b.T, "no amount", b.ready(ada, "refund", `{"order":1}`), stead.KindInvalid, "the argument cents is needed to check the preconditions")
		fails(b.T, "an amount that is none", b.ready(ada, "refund", `{"order":1,"cents":"x' OR 1=1"}`), stead.KindInvalid, "the argument cents", "is not a whole number")
		fails(b.T, "a key that is none", b.ready(ada, "refund", `{"order":"1 OR 1=1","cents":1}`), stead.KindInvalid, "the argument order")
		if err := b.ready(ada, "wave", `{}`); err != nil {
			b.Errorf("an action without preconditions: %v", err)
		}
		// A key of two, one of which is always the same; rows that nobody may list are told nothing of.
		if err := b.ready(ada, "forget", `{"day":"mon","buyer":"ada"}`); err != nil {
			b.Errorf("forget: %v", err)
		}
		fails(b.T, "forget", b.ready(ada, "forget", `{"day":"tue","buyer":"ada"}`), stead.KindConflict, "of the visit with buyer ada, day tue", `"pages less than 10" does not hold`, "not 30")

		// It is as of now, each time.
		if _, err := b.raw.Exec("UPDATE orders SET status = 'open' WHERE id = 1"); err != nil {
			b.Fatal(err)
		}
		fails(b.T, "it changed meanwhile", b.ready(ada, "refund", `{"order":1,"cents":1}`), stead.KindConflict, `status is "open"`)
		// Whom policies keep from querying is refused as well, and told no value.
		b.policies.effects = []policy.Effect{policy.SemanticQuery}
		fails(b.T, "policies", b.ready(ada, "refund", `{"order":1,"cents":1}`), stead.KindConflict, `"It is delivered and paid." does not hold`, "not open", "not (")
		b.policies.effects, b.policies.dimension = nil, "order.status"
		fails(b.T, "policies of a column", b.ready(ada, "refund", `{"order":1,"cents":1}`), stead.KindConflict, `"It is delivered and paid." does not hold`, "not open", "not (")
		b.policies.dimension = ""
		if _, err := b.raw.Exec("DROP TABLE orders"); err != nil {
			b.Fatal(err)
		}
		if err := b.ready(ada, "refund", `{"order":1,"cents":1}`); err == nil {
			b.Error("it may be taken though its table is gone")
		}
	})
}

// What a model says wrongly of preconditions is found when it is read, by its line.
func TestPreconditionsAreWellFormed(t *testing.T) {
	for name, c := range map[string]struct{ old, with, want string }{
		"nothing":                       {"      - The customer asked for it.", "      - {says: ''}", "actions.refund.preconditions[0]: it says nothing"},
		"a misspelt key":                {"{says: It is their own., where", "{says: It is their own., were", "were"},
		"an unknown attribute":          {"{attribute: cents, op: at_least", "{attribute: cnts, op: at_least", "Did you mean cents?"},
		"an unknown argument":           {"argument: cents}", "argument: sents}", "Did you mean cents?"},
		"an operator for many":          {"op: at_least, argument", "op: in, argument", "with an argument it is"},
		"a value and an argument":       {"op: at_least, argument: cents", "op: at_least, value: 3, argument: cents", "it has a value, or is compared with an argument"},
		"a value of another type":       {"{attribute: paid, value: true}", "{attribute: paid, value: 7}", "true or false"},
		"no entity":                     {"    entity: order\n    key: {id: order}\n", "", "write which entity the action is done to"},
		"no key":                        {"    key: {id: order}\n", "", "actions.refund.key: write which arguments are the key of order (id)"},
		"a key of something else":       {"key: {id: order}", "key: {cents: order}", "write which arguments are the key of order (id)"},
		"a key that is no argument":     {"key: {id: order}", "key: {id: ordr}", "Did you mean order?"},
		"a key that may be left out":    {"required: [order]", "required: [cents]", "the argument order must be required"},
		"an argument in a rule of rows": {"- where: [{attribute: buyer, principal: id}]", "- where: [{attribute: buyer, argument: order}]", "arguments count in preconditions of actions alone"},
	} {
		text := strings.Replace(store, c.old, c.with, 1)
		if text == store {
			t.Fatalf("%s: the model has no %q", name, c.old)
		}
		_, err := semantic.Parse([]byte(text))
		fails(t, name, err, stead.KindInvalid, c.want, "line ")
	}
}

func TestLayer(t *testing.T) {
	second := parse(t, strings.NewReplacer("name: store", "name: second", "orders: {description", "deliveries: {description").Replace(store))
	same := parse(t, strings.Replace(store, "description: How many.", "description: Theirs.", 1))
	granted := parse(t, strings.Replace(store, "name: store", "name: ungranted", 1))
	uploaded := shelf{{Name: "second", Model: second}, {Name: "store", Model: same}, {Name: "ungranted", Err: stead.Invalid("text", "no grant"), Ungranted: granted}}
	onBoth(t, uploaded, func(b *bench) {
		ctx, ada := b.Context(), who("ada", "developer")
		models, broken, err := b.Models(ctx, "one", nil)
		if err != nil || len(models) != 2 || models[0] != second || models[1] != b.model || len(broken) != 1 {
			b.Errorf("models are %v, broken %v, %v", models, broken, err)
		}
		if models, _, err := b.Models(ctx, "two", nil); err != nil || len(models) != 2 || models[1] != same {
			b.Errorf("of a project that the configuration has none for: %v, %v", models, err)
		}
		_, _, err = b.Models(ctx, "one", []string{"ungranted"})
		fails(b.T, "one that can't be used, by its name", err, stead.KindInvalid, "can't be used")
		_, _, err = b.Models(ctx, "one", []string{"none"})
		fails(b.T, "one that is not there", err, stead.KindInvalid, `no semantic model "none"`)

		count := func(by By, q semantic.Query) (string, error) {
			a, err := b.Query(ctx, by, nil, q)
			raw, _ := json.Marshal(a.Rows)
			return string(raw), err
		}
		if got, err := count(ada, semantic.Query{Metrics: []string{"orders"}}); err != nil || got != "[[6]]" {
			b.Errorf("ada has %s orders, %v", got, err)
		}
		if got, err := count(who("boss", "owner"), semantic.Query{Metrics: []string{"orders"}}); err != nil || got != "[[7]]" {
			b.Errorf("there are %s orders, %v", got, err)
		}
		_, err = count(ada, semantic.Query{Metrics: []string{"visits"}})
		fails(b.T, "what two models know", err, stead.KindInvalid, "say which in model: second, store")
		if _, err = count(ada, semantic.Query{Model: "second", Metrics: []string{"visits"}}); err != nil {
			b.Error(err)
		}
		_, err = count(ada, semantic.Query{Metrics: []string{"profit"}})
		fails(b.T, "what none knows", err, stead.KindInvalid, "no semantic model has it", "second:", "store:")

		d, err := b.Describe(ctx, ada, nil, "store", "refund")
		if err != nil || len(d.Term.Action.Preconditions) != 5 || len(d.Term.Action.Checked) != 4 || d.Term.Action.Checked[2] != "secret is null" {
			b.Errorf("refund is %+v, %v", d.Term, err)
		}
		samples := func() string {
			d, err := b.Describe(ctx, ada, []string{"store"}, "", "order")
			if err != nil {
				b.Fatal(err)
			}
			raw, _ := json.Marshal(d)
			return string(raw)
		}
		if got := samples(); !strings.Contains(got, `"delivered"`) || strings.Contains(got, "secret") {
			b.Errorf("order is %s", got)
		}
		b.policies.dimension = "order.status"
		if got := samples(); strings.Contains(got, `"delivered"`) {
			b.Errorf("whom policies keep from a column is told %s", got)
		}
		_, err = count(ada, semantic.Query{Model: "store", Entity: "order", Dimensions: []string{"status"}})
		fails(b.T, "a column that policies refuse", err, stead.KindForbidden)
		b.policies.dimension = ""
		b.policies.effects = []policy.Effect{policy.SemanticQuery}
		if got := samples(); strings.Contains(got, `"delivered"`) {
			b.Errorf("whom policies keep from querying is told %s", got)
		}
		_, err = count(ada, semantic.Query{Metrics: []string{"orders"}})
		fails(b.T, "a query that policies refuse", err, stead.KindForbidden)
		b.policies.effects = []policy.Effect{policy.SemanticRead}
		_, err = b.Describe(ctx, ada, nil, "", "")
		fails(b.T, "models that policies refuse", err, stead.KindForbidden)

		_, err = New(Config{Models: []Declared{{Model: b.model}}})
		fails(b.T, "no database", err, stead.KindInvalid, "books")
		_, err = New(Config{Databases: b.cfg.Databases, Models: []Declared{{Model: b.model}, {Model: same, Projects: []stead.ProjectID{"one"}}}})
		fails(b.T, "a name twice", err, stead.KindInvalid, "two semantic models have the name store")

		// An action's call, and what becomes of other arguments for it.
		check := func(raw, arguments []byte) error {
			s, err := schema.NewCache().Compile(raw)
			if err != nil {
				return err
			}
			return s.Check(arguments)
		}
		_, name, a, args, err := Action([]*semantic.Model{b.model}, "", "pay back", json.RawMessage(`{"order":1}`), check)
		if err != nil || name != "refund" || string(args) != `{"channel":"agent","order":1}` {
			b.Errorf("pay back is %s with %s, %v", name, args, err)
		}
		_, _, _, _, err = Action([]*semantic.Model{b.model}, "", "refund", json.RawMessage(`{"order":"x"}`), check)
		fails(b.T, "arguments that do not fit", err, stead.KindInvalid, "do not fit the action refund")
		for in, want := range map[string]string{
			`{"order":2}`:                          `{"channel":"agent","order":2}`,
			`{"channel":"agent","order":2}`:        `{"channel":"agent","order":2}`,
			`{"channel":"other","order":2}`:        "",
			`{"order":2,"extra":1}`:                "",
			`{"channel":"agent"}`:                  "",
			`[]`:                                   "",
			`{"channel":["agent"],"order":2}`:      "",
			`{"channel":"\u0061gent","order":2}`:   `{"channel":"agent","order":2}`,
			`{"order":2,"cents":9007199254740993}`: `{"cents":9007199254740993,"channel":"agent","order":2}`,
		} {
			if got, err := a.Recall(json.RawMessage(in), check); string(got) != want || (err != nil) != (want == "") {
				b.Errorf("%s is recalled as %s, %v", in, got, err)
			}
		}
	})
}
