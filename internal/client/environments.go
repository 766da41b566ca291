package client

import (
	"context"
	"encoding/base64"
	"encoding/json"
	"io"
	"net/http"
	"net/url"
	"strconv"

	"github.com/stead-dev/stead"
)

// Environment is what a person is shown of an environment.
type Environment struct {
	ID        string `json:"id"`
	Type      string `json:"type"`
	Status    string `json:"status"`
	SessionID string `json:"session_id"` // "": no session has attached it yet
	CreatedAt int64  `json:"created_at"` // Unix seconds
	Error     *struct {
		Code    string `json:"code"`
		Message string `json:"message"`
	} `json:"error"`
	Checkpoint *struct {
		Digest string `json:"digest"`
		Files  int    `json:"files"`
		Bytes  int64  `json:"bytes"`
	} `json:"checkpoint"`
	ResetCount int           `json:"reset_count"`
	Refused    []RefusedFile `json:"refused_files"`
	Usage      struct {
		CPUSeconds          float64 `json:"cpu_seconds"`
		MemoryBytes         int64   `json:"memory_bytes"` // peak
		DiskBytes           int64   `json:"disk_bytes"`
		Commands            int64   `json:"commands"`
		OutputBytes         int64   `json:"output_bytes"`
		EgressSentBytes     int64   `json:"egress_sent_bytes"`
		EgressReceivedBytes int64   `json:"egress_received_bytes"`
	} `json:"usage"`
	Raw json.RawMessage `json:"-"`
}

// Types and statuses of Environment that the command line tells apart.
const (
	EnvironmentHosted       = "openai_hosted"
	EnvironmentSelfHosted   = "self_hosted"
	EnvironmentNone         = "none"
	EnvironmentPending      = "pending"
	EnvironmentReady        = "ready"
	EnvironmentConnected    = "connected"
	EnvironmentDisconnected = "disconnected"
	EnvironmentSuspended    = "suspended"
	EnvironmentExpired      = "expired"
	EnvironmentFailed       = "failed"
)

// RefusedFile is a file that was given and could not be put into the workspace.
type RefusedFile struct {
	Path   string `json:"path"` // absolute, inside
	Reason string `json:"reason"`
}

// File is a file of a workspace.
type File struct {
	Path      string          `json:"path"` // absolute, inside
	SizeBytes int64           `json:"size_bytes"`
	Raw       json.RawMessage `json:"-"`
}

// Artifact is a file that a completed turn published.
type Artifact struct {
	ID        string          `json:"id"`
	Path      string          `json:"path"` // absolute, inside
	SizeBytes int64           `json:"size_bytes"`
	TurnID    string          `json:"turn_id"`
	CreatedAt int64           `json:"created_at"` // Unix seconds
	Raw       json.RawMessage `json:"-"`
}

// UnmarshalJSON implements json.Unmarshaler.
func (e *Environment) UnmarshalJSON(b []byte) error {
	type bare Environment
	return keep(b, (*bare)(e), &e.Raw)
}

// UnmarshalJSON implements json.Unmarshaler.
func (f *File) UnmarshalJSON(b []byte) error {
	type bare File
	return keep(b, (*bare)(f), &f.Raw)
}

// UnmarshalJSON implements json.Unmarshaler.
func (a *Artifact) UnmarshalJSON(b []byte) error {
	type bare Artifact
	return keep(b, (*bare)(a), &a.Raw)
}

const environmentsPath = "/v1/agents/environments"

func environmentPath(id, rest string) string {
	return environmentsPath + "/" + url.PathEscape(id) + rest
}

// CreateEnvironment makes an environment before its session; spec is the wire's environment.
func (c *Client) CreateEnvironment(ctx context.Context, spec any) (Environment, error) {
	var e Environment
	return e, c.call(ctx, http.MethodPost, environmentsPath, nil, map[string]any{"environment": spec}, &e)
}

