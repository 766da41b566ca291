package runner

import (
	"context"
	"fmt"
	"log/slog"
	"strings"

	"github.com/stead-dev/stead"
	"github.com/stead-dev/stead/internal/environment"
	"github.com/stead-dev/stead/internal/policy"
	"github.com/stead-dev/stead/internal/session"
)

// The holder of a session's lease is the one that has its environment: while it is resident the
// lease is kept, so that every command of the session comes to this node, and the core says when it
// has been idle for long enough.

// resident reports whether the session's environment is resident on this node.
func (a *actor) resident() bool { return a.state.Environment.Resident(a.r.cfg.Node) }

// intendEnvironment journals the intent of an action and plans it.
func (a *actor) intendEnvironment(p *plan, c session.EnvironmentAction) error {
	effect := policy.EnvironmentEffect(string(c.Action))
	if c.Store { // it is opened for nothing else than to be saved
		effect = policy.EnvironmentSave
	}
	decision, held, denied := a.gateEnvironment(p, c, effect)
	if held {
		return denied
	}
	apart := decision.Needs != nil && !c.Store // what it stores
	if apart {
		if was := a.state.Environment.Apart; was != nil && was.Publish {
			c.Publish = c.Publish || a.state.Environment.Unpublished
		}
		c.Action = session.ActionSuspend
	}
	called := session.EnvironmentCalled{Action: c.Action, Attempt: c.Attempt, Publish: c.Publish, Store: c.Store, Apart: apart, Keep: c.Keep, Decision: decision}
	if denied == nil {
		if refused, err := a.reserveAction(p, &called); err != nil || refused {
			return err
		}
	}
	if err := a.record(p, session.KindEnvironmentCalled, called); err != nil {
		return err
	}
	act := &environmentAction{a: a, call: a.state.Tail, action: c.Action, attempt: c.Attempt, apart: apart, from: a.r.stateOf(a.state.Environment, a.state.Tail), known: a.state.Environment.Known(), view: *a.state.Environment,
		code: programmatic(a.state.Created.Agent.Spec.Tools), vaults: a.state.Created.VaultIDs, allowed: a.state.Request(effect, session.EnvironmentID(a.key.Session))}
	if c.Publish {
		act.publish = environment.OutputsDir
	}
	if c.Action == session.ActionOpen && a.r.cfg.Environments != nil {
		a.dropEnvironment() // one that the journal says is gone: this actor may be about to learn that it lost the session
		a.opened = act.call
	}
	if denied != nil {
		return a.record(p, session.KindEnvironmentFailed, act.failed(denied, 0))
	}
	if c.Keep {
		return a.keepApart(p)
	}
	p.starts = append(p.starts, func() {
		flight, ctx := a.begin()
		flight.action = true
		if c.Action != session.ActionPrepare {
			go act.guarded(ctx, ctx, flight) // what is opened has a watch of its own, and what is stored nobody stops
			return
		}
		go a.r.watched(ctx, act.allowed, func(within context.Context) { act.guarded(ctx, within, flight) })
	})
	return nil
}

// gateEnvironment asks whether an action may be done; held: it waits for an approval. What is to be stored waits when it is stored apart: until then Needs of
// the decision stands, without an error. What ends an environment does not wait: it would go on meanwhile.
func (a *actor) gateEnvironment(p *plan, c session.EnvironmentAction, effect policy.Effect) (d policy.Decision, held bool, err error) {
	key := session.EffectKey{Effect: effect, Of: session.EnvironmentID(a.key.Session)}
	switch {
	case c.Keep:
		return a.gateOrHold(p, key, func() session.EffectHeld { return session.EffectHeld{Shown: a.state.ApartShown()} })
	case effect == policy.EnvironmentPrepare, effect == policy.EnvironmentOpen:
		return a.gateOrHold(p, key, func() session.EffectHeld { return a.environmentEffect(c.Action) })
	case effect == policy.EnvironmentSuspend: // it stores as well, also what nobody knows to have changed
		if d, _, _ = a.saving(); d.Needs != nil {
			return a.endsFor(d)
		}
	case effect == policy.EnvironmentSave:
		d, req, err := a.saving()
		if d.Needs != nil && !c.Store {
			return a.endsFor(d)
		}
		if d.Needs == nil {
			a.decided = a.r.draft(a.ctx, a.decided, req, d)
		}
		return d, false, err
	}
	d, err = a.gate(effect, key.Of)
	return d, false, err
}

