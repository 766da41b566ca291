package session

import (
	"maps"
	"slices"

	"github.com/stead-dev/stead"
	"github.com/stead-dev/stead/internal/agent"
)

// What a tool server says of its tools, and what a tool, a command, a function, a memory, a file or an image brings, may have been written by a stranger, who may want to instruct the
// model. From then on the session is labelled with where it came from, and so is what follows from it: the model has it in its
// context, or in a summary of that. A policy can so say in one rule what an agent may do that has read such things.
//
//	untrusted → the labels of tool servers, databases (database:NAME), and the sources below

// LabelUntrusted is the key of the sources of what strangers may have written.
const LabelUntrusted = "untrusted"

// Sources that are no tool server.
const (
	SourceEnvironment = "environment" // commands in the session's environment, what they read and fetched, and code in it that calls tools: a stranger's file may be running
	SourceFunction    = "function"    // what applications say that their functions returned
	SourceMemory      = "memory"      // what was recalled
	SourceFile        = "file"        // files that somebody sent along: whoever sent a mail on did not write it
	SourceImage       = "image"       // and images
	// SourceOther stands for all sources beyond maxSources.
	SourceOther = "other"
)

// maxSources bounds how many sources a session tells apart: policies are asked about each.
const maxSources = 8

// source is where a call's result comes from.
func (c *Call) source() string {
	if c.Tool.Origin != "" {
		return c.Tool.Origin
	}
	if c.Tool.Server != "" {
		return c.Tool.Server
	}
	return SourceEnvironment
}

// heard notes that the model is shown something from a source, or that something from there acts.
func (v *View) heard(source string) { v.Labelled = withSource(v.Labelled, source) }

// Describing are the sources of what a model is told of the agent's tools, as far as strangers may have written that: the servers that the agent names
// itself, and those of the operator's that are said to be so; nil: there are none (untrusted is nil, too). Who wrote a description is as free to instruct
// the model as who writes a result.
func (v *View) Describing(untrusted func(label string) bool) (out []string) {
	for _, t := range v.Created.Agent.Spec.Tools {
		strangers := t.Type == agent.ToolMCP && (t.Transport != nil || untrusted != nil && untrusted(t.ServerLabel))
		if strangers && !v.Labels().Has(LabelUntrusted, t.ServerLabel) && !v.Labels().Has(LabelUntrusted, SourceOther) {
			out = append(out, t.ServerLabel)
		}
	}
	return out
}

// WithSources are labels that have sources as well.
func WithSources(l stead.Labels, sources []string) stead.Labels {
	for _, s := range sources {
		l = withSource(l, s)
	}
	return l
}

// define notes what a model was told of tools.
func (v *View) define(digests map[string]string) {
	if len(digests) == 0 {
		return
	}
	v.Defined = maps.Clone(v.Defined)
	if v.Defined == nil {
		v.Defined = map[string]string{}
	}
	maps.Copy(v.Defined, digests)
}

// withSource are labels that have a source as well.
func withSource(l stead.Labels, source string) stead.Labels {
	have := l[LabelUntrusted]
	if len(have) >= maxSources && !slices.Contains(have, source) {
		source = SourceOther
	}
	if slices.Contains(have, source) {
		return l
	}
	return l.And(stead.Labels{LabelUntrusted: {source}})
}

// given notes what an application says that its functions returned, and what is sent along in messages.
func (v *View) given(items []stead.Item) {
	if slices.ContainsFunc(items, func(it stead.Item) bool { return len(it.Output) > 0 || it.Error != "" }) {
		v.heard(SourceFunction)
	}
	for _, it := range items {
		v.attached(it.Content)
	}
}

// attached notes files and images of a message.
func (v *View) attached(content []stead.Content) {
	for _, c := range content {
		switch c.Type {
		case stead.ContentInputFile:
			v.heard(SourceFile)
		case stead.ContentInputImage:
			v.heard(SourceImage)
		}
	}
}
