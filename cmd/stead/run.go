package main

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"

	"github.com/spf13/cobra"

	"github.com/stead-dev/stead"
	"github.com/stead-dev/stead/internal/client"
)

// runFlags are the arguments of stead run.
type runFlags struct {
	agent, model, session string
	vaults                []string // that a new session has
	environment           string   // as environmentArg reads it; "": none, or the session's own
	prompt                string
	node                  nodeFlags
}

func (a *app) runCmd() *cobra.Command {
	var f runFlags
	c := &cobra.Command{
		Use:   "run [MESSAGE]",
		Short: "Run one session from the terminal",
		Long: "Run starts a session, or goes on with --session, and shows what happens until the agent is done.\n" +
			"It asks for approvals; where nobody can be asked it prints the command that answers and ends\n" +
			fmt.Sprintf("with exit code %d. When no server answers it starts one in this process, on the data directory.", exitWaiting),
		Args: cobra.MaximumNArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			if len(args) > 0 {
				f.prompt = args[0]
			}
			return a.run(cmd.Context(), f)
		},
	}
	c.Flags().StringVar(&f.agent, "agent", "", "an agent: a YAML file, a name or an id")
	c.Flags().StringVar(&f.model, "model", "", "a model, instead of the agent's (default \"default\")")
	c.Flags().StringVar(&f.session, "session", "", "go on with this session")
	c.Flags().StringArrayVar(&f.vaults, "vault", nil, "a vault whose credentials the session's agent may use; may be repeated")
	c.Flags().StringVar(&f.environment, "environment", "", "the session's computer: hosted, none, the id of one that waits, or a YAML file with its fields (default none)")
	f.node.register(c)
	return c
}

func (a *app) run(ctx context.Context, f runFlags) error {
	if f.prompt == "" && f.session == "" {
		e := stead.Invalid("message", "there is nothing to run")
		e.Hint = `Give a message: stead run "Hello".`
		return e
	}
	if f.environment != "" && f.session != "" {
		e := stead.Invalid("environment", "session %s has its environment already, or none", f.session)
		e.Hint = "Leave --environment out, or start a session without --session."
		return e
	}
	if len(f.vaults) > 0 && f.session != "" {
		return stead.Invalid("vault", "session %s has its vaults already, or none", f.session)
	}
	env, err := environmentArg(f.environment) // before a node is started for nothing
	if err != nil {
		return err
	}
	c, alone, stop, err := a.reach(ctx, f.node)
	if err != nil {
		return err
	}
	defer stop()
	r := &running{app: a, client: c, alone: alone, place: a.place(f.node), spin: a.newSpinner(), t: a.newTranscript(), environment: env, answered: map[string]bool{}}
	defer r.spin.Stop()
	err = r.start(ctx, f)
	r.t.endLine()
	if r.session != "" && !a.json() {
		// On standard error: standard output is the agent's answer alone.
		fmt.Fprintf(a.err, "\nsession %s\ngo on with: stead run%s --session %s \"…\"\n", r.session, a.place(f.node), r.session)
	}
	if ctx.Err() != nil && r.session != "" {
		return nil // detached: the session is durable and the two lines above say how to go on
	}
	return err
}

// place is what the next command must say to find the session again.
func (a *app) place(f nodeFlags) string {
	var b strings.Builder
	database := ""
	if f.database != "" {
		database = "…" // it may hold a password
	}
	for _, flag := range [][2]string{{"server", a.server}, {"config", f.config}, {"data", f.data}, {"database", database}} {
		if flag[1] != "" {
			fmt.Fprintf(&b, " --%s %s", flag[0], flag[1])
		}
	}
	return b.String()
}

// reach finds a running server, or starts a node in this process when nobody named one: then it is
// alone.
func (a *app) reach(ctx context.Context, flags nodeFlags) (c *client.Client, alone bool, stop func(), err error) {
	base, chosen := a.serverAddress()
	if c, err = a.dial(); err != nil {
		return nil, false, nil, err
	}
	if chosen || (!flags.set() && c.Alive(ctx)) {
		return c, false, c.Close, nil
	}
	why := "No server answers at " + base + ": this process"
	if flags.set() {
		why = "This process"
	}
	flags.listen = "127.0.0.1:0"
	cfg, err := flags.load(a.env)
	if err != nil {
		return nil, false, nil, err
	}
	impatient(cfg)
	n, err := openNode(ctx, cfg, quiet(a.err))
	if err != nil {
		return nil, false, nil, err
	}
	if !a.json() {
		fmt.Fprintf(a.err, "%s runs the session itself (data in %s, model %s).\n\n", why, n.cfg.Data, n.modelInUse())
	}
	if c, err = client.New(n.base); err != nil {
		n.stop()
		return nil, false, nil, err
	}
	n.asRoot(c)
	return c, true, func() { c.Close(); n.stop() }, nil
}

