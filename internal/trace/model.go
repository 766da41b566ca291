package trace

import (
	"github.com/stead-dev/stead"
	"github.com/stead-dev/stead/internal/model"
	"github.com/stead-dev/stead/internal/session"
)

// models follows the thread's calls of models: the turn's, and one that makes a summary.
func (f *folder) models(th *thread) error {
	if f.e.Kind == session.KindModelCut {
		return f.cut(th)
	}
	for _, at := range []struct {
		span **modelSpan
		call *session.ModelCall
	}{{&th.model, th.turn.Model}, {&th.compact, f.v.Compact}} {
		if s := *at.span; s != nil && (at.call == nil || at.call.Seq != s.seq) {
			if err := f.modelEnded(s); err != nil {
				return err
			}
			*at.span = nil
		}
		if *at.span != nil || at.call == nil || at.call.Seq != f.e.Seq { // a summary may have begun in a turn before
			continue
		}
		p, err := session.Decode[session.ModelCalled](f.e)
		if err != nil {
			return err
		}
		s := &modelSpan{f.start("model", f.e.Seq, "", th.span, named("chat", p.Model), kindClient,
			text("gen_ai.operation.name", "chat"), text("gen_ai.request.model", p.Model), number("stead.attempt", int64(p.Attempt))), f.e.Seq}
		if p.Purpose != session.PurposeStep {
			s.set(text("stead.model.purpose", p.Purpose))
		}
		f.decision(s.open, "model.call", &p.Decision)
		*at.span = s
	}
	return nil
}

// cut notes what a call has used that the event behind this one ends.
func (f *folder) cut(th *thread) error {
	p, err := session.Decode[session.ModelCut](f.e)
	for _, s := range []*modelSpan{th.model, th.compact} {
		if s != nil && s.seq == p.Spent.Call {
			f.spent(s.open, &p.Spent, nil)
		}
	}
	return err
}

// served is what the outcome of a call says of where it went and what it used.
type served struct {
	provider, region, model string
	route                   *model.Route
	used                    stead.Usage
	cost                    int64
	firstMS                 int64
	guessed                 bool
}

func (f *folder) modelEnded(s *modelSpan) error {
	failure := codeCancelled
	switch f.e.Kind {
	case session.KindModelReplied:
		p, err := session.Decode[session.ModelReplied](f.e)
		if err != nil {
			return err
		}
		failure = ""
		f.served(s.open, served{p.Provider, p.Region, p.Model, p.Route, p.Usage, p.Cost, p.FirstMS, p.Guessed})
		s.set(texts("gen_ai.response.finish_reasons", []string{p.Finish}))
		f.found(s.open, p.Guardrails)
	case session.KindContextCompacted:
		p, err := session.Decode[session.ContextCompacted](f.e)
		if err != nil {
			return err
		}
		failure = ""
		f.served(s.open, served{p.Provider, p.Region, p.Model, p.Route, p.Usage, p.Cost, 0, p.Guessed})
	case session.KindModelFailed:
		p, err := session.Decode[session.ModelFailed](f.e)
		if err != nil {
			return err
		}
		failure = f.modelFailed(s, p)
	case session.KindRunnerRecovered:
		p, err := session.Decode[session.RunnerRecovered](f.e)
		if err != nil {
			return err
		}
		failure = codeInterrupted
		for i := range p.Spent {
			if p.Spent[i].Call == s.seq {
				f.spent(s.open, &p.Spent[i], nil)
			}
		}
	}
	f.end(s.open, failure)
	return nil
}

func (f *folder) modelFailed(s *modelSpan, p session.ModelFailed) string {
	switch {
	case p.Spent != nil:
		f.spent(s.open, p.Spent, p.Route)
	case p.Route != nil:
		f.route(s.open, p.Route)
	}
	if p.RetryAt > int64(f.now) {
		s.set(number("stead.retry_after_ms", p.RetryAt-int64(f.now)))
	}
	switch {
	case p.Held:
		return codeHeld
	case p.Error.Code == "":
		return "_OTHER"
	}
	return p.Error.Code
}

func (f *folder) spent(o *open, s *session.Spent, route *model.Route) {
	if s.Route != nil {
		route = s.Route
	}
	f.served(o, served{s.Provider, s.Region, s.Model, route, s.Usage, s.Cost, s.FirstMS, !s.Told})
}

func (f *folder) served(o *open, s served) {
	switch {
	case s.route != nil:
		f.route(o, s.route)
	case s.provider != "":
		o.set(text("gen_ai.provider.name", s.provider))
		if s.region != "" {
			o.set(text("stead.model.region", s.region))
		}
	}
	if s.model == "" && s.route != nil {
		s.model = s.route.Model
	}
	if s.model != "" {
		o.set(text("gen_ai.response.model", s.model))
	}
	o.set(usage(s.used)...)
	if s.guessed {
		o.set(truth("stead.usage.estimated", true))
	}
	if s.firstMS > 0 {
		o.set(seconds("gen_ai.response.time_to_first_chunk", s.firstMS))
	}
	_, cost := s.route.Both(s.used, s.cost)
	o.set(number("stead.cost_microcents", cost))
	f.cost += cost
}

func (f *folder) route(o *open, r *model.Route) {
	o.set(text("gen_ai.provider.name", r.Provider))
	if r.Region != "" {
		o.set(text("stead.model.region", r.Region))
	}
	if r.Tier != "" {
		o.set(text("stead.model.service_tier", r.Tier))
	}
	if r.Hedged != nil {
		o.set(text("stead.model.hedged", r.Hedged.Provider+"/"+r.Hedged.Model))
	}
	if len(r.Tried) > 0 {
		o.set(texts("stead.model.tried", r.Tried))
	}
}

// memory follows what is recalled before a turn.
func (f *folder) memory(th *thread) error {
	if th.recall != nil && th.turn.Recall != th.recalls {
		if err := f.recalled(th.recall); err != nil {
			return err
		}
		th.recall = nil
	}
	if th.recall != nil || th.turn.Recall == 0 || th.turn.Recall != f.e.Seq {
		return nil
	}
	p, err := session.Decode[session.MemoryCalled](f.e)
	if err != nil {
		return err
	}
	th.recalls, th.recall = f.e.Seq, f.start("memory", f.e.Seq, "", th.span, "search_memory", kindInternal, text("gen_ai.operation.name", "search_memory"))
	var asked []string
	for i := range p.Stores {
		if f.decision(th.recall, "memory.read", &p.Stores[i].Decision); p.Stores[i].Decision.Allow {
			asked = append(asked, p.Stores[i].Store)
		}
	}
	if len(asked) == 1 {
		th.recall.set(text("gen_ai.memory.store.id", asked[0]))
	} else {
		th.recall.set(texts("stead.memory.store.ids", asked))
	}
	return nil
}

func (f *folder) recalled(o *open) error {
	failure := codeCancelled
	switch f.e.Kind {
	case session.KindMemoryRecalled:
		p, err := session.Decode[session.MemoryRecalled](f.e)
		if err != nil {
			return err
		}
		failure = ""
		o.set(number("gen_ai.memory.record.count", int64(len(p.Entries))))
		if p.Method != "" {
			o.set(text("stead.memory.method", p.Method))
		}
		if p.Error != "" {
			failure = codeMemory
		}
		f.found(o, p.Guardrails)
	case session.KindRunnerRecovered:
		failure = codeInterrupted
	case session.KindEffectHeld:
		failure = codeHeld
	}
	f.end(o, failure)
	return nil
}
