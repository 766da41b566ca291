package main

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/stead-dev/stead"
	"github.com/stead-dev/stead/internal/client"
)

// maxFilesShown is how many files are listed unless --limit says otherwise.
const maxFilesShown = 1000

func (a *app) environmentsFiles() *cobra.Command {
	var limit int
	c := &cobra.Command{
		Use: "files ENVIRONMENT [PATH]", Short: "List the files of a workspace, or of a directory in it", Args: cobra.RangeArgs(1, 2),
		RunE: func(cmd *cobra.Command, args []string) error {
			c, id, err := a.dialEnvironment(cmd.Context(), args[0])
			if err != nil {
				return err
			}
			dir := ""
			if len(args) > 1 {
				dir = inWorkspace(args[1])
			}
			list, more, err := c.Files(cmd.Context(), id, dir, limit)
			if err != nil {
				return err
			}
			raw := []json.RawMessage{}
			for _, f := range list {
				raw = append(raw, f.Raw)
			}
			return a.object(map[string]any{"data": raw, "has_more": more}, func(w io.Writer) {
				for _, f := range list {
					fmt.Fprintf(w, "%9s  %s\n", byteSize(f.SizeBytes), onePath(f.Path))
				}
				if len(list) == 0 {
					fmt.Fprintln(w, "No files.")
				}
				if more {
					fmt.Fprintf(w, "… and more: --limit 0 lists all\n")
				}
			})
		},
	}
	c.Flags().IntVar(&limit, "limit", maxFilesShown, "most files to list, 0 for all")
	return c
}

func (a *app) environmentsPut() *cobra.Command {
	return &cobra.Command{
		Use: "put ENVIRONMENT LOCAL REMOTE", Short: "Put a file into a workspace (LOCAL - is standard input)", Args: cobra.ExactArgs(3),
		Long: "Put replaces or makes a file of a workspace. REMOTE is a path below /workspace; one that ends in / keeps the file's\n" +
			fmt.Sprintf("name. The file is there before the next command. A file may have at most %d MiB.", stead.MaxTextBytes>>20),
		RunE: func(cmd *cobra.Command, args []string) error {
			data, err := a.readUpload(args[1])
			if err != nil {
				return err
			}
			remote := inWorkspace(args[2])
			if strings.HasSuffix(remote, "/") && args[1] != "-" {
				remote += filepath.Base(args[1])
			}
			c, id, err := a.dialEnvironment(cmd.Context(), args[0])
			if err != nil {
				return err
			}
			f, err := c.PutFile(cmd.Context(), id, remote, data)
			if err != nil {
				return err
			}
			return a.object(f.Raw, func(w io.Writer) { fmt.Fprintf(w, "%s put, %s\n", onePath(f.Path), byteSize(f.SizeBytes)) })
		},
	}
}

// readUpload reads one byte more than may be sent and no further: the client says what is too much.
func (a *app) readUpload(local string) ([]byte, error) {
	in := a.in
	if local != "-" {
		f, err := os.Open(local)
		if err != nil {
			return nil, stead.Wrap(stead.KindInvalid, rootCause(err), "%s can't be read", local)
		}
		defer f.Close()
		if info, err := f.Stat(); err == nil && info.Size() > stead.MaxTextBytes {
			e := stead.Errorf(stead.KindTooLarge, "%s has %s, and a server takes at most %d MiB a file", local, byteSize(info.Size()), stead.MaxTextBytes>>20)
			e.Hint = "Compress or split it, or let a command of the environment fetch it."
			return nil, e
		}
		in = f
	}
	data, err := io.ReadAll(io.LimitReader(in, stead.MaxTextBytes+1))
	if err != nil {
		return nil, stead.Wrap(stead.KindInvalid, rootCause(err), "%s can't be read", local)
	}
	return data, nil
}

