package cedar

import (
	"iter"
	"slices"

	cedargo "github.com/cedar-policy/cedar-go"
	"github.com/cedar-policy/cedar-go/types"
)

// verdicts are those of the policies that spoke of a request, or could not be evaluated, by their keys. Others are not in it.
type verdicts map[string]verdict

type verdict struct {
	failed bool // it could not be evaluated; else it matches
	why    string
}

// askTogether asks the policies of all sets at once, if each label that they look into has one value.
func (q *question) askTogether() {
	if q.heads.context&atLabels != 0 {
		for k, values := range q.req.Labels {
			if len(values) > 1 && q.heads.labels.has(k) {
				return
			}
		}
	}
	q.together = true
	var tags types.Record
	if q.labels >= 0 {
		tags = types.NewRecord(newest(q.req.Labels, &q.looks))
	}
	q.said = q.ask(q.found, tags)
}

// ask asks Cedar about what was found, with one reading of the labels. Forbids and permits are asked apart: together, Cedar names no
// permit once a forbid has matched, and a forbid that asks for approval leaves the permits to decide.
func (q *question) ask(of []found, tags types.Record) verdicts {
	if q.labels >= 0 {
		q.things[q.labels].entity.Tags = tags
	}
	var out verdicts
	for _, permits := range []bool{false, true} {
		q.list = list{of, permits}
		if q.list.empty() {
			continue
		}
		out = out.with(cedargo.Authorize(&q.list, q, q.request))
	}
	return out
}

// with adds what Cedar said.
func (v verdicts) with(_ cedargo.Decision, said cedargo.Diagnostic) verdicts {
	if v == nil && len(said.Reasons)+len(said.Errors) > 0 {
		v = verdicts{}
	}
	for _, r := range said.Reasons {
		v[string(r.PolicyID)] = verdict{}
	}
	for _, e := range said.Errors {
		v[string(e.PolicyID)] = verdict{true, e.Message}
	}
	return v
}

// said is what the policies in force say, and all; spoke: one on trial did.
func (f *found) said(v verdicts) (inForce, all matches, spoke bool) {
	if len(v) == 0 {
		return matches{}, matches{}, false
	}
	inForce = matchesOf(v, f.forbid, f.permit)
	onTrial := matchesOf(v, f.shadowForbid, f.shadowPermit)
	return inForce, inForce.and(onTrial), !onTrial.none()
}

func matchesOf(v verdicts, forbid, permit []*rule) (m matches) {
	m.forbid = m.matching(v, forbid)
	m.permit = m.matching(v, permit)
	return m
}

func (m *matches) matching(v verdicts, rules []*rule) (out []*rule) {
	slices.SortFunc(rules, func(a, b *rule) int { return a.place - b.place }) // what is said does not depend on the index
	for _, r := range rules {
		switch said, ok := v[r.key]; {
		case ok && said.failed:
			m.failed = append(m.failed, r)
			m.errors = append(m.errors, "policy "+r.ID+": "+said.why)
		case ok:
			out = append(out, r)
		}
	}
	return out
}

// list makes what was found iterable for Cedar.
type list struct {
	of      []found
	permits bool
}

func (l *list) empty() bool {
	for i := range l.of {
		if a, b := l.parts(i); len(a)+len(b) > 0 {
			return false
		}
	}
	return true
}

func (l *list) parts(i int) (inForce, onTrial []*rule) {
	if f := &l.of[i]; l.permits {
		return f.permit, f.shadowPermit
	}
	return l.of[i].forbid, l.of[i].shadowForbid
}

// All implements cedar.PolicyIterator.
func (l *list) All() iter.Seq2[cedargo.PolicyID, *cedargo.Policy] {
	return func(yield func(cedargo.PolicyID, *cedargo.Policy) bool) {
		for i := range l.of {
			inForce, onTrial := l.parts(i)
			for _, rules := range [...][]*rule{inForce, onTrial} {
				for _, r := range rules {
					if !yield(cedargo.PolicyID(r.key), r.policy) {
						return
					}
				}
			}
		}
	}
}
