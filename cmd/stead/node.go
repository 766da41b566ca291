package main

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	"github.com/google/uuid"
	"github.com/spf13/cobra"

	"github.com/stead-dev/stead"
	"github.com/stead-dev/stead/internal/agent"
	"github.com/stead-dev/stead/internal/approval"
	"github.com/stead-dev/stead/internal/audit"
	"github.com/stead-dev/stead/internal/audit/stream"
	"github.com/stead-dev/stead/internal/ballast"
	"github.com/stead-dev/stead/internal/blob"
	"github.com/stead-dev/stead/internal/capacity"
	"github.com/stead-dev/stead/internal/config"
	"github.com/stead-dev/stead/internal/consent"
	"github.com/stead-dev/stead/internal/document"
	"github.com/stead-dev/stead/internal/environment/wrap"
	"github.com/stead-dev/stead/internal/guardrail"
	"github.com/stead-dev/stead/internal/identity"
	"github.com/stead-dev/stead/internal/identity/workload"
	"github.com/stead-dev/stead/internal/journal"
	"github.com/stead-dev/stead/internal/killswitch"
	"github.com/stead-dev/stead/internal/memory"
	"github.com/stead-dev/stead/internal/memory/remember"
	"github.com/stead-dev/stead/internal/model"
	"github.com/stead-dev/stead/internal/model/router"
	"github.com/stead-dev/stead/internal/policy"
	"github.com/stead-dev/stead/internal/policy/cedar"
	"github.com/stead-dev/stead/internal/policy/policyset"
	"github.com/stead-dev/stead/internal/postgres"
	"github.com/stead-dev/stead/internal/runner"
	"github.com/stead-dev/stead/internal/semantic/layer"
	"github.com/stead-dev/stead/internal/server"
	"github.com/stead-dev/stead/internal/sqlite"
	"github.com/stead-dev/stead/internal/tool/filesearch"
	"github.com/stead-dev/stead/internal/tool/mcp"
	"github.com/stead-dev/stead/internal/tool/recollect"
	"github.com/stead-dev/stead/internal/tool/semantics"
	"github.com/stead-dev/stead/internal/tool/sqlquery"
	"github.com/stead-dev/stead/internal/usage"
	"github.com/stead-dev/stead/internal/vault"
)

// Names inside the data directory.
const (
	sqliteFile = "stead.db"
	blobDir    = "blobs"
	imagesDir  = "images"
	guestDir   = "guest"
)

// headerTimeout is how long a client may take to send a request's header.
const headerTimeout = 10 * time.Second

const (
	// idleTimeout is how long a connection is kept for a client's next request.
	idleTimeout = 2 * time.Minute
	// maxHeaderBytes bounds a request's header; net/http takes 4 KiB more.
	maxHeaderBytes = 64 << 10
)

// closeTimeout is how long a part may take to close once the drain time is spent.
const closeTimeout = 5 * time.Second

// nodeFlags are the arguments of every command that starts a node.
type nodeFlags struct {
	config, listen, data, database string
	readyFile                      string
}

func (f *nodeFlags) register(c *cobra.Command) {
	c.Flags().StringVar(&f.config, "config", "", "configuration file (stead.yaml)")
	c.Flags().StringVar(&f.data, "data", "", "data directory (default $"+config.EnvData+" or "+config.DefaultData+")")
	c.Flags().StringVar(&f.database, "database", "", "postgres:// URL (default $"+config.EnvDatabase+" or SQLite in the data directory)")
}

func (f *nodeFlags) registerServer(c *cobra.Command) {
	c.Flags().StringVar(&f.listen, "listen", "", "address to serve on, port 0 for a free one (default $"+config.EnvListen+" or "+config.DefaultListen+")")
	c.Flags().StringVar(&f.readyFile, "ready-file", "", "write the base URL here once the server serves")
}

// set reports whether somebody chose where a node has its data.
func (f *nodeFlags) set() bool { return f.config != "" || f.data != "" || f.database != "" }

func (f *nodeFlags) load(env func(string) (string, bool)) (*config.Config, error) {
	return config.Load(config.Flags{Listen: f.listen, Data: f.data, Database: f.database, File: f.config}, env)
}

