package main

import (
	"cmp"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/stead-dev/stead/internal/client"
	"github.com/stead-dev/stead/internal/source"
)

// maxPassageLine is how much of a passage a search shows: characters.
const maxPassageLine = 100

// syncPoll is how often a command that waits for a synchronisation looks.
const syncPoll = 200 * time.Millisecond

func (a *app) sourcesCmd() *cobra.Command {
	return group("sources", "Keep vector stores up to date with directories, Git repositories, MCP servers, databases and pages of the web", a.sourcesCreate(), a.sourcesList(), a.sourcesShow(), a.sourcesAccess(), a.sourcesSync(), a.sourcesSearch(), a.sourcesDelete())
}

func (a *app) sourcesCreate() *cobra.Command {
	var store, name, directory, repository, server, database, site, sitemap, branch, path, access string
	var urls, include, exclude []string
	var every time.Duration
	var deny bool
	c := &cobra.Command{
		Use: "create", Short: "Make a source, of a new vector store if none is named", Args: cobra.NoArgs,
		Example: "  stead sources create --directory handbook --include '*.md' --exclude 'drafts/' --every 1h",
		RunE: func(cmd *cobra.Command, _ []string) error {
			body := map[string]any{"type": "directory", "directory": directory, "name": name, "include": include, "exclude": exclude, "interval_seconds": int64(every / time.Second)}
			if path != "" {
				body["path"] = path
			}
			if repository != "" {
				body["type"], body["repository"], body["branch"] = "git", repository, branch
				delete(body, "directory")
			}
			if server != "" {
				body["type"], body["server"] = "mcp", server
				delete(body, "directory")
			}
			if database != "" {
				body["type"], body["database"] = "sql", database
				delete(body, "directory")
			}
			if site != "" || len(urls) > 0 {
				body["type"], body["site"], body["urls"], body["sitemap"] = "web", site, urls, sitemap
				delete(body, "directory")
			}
			if deny {
				body["access_default"] = source.AccessDeny
			}
			if access != "" {
				rules, err := rulesIn(access)
				if err != nil {
					return err
				}
				body["access"] = rules
			}
			c, err := a.dial()
			if err != nil {
				return err
			}
			if store == "" {
				if store, err = c.CreateVectorStore(cmd.Context(), cmp.Or(name, directory, repository, server, database, site, strings.Join(urls, " "))); err != nil {
					return err
				}
			}
			made, err := c.CreateSource(cmd.Context(), store, body)
			if err != nil {
				return err
			}
			return a.object(made.Raw, func(w io.Writer) { fmt.Fprintf(w, "%s keeps %s up to date\n", made.ID, made.StoreID) })
		},
	}
	f := c.Flags()
	f.StringVar(&store, "store", "", "the vector store; without it a new one is made")
	f.StringVar(&name, "name", "", "what people call it")
	f.StringVar(&directory, "directory", "", "a name of sources.directories in the server's configuration")
	f.StringVar(&repository, "repository", "", "or one of its sources.repositories")
	f.StringVar(&server, "mcp", "", "or a label of its sources.servers: the resources of an MCP server")
	f.StringVar(&database, "database", "", "or a name of its databases: the schema of an SQL database")
	f.StringArrayVar(&urls, "url", nil, "or a public page from which pages below it are read; may be repeated")
	f.StringVar(&site, "web", "", "or a name of its sources.sites")
	f.StringVar(&sitemap, "sitemap", "", "URL of a sitemap, beside those that a site names itself")
	f.StringVar(&branch, "branch", "", "of the repository; else its own")
	f.StringVar(&path, "path", "", "the part of it that is read")
	f.StringArrayVar(&include, "include", nil, "pattern of paths that are read (else all); may be repeated")
	f.StringArrayVar(&exclude, "exclude", nil, "pattern of paths that are not; may be repeated")
	f.DurationVar(&every, "every", 0, "time between two synchronisations, 1m at least; without it, only when asked for")
	f.StringVar(&access, "access", "", "file with the rules of access, a JSON list")
	f.BoolVar(&deny, "deny", false, "nobody may read what no rule of access says it of")
	c.MarkFlagsOneRequired("directory", "repository", "mcp", "database", "web", "url")
	c.MarkFlagsMutuallyExclusive("directory", "repository", "mcp", "database", "web", "url")
	return c
}

