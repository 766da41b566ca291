package main

import (
	"cmp"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/stead-dev/stead"
	"github.com/stead-dev/stead/internal/client"
	"github.com/stead-dev/stead/internal/config"
)

func (a *app) approvalsCmd() *cobra.Command {
	return group("approvals", "List and answer what waits for a person",
		a.approvalsList(),
		a.approvalsShow(),
		a.approvalsDecide("approve", "Let a tool call, or whatever else waits, go ahead, or a turn over a budget", "approved"),
		a.approvalsDecide("deny", "Refuse a tool call, or whatever else waits, or a user's consent; whoever asked is told. A turn over a budget fails", "denied"),
		a.approvalsEdit(),
		a.approvalsDelegate(),
		a.approvalsAnswer())
}

func (a *app) approvalsList() *cobra.Command {
	return &cobra.Command{
		Use: "list", Short: "List what waits, the oldest first", Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			c, err := a.dial()
			if err != nil {
				return err
			}
			list, err := c.Approvals(cmd.Context())
			if err != nil {
				return err
			}
			now := time.Now()
			var rows [][]string
			raw := []json.RawMessage{}
			for _, ap := range list {
				rows = append(rows, []string{ap.ID, cmp.Or(ap.SessionID, "-"), ago(ap.CreatedAt, now), describe(ap.Action)})
				raw = append(raw, ap.Raw)
			}
			return a.table(raw, "Nothing waits.", []string{"REQUEST", "SESSION", "SINCE", "WHAT"}, rows)
		},
	}
}

func (a *app) approvalsShow() *cobra.Command {
	return &cobra.Command{
		Use: "show REQUEST", Short: "Show what would be done, whose word it takes, and what becomes of it when nobody answers", Args: cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			c, err := a.dial()
			if err != nil {
				return err
			}
			ap, err := findApproval(cmd.Context(), c, args[0], client.ActionApproval, client.ActionEffect, client.ActionBudget, client.ActionOutcome, client.ActionConsent, client.ActionRequest)
			if err != nil {
				return err
			}
			return a.object(map[string]any{"request_id": ap.ID, "session_id": ap.SessionID, "action": ap.Action}, func(w io.Writer) { show(w, ap) })
		},
	}
}

// show writes what waits, a line a field.
func show(w io.Writer, ap client.Approval) {
	line := func(name, value string) {
		if value != "" {
			fmt.Fprintf(w, "%-10s %s\n", name, value)
		}
	}
	line("request", ap.ID)
	line("session", ap.SessionID)
	line("what", cmp.Or(ap.Effect, ap.Action.Tool()))
	line("arguments", printable(ap.Action.Args()))
	if r := ap.Action.Request; r != nil && r.Call != nil {
		showCall(line, r.Call)
	}
	line("why", printable(ap.Action.Why()))
	if r := ap.Action.Request; r != nil && r.ExpiresAt > 0 {
		line("expires", time.Unix(r.ExpiresAt, 0).UTC().Format(time.RFC3339)+", then: "+r.OnExpiry)
	}
	line("digest", ap.Action.Digest())
	if ap.Status != "" && ap.Status != "open" {
		line("status", ap.Status)
		return
	}
	line("answer", answerCommand(ap.SessionID, ap.Action))
}

// showCall writes where a call goes, for whom, and by which agent.
func showCall(line func(name, value string), c *client.CallShown) {
	to := c.Destination
	if s := c.Server; s != nil {
		to = cmp.Or(s.URL, strings.Join(s.Command, " "))
	}
	by := map[string]string{"operator": "of the configuration", "agent": "named by the agent itself", "environment": "in its environment", "runtime": "of the runtime"}[c.Origin]
	line("server", printable(strings.TrimSpace(to+" ("+cmp.Or(by, c.Origin)+")")))
	line("class", c.Class)
	line("for", printable(c.For))
	line("behind", printable(strings.Join(c.Behind, ", ")))
	agent := c.Agent.ID
	if c.Agent.Version > 0 {
		agent += fmt.Sprintf(", version %d", c.Agent.Version)
	}
	if c.Agent.Base != "" {
		agent += ", made from " + c.Agent.Base + " and not that"
	}
	line("agent", printable(agent))
	line("has read", printable(strings.Join(c.Untrusted, ", ")))
}