func (a *app) environmentsGet() *cobra.Command {
	return &cobra.Command{
		Use: "get ENVIRONMENT REMOTE [LOCAL]", Short: "Copy a file of a workspace to LOCAL, or to standard output", Args: cobra.RangeArgs(2, 3),
		RunE: func(cmd *cobra.Command, args []string) error {
			c, id, err := a.dialEnvironment(cmd.Context(), args[0])
			if err != nil {
				return err
			}
			return a.download(args[2:], args[1], func(w io.Writer) error { return c.FileContent(cmd.Context(), id, inWorkspace(args[1]), w) })
		},
	}
}

func (a *app) sessionsArtifacts() *cobra.Command {
	return &cobra.Command{
		Use: "artifacts SESSION", Short: "List the files that a session's turns published, the newest first", Args: cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			c, err := a.dial()
			if err != nil {
				return err
			}
			list, err := c.Artifacts(cmd.Context(), args[0])
			if err != nil {
				return err
			}
			now := time.Now()
			var rows [][]string
			raw := []json.RawMessage{}
			for _, f := range list {
				rows = append(rows, []string{f.ID, byteSize(f.SizeBytes), ago(f.CreatedAt, now), onePath(f.Path)})
				raw = append(raw, f.Raw)
			}
			return a.table(raw, "No artifacts. What an agent leaves below /workspace/outputs is published when its turn is completed.",
				[]string{"ARTIFACT", "SIZE", "AGE", "PATH"}, rows)
		},
	}
}

func (a *app) sessionsDownload() *cobra.Command {
	return &cobra.Command{
		Use: "download SESSION ARTIFACT [LOCAL]", Short: "Copy an artifact, by its id or path, to LOCAL or to standard output", Args: cobra.RangeArgs(2, 3),
		RunE: func(cmd *cobra.Command, args []string) error {
			c, err := a.dial()
			if err != nil {
				return err
			}
			id, err := artifactID(cmd.Context(), c, args[0], args[1])
			if err != nil {
				return err
			}
			return a.download(args[2:], args[1], func(w io.Writer) error { return c.ArtifactContent(cmd.Context(), args[0], id, w) })
		},
	}
}

// artifactID finds the newest artifact of a path; an id is taken as it is.
func artifactID(ctx context.Context, c *client.Client, session, ref string) (string, error) {
	const prefix, outputs = "artifact_", insideDir + "/outputs/"
	if strings.HasPrefix(ref, prefix) {
		return ref, nil
	}
	list, err := c.Artifacts(ctx, session)
	if err != nil {
		return "", err
	}
	for _, f := range list {
		if f.Path == ref || f.Path == outputs+ref {
			return f.ID, nil
		}
	}
	e := stead.Errorf(stead.KindNotFound, "session %s has no artifact %q", session, ref)
	e.Hint = "See them with `stead sessions artifacts " + session + "`."
	return "", e
}

// download copies bytes to a file, or, where none is named, to standard output as they are. Nothing
// that the server says chooses where they go.
func (a *app) download(local []string, what string, content func(io.Writer) error) error {
	if len(local) == 0 {
		return content(a.out)
	}
	to := local[0]
	if info, err := os.Stat(to); err == nil && info.IsDir() {
		e := stead.Invalid("local", "%s is a directory", to)
		e.Hint = "Name the file to write."
		return e
	}
	if err := writeWhole(to, content); err != nil {
		return err
	}
	info, err := os.Stat(to)
	if err != nil {
		return stead.Wrap(stead.KindUnavailable, rootCause(err), "%s was written and is gone", to)
	}
	return a.object(map[string]any{"path": what, "file": to, "size_bytes": info.Size()}, func(w io.Writer) {
		fmt.Fprintf(w, "%s written, %s\n", to, byteSize(info.Size()))
	})
}

// insideDir is where a workspace is inside, for the API too.
const insideDir = "/workspace"

// inWorkspace is a path inside, or the URI of one: see environment.WirePath. One that is not absolute is
// below the workspace.
func inWorkspace(path string) string {
	if strings.HasPrefix(path, "/") || strings.HasPrefix(path, "file:///") {
		return path
	}
	return insideDir + "/" + path
}

// onePath is a path of a workspace on one line, whatever it holds.
func onePath(s string) string { return strings.ReplaceAll(printable(s), "\n", "?") }
