package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/url"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/stead-dev/stead"
	"github.com/stead-dev/stead/internal/identity"
	"github.com/stead-dev/stead/internal/policy"
	"github.com/stead-dev/stead/internal/policy/cedar"
	"github.com/stead-dev/stead/internal/policy/replay"
	"github.com/stead-dev/stead/internal/policy/trial"
	"github.com/stead-dev/stead/internal/session"
)

func (a *app) policyCmd() *cobra.Command {
	return group("policy", "Check and try policies", a.policySchema(), a.policyValidate(), a.policyTest(), a.policyReplay(), a.policySetsCmd())
}

func (a *app) policySchema() *cobra.Command {
	return &cobra.Command{
		Use: "schema", Short: "Show what policies can speak of", Args: cobra.NoArgs,
		RunE: func(*cobra.Command, []string) error {
			_, err := io.WriteString(a.out, cedar.SchemaText())
			return err
		},
	}
}

// readPolicies loads files and directories of policies.
func readPolicies(paths []string, deny bool) (*cedar.Set, error) {
	var sources []cedar.Source
	for _, p := range paths {
		info, err := os.Stat(p)
		if err != nil {
			return nil, stead.Wrap(stead.KindInvalid, err, "policies can't be read from %s", p)
		}
		if info.IsDir() {
			found, err := cedar.ReadDir(p)
			if err != nil {
				return nil, err
			}
			sources = append(sources, found...)
			continue
		}
		text, err := os.ReadFile(p)
		if err != nil {
			return nil, stead.Wrap(stead.KindInvalid, err, "policies can't be read")
		}
		sources = append(sources, cedar.Source{Name: p, Text: text})
	}
	return cedar.Load(sources, cedar.Options{Deny: deny, Approvers: identity.Approvers()})
}

// decider is roles, then a set of policies, as a server has them, then sets of a project.
func decider(set *cedar.Set, project *cedar.Project, budgets cedar.Budgets) policy.Authorizer {
	d := cedar.New(identity.Authorizer{}, time.Now, slog.New(slog.DiscardHandler))
	d.Replace(set)
	return policy.NewJointly(d.Budgeted(budgets).With(func(context.Context, stead.ProjectID) (*cedar.Project, error) { return project, nil }))
}

func (a *app) policyValidate() *cobra.Command {
	return &cobra.Command{
		Use: "validate PATH…", Short: "Check policies against the schema: files or directories", Args: cobra.MinimumNArgs(1),
		RunE: func(_ *cobra.Command, args []string) error {
			set, err := readPolicies(args, false)
			if err != nil {
				return err
			}
			doubts := set.Doubts(identity.Roles())
			return a.object(map[string]any{"policies": set.Rules(), "version": set.Version(), "doubts": doubts}, func(w io.Writer) {
				fmt.Fprintf(w, "%d policies are right\n", len(set.Rules()))
				writeDoubts(w, doubts)
			})
		},
	}
}

// writeDoubts says which policies never match by what they name.
func writeDoubts(w io.Writer, doubts policy.Mistakes) {
	for _, d := range doubts {
		fmt.Fprintf(w, "doubtful: %s\n", d)
	}
}

func (a *app) policyTest() *cobra.Command {
	var dir string
	var sets []string
	c := &cobra.Command{
		Use: "test FILE…", Short: "Run cases: requests and what is expected of them", Args: cobra.MinimumNArgs(1),
		Long: "Test runs the cases in YAML files (docs/policy.md) and ends with 1 when one of them fails.",
		RunE: func(cmd *cobra.Command, args []string) error {
			project, err := a.projectSets(cmd.Context(), sets)
			if err != nil {
				return err
			}
			return a.cases(args, func(file string) (ran, failed int, err error) {
				return a.testPolicies(cmd.Context(), file, dir, project)
			})
		},
	}
	c.Flags().StringVar(&dir, "policies", "", "file or directory of policies (default: what the file of cases names)")
	setsFlag(c, &sets)
	return c
}

