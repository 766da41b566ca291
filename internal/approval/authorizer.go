package approval

import (
	"cmp"
	"context"
	"fmt"
	"slices"
	"time"

	"github.com/stead-dev/stead"
	"github.com/stead-dev/stead/internal/policy"
)

// By is the name of this decider in decisions.
const By = "approval"

// Authorizer lets what was approved pass, and asks about what must be. Another one decides first, so that what became forbidden
// meanwhile stays undone.
type Authorizer struct {
	next policy.Authorizer
	desk *Desk
}

// NewAuthorizer puts a desk behind an authorizer.
func NewAuthorizer(next policy.Authorizer, d *Desk) *Authorizer { return &Authorizer{next, d} }

// Decide implements policy.Authorizer. What agents do in their sessions waits there where it can.
func (a *Authorizer) Decide(ctx context.Context, req policy.Request) (policy.Decision, error) {
	d, err := a.next.Decide(ctx, req)
	if err != nil || d.Needs == nil {
		return d, err
	}
	if req.Acting {
		return a.acting(ctx, req, d)
	}
	if req.Effect == policy.ToolCall { // a function that a model asks for, of whose answer nothing is kept
		return refuse(d, "nobody can be asked about a call that nothing is kept of"), nil
	}
	act := actOf(ctx)
	if id := grantsOf(ctx).covers(req, d.Needs); act == nil && id != "" {
		return allowed(d, id, "what was approved goes on"), nil
	}
	switch {
	case act == nil:
		return refuse(d, "it can't be asked about here"), nil
	case act.coming():
		return d, nil
	case !act.known():
		return refuse(d, "what comes as a stream can't be asked about, since what it holds is not known before it is stored"), nil
	case !act.names(string(req.Session.Session)):
		return refuse(d, "session "+string(req.Session.Session)+" must be asked about by itself"), nil
	}
	return a.desk.pass(ctx, act, req, d)
}

// Foresee implements policy.Foreseer: what is allowed needs no approval.
func (a *Authorizer) Foresee(ctx context.Context, req policy.Request) bool {
	return policy.Foresee(ctx, a.next, req)
}

// acting decides about what an agent does. It waits where its session can: by itself, or as a part of a step that is done again. Else it is refused
// now and passes once it is approved: whoever wants it does it again, as a request is sent again.
func (a *Authorizer) acting(ctx context.Context, req policy.Request, d policy.Decision) (policy.Decision, error) {
	if s := policy.StepOf(ctx, req); s != nil {
		return s.Settle(req, d), nil
	}
	if req.Waits {
		return d, nil
	}
	act := &Act{Method: string(req.Effect), Path: req.Resource, Request: string(req.Session.Session), whole: true}
	if to := req.Connection; to != nil {
		act.Method, act.Path = cmp.Or(to.Method, to.Kind), req.Destination+to.Path
	} else if more := string(policy.Shown(req)); more != "{}" {
		act.Path += " " + more
	}
	return a.desk.pass(ctx, act, req, d)
}

// refuse makes a plain no of a decision that asks.
func refuse(d policy.Decision, why string) policy.Decision {
	d.Needs, d.Reason = nil, d.Reason+"; "+why
	return d
}

// pass decides about a request that needs an approval.
func (d *Desk) pass(ctx context.Context, act *Act, req policy.Request, said policy.Decision) (policy.Decision, error) {
	act.mu.Lock()
	defer act.mu.Unlock()
	q := d.question(act, req, said)
	if was := act.used[q.slot]; was != nil && !d.suffices(was, said.Needs) { // of several things one wants more than what was given for another
		q.slot = digest(q.slot, fmt.Sprintf("%+v", q.Needs))
	}
	if was := act.used[q.slot]; was != nil { // asked about twice within one request
		return allowed(said, was.ID, ""), nil
	}
	if req.Optional {
		return refuse(said, "nobody is asked about what is done beside something else"), nil
	}
	if q.blind {
		return refuse(said, fmt.Sprintf("it can't be shown to whoever would have to approve it: bodies are JSON, of at most %d bytes", maxShownBytes)), nil
	}
	if act.asked != "" && act.asked != q.slot {
		return refuse(said, "another question about this request comes first"), nil
	}
	out, passed, err := d.settle(ctx, act, q, said)
	if err != nil {
		return policy.Decision{By: By, Reason: "approvals can't be asked for now"}, err
	}
	if passed != nil {
		if act.used == nil {
			act.used = map[string]*Question{}
		}
		act.used[q.slot] = passed
		return out, nil
	}
	if out.Open != nil {
		act.asked = q.slot
	}
	d.giveBack(ctx, act, q)
	return out, nil
}

// maxTries is how often a question is looked at anew that others change meanwhile.
const maxTries = 64

