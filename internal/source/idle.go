package source

import (
	"context"
	"fmt"
	"iter"
	"reflect"
	"slices"

	"github.com/stead-dev/stead/internal/vectorstore"
)

// codeIdle is the code of a pattern of a rule of access that is for no document.
const codeIdle = "access_unmatched"

// codeClosed is the code of documents that nobody may read.
const codeClosed = "access_closed"

// codeShut is the code of documents that their source lets nobody read whom the configuration knows.
const codeShut = "access_unmapped"

// shut counts those.
func (p *pass) shut(d Document) {
	if d.Permits == nil || !slices.ContainsFunc(d.Permits.Readers, func(r vectorstore.Readers) bool { return reflect.DeepEqual(r, vectorstore.Nobody()) }) {
		return
	}
	if p.shut1++; p.shutAt == "" || d.Path < p.shutAt {
		p.shutAt = d.Path
	}
}

// permit has what the source says of who may read a document hold for the version that is there, at once.
func (p *pass) permit(ctx context.Context, d Document, have vectorstore.File, known bool) error {
	if !known {
		return nil
	}
	permits, told := d.Permits, "" // when nobody was asked who may read it, there is no telling whom it would have been for
	if have.Origin.Permits != nil {
		told = have.Origin.Permits.Of
	}
	if permits != nil && permits.Of != told { // whoever may read what is told now might not what was told then
		permits = &vectorstore.Permits{Of: told, Readers: []vectorstore.Readers{vectorstore.Nobody()}}
	}
	if reflect.DeepEqual(permits, have.Origin.Permits) {
		return nil
	}
	put := vectorstore.Put{Keep: true, Filename: have.Filename, Attributes: have.Attributes, Plan: have.Plan, Origin: *have.Origin, Over: have.Attachment}
	put.Origin.Permits = permits
	put.Origin.Labels, put.Origin.Readers = p.access.of(d.Path, permits)
	if err := p.put(ctx, put, nothing); err != nil {
		return err
	}
	return p.flush(ctx)
}

// maxIdle is how many of those are told.
const maxIdle = 20

// idle tells of patterns of rules that are for no document that there is: a rule that is written wrongly, or whose directory has another name
// now, hides nothing, and nobody would notice. They come first, and count as no document.
//
// So do documents that nobody may read, since no rule says who may.
func (p *pass) idle(paths iter.Seq[string]) {
	type open struct {
		rule int
		text string
		pattern
	}
	var left []open
	for i, r := range p.access.rules {
		for j, one := range r.paths {
			left = append(left, open{i, r.Paths[j], one})
		}
	}
	some, closed, one := false, 0, ""
	for path := range paths {
		some = true
		at, still := p.access.parts(path), left[:0]
		if deny := p.access.deny; deny && !p.access.rules.say(at) {
			if closed++; one == "" || path < one {
				one = path
			}
		} else if len(left) == 0 && !deny {
			break
		}
		for _, o := range left {
			if !o.matches(at, true) {
				still = append(still, o)
			}
		}
		left = still
	}
	if !some {
		return // there is nothing that they could be for
	}
	var told []Failure
	if closed > 0 {
		told = append(told, Failure{one, codeClosed, fmt.Sprintf("nobody may read %d documents, this one among them: access_default is deny, and no rule of access that names principals, roles or everyone is for them", closed)})
	}
	if p.shut1 > 0 {
		told = append(told, Failure{p.shutAt, codeShut, fmt.Sprintf("nobody may read %d documents, this one among them: those who may where they lie are nobody that permissions of the server's configuration name", p.shut1)})
	}
	if len(told) == 0 && len(left) == 0 {
		return
	}
	for _, o := range left[:min(len(left), maxIdle)] {
		told = append(told, Failure{o.text, codeIdle, fmt.Sprintf("access[%d] is for no document that there is: paths are those that documents have, from where the source begins (behind its path)", o.rule)})
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	p.failures = append(told, p.failures...)
	p.failures = p.failures[:min(len(p.failures), MaxFailures)]
}