// endsFor decides whether the environment may end, so that what it holds is stored apart until that is approved: d says that it must be.
func (a *actor) endsFor(d policy.Decision) (policy.Decision, bool, error) {
	if ends, err := a.gate(policy.EnvironmentSuspend, session.EnvironmentID(a.key.Session)); err != nil {
		return ends, false, err
	}
	return d, false, nil
}

// saving decides about what is to be stored. That an approval is wanted is no error, and stands in no audit log yet: it does when it is asked for.
func (a *actor) saving() (policy.Decision, policy.Request, error) {
	req := a.state.Request(policy.EnvironmentSave, session.EnvironmentID(a.key.Session))
	req.Carried, req.Waits = true, true
	d, err := policy.Check(a.ctx, a.r.cfg.Policy, req)
	if d.Needs != nil {
		err = nil
	}
	return d, req, err
}

// keepApart makes what is stored apart the session's.
func (a *actor) keepApart(p *plan) error {
	s := a.state.Environment.Apart
	return a.record(p, session.KindEnvironmentCheckpointed, session.EnvironmentCheckpointed{
		Call: a.state.Tail, Upto: s.Upto, Checkpoint: s.Checkpoint, Blobs: s.Blobs, Artifacts: s.Artifacts, TooLarge: s.TooLarge, Kept: s.Seq,
	})
}

// stateOf is what the journal knows of an environment, for its host.
func (r *Runner) stateOf(e *session.EnvironmentView, next stead.Seq) environment.State {
	s := environment.State{Setup: e.Setup, Layer: e.Layer, Residence: e.Residence, Next: next, Checkpoint: e.Opens(), Forget: r.forgetting(e.Forget)}
	for _, u := range e.Uploads {
		s.Files = append(s.Files, environment.Put{Path: u.Path, Data: u.Data})
	}
	return s
}

// environmentAction is one action under way. It runs beside the actor: what it needs of the state
// was copied.
type environmentAction struct {
	a       *actor
	call    stead.Seq
	action  session.Action
	attempt int
	apart   bool               // what it stores
	setUp   *environment.SetUp // that ran
	from    environment.State
	view    session.EnvironmentView
	known   map[string]string
	publish string
	code    bool // code in it may call the session's tools
	vaults  []string
	allowed policy.Request
}

// guarded runs the action within a context that ends as soon as it must not go on; ctx is the flight's.
func (x *environmentAction) guarded(ctx, within context.Context, f *flight) {
	var out pending
	err := safely(func() (err error) { out, err = x.run(within); return err })
	if err != nil {
		if ctx.Err() != nil {
			return // given up: whoever comes next repeats it
		}
		failed := x.failed(err, x.attempt)
		if why := stopped(within); why != nil {
			failed = x.failed(why, 0)
		}
		level, text := slog.LevelWarn, "environment action failed; it is tried again"
		if failed.RetryAt == 0 {
			level, text = slog.LevelError, "environment action failed for good"
		}
		x.a.log.Log(ctx, level, text, "action", x.action, "attempt", x.attempt, "err", err)
		out = happened(session.KindEnvironmentFailed, failed)
	}
	x.a.deliver(f, out)
}

func (x *environmentAction) run(ctx context.Context) (pending, error) {
	host, key := x.a.r.cfg.Environments, x.a.key
	if host == nil {
		return pending{}, stead.Errorf(stead.KindNotImplemented, "this server has no environments")
	}
	switch x.action {
	case session.ActionPrepare:
		made, err := host.Prepare(ctx, key, x.from.Setup, x.a.note)
		x.setUp = made.SetUp
		return happened(session.KindEnvironmentPrepared, session.EnvironmentPrepared{Call: x.call, Layer: made.Layer, Checkpoint: made.Checkpoint, Blobs: made.Blobs, SetUp: made.SetUp}), err
	case session.ActionOpen:
		return x.open(ctx, host)
	case session.ActionExpire:
		return x.expire(ctx, host)
	}
	req := environment.SaveRequest{Files: x.from.Files, Compare: x.apart, Forget: x.from.Forget}
	if c := x.view.Checkpoint; c != nil { // what is stored apart may be forgotten
		req.Previous = c.Digest
	}
	if x.action == session.ActionSave || x.apart {
		req.Publish, req.Known = x.publish, x.known
		if req.Room = session.MaxArtifacts - len(x.view.Artifacts); req.Room <= 0 {
			req.Room = environment.NoRoom
		}
	}
	if x.action == session.ActionSave {
		saved, err := host.Save(ctx, key, req)
		return happened(session.KindEnvironmentCheckpointed, session.EnvironmentCheckpointed{
			Call: x.call, Upto: x.call, Checkpoint: saved.Checkpoint, Blobs: saved.Blobs, Artifacts: saved.Artifacts, TooLarge: saved.TooLarge,
			Refused: saved.Refused, Background: shortened(saved.Background), Usage: saved.Usage,
			Forgot: x.view.Forget.Names(),
		}), err
	}
	saved, err := host.Suspend(ctx, key, req)
	if err == nil && x.view.Orphans {
		if swept := x.a.r.sweep(ctx, key); swept != nil {
			x.a.log.Info("blobs that no event names are left", "err", swept)
		}
	}
	out := session.EnvironmentSuspended{Call: x.call, Upto: x.call, Checkpoint: saved.Checkpoint, Blobs: saved.Blobs, Refused: saved.Refused, Usage: saved.Usage, Forgot: x.view.Forget.Names()}
	if x.apart {
		out.Apart, out.Artifacts, out.TooLarge, out.Background, out.Changes = true, saved.Artifacts, saved.TooLarge, shortened(saved.Background), saved.Changes
	}
	return happened(session.KindEnvironmentSuspended, out), err
}