// reload is load for a server that runs.
func (f *nodeFlags) reload(ctx context.Context, env func(string) (string, bool)) (*config.Config, error) {
	return config.Reload(ctx, config.Flags{Listen: f.listen, Data: f.data, Database: f.database, File: f.config}, env)
}

// node is one running server with all its parts.
type node struct {
	id        stead.NodeID           // of this run
	cfg       *config.Config         // that it began with
	taken     *config.Config         // the newest that was taken; only reload changes it
	sections  []config.SectionDigest // in force, as they were recorded last; nil: not yet
	recording sync.Mutex             // of sections
	log       *slog.Logger
	base      string // http://HOST:PORT, or https
	tools     *mcp.Manager
	consents  *consent.Service
	workloads *workload.Workloads // nil: agents have no identity
	// certificate is nil without TLS, clients where no certificates are asked for.
	certificate *certificate
	clients     *clientCertificates
	models      *catalogs
	meaning     *layer.Layer                      // of which a reload takes models anew
	routes      *router.State                     // breakers: they outlive a reload
	metering    *metering                         // of which a reload takes prices, budgets and terms anew
	places      atomic.Pointer[map[string]string] // of the operator's tool servers: see reach
	// throughput are the pools in use.
	throughput atomic.Pointer[pools]
	policies   *cedar.Authorizer
	switches   *killswitch.Switches
	uploaded   *policyset.Live // policies that projects uploaded
	guardrails *guardrail.Guard
	vaults     atomic.Pointer[vault.Service] // nil until the database is open
	audit      *audit.Log
	seals      sealed
	blobs      blob.Store
	room       *ballast.Ballast
	// computer is the driver of hosted environments, "" where there are none.
	computer string
	rootKey  string // of auth mode keys; "" without
	rootPath string // the file that it is in; "" for a configured one

	stopping chan struct{}
	served   chan error // what http.Server.Serve returned
	stops    []func(context.Context) error
	once     sync.Once
}

// database is what both stores implement.
type database interface {
	journal.Full
	agent.Store
	document.Store
	memory.Store
	usage.Ledger
	audit.Store
	journal.Purger
}

// impatient makes a node that a person runs stop soon: what is cut off goes on at the next start.
func impatient(cfg *config.Config) {
	const seconds = 2
	if cfg.Limits.DrainSeconds == 0 {
		cfg.Limits.DrainSeconds = seconds
	}
}

// openNode puts a node together and serves. What was opened is closed again when a part fails.
func openNode(ctx context.Context, cfg *config.Config, log *slog.Logger) (*node, error) {
	n := &node{id: stead.NodeID("node_" + uuid.NewString()), cfg: cfg, taken: cfg, log: log, stopping: make(chan struct{}), served: make(chan error, 1)}
	if err := n.open(ctx); err != nil {
		n.stop()
		return nil, err
	}
	return n, nil
}

