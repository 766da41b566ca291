// Package semantic binds business terms to data: what a metric is, of what it is made, who sees which rows.
//
// Shape: a Model is read from YAML and checked whole; a Query names its terms and becomes parameterised SQL.
//
//	YAML ── Parse ──▶ Model {sources, entities, relations, metrics, actions}
//	Query ── Model.Plan(who) ──▶ Plan ── Compile(dialect) ──▶ Statement {SQL, Args} ── Database ──▶ Answer
//
// A query is never SQL: it names metrics, dimensions, filters, a range and a grain of time. Names become
// quoted identifiers of the model's own, values become arguments. Each metric has one definition, and an
// answer carries it, with the source, the model's version and the times.
//
// Rows: an entity with row rules shows somebody the rows that one of the rules lets through; where no rule is
// for that one, none. The predicate stands inside of every place where the entity is read, before joins,
// aggregates and samples. What it compares with is an argument.
//
// Joins lead from an entity to others in the direction in which there is at most one row, by LEFT JOIN: no row
// of a metric's entity is counted twice, or lost. A dimension in the other direction is refused (a fan-out), and
// so is one to which several ways lead. Metrics of several entities are aggregated first and then put side by side.
//
// Units and limits: the constants below. Times are UTC; a range begins with From and ends before To.
//
// Errors: KindInvalid, for a model with the line and the key at fault; for a query with the terms that are near
// the wrong one, or all that an ambiguous one may mean. KindForbidden and KindUnavailable as a Database has them.
//
// Source: the ideas are those of MetricFlow (entities, aggregate first, joins without fan-out), Cube (query
// objects) and LookML (one definition of a measure); the language is our own.
package semantic

import (
	"context"
	"encoding/json"
	"time"
)

// Limits of models and queries.
const (
	// MaxModelBytes is the longest text of a model.
	MaxModelBytes = 512 << 10
	// MaxTerms bounds entities, metrics and actions together, MaxAttributes the attributes of an entity.
	MaxTerms      = 2000
	MaxAttributes = 500
	// MaxHops is the longest way of joins from a metric's entity to a dimension.
	MaxHops = 4
	// MaxMetrics, MaxDimensions and MaxFilters bound a query, and MaxValues the values of one filter.
	MaxMetrics    = 20
	MaxDimensions = 10
	MaxFilters    = 20
	MaxValues     = 200
	// MaxRows is the most rows of an answer, and DefaultRows how many there are where the query does not say.
	MaxRows     = 1000
	DefaultRows = 100
	// MaxAnswerBytes bounds the values of an answer: they stand in every model call that follows.
	MaxAnswerBytes = 64 << 10
	// QueryTimeout is how long the database may take for one query.
	QueryTimeout = 30 * time.Second
	// MaxSamples is how many values of an attribute a description shows.
	MaxSamples = 10
	// maxExpression bounds a metric's expression in bytes, maxDepth its parentheses.
	maxExpression = 1 << 10
	maxDepth      = 32
	// MaxFormula bounds the names, numbers and signs of a formula, with the formulas of its metrics written out, as they are in SQL.
	MaxFormula = 300
	// MaxThrough is how many relations rules may lead through, one behind the other, and MaxConditions how many conditions an
	// entity's rules may have, with those of the entities that they lead to.
	MaxThrough    = 8
	MaxConditions = 1000
	// maxValueBytes is the longest value of a filter.
	maxValueBytes = 4 << 10
)

// Model is a whole semantic model.
type Model struct {
	Name        string               `yaml:"name"`
	Version     int64                `yaml:"version"`
	Description string               `yaml:"description"`
	Owner       string               `yaml:"owner"`
	Sources     map[string]*Source   `yaml:"sources"`
	Entities    map[string]*Entity   `yaml:"entities"`
	Relations   map[string]*Relation `yaml:"relations"`
	Metrics     map[string]*Metric   `yaml:"metrics"`
	Actions     map[string]*Action   `yaml:"actions"`

	// Digest is of the text: two models with the same one are the same.
	Digest string `yaml:"-"`
	terms  *terms
	lines  map[string]int // key, as "entities.order.table" → line

	between map[string][][]step // "entity entity": the ways that lead from one to the other, while the model is read
}

// Source is where entities are read.
type Source struct {
	Database    string `yaml:"database"` // a connection of the configuration
	Description string `yaml:"description"`
}

// Entity is a thing that the business speaks of: the rows of a table.
type Entity struct {
	Source      string                `yaml:"source"`
	Table       string                `yaml:"table"` // "orders", "sales.orders"
	SQL         string                `yaml:"query"` // in place of Table: a SELECT of the model's author
	Description string                `yaml:"description"`
	Synonyms    []string              `yaml:"synonyms"`
	Key         []string              `yaml:"key"`
	Attributes  map[string]*Attribute `yaml:"attributes"`
	Freshness   *Freshness            `yaml:"freshness"`
	Rows        []Rule                `yaml:"rows"`   // none: everybody sees all rows
	Listed      *bool                 `yaml:"listed"` // whether its rows can be asked for; left out: they can

	conditions, through int // of Rows, with what they lead to: how many, and through how many relations; 0 conditions: not known yet, or none
}

