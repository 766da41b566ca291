package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/spf13/cobra"

	"github.com/stead-dev/stead"
	"github.com/stead-dev/stead/internal/config"
	"github.com/stead-dev/stead/internal/tool"
	"github.com/stead-dev/stead/internal/tool/mcp"
)

// Limits of one examination.
const (
	doctorTimeout = 15 * time.Second
	// syncProbes is how many times the disk is asked; the middle time counts.
	syncProbes = 15
	// slowSync is where one durable step begins to be felt.
	slowSync = 20 * time.Millisecond
	// maxModelList is the largest list of models that is read, in bytes.
	maxModelList = 8 << 20
)

// Verdicts of a check.
const (
	verdictOK   = "ok"
	verdictWarn = "warn" // works, and could be better
	verdictFail = "fail" // agents that need it will fail
)

// finding is what one check brought.
type finding struct {
	Check   string `json:"check"`
	Verdict string `json:"verdict"`
	Detail  string `json:"detail"`
	Remedy  string `json:"remedy,omitempty"`
}

func (a *app) doctorCmd() *cobra.Command {
	var f nodeFlags
	c := &cobra.Command{
		Use: "doctor", Short: "Say what this machine can do, and what to do about what it can't", Args: cobra.NoArgs,
		Long: "Doctor looks at the data directory, the database, the model providers and the tool servers of a configuration,\n" +
			"and tries which computers this machine can give to agents. It changes nothing. It ends with exit code 1 when something fails.",
		RunE: func(cmd *cobra.Command, _ []string) error {
			cfg, err := f.load(a.env)
			if err != nil {
				return err
			}
			spin := a.newSpinner()
			spin.Start("looking")
			findings := examine(cmd.Context(), cfg)
			computers, found := examineComputers(cmd.Context(), cfg)
			spin.Stop()
			return a.findings(append(findings, found), computers)
		},
	}
	f.register(c)
	return c
}

func (a *app) findings(list []finding, computers computerReport) error {
	err := a.object(map[string]any{"data": list, "environments": computers}, func(w io.Writer) {
		for _, f := range list {
			fmt.Fprintf(w, "%-4s  %s: %s\n", f.Verdict, f.Check, f.Detail)
			if f.Remedy != "" {
				fmt.Fprintf(w, "      → %s\n", f.Remedy)
			}
		}
		computers.write(w)
	})
	if err != nil {
		return err
	}
	failed := 0
	for _, f := range list {
		if f.Verdict == verdictFail {
			failed++
		}
	}
	if failed > 0 {
		return stead.Errorf(stead.KindUnavailable, "%d of %d checks failed", failed, len(list))
	}
	return nil
}

func examine(ctx context.Context, cfg *config.Config) []finding {
	list := []finding{checkData(cfg.Data), checkRoom(nearest(cfg.Data), journalIsHere(cfg)), checkDatabase(ctx, cfg)}
	if len(cfg.Providers) == 0 {
		list = append(list, finding{"models", verdictWarn, "no provider is configured: the built-in model sim serves",
			"Set OPENAI_API_KEY, ANTHROPIC_API_KEY or GEMINI_API_KEY, or list providers in stead.yaml, for a model that thinks."})
	}
	for _, p := range cfg.Providers {
		list = append(list, checkProvider(ctx, p))
	}
	if cfg.TLS.On() {
		list = append(list, checkCertificate(cfg.TLS, time.Now()))
	}
	if len(cfg.SealKMS) > 0 {
		list = append(list, checkSealKeys(ctx, cfg))
	}
	if f, ok := checkSealed(ctx, cfg); ok {
		list = append(list, f)
	}
	if cfg.TLS.ClientCA != "" {
		list = append(list, checkClientCA(cfg, time.Now()))
	}
	for _, i := range cfg.Auth.Issuers {
		list = append(list, checkIssuer(ctx, i))
	}
	for _, s := range cfg.Servers {
		list = append(list, checkToolServer(ctx, cfg, s))
	}
	for _, n := range cfg.Notes {
		list = append(list, finding{"environment", verdictWarn, n, ""})
	}
	return list
}

