// Package catalog resolves the model names that agents use to providers.
//
// Shape: a name is looked up in this order.
//
//	an entry of Config.Models        "default", "fast", "gpt-4o", even "openai/gpt-4o"
//	"default"                        Config.Default, else the first entry
//	PROVIDER/MODEL                   the configured provider; MODEL may hold slashes
//	Config.Fallback                  for names without a slash, when it is set
//
// With no provider at all, Config.Sim serves under the names "sim" and "default", and nothing else
// resolves: a mistaken name must not be answered by a model that only pretends.
//
// Units and limits: context windows and outputs are tokens. What the operator leaves out comes from
// a small table of windows by upstream name, else DefaultContextWindow. Prices come only from the
// operator: they change, and a wrong price is worse than none. At most MaxHints near matches.
//
// Who may use a model stands on its Card. "provider/model" is no way around it: where entries lead to
// that model, one of them must be for the caller. To all others the model is not there, neither in
// errors nor in their hints.
//
// Errors: New returns KindInvalid with the field at fault, named as in the configuration file;
// Resolve returns KindNotFound with code "model_not_found" and a hint.
//
// A catalog is immutable, and so safe for concurrent use.
package catalog

import (
	"cmp"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/stead-dev/stead"
	"github.com/stead-dev/stead/internal/model"
	"github.com/stead-dev/stead/internal/model/router"
)

// The names and limits of a catalog.
const (
	// DefaultName is what agents ask for that do not care.
	DefaultName = "default"
	// SimName is the name of Config.Sim, and of its provider.
	SimName = "sim"
	// DefaultContextWindow is assumed of models that neither the operator nor the table knows, in tokens.
	DefaultContextWindow = 128_000
	// MaxHints is the most near matches that an error names.
	MaxHints = 3
)

// Config is what the operator has set.
type Config struct {
	Providers []Provider
	Models    []Entry
	Default   string      // what "default" means when no entry has that name; may be empty
	Fallback  string      // what unknown names without a slash mean; empty: they are errors
	Sim       model.Model // serves when Providers is empty; may be nil otherwise

	// Residency keeps projects in regions, whatever name they ask for.
	Residency []router.Residency
	State     *router.State // breakers that outlive a catalog; nil: new ones
}

// Provider is a configured upstream.
type Provider struct {
	Name   string // no slash
	Model  model.Model
	Region string // of routes that name none
}

// Entry gives a name to one model of a provider. Zero values are looked up or left unknown.
type Entry struct {
	Name            string
	Provider        string // Provider.Name
	Model           string // as the provider knows it
	ContextWindow   int    // tokens
	MaxOutputTokens int    // tokens
	Price           *model.Price
	// Routes, if there are any, stand for Provider and Model: their Model is the catalog's to fill in.
	Routes []router.Route
	Hedge  time.Duration // see router.Alias
	Card   model.Card    // its Versions are the catalog's to fill in
}

// Catalog implements model.Catalog.
type Catalog struct {
	providers map[string]model.Model // provider name → model
	regions   map[string]string      // provider name → region
	residency []router.Residency
	state     *router.State
	entries   map[string]Entry        // name → entry
	bounds    map[string][]model.Card // "provider/model" → the cards of the entries that lead there
	fallback  string
	simOnly   bool
}

// New checks the configuration and builds the catalog.
func New(cfg Config) (*Catalog, error) {
	c := &Catalog{providers: map[string]model.Model{}, regions: map[string]string{}, entries: map[string]Entry{}, bounds: map[string][]model.Card{}, fallback: cfg.Fallback, residency: cfg.Residency, state: cfg.State}
	if c.state == nil {
		c.state = router.NewState(nil)
	}
	if len(cfg.Providers) == 0 {
		if cfg.Sim == nil {
			return nil, stead.Invalid("providers", "there is no model provider, and no built-in model either")
		}
		c.simOnly = true
		c.providers[SimName] = cfg.Sim
		c.entries[SimName] = Entry{Name: SimName, Provider: SimName, Model: SimName}
		c.entries[DefaultName] = Entry{Name: DefaultName, Provider: SimName, Model: SimName}
	}
	for i, p := range cfg.Providers {
		if err := c.addProvider(fmt.Sprintf("providers[%d]", i), p); err != nil {
			return nil, err
		}
	}
	taken := map[string]bool{} // names of cfg.Models
	for i, e := range cfg.Models {
		field := fmt.Sprintf("models[%d]", i)
		if taken[e.Name] {
			return nil, stead.Invalid(field+".name", "the model %q is configured twice", e.Name)
		}
		taken[e.Name] = true
		if err := c.addEntry(field, e); err != nil {
			return nil, err
		}
	}
	if err := c.setDefault(cfg); err != nil {
		return nil, err
	}
	if cfg.Fallback != "" {
		if _, ok := c.find(cfg.Fallback); !ok {
			return nil, stead.Invalid("fallback_model", "the fallback model %q is not configured", cfg.Fallback)
		}
	}
	return c, nil
}