// rulesIn reads a file with rules of access.
func rulesIn(file string) (json.RawMessage, error) {
	rules, err := os.ReadFile(file)
	if err == nil && !json.Valid(rules) {
		err = fmt.Errorf("%s is no JSON", file)
	}
	return rules, err
}

func (a *app) sourcesAccess() *cobra.Command {
	var otherwise string
	c := &cobra.Command{
		Use: "access STORE SOURCE [FILE]", Short: "Give a source other rules of access, a JSON list in FILE", Args: cobra.RangeArgs(2, 3),
		Long:    "They hold when this is answered, for all documents that are known. Nothing is read again that did not change.",
		Example: "  stead sources access vs_… src_… rules.json --default deny",
		RunE: func(cmd *cobra.Command, args []string) error {
			body := map[string]any{}
			if len(args) > 2 {
				rules, err := rulesIn(args[2])
				if err != nil {
					return err
				}
				body["access"] = rules
			}
			if otherwise != "" {
				body["access_default"] = otherwise
			}
			c, err := a.dial()
			if err != nil {
				return err
			}
			s, err := c.UpdateSource(cmd.Context(), args[0], args[1], body)
			if err != nil {
				return err
			}
			return a.showSource(s)
		},
	}
	c.Flags().StringVar(&otherwise, "default", "", "who may read what no rule says it of: allow or deny")
	return c
}

func sourceHeader() []string {
	return []string{"SOURCE", "NAME", "OF", "STATUS", "ADDED", "CHANGED", "REMOVED", "UNCHANGED", "FAILED", "SYNCED"}
}

func sourceRow(s client.Source) []string {
	of := s.Type + ":" + strings.TrimSuffix(s.Directory+s.Repo+s.Server+s.Database+s.Site+strings.Join(s.URLs, " ")+"/"+s.Path, "/")
	if s.Branch != "" {
		of += "@" + s.Branch
	}
	row := []string{s.ID, printable(orDash(s.Name)), printable(of), s.Status}
	if s.Sync == nil {
		row = append(row, "-", "-", "-", "-", "-")
	} else {
		d := s.Sync.Documents
		for _, n := range []int{d.Added, d.Changed, d.Removed, d.Unchanged, d.Failed} {
			row = append(row, fmt.Sprint(n))
		}
	}
	if s.Synced == nil {
		return append(row, "-")
	}
	return append(row, ago(*s.Synced, time.Now())+" ago")
}

func (a *app) sourcesList() *cobra.Command {
	return &cobra.Command{
		Use: "list STORE", Short: "List the sources of a vector store", Args: cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			c, err := a.dial()
			if err != nil {
				return err
			}
			all, err := c.Sources(cmd.Context(), args[0])
			if err != nil {
				return err
			}
			rows, raw := [][]string{}, []json.RawMessage{}
			for _, s := range all {
				rows, raw = append(rows, sourceRow(s)), append(raw, s.Raw)
			}
			return a.table(raw, "No sources. Make one: stead sources create --store "+args[0]+" --directory NAME", sourceHeader(), rows)
		},
	}
}

// showSource shows a source with what could not be taken in.
func (a *app) showSource(s client.Source) error {
	return a.object(s.Raw, func(w io.Writer) {
		writeTable(w, "", sourceHeader(), [][]string{sourceRow(s)})
		if s.Error != nil {
			fmt.Fprintf(w, "\n%s: %s\n", s.Error.Code, printable(s.Error.Message))
		}
		if s.Sync == nil {
			return
		}
		fmt.Fprintf(w, "\n%d documents were read, %s\n", s.Sync.Read.Documents, byteSize(s.Sync.Read.Bytes))
		for _, f := range s.Sync.Failures {
			fmt.Fprintf(w, "  %s  %s: %s\n", printable(f.Path), f.Code, printable(f.Message))
		}
	})
}