// checkData writes as the journal does: append, fsync, again.
func checkData(dir string) finding {
	f := finding{Check: "data directory"}
	median, err := syncTime(nearest(dir))
	if errors.Is(err, syscall.ENOSPC) {
		f.Verdict, f.Detail = verdictWarn, dir+" has no room for a file, so that its speed is not known"
		return f
	}
	if err != nil {
		f.Verdict, f.Detail = verdictFail, fmt.Sprintf("%s can't be written: %v", dir, rootCause(err))
		f.Remedy = "Name a directory that you may write to with --data or STEAD_DATA."
		return f
	}
	f.Verdict, f.Detail = verdictOK, fmt.Sprintf("%s is writable, a durable write takes %.2f ms", dir, float64(median.Microseconds())/1000)
	if median > slowSync {
		f.Verdict, f.Remedy = verdictWarn, "Every step of an agent waits for one: put the data on a local disk with a fast flush."
	}
	return f
}

// nearest is a directory or, as that is made at the first start, its nearest parent that is there.
func nearest(dir string) string {
	for {
		if _, err := os.Stat(dir); err == nil || dir == filepath.Dir(dir) {
			return dir
		}
		dir = filepath.Dir(dir)
	}
}

func syncTime(dir string) (time.Duration, error) {
	file, err := os.CreateTemp(dir, ".stead-doctor-*")
	if err != nil {
		return 0, err
	}
	defer os.Remove(file.Name())
	defer file.Close()
	var times []time.Duration
	for range syncProbes {
		start := time.Now()
		if _, err := file.Write(make([]byte, 4096)); err != nil {
			return 0, err
		}
		if err := file.Sync(); err != nil {
			return 0, err
		}
		times = append(times, time.Since(start))
	}
	slices.Sort(times)
	return times[len(times)/2], nil
}

func checkDatabase(ctx context.Context, cfg *config.Config) finding {
	f := finding{Check: "database", Verdict: verdictOK}
	if cfg.Database == "" {
		f.Detail = "SQLite in " + filepath.Join(cfg.Data, sqliteFile)
		return f
	}
	ctx, cancel := context.WithTimeout(ctx, doctorTimeout)
	defer cancel()
	version, settings, err := askPostgres(ctx, cfg.Database)
	if err != nil {
		f.Verdict, f.Detail = verdictFail, "PostgreSQL can't be used: "+oneLine(err.Error(), 300)
		f.Remedy = "Check the address, the user and that the server runs; the URL is --database, STEAD_DATABASE_URL or database in stead.yaml."
		return f
	}
	f.Detail = fmt.Sprintf("PostgreSQL %s, %s", version, strings.Join(settings, ", "))
	if slices.Contains(settings, "fsync=off") || slices.Contains(settings, "synchronous_commit=off") {
		f.Verdict = verdictFail
		f.Remedy = "Set fsync and synchronous_commit to on: what the server acknowledges is lost in a crash otherwise."
	}
	return f
}

// askPostgres returns the server's version and what decides over durability. The password is in
// the URL and never in the error: pgx redacts it.
func askPostgres(ctx context.Context, url string) (version string, settings []string, err error) {
	conn, err := pgx.Connect(ctx, url)
	if err != nil {
		return "", nil, err
	}
	defer conn.Close(context.WithoutCancel(ctx))
	if err := conn.QueryRow(ctx, "SHOW server_version").Scan(&version); err != nil {
		return "", nil, err
	}
	for _, name := range []string{"fsync", "synchronous_commit", "full_page_writes"} {
		var v string
		if err := conn.QueryRow(ctx, "SELECT current_setting($1)", name).Scan(&v); err != nil {
			return "", nil, err
		}
		settings = append(settings, name+"="+v)
	}
	return version, settings, nil
}