// expire deletes what this node has of the workspace, and the blobs of its checkpoints: the intent is in
// the journal, so that no event keeps them any more.
func (x *environmentAction) expire(ctx context.Context, host environment.Host) (pending, error) {
	if err := host.Forget(ctx, x.a.key); err != nil {
		return pending{}, err
	}
	switch err := x.a.r.sweep(ctx, x.a.key); stead.KindOf(err) {
	case "":
	case stead.KindTooLarge:
		x.a.log.Warn("the blobs of an environment that has expired are left until its session is deleted", "err", err)
	default:
		return pending{}, err
	}
	return happened(session.KindEnvironmentExpired, session.EnvironmentExpired{Call: x.call}), nil
}

// expired says that there is no workspace any more.
func expired() *stead.Error {
	return &stead.Error{
		Kind: stead.KindConflict, Code: "environment_expired",
		Message: "the environment has expired: nobody used it for as long as the operator keeps workspaces, and its files were deleted",
		Hint:    "Its artifacts are still there. Start a new session for new work.",
	}
}

func (x *environmentAction) open(ctx context.Context, host environment.Host) (pending, error) {
	if x.view.Gone() {
		return pending{}, expired()
	}
	from := x.from
	from.Note = x.a.note
	if x.code {
		from.Tools = caller{x.a}
	}
	if len(x.vaults) > 0 && x.a.r.cfg.Vaults != nil {
		var err error
		if from.Credentials, err = x.a.r.cfg.Vaults.Variables(ctx, x.a.key.Project, x.vaults, x.a.r.asker(x.a.key)); err != nil {
			return pending{}, err
		}
	}
	if x.a.r.cfg.Workloads != nil {
		from.Credentials = append(from.Credentials, x.a.r.cfg.Workloads.Variables(x.a.r.about(x.a.key))...)
	}
	opened, err := host.Open(ctx, x.a.key, from)
	if err != nil {
		return pending{}, err
	}
	if ctx.Err() != nil { // dropEnvironment may have come before there was anything to end
		host.Drop(x.a.key, x.call)
		return pending{}, ctx.Err()
	}
	out := session.EnvironmentConnected{Call: x.call, Node: x.a.r.cfg.Node, Driver: opened.Driver, Upto: x.call, Reset: x.reset(opened), Skills: opened.Skills, Refused: opened.Refused}
	go x.a.watchEnvironment(opened, x.call, x.allowed)
	return happened(session.KindEnvironmentConnected, out), nil
}

// reset says what the agent must know: a residence that ended in order lost nothing.
func (x *environmentAction) reset(opened environment.Opened) *session.Reset {
	if x.view.Lost == "" {
		return nil
	}
	same := x.view.Touched == 0 && len(x.view.Background) == 0 // nobody could change anything since
	since := x.view.CheckpointAt
	if apart := x.view.Apart; apart != nil { // it is opened with that
		same, since = !apart.Stale, apart.At
	}
	r := &session.Reset{
		Count: x.view.Resets + 1, Why: x.view.Lost, Kept: opened.Kept || same,
		Commands: x.view.Commands, Background: x.view.Background, Since: since,
	}
	if u := x.view.Unstored; u != nil && !r.Kept {
		r.Why += ", and the checkpoint before that had failed (" + u.Why + ")"
	}
	return r
}

