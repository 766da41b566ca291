package model

import (
	"slices"

	"github.com/stead-dev/stead"
)

// Card is what a registry knows of a model besides how to call it. The zero Card is an active model
// that everybody may use.
type Card struct {
	Base       string // the model or family that it was made of
	Adapter    string // what was laid over the base: a LoRA's name, for example
	Deployment string // as the provider or the operator calls it
	Owner      string
	Purpose    string
	Lifecycle  Lifecycle // "": active
	Successor  string    // what to use instead of a deprecated one; "": nobody said

	Projects []stead.ProjectID // that may use it; none: all
	Agents   []stead.AgentID   // that may use it; none: all, and calls of no agent
	Versions []Version         // one a route, in the order of the configuration; none of "provider/model"
}

// Version is one of the places that a name stands for: of a canary, one of the models under trial.
type Version struct {
	Version             string // the operator's word for it; "": none
	Provider            string
	Model               string // as the provider knows it
	Region              string
	Tier                string
	Adapter, Deployment string
	Weight, Priority    int
	Price               *Price // nil: the model's
}

// Lifecycle is where a model stands between its first trial and its end.
type Lifecycle string

// The stages. A deprecated model works, and whoever uses it is told.
const (
	Preview    Lifecycle = "preview"
	Active     Lifecycle = "active"
	Deprecated Lifecycle = "deprecated"
)

// Shown reports whether a project may know of the model.
func (c *Card) Shown(p stead.ProjectID) bool {
	return len(c.Projects) == 0 || slices.Contains(c.Projects, p)
}

// Usable reports whether a caller may call the model.
func (c *Card) Usable(by Caller) bool {
	return c.Shown(by.Project) && (len(c.Agents) == 0 || slices.Contains(c.Agents, by.Agent))
}

// Restricted reports whether there is somebody who may not use the model.
func (c *Card) Restricted() bool { return len(c.Projects)+len(c.Agents) > 0 }

// Notice says of the model name that it is deprecated, and what to use instead; "" when it is not.
func (c *Card) Notice(name string) string {
	switch {
	case c.Lifecycle != Deprecated:
		return ""
	case c.Successor == "":
		return "the model " + name + " is deprecated"
	}
	return "the model " + name + " is deprecated: use " + c.Successor
}