// running is one run of a session from the terminal.
type running struct {
	app     *app
	client  *client.Client
	spin    *spinner
	t       transcript
	session string
	alone   bool   // the server ends with this process
	place   string // flags that lead to its data

	environment map[string]any // of a new session, as the wire has it

	ended    bool // the turn has a terminal event
	failed   error
	answered map[string]bool // request ids
	lines    chan string     // of the terminal; nil until somebody is asked
}

// Statuses of a session.
const (
	statusRuns  = "in_progress"
	statusWaits = "requires_action"
)

// errDone ends the stream of a session whose turn is over.
var errDone = errors.New("done")

func (r *running) start(ctx context.Context, f runFlags) error {
	after := "0"
	ready := func() {}
	var sendErr error
	if f.session == "" {
		s, err := r.create(ctx, f)
		if err != nil {
			return err
		}
		r.session = s.ID
	} else {
		s, err := r.client.Session(ctx, f.session)
		if err != nil {
			return err
		}
		r.session, after = s.ID, ""
		ready = func() { sendErr = r.resume(ctx, s, f.prompt) }
	}
	r.spin.Start("waiting for the agent")
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	err := r.client.Follow(ctx, r.session, after, func() {
		if ready(); sendErr != nil {
			cancel(sendErr)
		}
	}, func(e client.Event) error { return r.event(ctx, e) })
	if sendErr != nil {
		if errors.Is(sendErr, errDone) {
			return nil
		}
		return sendErr
	}
	if errors.Is(err, errDone) {
		return r.failed
	}
	return err
}

// create makes the session with its first message.
func (r *running) create(ctx context.Context, f runFlags) (client.Session, error) {
	body := map[string]any{"environment": r.environment, "input": []any{client.UserInput(f.prompt)}}
	if len(f.vaults) > 0 {
		body["vault_ids"] = f.vaults
	}
	inline := map[string]any{}
	switch {
	case f.agent == "":
		inline["model"] = "default"
	case isFile(f.agent):
		file, err := readAgent(f.agent)
		if err != nil {
			return client.Session{}, err
		}
		delete(file.spec, "metadata") // belongs to saved agents
		inline = file.spec
	default:
		g, err := findAgent(ctx, r.client, f.agent)
		if err != nil {
			return client.Session{}, err
		}
		body["agent_id"] = g.ID
	}
	if f.model != "" {
		inline["model"] = f.model
	}
	if len(inline) > 0 {
		body["agent"] = inline
	}
	return r.client.CreateSession(ctx, body)
}

func isFile(path string) bool {
	info, err := os.Stat(path)
	return err == nil && !info.IsDir()
}

// resume sends the message to a session that is followed already, and takes up what waited before
// that: no event tells of it again.
func (r *running) resume(ctx context.Context, before client.Session, prompt string) error {
	if prompt != "" {
		if err := r.client.Send(ctx, r.session, client.Message(prompt)); err != nil {
			return err
		}
		if before.Status != statusWaits && !before.Paused {
			return nil
		}
	}
	s, err := r.client.Session(ctx, r.session)
	switch {
	case err != nil:
		return err
	case s.Status == statusWaits:
		return r.actions(ctx, s)
	case s.Paused && s.Status == statusRuns:
		e := stead.Errorf(stead.KindConflict, "the session is paused: it keeps its input and starts nothing")
		e.Hint = "stead sessions resume " + r.session
		return &waitingError{e}
	case s.Status != statusRuns && prompt == "":
		return errDone
	}
	return nil
}