// settle finds the question about a request, or asks it; what it returns was approved, and is used up now.
func (d *Desk) settle(ctx context.Context, act *Act, fresh *Question, said policy.Decision) (policy.Decision, *Question, error) {
	for range maxTries {
		q, err := d.ask(ctx, fresh)
		if stead.KindOf(err) == stead.KindNotFound { // another has just taken it away
			continue
		}
		if err != nil {
			return policy.Decision{}, nil, err
		}
		now := d.cfg.Now().UnixMilli()
		q.Behind = fresh.Behind // who caused it by now
		if q.lapses(now) {
			if err := d.lapse(ctx, q, q.ends()); err != nil && stead.KindOf(err) != stead.KindConflict && stead.KindOf(err) != stead.KindNotFound {
				return policy.Decision{}, nil, err
			}
			continue
		}
		status := q.Status(now)
		if p := q.Pending; p != nil && p.Step == stepAnswer && !(status == Open && same(&q.Needs, said.Needs)) {
			if err := d.behind(ctx, q); err != nil { // it was given in time, and counts once it is recorded
				return policy.Decision{}, nil, err
			}
			continue
		}
		switch {
		case status == Used && act.Key != "" && q.Use.Key == hash([]byte(act.Key)) && now < q.Use.At+ReplayFor.Milliseconds():
			return allowed(said, q.ID, "a repeat of what was approved"), q, nil
		case status == Denied && now < q.Denial.At+DeniedFor.Milliseconds():
			return denied(said, q), nil, nil
		case status == Open && same(&q.Needs, said.Needs):
			return open(said, q), nil, nil
		case status == Approved && d.suffices(q, said.Needs):
			how := q.how()
			q.Use = &Use{At: now, Request: act.Request}
			if act.Key != "" {
				q.Use.Key = hash([]byte(act.Key))
			}
			if err := d.store(ctx, q); err == nil {
				return allowed(said, q.ID, how), q, nil
			} else if stead.KindOf(err) != stead.KindConflict && stead.KindOf(err) != stead.KindNotFound {
				return policy.Decision{}, nil, err
			}
		default: // it is over, or policies want something else by now: what was answered counts no more
			if err := d.remove(ctx, q); err != nil {
				return policy.Decision{}, nil, err
			}
			fresh = fresh.again(d.cfg.Now().UnixMilli())
		}
	}
	return policy.Decision{}, nil, stead.Errorf(stead.KindUnavailable, "the approval is being changed by others; try again")
}

// suffices reports whether what was given is what policies want by now.
func (d *Desk) suffices(q *Question, needs *policy.Needs) bool {
	return q.granted().suffices(needs, q.behind()...)
}

func same(a, b *policy.Needs) bool {
	return slices.Equal(a.Roles, b.Roles) && max(1, a.Count) == max(1, b.Count) && a.ExpiresMS == b.ExpiresMS && a.Separate == b.Separate && a.Default == b.Default
}

// giveBack takes back what this request used up, when it asks something more: nothing is done until that is answered.
func (d *Desk) giveBack(ctx context.Context, act *Act, asked *Question) {
	for slot, was := range act.used {
		q, err := d.load(ctx, asked.Project, was.ID)
		if err == nil && q.Use != nil && q.Use.Request == act.Request {
			q.Use = nil
			err = d.store(ctx, q)
		}
		if err != nil { // it stays used up, and is asked about again
			d.cfg.Log.Warn("an approval could not be given back", "request", was.ID, "err", err)
		}
		delete(act.used, slot)
	}
}

func allowed(d policy.Decision, id, how string) policy.Decision {
	d.Allow, d.By, d.Approval, d.Needs, d.Open = true, By, id, nil, nil
	d.Reason = join(d.Reason, join(how, "request "+id))
	return d
}

func join(a, b string) string {
	if a == "" || b == "" {
		return a + b
	}
	return a + "; " + b
}

// how says in words why a question passes.
func (q *Question) how() string {
	if q.Enough == 0 {
		return "nobody answered in time, and it is done then"
	}
	text := "approved by"
	for i, g := range q.Approved {
		if i > 0 {
			text += ","
		}
		text += " " + string(g.By.Kind) + " " + g.By.ID
	}
	return text
}

func denied(d policy.Decision, q *Question) policy.Decision {
	d.By, d.Approval, d.Needs = By, q.ID, nil
	d.Reason = fmt.Sprintf("%s %s denied request %s", q.Denial.By.Kind, q.Denial.By.ID, q.ID)
	if q.Denial.Reason != "" {
		d.Reason, d.Quotes = d.Reason+": "+q.Denial.Reason, cmp.Or(q.Denial.By.ID, policy.QuotesSomebody)
	}
	return d
}

// open is the decision about what waits.
func open(d policy.Decision, q *Question) policy.Decision {
	d.Approval = q.ID
	d.Open = &policy.Open{ID: q.ID, Digest: q.Digest(), ExpiresAt: q.Until}
	d.Reason = fmt.Sprintf("%s; request %s waits until %s for %d approval(s) by %s", d.Reason, q.ID, time.UnixMilli(q.Until).UTC().Format(time.RFC3339), max(1, q.Needs.Count), q.Needs.Who())
	return d
}
