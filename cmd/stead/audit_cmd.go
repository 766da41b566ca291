package main

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/url"
	"os"
	"time"

	"github.com/spf13/cobra"

	"github.com/stead-dev/stead"
	"github.com/stead-dev/stead/internal/audit"
	"github.com/stead-dev/stead/internal/client"
)

func (a *app) auditCmd() *cobra.Command {
	return group("audit", "Who was allowed what: list it, take it away, prove that nothing was changed", a.auditList(), a.auditExport(), a.auditVerify(), a.auditVerifyCertificate())
}

func (a *app) auditList() *cobra.Command {
	var limit int
	values := map[string]*string{}
	c := &cobra.Command{
		Use: "list", Short: "List records, the newest first", Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			c, err := a.dial()
			if err != nil {
				return err
			}
			q := url.Values{}
			for name, v := range values {
				if *v != "" {
					q.Set(name, *v)
				}
			}
			found, err := c.AuditRecords(cmd.Context(), q, limit)
			if err != nil {
				return err
			}
			raw := []json.RawMessage{}
			var rows [][]string
			for _, f := range found {
				r, err := wholeRecord(auditRow(0, f))
				if err != nil {
					return err
				}
				shown := f.Record
				if len(f.Texts) > 0 {
					if shown, err = r.Encode(); err != nil {
						return err
					}
				}
				raw = append(raw, shown)
				rows = append(rows, []string{f.ID, time.UnixMilli(r.At).UTC().Format(time.DateTime), printable(string(r.Principal.Kind) + " " + r.Principal.ID), orDash(string(r.Principal.Role)),
					printable(r.Action), string(r.Decision), orDash(oneLine(r.Detail, 60))})
			}
			return a.table(raw, "Nothing was recorded.", []string{"RECORD", "TIME (UTC)", "WHO", "ROLE", "ACTION", "DECISION", "CALL"}, rows)
		},
	}
	c.Flags().IntVar(&limit, "limit", 50, "at most so many; 0: all")
	for name, usage := range map[string]string{"from": "from this day, month or time on (UTC)", "to": "before this day, month or time (UTC)", "action": "only this action, as key.write",
		"decision": "only allow, deny or require_approval", "principal": "only by this principal's id", "resource": "only about this id"} {
		values[name] = c.Flags().String(name, "", usage)
	}
	return c
}

func (a *app) auditExport() *cobra.Command {
	var format string
	c := &cobra.Command{
		Use: "export", Short: "Write the project's whole log to standard output", Args: cobra.NoArgs,
		Long: "Write the project's whole log to standard output: as JSON lines, with the checkpoints that stead audit verify\n" +
			"holds it against, or as events of OCSF (API Activity), which can't be verified.",
		RunE: func(cmd *cobra.Command, _ []string) error {
			if format != "jsonl" && format != "ocsf" {
				return stead.Invalid("format", "format must be jsonl or ocsf, not %.40q", format)
			}
			c, err := a.dial()
			if err != nil {
				return err
			}
			points, err := c.AuditCheckpoints(cmd.Context())
			if err != nil {
				return err
			}
			if len(points) == 0 {
				return stead.Errorf(stead.KindNotFound, "nothing was recorded yet")
			}
			last := points[len(points)-1].Size
			if format == "ocsf" {
				return exportOCSF(cmd.Context(), c, last, a.out)
			}
			var notes []audit.Note
			for _, p := range points {
				notes = append(notes, audit.Note{Size: p.Size, Text: p.Note})
			}
			var base audit.Tree
			if len(points[0].Tree) > 0 {
				if base, err = audit.TreeOf(points[0].Size, points[0].Tree); err != nil {
					return err
				}
			}
			e, err := audit.NewExporter(a.out, stead.ProjectID(points[0].Project), points[0].Verifier, base, notes)
			if err != nil {
				return err
			}
			err = eachRecord(cmd.Context(), c, last, func(row audit.Row) error { return e.Record(row) })
			return errors.Join(err, e.Close())
		},
	}
	c.Flags().StringVar(&format, "format", "jsonl", "jsonl or ocsf")
	return c
}

func exportOCSF(ctx context.Context, c *client.Client, last int64, out io.Writer) error {
	w := bufio.NewWriter(out)
	err := eachRecord(ctx, c, last, func(row audit.Row) error {
		r, err := wholeRecord(row)
		if err != nil {
			return err
		}
		line, err := r.OCSF()
		if err == nil {
			_, err = w.Write(append(line, '\n'))
		}
		return err
	})
	return errors.Join(err, w.Flush())
}

// eachRecord yields the records up to a place, in order.
func eachRecord(ctx context.Context, c *client.Client, last int64, yield func(audit.Row) error) error {
	for after := ""; ; {
		page, err := c.AuditPage(ctx, after)
		if err != nil || len(page) == 0 {
			return err
		}
		for _, r := range page {
			seq, err := audit.SeqOf(r.ID)
			if err != nil || seq > last {
				return err
			}
			if err := yield(auditRow(seq, r)); err != nil {
				return err
			}
			after = r.ID
		}
	}
}