// cases runs files of cases, and fails when one of these does.
func (a *app) cases(files []string, test func(file string) (ran, failed int, err error)) error {
	ran, failed := 0, 0
	for _, file := range files {
		n, bad, err := test(file)
		if err != nil {
			return fmt.Errorf("%s: %w", file, err)
		}
		ran, failed = ran+n, failed+bad
	}
	fmt.Fprintf(a.out, "%d cases, %d failed\n", ran, failed)
	if failed > 0 {
		return stead.Errorf(stead.KindInvalid, "%d of %d cases failed", failed, ran)
	}
	return nil
}

func (a *app) testPolicies(ctx context.Context, file, dir string, project *cedar.Project) (ran, failed int, err error) {
	data, err := os.ReadFile(file)
	if err != nil {
		return 0, 0, stead.Wrap(stead.KindInvalid, err, "the cases can't be read")
	}
	cases, err := trial.Parse(data, identity.Roles())
	if err != nil {
		return 0, 0, err
	}
	var dirs []string
	switch {
	case dir != "":
		dirs = []string{dir}
	case cases.Policies != "":
		dirs = []string{filepath.Join(filepath.Dir(file), cases.Policies)}
	case project == nil:
		return 0, 0, stead.Invalid("policies", "the file names no policies: write policies: DIRECTORY, or use --policies or --set")
	}
	set, err := readPolicies(dirs, cases.Default == string(policy.Denied))
	if err != nil {
		return 0, 0, err
	}
	d := decider(set, project, nil)
	for _, c := range cases.Cases {
		if err := c.Run(ctx, d); err != nil {
			failed++
			fmt.Fprintf(a.out, "FAIL %s: %s\n", c.Name, err)
		}
	}
	return len(cases.Cases), failed, nil
}

// maxReplayed is how many sessions of a server one replay takes, the newest.
const maxReplayed = 1000

func (a *app) policyReplay() *cobra.Command {
	var dir string
	var sets []string
	var deny, onTrial bool
	c := &cobra.Command{
		Use: "replay [FILE | SESSION]…", Short: "Show which recorded decisions policies would change",
		Long: "Replay asks policies about what recorded sessions did: exported files, sessions of a running server\n" +
			"by their ids, or without arguments its newest " + strconv.Itoa(maxReplayed) + ". Nothing is done or changed.\n" +
			"Of what stands in no journal it says that it was not asked about.",
		Example: "  stead policy replay --set payments=payments.cedar   # before it is pushed\n  stead policy replay --policies ./policies --set payments@3",
		RunE: func(cmd *cobra.Command, args []string) error {
			project, err := a.projectSets(cmd.Context(), sets)
			if err != nil {
				return err
			}
			var dirs []string
			if dir != "" {
				dirs = []string{dir}
			}
			set, err := readPolicies(dirs, deny)
			if err != nil {
				return err
			}
			r := &replaying{app: a, onTrial: onTrial, list: []changeRow{}, gaps: map[replay.Gap]int{}}
			r.decider = decider(set, project, r.budgets)
			if err := r.all(cmd.Context(), args); err != nil {
				return err
			}
			return r.print()
		},
	}
	c.Flags().StringVar(&dir, "policies", "", "file or directory of policies")
	c.Flags().BoolVar(&deny, "deny", false, "what no policy speaks of is refused")
	c.Flags().BoolVar(&onTrial, "shadow", false, "policies in shadow count as if they were in force")
	setsFlag(c, &sets)
	c.MarkFlagsOneRequired("policies", "set")
	return c
}

// replaying collects what policies would change.
type replaying struct {
	*app
	decider         policy.Authorizer
	onTrial         bool
	sessions, asked int
	list            []changeRow
	gaps            map[replay.Gap]int     // of how many sessions
	blind           map[policy.Effect]bool // of the session that is read: nobody knows how far budgets were used up
}

// budgets says that nobody knows how far they were used up: what was known stands with the decision, and policies that look at them are asked with it.
func (r *replaying) budgets(_ context.Context, req policy.Request) (*policy.Budgets, error) {
	r.blind[req.Effect] = true
	return nil, nil
}

// gapRow is a sort of effects that could not be asked about.
type gapRow struct {
	Effect   policy.Effect `json:"effect"`
	Why      string        `json:"why"`
	Sessions int           `json:"sessions"`
}