func (c *Catalog) addProvider(field string, p Provider) error {
	if p.Name == "" || strings.Contains(p.Name, "/") {
		return stead.Invalid(field+".name", "a provider's name is not empty and holds no slash: %q", p.Name)
	}
	if c.providers[p.Name] != nil {
		return stead.Invalid(field+".name", "the provider %q is configured twice", p.Name)
	}
	if p.Model == nil {
		return stead.Invalid(field, "the provider %q has no model behind it", p.Name)
	}
	c.providers[p.Name], c.regions[p.Name] = p.Model, p.Region
	return nil
}

func (c *Catalog) addEntry(field string, e Entry) error {
	if len(e.Routes) > 0 {
		e.Provider, e.Model = e.Routes[0].Provider, e.Routes[0].Upstream
		for i, r := range e.Routes {
			if c.providers[r.Provider] == nil || r.Upstream == "" {
				return stead.Invalid(fmt.Sprintf("%s.routes[%d]", field, i), "the model %q has a route to %q of %q, which is not configured", e.Name, r.Upstream, r.Provider)
			}
		}
	}
	switch {
	case e.Name == "":
		return stead.Invalid(field+".name", "a model needs a name")
	case e.Model == "":
		return stead.Invalid(field+".model", "the model %q does not say what its provider calls it", e.Name)
	case c.providers[e.Provider] == nil:
		err := stead.Invalid(field+".provider", "the model %q names a provider %q that is not configured", e.Name, e.Provider)
		err.Hint = didYouMean(Near(e.Provider, c.providerNames()))
		return err
	case e.ContextWindow < 0:
		return stead.Invalid(field+".context_window", "a context window is not negative: %d", e.ContextWindow)
	case e.MaxOutputTokens < 0:
		return stead.Invalid(field+".max_output_tokens", "an output limit is not negative: %d", e.MaxOutputTokens)
	}
	for _, r := range ways(e) {
		c.bounds[r.Name()] = append(c.bounds[r.Name()], e.Card)
	}
	e.Card.Versions = c.versions(e)
	c.entries[e.Name] = e
	return nil
}

// ways are an entry's routes, of which there is always one.
func ways(e Entry) []router.Route {
	if len(e.Routes) > 0 {
		return e.Routes
	}
	return []router.Route{{Provider: e.Provider, Upstream: e.Model}}
}

func (c *Catalog) setDefault(cfg Config) error {
	named := slices.ContainsFunc(cfg.Models, func(e Entry) bool { return e.Name == DefaultName })
	switch {
	case named:
	case cfg.Default != "":
		e, ok := c.find(cfg.Default)
		if !ok {
			return stead.Invalid("default_model", "the default model %q is not configured", cfg.Default)
		}
		e.Name = DefaultName
		c.entries[DefaultName] = e
	case len(cfg.Models) > 0:
		e := c.entries[cfg.Models[0].Name]
		e.Name = DefaultName
		c.entries[DefaultName] = e
	}
	return nil
}

// Resolve implements model.Catalog.
func (c *Catalog) Resolve(name string, by model.Caller) (model.Info, model.Model, error) {
	e, err := c.resolve(name, by)
	if err != nil {
		return model.Info{}, nil, err
	}
	if len(e.Routes) < 2 && len(c.residency) == 0 && !conditional(e.Routes) && e.Card.Lifecycle != model.Deprecated {
		return c.info(e), c.providers[e.Provider], nil
	}
	return c.info(e), c.alias(e), nil
}

// resolve finds the entry that a caller means.
func (c *Catalog) resolve(name string, by model.Caller) (Entry, error) {
	e, ok := c.find(name)
	if ok && c.usable(e, by) {
		return e, nil
	}
	if c.fallback != "" && name != "" && !strings.Contains(name, "/") {
		if e, ok = c.find(c.fallback); ok && c.usable(e, by) {
			e.Name = name
			return e, nil
		}
	}
	return Entry{}, c.unknown(name, by.Project)
}

// usable reports whether a caller may use an entry, or, of "provider/model", one that leads there.
func (c *Catalog) usable(e Entry, by model.Caller) bool {
	if _, configured := c.entries[e.Name]; configured || c.bounds[e.Name] == nil {
		return e.Card.Usable(by)
	}
	return slices.ContainsFunc(c.bounds[e.Name], func(card model.Card) bool { return card.Usable(by) })
}

// conditional reports whether a route is not for every call, or asks for more than its model.
func conditional(routes []router.Route) bool {
	return slices.ContainsFunc(routes, func(r router.Route) bool {
		w := r.When
		return w.Calls != "" || len(w.Projects)+len(w.Agents)+len(w.Labels) > 0 || r.Tier != "" || r.Price != nil
	})
}