func (n *node) open(ctx context.Context) error {
	cfg, log := n.cfg, n.log
	if err := settlementRules(cfg).Check(); err != nil { // package config does not know the dimensions
		return err
	}
	listener, err := listen(ctx, cfg.Listen)
	if err != nil {
		return err
	}
	n.onStop(func(context.Context) error { return ignoreClosed(listener.Close()) })
	n.base = "http://" + listener.Addr().String()
	if cfg.TLS.On() {
		if n.certificate, err = openCertificate(cfg.TLS, log, time.Now); err != nil {
			return err
		}
		n.base = "https://" + listener.Addr().String()
	}
	if n.clients, err = openClientCertificates(cfg, log, time.Now); err != nil {
		return err
	}
	if err := n.openModels(); err != nil {
		return err
	}
	store, err := n.openStore(ctx)
	if err != nil {
		return err
	}
	n.onStop(func(context.Context) error { return store.Close() })
	n.tendRoom()
	blobs, err := blob.OpenDirWithin(filepath.Join(cfg.Data, blobDir), n.room.Admit)
	if err != nil {
		return err
	}
	n.onStop(func(context.Context) error { return blobs.Close() })
	n.blobs = blobs
	keys, err := loadSeal(ctx, cfg, log)
	if err != nil {
		return err
	}
	n.seals.keys = keys
	if n.seals.text, err = keysText(cfg); err != nil {
		return err
	}
	decider, rules, err := n.openPolicies(store)
	if err != nil {
		return err
	}
	rails, err := guardrailSet(cfg)
	if err != nil {
		return err
	}
	if err := checkJudges(cfg, n.models.now.Load()); err != nil {
		return err
	}
	switches := killswitch.New(store, time.Now).By(n.reach())
	n.switches = switches
	if err := checkSites(cfg.Sources); err != nil {
		return err
	}
	guard, err := toolGuard(cfg)
	if err != nil {
		return err
	}
	told, err := n.openApprovalStream(store, guard)
	if err != nil {
		return err
	}
	streams, err := n.openStreams(store) // stops behind the log: what comes last is sent too
	if err != nil {
		return err
	}
	var audited *auditing
	desk := n.openDesk(store, func(ctx context.Context, r audit.Record) error { return audited.log.Append(ctx, r) })
	withdrawn := identity.NewWithdrawn(store, time.Now)
	quiet := policy.NewJointly(killswitch.NewAuthorizer(switches, identity.NewInForce(withdrawn, killswitch.Acts, decider)))
	meant, err := declaredModels(cfg)
	if err != nil {
		return err
	}
	audited, err = n.openAudit(ctx, store, keys, approval.NewAuthorizer(quiet, desk), inForce{rules, rails, meant, nil})
	if err != nil {
		return err
	}
	n.onStop(desk.Sweep())
	authorizer := audited.gate
	if n.clients != nil {
		n.clients.turnedAway = audited.strangers.TurnedAway
	}
	tokens, err := openTokens(cfg.Auth)
	if err != nil {
		return err
	}
	var run *runner.Runner
	callers, err := n.openIdentity(store, authorizer, withdrawn, func() *runner.Runner { return run })
	if err != nil {
		return err
	}
	metered := n.openMetering(store, authorizer, func(ctx context.Context, project stead.ProjectID, id string) error {
		return run.BudgetChanged(ctx, project, id)
	})
	n.policies.Budgeted(budgetsFor(metered.budgets, func() *runner.Runner { return run }))
	tools := mcp.New(mcp.Config{Servers: toolServers(cfg), CallTimeout: cfg.ToolTimeout(), Version: version, Logger: log, Guard: guard})
	n.tools = tools
	n.onStop(tools.Close)
	databases, closeDatabases, err := openDatabases(cfg)
	n.onStop(closeDatabases)
	if err != nil {
		return err
	}
	purges := n.openPurges(store)
	services := n.openConfigured(store, forgetting{store, purges}, keys, authorizer, guard, tools, databases, n.openEmbeddings(store, authorizer, switches, metered), unshow(func() *runner.Runner { return run }), gone(store))
	n.vaults.Store(services.vaults)
	issuer, workloads := n.openWorkloads(store, keys, authorizer)
	n.consents = n.openConsents(store, keys, authorizer, guard, services, func() *runner.Runner { return run })
	heads := wrap.New(store, time.Now)
	pcs, err := n.openComputers(ctx, keys, heads, callers, services, store, func() *runner.Runner { return run })
	if err != nil {
		return err
	}
	var meaning *layer.Layer
	meanings := semanticUploads(cfg, store, authorizer, func(project stead.ProjectID, name string) bool { return meaning.Taken(project, name) })
	meaning, closeMeaning, err := openSemantic(cfg, meant, authorizer, meanings)
	n.onStop(closeMeaning)
	if err != nil {
		return err
	}
	n.meaning = meaning
	n.openGuardrails(rails, metered.stateless, authorizer, switches)
	run = runner.New(runner.Config{
		Store: store, Agents: store, Blobs: heads.Blobs(blobs), Models: n.models, Tools: recollect.New(services.memory, filesearch.New(services.vectors, sqlquery.New(askedDatabases(databases), semantics.New(meaning, checkArguments(), tools)))), Untrusted: tools.Untrusted, Policy: authorizer, Audit: authorizer.Draft, Unsaid: unsaid(store), Deleting: purges.Deleting, Watch: switches.Watch,
		Guardrails: n.guardrails, Memory: remember.New(services.memory), Vaults: services.vaults, Consent: askConsent(n.consents), Workloads: workloads,
		Node: n.id, Now: time.Now, Log: log,
		Environments: pcs.host, Foreign: pcs.planner.Foreign, EnvironmentIdle: cfg.Environments.Idle(), EnvironmentExpire: cfg.Environments.Expire(),
		CheckArguments: checkArguments(), ToolTimeout: cfg.ToolTimeout(), ModelIdleTimeout: cfg.ModelIdleTimeout(),
		Prices: metered.prices, Budgets: metered.purse, Full: n.room.Full, Low: n.room.Low,
	})
	n.openReseals(store, heads, authorizer)
	if err := run.Start(ctx); err != nil {
		return err
	}
	n.onStop(run.Shutdown)
	n.tendConsents(n.consents)
	erasures, kept := n.openErasures(run, store, audited, services, desk, purges)
	door := server.Config{
		Pace:     server.Pace(cfg.Limits.RequestsPerMinute),
		Sessions: run, Agents: run, Traces: run, Responses: run, Environments: run, Planner: pcs.planner, Executors: pcs.hub, RemoteURL: pcs.remoteURL,
		Templates: services.templates, Files: services.files, Skills: services.skills, Memory: services.memory, Vectors: services.vectors, Vaults: services.vaults, Consents: n.consents, SecureCookies: strings.HasPrefix(n.publicURL(), "https:"), Issuer: issuer, FileContent: services.fileContent,
		Policies: shownPolicies{authorizer, decider}, PolicySets: n.policySets(store, authorizer), SemanticModels: meanings, SemanticLayer: meaning, Approvals: watchedDesk{approval.NewService(desk, authorizer, quiet), authorizer}, KillSwitches: killswitch.NewService(switches, authorizer, n.findStopped(store)), Watch: switches.WatchBy, Stopped: n.stoppedCaller(switches, withdrawn, audited.refusals), StillReads: stillReads(quiet, authorizer), Audit: audited.service, Erasures: erasures, Retention: kept, AuditStreams: func() []stream.Status { return append(streams.Status(), told.Status()...) }, TurnedAway: audited.strangers.TurnedAway, Usage: metered.account, Budgets: metered.budgets,
		Models: n.models, Gate: run, Meter: metered.stateless, Guardrails: n.guardrails, Purse: metered.purse, Prices: metered.prices, Seals: keys, Reseals: n, Unreadable: n.seals.unreadable.Load,
		ModelIdleTimeout: cfg.ModelIdleTimeout(), Capacity: func() []capacity.Status { return n.throughput.Load().status() }, Explain: n.models.Explain, ToolServers: tools.Labels, Schema: checkSchema, Log: log,
		Version: version, Stopping: n.stopping, Full: n.room.Full,
		Sources: services.sources,
		Ready: func(ctx context.Context) error {
			_, err := store.Heads(ctx, stead.DefaultProject, journal.Query{Limit: 1})
			return err
		},
	}
	if callers != nil {
		door.Keys, door.Authenticate, door.Origins = callers, authenticate(callers, tokens, n.clients), cfg.Auth.BrowserOrigins
	}
	n.serve(listener, server.New(door))
	return nil
}