// Attribute is a property of an entity: a column.
type Attribute struct {
	Type        Type     `yaml:"type"`
	Column      string   `yaml:"column"` // "": as the attribute
	Stored      string   `yaml:"stored"` // of a timestamp: "" (a time, or ISO 8601 as text), "unix" or "unix_ms"
	Description string   `yaml:"description"`
	Synonyms    []string `yaml:"synonyms"`
	Unit        string   `yaml:"unit"`
	Values      []string `yaml:"values"`  // all that there are
	Samples     bool     `yaml:"samples"` // descriptions may show some of its values
	Hidden      bool     `yaml:"hidden"`  // for joins and rules alone
}

// Type is what an attribute's values are.
type Type string

// The types.
const (
	Text      Type = "text"
	Integer   Type = "integer"
	Number    Type = "number"
	Boolean   Type = "boolean"
	Date      Type = "date"
	Timestamp Type = "timestamp"
)

// Freshness says how old an entity's data may be: the newest value of Attribute, or of a column of another table.
type Freshness struct {
	Attribute string   `yaml:"attribute"`
	Table     string   `yaml:"table"`
	Column    string   `yaml:"column"`
	Stored    string   `yaml:"stored"`
	Within    Duration `yaml:"within"`
}

// Rule lets rows through: those for which all of Where holds.
type Rule struct {
	Roles []string    `yaml:"roles"` // for whom it is; none: for everybody
	All   bool        `yaml:"all"`   // all rows
	Where []Condition `yaml:"where"`
}

// Condition compares an attribute of the entity, or follows a relation.
type Condition struct {
	Attribute string `yaml:"attribute"`
	Op        string `yaml:"op"` // "": equals
	Value     any    `yaml:"value"`
	Values    []any  `yaml:"values"`
	// Principal is what of whoever asks it is compared with: "id", "role", "kind", "project" or "label.NAME". Of a rule.
	Principal string `yaml:"principal"`
	// Argument is an argument of the action that it is compared with. Of a precondition.
	Argument string `yaml:"argument"`
	// Through is a relation: whoever asks sees the row at its other end. Of a rule.
	Through string `yaml:"through"`
}

// Relation joins two entities.
type Relation struct {
	From        string            `yaml:"from"`
	To          string            `yaml:"to"`
	On          map[string]string `yaml:"on"` // attribute of From → attribute of To
	Cardinality string            `yaml:"cardinality"`
	Description string            `yaml:"description"`
}

// Cardinalities of a Relation.
const (
	ManyToOne = "many_to_one"
	OneToMany = "one_to_many"
	OneToOne  = "one_to_one"
)

// Metric is a number with one definition: an aggregate over an entity's rows, or a formula of other metrics.
type Metric struct {
	Description string      `yaml:"description"`
	Synonyms    []string    `yaml:"synonyms"`
	Owner       string      `yaml:"owner"` // "": the model's
	Unit        string      `yaml:"unit"`
	Entity      string      `yaml:"entity"`
	Aggregate   string      `yaml:"aggregate"` // sum, avg, min, max, count, count_distinct
	Of          string      `yaml:"of"`        // an expression of the entity's attributes
	Where       []Condition `yaml:"where"`
	Formula     string      `yaml:"formula"` // an expression of metrics, in place of an aggregate
	Dimensions  []string    `yaml:"dimensions"`
	Time        string      `yaml:"time"`      // the attribute by which it is put into time
	Grains      []string    `yaml:"grains"`    // none: all
	Freshness   Duration    `yaml:"freshness"` // 0: the entity's

	of, formula *expression
	dims        []dimension // of an aggregate: Dimensions, resolved
	shared      []shared    // Dimensions, from each aggregate that it is made of
	parts       []string    // the aggregates that it is made of
	size        int         // names and numbers of its formula, with those of its parts; 1 of an aggregate
}

// Action is something that can be done: a call of a tool server's tool.
type Action struct {
	Description string         `yaml:"description"`
	Synonyms    []string       `yaml:"synonyms"`
	Tool        string         `yaml:"tool"`      // "server/tool"
	Arguments   map[string]any `yaml:"arguments"` // JSON Schema of an object
	With        map[string]any `yaml:"with"`      // arguments that are always these
	Effect      string         `yaml:"effect"`    // pure, idempotent or unknown; "": as the tool says
	Approval    bool           `yaml:"approval"`  // somebody must approve each call
	Entity      string         `yaml:"entity"`    // what it is done to
	// Key says which row that is: attribute of the entity's key → argument. It is needed where preconditions are checked.
	Key           map[string]string `yaml:"key"`
	Preconditions []Precondition    `yaml:"preconditions"`
	Owner         string            `yaml:"owner"`

	schema json.RawMessage
}

// SeveralRoles is the Role of several who ask together, and have not the same one: no rule is for it by name.
const SeveralRoles = "several roles"

// Principal is whoever asks, as row rules know it.
type Principal struct {
	ID, Kind, Role, Project string
	Labels                  map[string][]string // of the session
}

// Statement is SQL with its arguments.
type Statement struct {
	SQL  string
	Args []any
}

// Table is what a Statement gives. Values are nil, bool, int64, float64, string or time.Time; a decimal is a json.Number.
type Table struct {
	Rows      [][]any
	Truncated bool // there are more rows, or they have more bytes
}

// Limits bound what a Statement gives.
type Limits struct {
	Rows, Bytes int
}

// Database reads, and nothing else. Safe for concurrent use.
//
// Errors: KindInvalid when the statement can't be run (a table that is not there, a query that takes too long),
// KindUnavailable when the database can't be reached.
type Database interface {
	Dialect() Dialect
	// Read runs statements one after the other in one read-only transaction, each as of the same moment.
	Read(ctx context.Context, statements []Statement, limits Limits) ([]Table, error)
}