// alias makes an entry's router.
func (c *Catalog) alias(e Entry) *router.Alias {
	a := &router.Alias{Name: e.Name, Notice: e.Card.Notice(e.Name), Residency: c.residency, Hedge: e.Hedge, State: c.state}
	for _, r := range ways(e) {
		r.Model = c.providers[r.Provider]
		r.Region = cmp.Or(r.Region, c.regions[r.Provider])
		if r.Price == nil {
			r.Price = e.Price
		}
		a.Routes = append(a.Routes, r)
	}
	return a
}

// Explain says which routes a call to a name would take, and why, with how their pools stand now. Errors are Resolve's.
func (c *Catalog) Explain(name string, call model.Caller) ([]router.Considered, error) {
	e, err := c.resolve(name, call)
	if err != nil {
		return nil, err
	}
	out := c.alias(e).Plan(call, string(call.Session))
	for i := range out {
		p, ok := out[i].Route.Model.(model.Pooled)
		if !ok || out[i].Place == 0 {
			continue
		}
		if words := p.Pool(out[i].Route.Upstream); words != "" {
			out[i].Why += "; " + words
		}
	}
	return out, nil
}

// find looks a name up without guessing.
func (c *Catalog) find(name string) (Entry, bool) {
	if e, ok := c.entries[name]; ok {
		return e, true
	}
	provider, upstream, ok := strings.Cut(name, "/")
	if !ok || upstream == "" || c.simOnly || c.providers[provider] == nil {
		return Entry{}, false
	}
	return Entry{Name: name, Provider: provider, Model: upstream}, true
}

// List implements model.Catalog.
func (c *Catalog) List(project stead.ProjectID) []model.Info {
	out := make([]model.Info, 0, len(c.entries))
	for _, e := range c.entries {
		if e.Card.Shown(project) {
			out = append(out, c.info(e))
		}
	}
	slices.SortFunc(out, func(a, b model.Info) int { return cmp.Compare(a.Name, b.Name) })
	return out
}

func (c *Catalog) info(e Entry) model.Info {
	known := knownLimits(e.Model)
	highest, hedged := e.Price, e.Hedge > 0 && len(e.Routes) > 1
	for _, r := range e.Routes { // what every route can take
		other := knownLimits(r.Upstream)
		known.context = min(cmp.Or(known.context, DefaultContextWindow), cmp.Or(other.context, DefaultContextWindow))
		if other.output > 0 {
			known.output = min(cmp.Or(known.output, other.output), other.output)
		}
		if r.Price != nil {
			highest = highest.Over(r.Price)
		}
		hedged = hedged || r.Hedge > 0 && len(e.Routes) > 1
	}
	return model.Info{
		Name: e.Name, Provider: e.Provider, Upstream: e.Model, Region: cmp.Or(ways(e)[0].Region, c.regions[e.Provider]),
		ContextWindow:   cmp.Or(e.ContextWindow, known.context, DefaultContextWindow),
		MaxOutputTokens: cmp.Or(e.MaxOutputTokens, known.output),
		Price:           e.Price,
		Highest:         highest,
		Hedged:          hedged,
		Card:            e.Card,
	}
}

// versions are an entry's routes as its card shows them.
func (c *Catalog) versions(e Entry) []model.Version {
	var out []model.Version
	for _, r := range ways(e) {
		out = append(out, model.Version{
			Version: r.Version, Provider: r.Provider, Model: r.Upstream, Region: cmp.Or(r.Region, c.regions[r.Provider]), Tier: r.Tier,
			Adapter: r.Adapter, Deployment: r.Deployment, Weight: max(r.Weight, 1), Priority: r.Priority, Price: r.Price,
		})
	}
	return out
}

func (c *Catalog) providerNames() []string {
	var names []string
	for n := range c.providers {
		names = append(names, n)
	}
	return names
}

// unknown explains what to do about a name that does not resolve.
func (c *Catalog) unknown(name string, project stead.ProjectID) error {
	err := stead.Errorf(stead.KindNotFound, "no model is named %.80q", name)
	err.Code, err.Param = "model_not_found", "model"
	if c.simOnly {
		err.Hint = `No model provider is configured: set a provider's key such as OPENAI_API_KEY, or add one ` +
			`under "providers" in stead.yaml. The built-in model is named "sim".`
		return err
	}
	provider, upstream, slash := strings.Cut(name, "/")
	if slash && upstream != "" && c.providers[provider] == nil {
		names := Near(provider, c.providerNames())
		for i := range names {
			names[i] += "/" + upstream
		}
		err.Hint = didYouMean(names)
	} else {
		var names []string
		for n, e := range c.entries {
			if e.Card.Shown(project) && len(e.Card.Agents) == 0 { // others may not know of it
				names = append(names, n)
			}
		}
		err.Hint = didYouMean(Near(name, names))
	}
	if err.Hint == "" {
		all := c.providerNames()
		slices.Sort(all)
		err.Hint = fmt.Sprintf(`Name an entry of "models" in stead.yaml, or a provider and its model: %s/MODEL.`,
			strings.Join(all, "/MODEL, "))
	}
	return err
}
