package main

import (
	"fmt"
	"io"
	"os"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/stead-dev/stead"
	"github.com/stead-dev/stead/internal/client"
	"github.com/stead-dev/stead/internal/erasure"
)

const erasurePoll = 200 * time.Millisecond

func (a *app) eraseCmd() *cobra.Command {
	var of client.Erasing
	var scope, id, out string
	var forks bool
	c := &cobra.Command{
		Use: "erase --session SESSION [--item ITEM] | --user USER | --store STORE --memory MEMORY | --scope TYPE:ID [--store STORE] | --erasure ERASURE", Short: "Erase all that there is of a session or of a user, what an item says, a memory or a scope, to a signed certificate", Args: cobra.NoArgs,
		Long: "With --item one item of the session is redacted: a message, a call, an output; the session stays. Its turn must have ended.\n" +
			"USER is the id of a principal: its sessions go, what was remembered about it, and the files that it uploaded. Turns in\n" +
			"progress are cancelled. With --memory or --scope (such as team:blue, user:ada, project) memories go, and what was made of them. What sessions were shown of them goes from there; with --answers what their agents said since goes, too. It goes on when this command is interrupted: --erasure waits for one that was begun before.\n" +
			"Check the certificate with stead audit verify-certificate.",
		Example: "  stead erase --user ada --out ada.cert",
		RunE: func(cmd *cobra.Command, _ []string) error {
			given := 0
			for _, s := range []string{of.Session, of.User, of.Memory, scope, id} {
				if s != "" {
					given++
				}
			}
			if given != 1 || of.Item != "" && of.Session == "" || of.Store != "" && of.Memory == "" && scope == "" || of.Memory != "" && of.Store == "" {
				return stead.Errorf(stead.KindInvalid, "say either --session (and which --item of it), --user, --memory (and which --store it is of), --scope or --erasure")
			}
			if err := idAlone(of.User); err != nil {
				return err
			}
			of.ScopeType, of.ScopeID, _ = strings.Cut(scope, ":")
			c, err := a.dial()
			if err != nil {
				return err
			}
			var e client.Erasure
			if id == "" {
				if e, err = c.Erase(cmd.Context(), of, forks); err != nil {
					return err
				}
				id = e.ID
			}
			for e.Status != erasure.Completed {
				if e, err = c.Erasure(cmd.Context(), id); err != nil {
					return err
				}
				if e.Status == erasure.Held {
					held := stead.Errorf(stead.KindForbidden, "the erasure %s is held: %s", id, e.Problem)
					held.Hint = "It goes on by itself once policies let it. Wait for its certificate then: stead erase --erasure " + id
					return held
				}
				if e.Status != erasure.Completed {
					select {
					case <-cmd.Context().Done():
						return cmd.Context().Err()
					case <-time.After(erasurePoll):
					}
				}
			}
			if out != "" {
				const private = 0o600
				if err := os.WriteFile(out, []byte(e.Certificate), private); err != nil {
					return stead.Wrap(stead.KindInvalid, err, "the certificate can't be written; fetch it again with --erasure %s", id)
				}
			}
			return a.object(e.Raw, func(w io.Writer) {
				g := e.Erased
				all := erasure.Totals{Sessions: g.Sessions, Events: g.Events, Blobs: g.Blobs, Memories: g.Memories, Files: g.Files, Items: g.Items, Credentials: g.Credentials, Texts: g.Texts, Entries: g.Entries, ShownSessions: g.ShownSessions, ShownItems: g.ShownItems, ShownFiles: g.ShownFiles}
				fmt.Fprintf(w, "%s: erased are %s\n", e.ID, erasedWords(all))
				if out == "" {
					fmt.Fprint(w, e.Certificate)
				}
			})
		},
	}
	c.Flags().StringVar(&of.Store, "store", "", "the memory store that has the memory, or in which alone the scope goes")
	c.Flags().StringVar(&of.Memory, "memory", "", "the memory to erase")
	c.Flags().StringVar(&scope, "scope", "", "the scope whose memories to erase: user:ID, agent:ID, team:ID or project")
	c.Flags().StringVar(&of.Session, "session", "", "the session to erase, or that has the item")
	c.Flags().StringVar(&of.Item, "item", "", "the item of the session to redact")
	c.Flags().StringVar(&of.User, "user", "", "the user to erase")
	c.Flags().StringVar(&id, "erasure", "", "an erasure that was begun before")
	c.Flags().BoolVar(&forks, "forks", false, "copies of the session go too")
	c.Flags().BoolVar(&of.Answers, "answers", false, "what agents said in sessions since they were shown any of it goes too")
	c.Flags().StringVar(&out, "out", "", "where to write the certificate")
	return c
}