func (a *app) approvalsDecide(verb, short, done string) *cobra.Command {
	var reason, usd string
	var more client.More
	c := &cobra.Command{
		Use: verb + " REQUEST", Short: short, Args: cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			c, err := a.dial()
			if err != nil {
				return err
			}
			kinds := []string{client.ActionApproval, client.ActionEffect, client.ActionBudget, client.ActionRequest}
			if verb == "deny" { // a user's consent nobody gives for them
				kinds = append(kinds, client.ActionConsent)
			}
			ap, err := findApproval(cmd.Context(), c, args[0], kinds...)
			if err != nil {
				return err
			}
			what, input := cmp.Or(ap.Effect, ap.Action.Tool()), client.Decision(ap.ID, verb, reason, ap.Action.Digest())
			if usd != "" {
				var d config.Dollars
				if err := d.UnmarshalYAML([]byte(usd)); err != nil {
					return err
				}
				more.Cost = int64(d)
			}
			switch {
			case ap.Action.Type == client.ActionBudget:
				what, input = "budget "+ap.Action.BudgetID, client.BudgetDecision(ap.ID, verb, reason, more)
			case more != client.More{}:
				return stead.Invalid("request", "request %s is no budget's: nothing more can be given", ap.ID)
			}
			if err := sendAnswer(cmd.Context(), c, ap, input); err != nil {
				return err
			}
			return a.object(map[string]string{"request_id": ap.ID, "session_id": ap.SessionID, "decision": verb}, func(w io.Writer) {
				fmt.Fprintf(w, "%s %s\n", what, done)
			})
		},
	}
	c.Flags().StringVar(&reason, "reason", "", "why; the agent is told")
	if verb == "approve" {
		c.Flags().StringVar(&usd, "usd", "", "of a budget: so many dollars beyond what was used, not one answer of the model")
		c.Flags().Int64Var(&more.Tokens, "tokens", 0, "of a budget: so many tokens more")
		c.Flags().Int64Var(&more.Calls, "calls", 0, "of a budget: so many calls more")
	}
	return c
}

func (a *app) approvalsEdit() *cobra.Command {
	var reason, arguments string
	c := &cobra.Command{
		Use:   "edit REQUEST --arguments JSON",
		Short: "Let a tool call go ahead with other arguments",
		Long: "Approves a tool call with other arguments than the agent asked for. They must fit the tool, and policies are asked about\n" +
			"them before the call is made. What others approved before is void: they are asked anew. The agent is told.",
		Args: cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			if !json.Valid([]byte(arguments)) {
				e := stead.Invalid("arguments", "--arguments is no JSON object")
				e.Hint = `As in --arguments '{"amount": 40}'. stead approvals show REQUEST prints those that wait.`
				return e
			}
			return a.answerCall(cmd.Context(), args[0], map[string]string{"decision": "approve"}, "approved with "+printable(arguments), func(ap client.Approval) any {
				return client.Edit(ap.ID, reason, ap.Action.Digest(), json.RawMessage(arguments))
			})
		},
	}
	c.Flags().StringVar(&arguments, "arguments", "", "what the call is made with instead: a JSON object")
	c.Flags().StringVar(&reason, "reason", "", "why; it stands in the journal and the audit log")
	_ = c.MarkFlagRequired("arguments")
	return c
}

// answerCall answers the question about a tool call, and says what was done: about whom, decided and, for people, in words.
func (a *app) answerCall(ctx context.Context, request string, decided map[string]string, words string, input func(client.Approval) any) error {
	c, err := a.dial()
	if err != nil {
		return err
	}
	ap, err := findApproval(ctx, c, request, client.ActionApproval, client.ActionEffect, client.ActionRequest)
	if err != nil {
		return err
	}
	if err := sendAnswer(ctx, c, ap, input(ap)); err != nil {
		return err
	}
	decided["request_id"], decided["session_id"] = ap.ID, ap.SessionID
	return a.object(decided, func(w io.Writer) { fmt.Fprintf(w, "%s %s\n", cmp.Or(ap.Effect, ap.Action.Tool()), words) })
}

// sendAnswer sends an answer to where the question is kept.
func sendAnswer(ctx context.Context, c *client.Client, ap client.Approval, input any) error {
	if ap.Action.Type == client.ActionRequest {
		return c.Answer(ctx, ap.ID, input)
	}
	return c.Send(ctx, ap.SessionID, input)
}

func (a *app) approvalsDelegate() *cobra.Command {
	var reason, to string
	c := &cobra.Command{
		Use:   "delegate REQUEST --to user:ID | service:ID | role:ROLE",
		Short: "Hand an approval to somebody who may give it",
		Long: "Hands the next approval of what a policy holds to a user, a service or a role. Nobody's rights grow by it: it counts\n" +
			"only if it would have counted before. They can hand it on; whoever handed it to them can take it back.",
		Args: cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			kind, id, ok := strings.Cut(to, ":")
			if !ok || id == "" || !slices.Contains([]string{"user", "service", "role"}, kind) {
				return stead.Invalid("to", "--to is user:ID, service:ID or role:ROLE, not %.80q", to)
			}
			return a.answerCall(cmd.Context(), args[0], map[string]string{"decision": "delegate", "to": to}, "handed to "+printable(to), func(ap client.Approval) any {
				return client.Delegate(ap.ID, reason, kind, id)
			})
		},
	}
	c.Flags().StringVar(&to, "to", "", "user:ID, service:ID or role:ROLE")
	c.Flags().StringVar(&reason, "reason", "", "why; it stands in the journal and the audit log")
	_ = c.MarkFlagRequired("to")
	return c
}