// gone says whether a session is not there any more.
func gone(store database) func(context.Context, stead.ProjectID, stead.SessionID) (bool, error) {
	return func(ctx context.Context, project stead.ProjectID, id stead.SessionID) (bool, error) {
		_, err := store.Head(ctx, stead.SessionKey{Project: project, Session: id})
		if stead.KindOf(err) == stead.KindNotFound {
			return true, nil
		}
		return false, err
	}
}

func (n *node) onStop(f func(context.Context) error) { n.stops = append(n.stops, f) }

func (n *node) openStore(ctx context.Context) (database, error) {
	if err := os.MkdirAll(n.cfg.Data, 0o700); err != nil {
		e := stead.Wrap(stead.KindUnavailable, err, "the data directory can't be made")
		e.Hint = "Name one that you may write to with --data or STEAD_DATA."
		return nil, e
	}
	n.room = ballast.Open(n.cfg.Data, journalIsHere(n.cfg), n.log)
	if n.cfg.Database != "" {
		return postgres.Open(ctx, n.cfg.Database, postgres.Options{})
	}
	return sqlite.Open(ctx, filepath.Join(n.cfg.Data, sqliteFile), sqlite.Options{Spare: n.room.Give})
}

func listen(ctx context.Context, address string) (net.Listener, error) {
	l, err := (&net.ListenConfig{}).Listen(ctx, "tcp", address)
	if err == nil {
		return l, nil
	}
	e := stead.Wrap(stead.KindUnavailable, err, "can't serve on %s", address)
	if errors.Is(err, syscall.EADDRINUSE) {
		e.Hint = "Another program serves there, perhaps a Stead already. Choose another address with --listen, or 127.0.0.1:0 for a free one."
	}
	return nil, e
}