// Environment returns one environment.
func (c *Client) Environment(ctx context.Context, id string) (Environment, error) {
	var e Environment
	return e, c.call(ctx, http.MethodGet, environmentPath(id, ""), nil, nil, &e)
}

// Environments lists hosted environments, the newest first.
func (c *Client) Environments(ctx context.Context, limit int) ([]Environment, error) {
	return list(ctx, c, environmentsPath, nil, limit, func(e Environment) string { return e.ID })
}

// PutFile puts a file into a workspace, at a path inside: it is there before the next command. More
// than stead.MaxTextBytes are KindTooLarge, before anything is sent.
func (c *Client) PutFile(ctx context.Context, id, path string, data []byte) (File, error) {
	if len(data) > stead.MaxTextBytes {
		e := stead.Errorf(stead.KindTooLarge, "the file has %d bytes, and a server takes at most %d (%d MiB) at once", len(data), stead.MaxTextBytes, stead.MaxTextBytes>>20)
		e.Hint = "Compress or split it, or let a command of the environment fetch it."
		return File{}, e
	}
	var f File
	body := map[string]string{"type": "inline", "path": path, "data": base64.StdEncoding.EncodeToString(data)}
	return f, c.call(ctx, http.MethodPost, environmentPath(id, "/files"), nil, body, &f)
}

// Files lists the files of a workspace below a directory inside ("" for all), in order of their
// paths: limit of them, or all with limit 0. more says whether there are others.
func (c *Client) Files(ctx context.Context, id, dir string, limit int) (all []File, more bool, err error) {
	query := url.Values{"order": {"asc"}}
	if dir != "" {
		query.Set("path", dir)
	}
	for {
		n := pageSize
		if limit > 0 {
			n = min(n, limit-len(all))
		}
		query.Set("limit", strconv.Itoa(n))
		var p struct {
			Data []File  `json:"data"`
			Next *string `json:"next"`
		}
		if err := c.call(ctx, http.MethodGet, environmentPath(id, "/files"), query, nil, &p); err != nil {
			return nil, false, err
		}
		all = append(all, p.Data...)
		if p.Next == nil || len(p.Data) == 0 || (limit > 0 && len(all) >= limit) {
			return all, p.Next != nil, nil
		}
		query.Set("page", *p.Next)
	}
}

// FileContent writes a file of a workspace to w.
func (c *Client) FileContent(ctx context.Context, id, path string, w io.Writer) error {
	return c.download(ctx, environmentPath(id, "/files/content"), url.Values{"path": {path}}, w)
}

// Artifacts lists what a session's turns published, the newest first.
func (c *Client) Artifacts(ctx context.Context, session string) ([]Artifact, error) {
	return list(ctx, c, sessionPath(url.PathEscape(session), "/artifacts"), nil, 0, func(a Artifact) string { return a.ID })
}

// ArtifactContent writes an artifact to w.
func (c *Client) ArtifactContent(ctx context.Context, session, artifact string, w io.Writer) error {
	return c.download(ctx, sessionPath(url.PathEscape(session), "/artifacts/"+url.PathEscape(artifact)+"/content"), nil, w)
}

// download writes an answer of bytes to w as it comes.
func (c *Client) download(ctx context.Context, path string, query url.Values, w io.Writer) error {
	resp, err := c.do(ctx, http.MethodGet, path, query, nil, "*/*", nil)
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	sink := &keptError{Writer: w}
	if _, err := io.Copy(sink, resp.Body); err != nil && sink.err == nil {
		return c.unreachable(err)
	}
	if sink.err != nil {
		return stead.Wrap(stead.KindUnavailable, sink.err, "the download can't be written")
	}
	return nil
}

// keptError remembers why a writer failed: a full disk here is no silence of the server.
type keptError struct {
	io.Writer
	err error
}

func (k *keptError) Write(p []byte) (int, error) {
	n, err := k.Writer.Write(p)
	k.err = err
	return n, err
}