func (a *app) approvalsAnswer() *cobra.Command {
	var happened, result, failed string
	var not, giveUp bool
	c := &cobra.Command{
		Use:   "answer REQUEST | SESSION/CALL",
		Short: "Say what happened to a call whose outcome is unknown, or give a function's result",
		Long: "A call whose outcome a crash took away is never repeated by itself. Look whether it happened, then say so:\n" +
			"  --happened RESULT   it did, and this is what it returned\n" +
			"  --not-happened      it did not: run it\n" +
			"  --give-up           nobody can know: the agent is told so\n" +
			"A function call (SESSION/CALL) is answered with --result or --failed.",
		Args: cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			c, err := a.dial()
			if err != nil {
				return err
			}
			if session, call, ok := strings.Cut(args[0], "/"); ok {
				return a.answerFunction(cmd, c, session, call, result, failed)
			}
			decision := ""
			switch {
			case not:
				decision = "not_happened"
			case giveUp:
				decision = "give_up"
			case cmd.Flags().Changed("happened"):
				decision = "happened"
			}
			return a.answerOutcome(cmd.Context(), c, args[0], decision, happened)
		},
	}
	c.Flags().StringVar(&happened, "happened", "", "it happened, and returned this text")
	c.Flags().BoolVar(&not, "not-happened", false, "it did not happen: run it")
	c.Flags().BoolVar(&giveUp, "give-up", false, "nobody can know")
	c.Flags().StringVar(&result, "result", "", "a function's result")
	c.Flags().StringVar(&failed, "failed", "", "a function's error")
	c.MarkFlagsMutuallyExclusive("happened", "not-happened", "give-up", "result", "failed")
	c.MarkFlagsOneRequired("happened", "not-happened", "give-up", "result", "failed")
	return c
}

func (a *app) answerOutcome(ctx context.Context, c *client.Client, request, decision, output string) error {
	if decision == "" {
		e := stead.Invalid("request", "%s is an unknown outcome: a function's result does not answer it", request)
		e.Hint = "Say --happened RESULT, --not-happened or --give-up."
		return e
	}
	ap, err := findApproval(ctx, c, request, client.ActionOutcome)
	if err != nil {
		return err
	}
	if err := c.Send(ctx, ap.SessionID, client.Outcome(ap.ID, decision, output)); err != nil {
		return err
	}
	return a.object(map[string]string{"request_id": ap.ID, "session_id": ap.SessionID, "decision": decision}, func(w io.Writer) {
		fmt.Fprintf(w, "%s answered: %s\n", ap.Action.Tool(), strings.ReplaceAll(decision, "_", " "))
	})
}

func (a *app) answerFunction(cmd *cobra.Command, c *client.Client, session, call, result, failed string) error {
	if !cmd.Flags().Changed("result") && !cmd.Flags().Changed("failed") {
		e := stead.Invalid("request", "%s is a function call: it needs a result", call)
		e.Hint = "Say --result RESULT or --failed ERROR."
		return e
	}
	s, err := c.Session(cmd.Context(), session)
	if err != nil {
		return err
	}
	for _, act := range s.RequiredActions {
		if act.Type == client.ActionFunction && act.CallID == call {
			err := c.Send(cmd.Context(), session, client.ToolResult(act, !cmd.Flags().Changed("failed"), result, failed))
			if err != nil {
				return err
			}
			return a.object(map[string]string{"call_id": call, "session_id": session}, func(w io.Writer) {
				fmt.Fprintf(w, "%s answered\n", act.Tool())
			})
		}
	}
	return stead.NotFound("waiting function call", call)
}

// findApproval looks a request up: its id leads to its session.
func findApproval(ctx context.Context, c *client.Client, request string, kinds ...string) (client.Approval, error) {
	if strings.HasPrefix(request, "apr_") {
		ap, err := c.Approval(ctx, request)
		if stead.KindOf(err) == stead.KindNotFound {
			err = notWaiting(request)
		}
		if err == nil && !slices.Contains(kinds, client.ActionRequest) {
			err = stead.Errorf(stead.KindInvalid, "request %s waits for an approval; answer it with: %s", request, answerCommand("", ap.Action))
		}
		return ap, err
	}
	id, ok := stead.SessionOf(request)
	if !ok {
		return client.Approval{}, notWaiting(request)
	}
	s, err := c.Session(ctx, string(id))
	if stead.KindOf(err) == stead.KindNotFound {
		return client.Approval{}, notWaiting(request)
	} else if err != nil {
		return client.Approval{}, err
	}
	for _, act := range s.RequiredActions {
		if act.RequestID != request {
			continue
		}
		if !slices.Contains(kinds, act.Type) {
			e := stead.Errorf(stead.KindInvalid, "request %s is of type %s", request, act.Type)
			e.Hint = "Answer it with: " + answerCommand(s.ID, act)
			if act.Type == client.ActionConsent {
				e.Hint = "Its user says yes or no: " + answerCommand(s.ID, act)
			}
			return client.Approval{}, e
		}
		return client.Approval{ID: request, SessionID: s.ID, Action: act}, nil
	}
	return client.Approval{}, notWaiting(request)
}

func notWaiting(request string) error {
	e := stead.NotFound("waiting request", request)
	e.Hint = "See what waits with `stead approvals list`; it may have been answered already."
	return e
}
