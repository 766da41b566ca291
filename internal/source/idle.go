package source

import (
	"fmt"
	"iter"
)

// codeIdle is the code of a pattern of a rule of access that is for no document.
const codeIdle = "access_unmatched"

// codeClosed is the code of documents that nobody may read.
const codeClosed = "access_closed"

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
		at, still := parts(path), left[:0]
		if deny := p.access.deny; deny && !p.access.rules.say(at) {
			if closed++; one == "" || path < one {
				one = path
			}
		} else if len(left) == 0 && !deny {
			return
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
	for _, o := range left[:min(len(left), maxIdle)] {
		told = append(told, Failure{o.text, codeIdle, fmt.Sprintf("access[%d] is for no document that there is: paths are those that documents have, from where the source begins (behind its path)", o.rule)})
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	p.failures = append(told, p.failures...)
	p.failures = p.failures[:min(len(p.failures), MaxFailures)]
}
