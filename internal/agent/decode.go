package agent

import (
	"encoding/json"

	"github.com/stead-dev/stead"
	"github.com/stead-dev/stead/internal/param"
)

// Rules is what decoding must know of this server.
type Rules struct {
	// Labels are the tool servers that the operator's configuration names for the project.
	Labels []string
	// Taken are the labels of the operator's other servers: of what they are nothing is told, and nothing else has their names.
	Taken []string
	// Environments says that sessions of this server can have one: tool servers may be commands that run
	// there, or be reached from there.
	Environments bool
	// Schema checks that a JSON Schema can be compiled. nil: that is not checked.
	Schema func(json.RawMessage) error
	// Search checks max_num_results, ranking_options and filters of a file_search tool. nil: there are no
	// vector stores, and the tool is refused.
	Search func(param.Object) error
	// MemoryStore reports whether there is a memory store, as far as the caller may know. nil: that is not checked.
	MemoryStore func(id string) bool
}

// Enumerations of the contract.
var (
	serviceTiers = []string{"auto", "default", "flex", "priority", "fast", "ultrafast"}
	efforts      = []string{"none", "minimal", "low", "medium", "high", "xhigh", "max"}
	summaries    = []string{"concise", "detailed", "auto"}
	verbosities  = []string{"low", "medium", "high"}
)

// MaxMaxSteps is the most model calls a turn that an agent may ask for.
const MaxMaxSteps = 10_000

// FormatText and FormatSchema are the types of Format.
const (
	FormatText   = "text"
	FormatSchema = "json_schema"
)

// Defaults is the Spec of an agent that says nothing: everything but the model.
func Defaults() Spec {
	return Spec{
		Tools:       []Tool{},
		ServiceTier: "auto",
		Text:        Text{Format: Format{Type: FormatText}, Verbosity: "medium"},
		Compaction:  Compaction{Async: true},
		Metadata:    map[string]string{},
	}
}

// Patch is a decoded set of changes to a Spec: of an omitted field nothing, of a null the default.
type Patch struct {
	path string
	sets []func(*Spec)
	// Model is set when the patch names one.
	Model string
}

// Apply changes the spec and validates the result. A zero Spec takes the defaults first.
func (p Patch) Apply(s *Spec) error {
	if s.ServiceTier == "" {
		*s = Defaults()
	}
	for _, set := range p.sets {
		set(s)
	}
	return s.Validate(p.path)
}

// Decode reads the fields of an agent from o: a create or update body, or a session's agent.
// The fields are checked one by one here, and the whole by Patch.Apply.
func (r Rules) Decode(path string, o param.Object) (Patch, error) {
	d := decoder{rules: r, o: o, patch: Patch{path: path}}
	for _, field := range []func(*decoder) error{
		(*decoder).model, (*decoder).texts, (*decoder).tools, (*decoder).reasoning, (*decoder).tier,
		(*decoder).text, (*decoder).multiAgent, (*decoder).compaction, (*decoder).experimental,
		(*decoder).metadata, (*decoder).maxSteps,
	} {
		if err := field(&d); err != nil {
			return Patch{}, err
		}
	}
	return d.patch, nil
}

type decoder struct {
	rules Rules
	o     param.Object
	patch Patch
}

func (d *decoder) set(f func(*Spec)) { d.patch.sets = append(d.patch.sets, f) }

func (d *decoder) model() error {
	if !d.o.Has("model") {
		return nil
	}
	model, err := param.Need(d.o.String("model"))(d.o.Path("model"))
	if err != nil {
		return err
	}
	if model == "" {
		return stead.Invalid(d.o.Path("model"), "%s must name a model", d.o.Path("model"))
	}
	d.patch.Model = model
	d.set(func(s *Spec) { s.Model = model })
	return nil
}

func (d *decoder) texts() error {
	name, hasName, err := d.o.String("name")
	if err != nil {
		return err
	}
	if d.o.Has("name") {
		d.set(func(s *Spec) { s.Name = pointer(name, hasName) })
	}
	instructions, hasInstructions, err := d.o.String("instructions")
	if err != nil {
		return err
	}
	if d.o.Has("instructions") {
		d.set(func(s *Spec) { s.Instructions = pointer(instructions, hasInstructions) })
	}
	return nil
}

func (d *decoder) tools() error {
	if !d.o.Has("tools") {
		return nil
	}
	tools, err := d.rules.Tools(d.o)
	if err != nil {
		return err
	}
	d.set(func(s *Spec) { s.Tools = tools })
	return nil
}

// reasoning keeps what an object does not name, so that an override of the effort does not lose
// the summary.
func (d *decoder) reasoning() error {
	if d.o.Null("reasoning") {
		d.set(func(s *Spec) { s.Reasoning = Reasoning{} })
	}
	o, ok, err := d.o.Object("reasoning")
	if !ok || err != nil {
		return err
	}
	effort, hasEffort, err := o.Enum("effort", efforts...)
	if err != nil {
		return err
	}
	summary, hasSummary, err := o.Enum("summary", summaries...)
	if err != nil {
		return err
	}
	d.set(func(s *Spec) {
		if o.Has("effort") {
			s.Reasoning.Effort = pointer(effort, hasEffort)
		}
		if o.Has("summary") {
			s.Reasoning.Summary = pointer(summary, hasSummary)
		}
	})
	return nil
}