func (a *app) sourcesShow() *cobra.Command {
	return &cobra.Command{
		Use: "show STORE SOURCE", Short: "Show a source, with what its last synchronisation did", Args: cobra.ExactArgs(2),
		RunE: func(cmd *cobra.Command, args []string) error {
			c, err := a.dial()
			if err != nil {
				return err
			}
			s, err := c.Source(cmd.Context(), args[0], args[1])
			if err != nil {
				return err
			}
			return a.showSource(s)
		},
	}
}

func (a *app) sourcesSync() *cobra.Command {
	var wait bool
	c := &cobra.Command{
		Use: "sync STORE SOURCE", Short: "Synchronise a source now", Args: cobra.ExactArgs(2),
		RunE: func(cmd *cobra.Command, args []string) error {
			c, err := a.dial()
			if err != nil {
				return err
			}
			before, err := c.Source(cmd.Context(), args[0], args[1])
			if err != nil {
				return err
			}
			number := int64(1) // the one that follows those that were begun
			if before.Sync != nil {
				number = before.Sync.Number + 1
			}
			s, err := c.SyncSource(cmd.Context(), args[0], args[1])
			for err == nil && wait && (s.Sync == nil || s.Sync.Number < number || s.Status == "syncing") {
				select {
				case <-cmd.Context().Done():
					return cmd.Context().Err()
				case <-time.After(syncPoll):
				}
				s, err = c.Source(cmd.Context(), args[0], args[1])
			}
			if err != nil {
				return err
			}
			return a.showSource(s)
		},
	}
	c.Flags().BoolVar(&wait, "wait", false, "until it has ended")
	return c
}

func (a *app) sourcesSearch() *cobra.Command {
	var limit int
	c := &cobra.Command{
		Use: "search STORE TEXT", Short: "Find passages of a vector store, with where they stand", Args: cobra.ExactArgs(2),
		RunE: func(cmd *cobra.Command, args []string) error {
			c, err := a.dial()
			if err != nil {
				return err
			}
			found, err := c.SearchVectorStore(cmd.Context(), args[0], map[string]any{"query": args[1], "max_num_results": limit})
			if err != nil {
				return err
			}
			rows, raw := [][]string{}, []json.RawMessage{}
			for _, p := range found {
				text := ""
				for _, part := range p.Content {
					text += part.Text
				}
				rows, raw = append(rows, []string{fmt.Sprintf("%.2f", p.Score), printable(cited(p)), oneLine(printable(text), maxPassageLine)}), append(raw, p.Raw)
			}
			return a.table(raw, "Nothing was found.", []string{"SCORE", "WHERE", "TEXT"}, rows)
		},
	}
	c.Flags().IntVar(&limit, "limit", 10, "most passages")
	return c
}

// cited says where a passage stands.
func cited(p client.Passage) string {
	at := p.Filename
	if p.Source != nil {
		at = p.Source.URI
	}
	if p.Passage == nil {
		return at
	}
	switch lines := p.Passage.Lines; {
	case p.Passage.Page > 0:
		at += fmt.Sprintf("#page=%d", p.Passage.Page)
	case len(lines) == 2:
		at += fmt.Sprintf("#L%d-L%d", lines[0], lines[1])
	}
	return at
}

func (a *app) sourcesDelete() *cobra.Command {
	return &cobra.Command{
		Use: "delete STORE SOURCE", Short: "Delete a source with its documents", Args: cobra.ExactArgs(2),
		RunE: func(cmd *cobra.Command, args []string) error {
			c, err := a.dial()
			if err != nil {
				return err
			}
			if err := c.DeleteSource(cmd.Context(), args[0], args[1]); err != nil {
				return err
			}
			return a.object(map[string]any{"id": args[1], "deleted": true}, func(w io.Writer) { fmt.Fprintln(w, args[1], "and its documents are deleted") })
		},
	}
}