// event shows one event and answers what it asks for.
func (r *running) event(ctx context.Context, e client.Event) error {
	r.spin.Stop()
	if r.app.json() {
		fmt.Fprintf(r.app.out, "%s\n", e.Raw)
	} else {
		r.t.Event(e)
	}
	if e.Turn != nil && e.Turn.SubagentID != nil {
		e.Type = "" // the session's turn goes on
	}
	switch e.Type {
	case client.EventTurnCompleted, client.EventTurnCancelled:
		r.ended = true
	case client.EventTurnFailed:
		r.ended = true
		r.failed = errors.New("the turn failed")
	case client.EventFailed:
		return stead.Errorf(stead.KindInternal, "the session failed")
	case client.EventIdle:
		if r.ended {
			return errDone
		}
	case client.EventRequiresAction:
		if e.Session != nil {
			if err := r.actions(ctx, *e.Session); err != nil {
				return err
			}
		}
	}
	if r.t.lineStart() {
		r.spin.Start("waiting for the agent")
	}
	return nil
}

// actions answers what waits for a person, if there is one, and ends the run otherwise.
func (r *running) actions(ctx context.Context, s client.Session) error {
	for _, act := range s.RequiredActions {
		id := act.RequestID + act.CallID + act.Place
		if r.answered[id] {
			continue
		}
		r.t.endLine()
		if act.Type == client.ActionFunction || !r.app.asks {
			return r.waiting(ctx, act)
		}
		r.answered[id] = true
		if act.Type == client.ActionConsent { // answered in a browser, likewise
			fmt.Fprintf(r.app.err, "the session waits: %s\n%s\n", describe(act), answerCommand(r.session, act))
			continue
		}
		if act.Type == client.ActionConnect { // answered elsewhere: what follows tells
			how, err := r.answer(ctx, act)
			if err != nil {
				return err
			}
			fmt.Fprintf(r.app.err, "the session waits: %s\nthere: %s\n", describe(act), how)
			continue
		}
		var input any
		if act.Type == client.ActionApproval || act.Type == client.ActionEffect {
			input = client.Decision(act.RequestID, r.askApproval(ctx, act), "", act.Digest())
			if ctx.Err() != nil {
				return ctx.Err() // interrupted, not denied
			}
		} else if input = r.askOutcome(ctx, act); input == nil {
			return r.waiting(ctx, act)
		}
		if err := r.client.Send(ctx, r.session, input); err != nil {
			return err
		}
	}
	return nil
}

// waiting ends the run with the command that answers.
func (r *running) waiting(ctx context.Context, act client.Action) error {
	e := stead.Errorf(stead.KindConflict, "the session waits: %s", describe(act))
	how, err := r.answer(ctx, act)
	if err != nil {
		return err
	}
	e.Hint = how
	if r.alone {
		e.Hint = "stead dev" + r.place + ", and beside it: " + e.Hint
	}
	return &waitingError{e}
}

// answer is the command that answers an action of the session.
func (r *running) answer(ctx context.Context, act client.Action) (string, error) {
	if act.Type != client.ActionConnect {
		return answerCommand(r.session, act), nil
	}
	s, err := r.client.Session(ctx, r.session) // what streams say of it leaves its token out
	return connectCommand(s), err
}

func (r *running) askApproval(ctx context.Context, act client.Action) string {
	switch r.ask(ctx, fmt.Sprintf("%s %s\napprove? [y/N] ", act.Tool(), act.Args())) {
	case "y", "yes":
		return "approve"
	}
	return "deny"
}

// askOutcome returns nil when the person does not know.
func (r *running) askOutcome(ctx context.Context, act client.Action) any {
	switch r.ask(ctx, describe(act)+"\ndid it happen? [y/n, anything else: don't know] ") {
	case "y", "yes":
		return client.Outcome(act.RequestID, "happened", r.ask(ctx, "what did it return? "))
	case "n", "no":
		return client.Outcome(act.RequestID, "not_happened", "")
	}
	return nil
}

// ask puts a question on standard error, so that it is seen when the answer goes to a file. The end of input and an interrupt are empty answers.
func (r *running) ask(ctx context.Context, question string) string {
	fmt.Fprint(r.app.err, question)
	if r.lines == nil {
		r.lines = make(chan string)
		go readLines(r.app.in, r.lines)
	}
	select {
	case line := <-r.lines:
		return strings.TrimSpace(line)
	case <-ctx.Done():
		return ""
	}
}

// readLines feeds lines to whoever asks; a terminal's read can't be interrupted, so it has a
// goroutine of its own that lives as long as the process.
func readLines(in io.Reader, lines chan<- string) {
	defer close(lines)
	for s := bufio.NewScanner(in); s.Scan(); {
		lines <- s.Text()
	}
}