// auditRow is a record as it is stored, with what people wrote into it.
func auditRow(seq int64, r client.AuditRecord) audit.Row {
	row := audit.Row{Seq: seq, Data: r.Record}
	for _, t := range r.Texts {
		row.Texts = append(row.Texts, audit.Text{Digest: t.Digest, Salt: t.Salt, Text: t.Text})
	}
	return row
}

// wholeRecord is a record with what people wrote into it.
func wholeRecord(row audit.Row) (audit.Record, error) {
	r, err := audit.Decode(row.Data)
	return r.With(row.Texts), err
}

func (a *app) auditVerify() *cobra.Command {
	var keys []string
	var against string
	c := &cobra.Command{
		Use: "verify FILE", Short: "Prove, without a server, that nothing in an export was changed, dropped or reordered", Args: cobra.ExactArgs(1),
		Long: "Prove, without a server, that nothing in an export was changed, dropped or reordered. Keep the key apart from the\n" +
			"server and give it with --key: else the one that the export names is believed. Keep an export and give it with\n" +
			"--against when you verify a later one: then a log that was cut short, or written anew with the server's own key,\n" +
			"is found too. Ends with 1 when something is wrong.",
		RunE: func(cmd *cobra.Command, args []string) error {
			verifiers, err := parseVerifiers(keys)
			if err != nil {
				return err
			}
			var earlier []audit.Checkpoint
			if against != "" {
				known, err := vouchedFor(verifiers, against, args[0])
				if err != nil {
					return err
				}
				if earlier, err = readFile(against, func(r io.Reader) ([]audit.Checkpoint, error) { return audit.Checkpoints(r, known) }); err != nil {
					return wrong(against, err)
				}
			}
			if verifiers, err = vouchedFor(verifiers, args[0]); err != nil {
				return err
			}
			v, err := readFile(args[0], func(r io.Reader) (audit.Verified, error) { return audit.Verify(r, verifiers, earlier) })
			if err != nil {
				return wrong(args[0], err)
			}
			return a.object(map[string]any{"ok": true, "project": v.Project, "records": v.Records, "begins": v.Begins, "uncompared": v.Uncompared, "checkpoints": v.Checkpoints, "texts": v.Texts, "erased": v.Erased, "key": v.Key, "key_given": len(keys) > 0},
				func(w io.Writer) { writeVerified(w, v, len(keys) > 0) })
		},
	}
	c.Flags().StringArrayVar(&keys, "key", nil, "the server's public key, stead+…; may be given several times")
	c.Flags().StringVar(&against, "against", "", "an earlier export: this one must go on from it")
	return c
}

func writeVerified(w io.Writer, v audit.Verified, given bool) {
	fmt.Fprintf(w, "ok: %d records of project %s, %d checkpoints, the last of %s\n", v.Records-v.Begins, printable(string(v.Project)), v.Checkpoints, time.UnixMilli(v.Last.At).UTC().Format(time.RFC3339))
	if v.Begins > 0 {
		fmt.Fprintf(w, "the log begins behind record %d: those before were removed, %d earlier checkpoints of fewer could not be compared\n", v.Begins, v.Uncompared)
	}
	if v.Erased > 0 {
		fmt.Fprintf(w, "%d reasons that people gave are not in it: they were erased, or left out of the file\n", v.Erased)
	}
	if !given {
		fmt.Fprintf(w, "signed by the key that the file itself names: %s\nCompare it with the one that you keep, or give that with --key.\n", printable(v.Key))
	}
}

func parseVerifiers(keys []string) (out []audit.Verifier, err error) {
	for _, k := range keys {
		v, err := audit.ParseVerifier(k)
		if err != nil {
			return nil, err
		}
		out = append(out, v)
	}
	return out, nil
}

// vouchedFor adds what exports say of changes of keys, each of which the key before has signed.
func vouchedFor(keys []audit.Verifier, files ...string) (_ []audit.Verifier, err error) {
	for _, name := range files {
		if keys, err = readFile(name, func(r io.Reader) ([]audit.Verifier, error) { return audit.Vouched(r, keys) }); err != nil {
			return nil, err
		}
	}
	return keys, nil
}

func readFile[T any](name string, read func(io.Reader) (T, error)) (T, error) {
	f, err := os.Open(name)
	if err != nil {
		var none T
		return none, stead.Wrap(stead.KindInvalid, err, "the export can't be read")
	}
	defer f.Close()
	return read(f)
}

// wrong says what is wrong with a file, and where.
func wrong(name string, err error) error {
	if p, ok := errors.AsType[*audit.Problem](err); ok {
		return stead.Errorf(stead.KindConflict, "%s does not hold: %s", name, p)
	}
	return err
}