func (d *decoder) tier() error {
	tier, ok, err := d.o.Enum("service_tier", serviceTiers...)
	if err != nil || !d.o.Has("service_tier") {
		return err
	}
	if !ok {
		tier = "auto"
	}
	d.set(func(s *Spec) { s.ServiceTier = tier })
	return nil
}

func (d *decoder) text() error {
	if d.o.Null("text") {
		d.set(func(s *Spec) { s.Text = Defaults().Text })
	}
	o, ok, err := d.o.Object("text")
	if !ok || err != nil {
		return err
	}
	verbosity, _, err := o.Enum("verbosity", verbosities...)
	if err != nil {
		return err
	}
	format, err := d.format(o)
	if err != nil {
		return err
	}
	d.set(func(s *Spec) {
		if o.Has("verbosity") {
			s.Text.Verbosity = orString(verbosity, "medium")
		}
		if o.Has("format") {
			s.Text.Format = format
		}
	})
	return nil
}

func (d *decoder) format(text param.Object) (Format, error) {
	o, ok, err := text.Object("format")
	if !ok || err != nil {
		return Format{Type: FormatText}, err
	}
	kind, err := param.Need(o.Enum("type", FormatText, FormatSchema))(o.Path("type"))
	if err != nil || kind == FormatText {
		return Format{Type: FormatText}, err
	}
	if _, err := param.Need(o.Object("schema"))(o.Path("schema")); err != nil {
		return Format{}, err
	}
	raw, _ := o.Raw("schema")
	schema, err := d.rules.schema(o.Path("schema"), raw)
	return Format{Type: FormatSchema, Schema: schema}, err
}

func (d *decoder) multiAgent() error {
	if d.o.Null("multi_agent") {
		d.set(func(s *Spec) { s.MultiAgent = MultiAgent{} })
	}
	o, ok, err := d.o.Object("multi_agent")
	if !ok || err != nil {
		return err
	}
	enabled, err := param.Need(o.Bool("enabled"))(o.Path("enabled"))
	if err != nil {
		return err
	}
	most, given, err := o.Int("max_concurrent_subagents", 1, stead.MaxConcurrentSubagents)
	if err != nil {
		return err
	}
	m := MultiAgent{Enabled: enabled}
	if enabled {
		if !given {
			most = stead.DefaultConcurrentSubagents
		}
		n := int(most)
		m.MaxConcurrentSubagents = &n
	}
	d.set(func(s *Spec) { s.MultiAgent = m })
	return nil
}

func (d *decoder) compaction() error {
	if !d.o.Has("compaction") {
		return nil
	}
	compaction := Defaults().Compaction
	o, ok, err := d.o.Object("compaction")
	if err != nil {
		return err
	}
	if ok {
		async, has, err := o.Bool("async")
		if err != nil {
			return err
		}
		compaction.Async = async || !has
	}
	d.set(func(s *Spec) { s.Compaction = compaction })
	return nil
}

func (d *decoder) experimental() error {
	o, ok, err := d.o.Object("experimental")
	if !ok || err != nil {
		return err
	}
	aware, has, err := o.Bool("time_awareness")
	if err != nil {
		return err
	}
	if has {
		d.set(func(s *Spec) { s.Experimental.TimeAwareness = aware })
	}
	return nil
}

func (d *decoder) metadata() error {
	if !d.o.Has("metadata") {
		return nil
	}
	m, err := Metadata(d.o)
	if err != nil {
		return err
	}
	d.set(func(s *Spec) { s.Metadata = m })
	return nil
}

func (d *decoder) maxSteps() error {
	n, _, err := d.o.Int("max_steps", 1, MaxMaxSteps)
	if err != nil || !d.o.Has("max_steps") {
		return err
	}
	d.set(func(s *Spec) { s.MaxSteps = int(n) })
	return nil
}

// Effort reads a reasoning effort: nil for null, and whether the field is there at all.
func Effort(o param.Object) (effort *string, present bool, err error) {
	e, ok, err := o.Enum("effort", efforts...)
	return pointer(e, ok), o.Has("effort"), err
}

// ServiceTier reads a service tier: null is "auto"; and whether the field is there at all.
func ServiceTier(o param.Object) (tier string, present bool, err error) {
	tier, _, err = o.Enum("service_tier", serviceTiers...)
	return orString(tier, "auto"), o.Has("service_tier"), err
}

// Review reads an action review mode, and whether the field is there and not null.
func Review(o param.Object) (string, bool, error) {
	review, ok, err := o.Enum("review", "none", "auto_review")
	if review == "auto_review" {
		return "", true, notLanded(o.Path("review"), "automatic review of actions", `send "none" or leave it out`)
	}
	return review, ok, err
}

// notLanded refuses what the contract has and this build does not do: silence would be a lie.
func notLanded(path, feature, hint string) error {
	e := stead.Invalid(path, "%s asks for %s, which this version of Stead does not have yet", path, feature)
	e.Hint = "To go on without it, " + hint + "."
	return e
}

func pointer(s string, ok bool) *string {
	if !ok {
		return nil
	}
	return &s
}