// serve answers requests from now on.
func (n *node) serve(l net.Listener, handler http.Handler) {
	srv := &http.Server{
		Handler: handler, ReadHeaderTimeout: headerTimeout, IdleTimeout: idleTimeout, MaxHeaderBytes: maxHeaderBytes,
		ErrorLog: slog.NewLogLogger(n.log.Handler(), slog.LevelDebug),
	}
	if n.certificate != nil {
		srv.TLSConfig = n.certificate.config()
	}
	if n.clients != nil {
		n.clients.ask(srv.TLSConfig)
		srv.ErrorLog.SetOutput(heard{srv.ErrorLog.Writer(), n.clients.errors})
	}
	go func() {
		if n.certificate == nil {
			n.served <- srv.Serve(l)
			return
		}
		n.served <- srv.ServeTLS(l, "", "")
	}()
	n.onStop(func(ctx context.Context) error {
		close(n.stopping)
		if err := srv.Shutdown(ctx); err != nil {
			return errors.Join(err, srv.Close())
		}
		return nil
	})
}

// wait serves until ctx ends.
func (n *node) wait(ctx context.Context) error {
	select {
	case <-ctx.Done():
		n.log.Info("stopping", "drain", n.cfg.Drain().String())
		return nil
	case err := <-n.served:
		return fmt.Errorf("serve on %s: %w", n.base, err)
	}
}

// stop ends the node, the last part first, within the drain time.
func (n *node) stop() {
	n.once.Do(func() {
		drain, cancel := context.WithTimeout(context.Background(), n.cfg.Drain())
		defer cancel()
		for i := len(n.stops) - 1; i >= 0; i-- {
			parent := drain
			if drain.Err() != nil { // spent by what was in flight: the rest has still to close
				parent = context.Background()
			}
			ctx, cancel := context.WithTimeout(parent, max(closeTimeout, n.cfg.Drain()))
			if err := n.stops[i](ctx); err != nil {
				n.log.Warn("stop", "err", err)
			}
			cancel()
		}
	})
}

// modelInUse says what runs agents that name no model of their own.
func (n *node) modelInUse() string {
	info, _, err := n.models.Resolve("default", model.Caller{Project: stead.DefaultProject})
	switch {
	case err != nil:
		return "none (no default is configured)"
	case info.Provider == config.SimModel:
		return "sim (built in: follows plain instructions, thinks nothing, costs nothing)"
	}
	return info.Provider + "/" + info.Upstream
}

func ignoreClosed(err error) error {
	if errors.Is(err, net.ErrClosed) {
		return nil
	}
	return err
}

// writeReady writes the ready file whole or not at all.
func writeReady(file, base string) error {
	tmp := file + ".tmp"
	err := os.WriteFile(tmp, []byte(base+"\n"), 0o600)
	if err == nil {
		err = os.Rename(tmp, file)
	}
	if err != nil {
		return stead.Wrap(stead.KindInvalid, err, "the ready file can't be written")
	}
	return nil
}