// failed makes the outcome of an action that brought nothing. attempt 0 is final.
func (x *environmentAction) failed(err error, attempt int) session.EnvironmentFailed {
	out := session.EnvironmentFailed{Call: x.call, SetUp: x.setUp, Error: session.EnvironmentError{Code: "sandbox_error", Type: "server_error", Message: clientMessage(err)}}
	final := attempt == 0 || attempt >= stead.MaxEnvironmentAttempts || x.view.Gone()
	switch stead.KindOf(err) {
	case stead.KindInvalid, stead.KindNotImplemented, stead.KindForbidden, stead.KindNotFound, stead.KindTooLarge:
		out.Error.Type, final = "invalid_request_error", true
	}
	if x.action == session.ActionExpire && attempt > 0 {
		final = false // once begun, it is brought to its end
	}
	if !final {
		out.RetryAt = x.a.r.now() + x.a.r.backoff(attempt, 0).Milliseconds()
	}
	return out
}

// watchEnvironment tells the actor when the workspace of the environment that it opened was changed by
// processes in the background, and when the environment is gone. One that is not allowed any more is ended, with what
// runs in its background; its files stay.
func (a *actor) watchEnvironment(opened environment.Opened, residence stead.Seq, allowed policy.Request) {
	reason, ended := "it ended by itself", ""
	ctx, done := a.ctx, func() {}
	if a.r.cfg.Watch != nil {
		ctx, done = a.r.cfg.Watch(a.ctx, allowed)
	}
	defer done()
	for alive := true; alive; {
		select {
		case <-ctx.Done():
			why := stopped(ctx)
			if a.ctx.Err() != nil || why == nil {
				return
			}
			reason, alive = why.Message, false
			a.r.cfg.Environments.Drop(a.key, residence) // a save that is under way fails: what is not stored stays on this node
		case <-opened.Changed:
			poke(a.changed)
		case <-opened.Done:
			alive = false
			if opened.WhyEnded != nil {
				ended = opened.WhyEnded()
			}
		}
	}
	select {
	case a.died <- session.EnvironmentDisconnected{Node: a.r.cfg.Node, Reason: reason, Ended: ended, Usage: opened.Used()}:
	default:
	}
}

// environmentDied is written only while the journal says that the environment is here: one that was
// suspended ended because it was told to.
func (a *actor) environmentDied(d session.EnvironmentDisconnected) pending {
	return pending{kind: session.KindEnvironmentDisconnected, make: func(s *session.State) (any, error) {
		e := s.Environment
		if !e.Resident(a.r.cfg.Node) || e.Action == session.ActionSuspend {
			return nil, nil
		}
		d.Usage = e.Since.Grown(d.Usage)
		return d, nil
	}}
}

// dropEnvironment ends what this node has resident when the actor ends, however it ends. What is just
// being opened is cancelled before that, and ends itself: see open.
func (a *actor) dropEnvironment() {
	if a.opened > 0 {
		a.r.cfg.Environments.Drop(a.key, a.opened)
	}
}

// lastActions: a node that stops leaves no environment behind: what is in it is stored.
func (a *actor) lastActions() []session.Command {
	e := a.state.Environment
	if !a.resident() || e.Action != "" || e.Unsaved || len(a.flights) > 0 {
		return nil
	}
	return []session.Command{session.EnvironmentAction{Action: session.ActionSuspend, Attempt: e.Attempts + 1}}
}

// leaveExecutor corrects a journal that has a self-hosted environment connected to a node that is
// gone: its executor comes back by itself.
func (a *actor) leaveExecutor() {
	e, host := a.state.Environment, a.r.cfg.Environments
	if e == nil || e.Hosted() || e.Status != session.EnvironmentConnectedNow {
		return
	}
	if e.Node == a.r.cfg.Node && host != nil && host.Connected(a.key) {
		return
	}
	a.pending = append(a.pending, happened(session.KindInputConnection, session.ConnectionInput{Node: e.Node, Reason: fmt.Sprintf("node %s has no connection", a.r.cfg.Node)}))
}

// skillsText tells the model what it can learn in its environment.
func skillsText(e *session.EnvironmentView) string {
	if e == nil || len(e.Skills) == 0 {
		return ""
	}
	var b strings.Builder
	b.WriteString("\n\nYour environment has skills. Before you do what one is about, read its file there:")
	for _, s := range e.Skills {
		fmt.Fprintf(&b, "\n- %s: %s (%s)", s.Name, s.Description, s.Path)
	}
	return b.String()
}