// changeRow is a decision that would be another.
type changeRow struct {
	Session  stead.SessionID `json:"session_id"`
	Seq      stead.Seq       `json:"seq"`
	Effect   policy.Effect   `json:"effect"`
	Resource string          `json:"resource"`
	Was      policy.Outcome  `json:"was"`
	Now      policy.Outcome  `json:"now"`
	Policies []string        `json:"policies"`
	Reason   string          `json:"reason"`
}

func (r *replaying) all(ctx context.Context, args []string) error {
	if len(args) == 0 {
		c, err := r.dial()
		if err != nil {
			return err
		}
		found, err := c.Sessions(ctx, url.Values{"order": {"desc"}}, maxReplayed)
		if err != nil {
			return err
		}
		for _, s := range found {
			args = append(args, s.ID)
		}
	}
	for _, what := range args {
		if err := r.one(ctx, what); err != nil {
			return fmt.Errorf("%s: %w", what, err)
		}
	}
	return nil
}

// one replays an exported file, or a session of the server.
func (r *replaying) one(ctx context.Context, what string) error {
	if f, err := os.Open(what); err == nil {
		defer f.Close()
		return r.read(ctx, f)
	} else if !strings.HasPrefix(what, stead.SessionPrefix) {
		return stead.Wrap(stead.KindInvalid, err, "it is neither a file nor a session's id")
	}
	c, err := r.dial()
	if err != nil {
		return err
	}
	in, out := io.Pipe()
	go func() { out.CloseWithError(c.Export(ctx, what, out)) }()
	err = r.read(ctx, in)
	return errors.Join(err, in.CloseWithError(err)) // an export that nobody reads on ends
}

func (r *replaying) read(ctx context.Context, in io.Reader) error {
	head, events, err := session.ReadExport(in, nil, func(string, []byte) error { return nil })
	if err != nil {
		return err
	}
	said, err := replay.Effects(stead.SessionKey{Project: head.Project, Session: head.Session}, events)
	if err != nil {
		return err
	}
	r.blind = map[policy.Effect]bool{}
	changed, err := replay.Changes(ctx, r.decider, said.Asked, r.onTrial)
	if err != nil {
		return err
	}
	r.sessions, r.asked = r.sessions+1, r.asked+len(said.Asked)
	for _, g := range said.Gaps {
		r.gaps[g]++
	}
	for effect := range r.blind {
		r.gaps[replay.Gap{Effect: effect, Why: "with how far budgets were used up, which is in no journal where no policy looked at it"}]++
	}
	for _, c := range changed {
		r.list = append(r.list, changeRow{head.Session, c.Seq, c.Request.Effect, c.Request.Resource, c.Then, c.Now, c.Policies, c.Reason})
	}
	return nil
}

func (r *replaying) print() error {
	var rows [][]string
	for _, c := range r.list {
		rows = append(rows, []string{string(c.Session), strconv.FormatInt(int64(c.Seq), 10), string(c.Effect), c.Resource, string(c.Was), string(c.Now), c.Reason})
	}
	notAsked, none := r.notAsked(), "Nothing would change."
	if len(notAsked) > 0 {
		none = "Nothing of what was asked about would change."
	}
	err := r.object(map[string]any{"data": r.list, "not_asked": notAsked}, func(w io.Writer) {
		writeTable(w, none, []string{"SESSION", "EVENT", "EFFECT", "OF", "WAS", "WOULD BE", "WHY"}, rows)
	})
	fmt.Fprintf(r.err, "%d decisions of %d sessions: %d would change\n", r.asked, r.sessions, len(r.list))
	for _, g := range notAsked {
		fmt.Fprintf(r.err, "not asked: %s, of %d sessions: %s\n", g.Effect, g.Sessions, g.Why)
	}
	return err
}

// notAsked lists what could not be asked about.
func (r *replaying) notAsked() []gapRow {
	out := []gapRow{}
	for g, n := range r.gaps {
		out = append(out, gapRow{g.Effect, g.Why, n})
	}
	slices.SortFunc(out, func(a, b gapRow) int { return strings.Compare(string(a.Effect)+a.Why, string(b.Effect)+b.Why) })
	return out
}