// checkProvider asks for the list of models: it costs nothing and needs the key.
func checkProvider(ctx context.Context, p config.Provider) finding {
	f := finding{Check: "provider " + p.Name, Verdict: verdictOK}
	if p.API == config.APISim {
		f.Detail = "the built-in model sim"
		return f
	}
	if p.API == config.APIBedrock {
		f.Detail = "calls " + p.Region + "; not tried: its list of models is another service"
		return f
	}
	if at, ok := p.KeyInVault(); ok {
		f.Detail = "calls " + p.BaseURL + " with the key of credential " + at.Credential + " in vault " + at.Vault + "; not tried"
		return f
	}
	if p.Entra != nil {
		f.Detail = "calls " + p.BaseURL + " with a token of Entra; not tried"
		return f
	}
	ctx, cancel := context.WithTimeout(ctx, doctorTimeout)
	defer cancel()
	status, n, err := listModels(ctx, p)
	switch {
	case err != nil:
		f.Verdict, f.Detail = verdictFail, fmt.Sprintf("%s does not answer: %v", p.BaseURL, rootCause(err))
		f.Remedy = "Check base_url and that this machine may reach it."
	case status == http.StatusUnauthorized || status == http.StatusForbidden || status == http.StatusBadRequest && p.API == config.APIGemini:
		f.Verdict, f.Detail = verdictFail, fmt.Sprintf("%s refuses the key (%d)", p.BaseURL, status)
		f.Remedy = "Set a valid api_key: most providers show it once, when it is made."
	case status == http.StatusNotFound:
		f.Verdict, f.Detail = verdictWarn, fmt.Sprintf("%s answers, and has no list of models", p.BaseURL)
		f.Remedy = "Check that base_url ends in its version, such as /v1; some servers have no list and work all the same."
	case status != http.StatusOK:
		f.Verdict, f.Detail = verdictFail, fmt.Sprintf("%s answers %d", p.BaseURL, status)
		f.Remedy = "Look into the provider's own log or status page."
	default:
		f.Detail = fmt.Sprintf("%s answers and lists %d models", p.BaseURL, n)
	}
	return f
}

func listModels(ctx context.Context, p config.Provider) (status, models int, err error) {
	base := strings.TrimSuffix(p.BaseURL, "/")
	if p.API == config.APIAnthropic && !strings.HasSuffix(base, "/v1") {
		base += "/v1" // which its base URLs may leave out
	}
	if p.API == config.APIAzure && !strings.HasSuffix(base, "/v1") {
		base += "/openai/v1"
	}
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, base+"/models", nil)
	if err != nil {
		return 0, 0, err
	}
	switch {
	case p.API == config.APIAnthropic:
		req.Header.Set("Anthropic-Version", "2023-06-01")
		req.Header.Set("X-Api-Key", p.APIKey)
	case p.API == config.APIAzure:
		req.Header.Set("Api-Key", p.APIKey)
	case p.API == config.APIGemini:
		req.Header.Set("X-Goog-Api-Key", p.APIKey)
	case p.APIKey != "":
		req.Header.Set("Authorization", "Bearer "+p.APIKey)
	}
	for k, v := range p.Headers {
		req.Header.Set(k, v)
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		return 0, 0, err
	}
	defer resp.Body.Close()
	var list struct {
		Data   []json.RawMessage `json:"data"`
		Models []json.RawMessage `json:"models"` // gemini
	}
	_ = json.NewDecoder(io.LimitReader(resp.Body, maxModelList)).Decode(&list) // the status says enough
	return resp.StatusCode, len(list.Data) + len(list.Models), nil
}

func checkToolServer(ctx context.Context, cfg *config.Config, s config.Server) finding {
	f := finding{Check: "tool server " + s.Label, Verdict: verdictOK}
	if s.Auth != "" {
		f.Detail = "not tried: it is asked in an agent's name alone"
		return f
	}
	manager := mcp.New(mcp.Config{Servers: toolServers(cfg), Version: version})
	defer manager.Close(context.WithoutCancel(ctx))
	ctx, cancel := context.WithTimeout(ctx, doctorTimeout)
	defer cancel()
	asks := tool.Server{Label: s.Label}
	if len(s.Projects) > 0 {
		asks.Project = stead.ProjectID(s.Projects[0])
	}
	tools, err := manager.Tools(ctx, asks)
	if err != nil {
		f.Verdict, f.Detail = verdictFail, oneLine(err.Error(), 300)
		f.Remedy = "Check that " + s.URL + " serves MCP over streamable HTTP."
		if s.Command != "" {
			f.Remedy = "Run the command by hand: " + strings.Join(append([]string{s.Command}, s.Args...), " ")
		}
		return f
	}
	f.Detail = fmt.Sprintf("%d tools", len(tools))
	if len(s.Projects) > 0 {
		f.Detail += ", for the projects " + strings.Join(s.Projects, ", ") + " alone"
	}
	return f
}

// rootCause drops what the wrappers repeat.
func rootCause(err error) error {
	for {
		inner := errors.Unwrap(err)
		if inner == nil {
			return err
		}
		err = inner
	}
}