// erasedWords says what went.
func erasedWords(g erasure.Totals) string {
	reasons := ""
	if g.Texts > 0 {
		reasons = fmt.Sprintf(", %d reasons in the audit log", g.Texts)
	}
	if g.ShownItems > 0 {
		reasons += fmt.Sprintf(", and it was taken out of %d items of %d sessions that were shown it", g.ShownItems, g.ShownSessions)
	}
	if g.ShownFiles > 0 {
		reasons += fmt.Sprintf(", and %d files of their checkpoints", g.ShownFiles)
	}
	if g.Items > 0 {
		return fmt.Sprintf("the contents of %d items (%d events, %d blobs), %d memories", g.Items, g.Events, g.Blobs, g.Memories) + reasons
	}
	if g.Entries > 0 && g.Sessions == 0 {
		return fmt.Sprintf("%d memories, and %d that were made of them", g.Entries, g.Memories-g.Entries) + reasons
	}
	words := fmt.Sprintf("%d sessions (%d events, %d blobs), %d memories, %d files", g.Sessions, g.Events, g.Blobs, g.Memories, g.Files) + reasons
	if g.Credentials > 0 {
		words += fmt.Sprintf(", %d credentials", g.Credentials)
	}
	return words
}

// bytesWords says what became of the bytes in the database's files.
func bytesWords(b *erasure.Bytes) string {
	switch {
	case b == nil:
		return ""
	case b.Database == erasure.BytesLeft:
		return "; their bytes are left in the database's files: " + printable(b.Problem)
	}
	return "; the database was " + printable(b.Database)
}

func (a *app) auditVerifyCertificate() *cobra.Command {
	var keys []string
	c := &cobra.Command{
		Use: "verify-certificate FILE --key KEY", Short: "Check a certificate of an erasure, offline", Args: cobra.ExactArgs(1),
		Long: "KEY is the server's public key, stead+…, as stead audit verify takes it. Ends with 1 when something is wrong.",
		RunE: func(_ *cobra.Command, args []string) error {
			verifiers, err := parseVerifiers(keys)
			if err != nil {
				return err
			}
			if len(verifiers) == 0 {
				return stead.Errorf(stead.KindInvalid, "--key is needed: without it nothing is proved")
			}
			c, err := readFile(args[0], func(r io.Reader) (erasure.Certificate, error) {
				const most = 4 << 20
				text, err := io.ReadAll(io.LimitReader(r, most))
				if err != nil {
					return erasure.Certificate{}, err
				}
				return erasure.Open(string(text), verifiers)
			})
			if err != nil {
				return wrong(args[0], err)
			}
			return a.object(c, func(w io.Writer) {
				g := c.Erased
				fmt.Fprintf(w, "ok: %s %s of project %s was erased at %s: %s%s\n", c.Subject.Kind, printable(c.Subject.ID), printable(string(c.Project)),
					time.UnixMilli(c.CompletedAt).UTC().Format(time.RFC3339), erasedWords(g), bytesWords(c.Bytes))
			})
		},
	}
	c.Flags().StringArrayVar(&keys, "key", nil, "the server's public key, stead+…; may be given several times")
	return c
}
