package main

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"time"

	"github.com/stead-dev/stead"
	"github.com/stead-dev/stead/internal/audit"
	"github.com/stead-dev/stead/internal/config"
	"github.com/stead-dev/stead/internal/egress"
	"github.com/stead-dev/stead/internal/environment"
	"github.com/stead-dev/stead/internal/environment/bare"
	"github.com/stead-dev/stead/internal/environment/cgroup"
	"github.com/stead-dev/stead/internal/environment/docker"
	"github.com/stead-dev/stead/internal/environment/executor"
	"github.com/stead-dev/stead/internal/environment/gvisor"
	"github.com/stead-dev/stead/internal/environment/host"
	"github.com/stead-dev/stead/internal/environment/image"
	"github.com/stead-dev/stead/internal/environment/kubernetes"
	"github.com/stead-dev/stead/internal/environment/landlock"
	"github.com/stead-dev/stead/internal/environment/ns"
	"github.com/stead-dev/stead/internal/environment/plan"
	"github.com/stead-dev/stead/internal/environment/wrap"
	"github.com/stead-dev/stead/internal/identity"
	"github.com/stead-dev/stead/internal/journal"
	"github.com/stead-dev/stead/internal/runner"
	"github.com/stead-dev/stead/internal/seal"
	"github.com/stead-dev/stead/internal/session"
	"github.com/stead-dev/stead/internal/template"
	"github.com/stead-dev/stead/internal/tool"
	"github.com/stead-dev/stead/internal/tool/computer"
)

// probeTimeout bounds trying a driver at the start.
const probeTimeout = 20 * time.Second

// candidate is a driver that a configuration may mean. Making one does nothing yet.
type candidate struct {
	name string
	make func(cfg *config.Config) (environment.Provider, error)
}

// candidates are the drivers of this build, the best first. Bare is none of them: it is only ever
// taken by name.
func candidates(log *slog.Logger) []candidate {
	groups := sync.OnceValue(func() *cgroup.Host {
		h := cgroup.Detect()
		ctx, cancel := context.WithTimeout(context.Background(), probeTimeout)
		defer cancel()
		h.Sweep(ctx) // groups of servers that were killed
		return h
	})
	return []candidate{
		{config.DriverNS, func(*config.Config) (environment.Provider, error) { return ns.New(groups()), nil }},
		{config.DriverLandlock, func(*config.Config) (environment.Provider, error) { return landlock.New(groups()), nil }},
		{config.DriverDocker, func(cfg *config.Config) (environment.Provider, error) {
			e := cfg.Environments
			return docker.New(docker.Options{Socket: dockerSocket(e.Docker.Host), Runtime: e.Docker.Runtime, Image: e.Image, Pull: e.Docker.Pull, Dir: filepath.Join(cfg.Data, guestDir)}), nil
		}},
		{config.DriverKubernetes, cluster},
		{config.DriverGVisor, func(cfg *config.Config) (environment.Provider, error) {
			g := cfg.Environments.GVisor
			return gvisor.New(gvisor.Config{Binary: g.Binary, Pool: cmp.Or(g.Pool, gvisor.DefaultPool), PoolLimits: environment.LimitsOf(environment.SizeMedium), Logger: log}), nil
		}},
	}
}

// choice is the driver of hosted environments with what its probe said, or why there is none.
type choice struct {
	driver  environment.Provider
	report  *environment.Report
	problem string
}

// chooseDriver finds the driver of hosted environments. A driver that is named must work, and so must
// one with a kernel of its own where isolation is strong; otherwise a machine on which none works has
// no hosted environments. Nothing is ever run without isolation by default.
func chooseDriver(ctx context.Context, cfg *config.Config, log *slog.Logger) (choice, error) {
	e := cfg.Environments
	switch e.Driver {
	case config.DriverNone:
		return choice{problem: "environments.driver is none"}, nil
	case config.DriverBare:
		report := bare.Provider{}.Probe(ctx)
		return choice{driver: bare.Provider{}, report: &report}, nil
	}
	var problems []error
	for _, c := range candidates(log) {
		if e.Driver != "" && e.Driver != c.name || e.Driver == "" && c.name == config.DriverKubernetes {
			continue // a cluster is only used when it is named
		}
		p, report, err := tryDriver(ctx, cfg, c)
		switch {
		case err != nil:
			problems = append(problems, fmt.Errorf("%s: %w", c.name, err))
		case !report.Usable:
			problems = append(problems, fmt.Errorf("%s: %s", c.name, report.Problem))
		case e.Isolation == config.IsolationStrong && report.Isolation != environment.IsolationStrong:
			problems = append(problems, fmt.Errorf("%s: it shares this machine's kernel", c.name))
		case walksIn(c.name) && closedAbove(cfg.Data) != "":
			problems = append(problems, fmt.Errorf("%s: %s", c.name, closedAbove(cfg.Data)))
		default:
			sweepLeftovers(ctx, p, log)
			return choice{driver: p, report: &report}, nil
		}
		if p != nil {
			closeDriver(p)
		}
	}
	why := errors.Join(problems...)
	if why == nil {
		why = errors.New("this build has no driver for this machine")
	}
	if e.Driver == "" && e.Isolation != config.IsolationStrong {
		return choice{problem: oneLine(why.Error(), 500)}, nil
	}
	failed := stead.Errorf(stead.KindInvalid, "the environments that are asked for can't be had here: %s", oneLine(why.Error(), 500))
	failed.Param, failed.Hint = "environments", "stead doctor says what this machine lacks and how to mend it."
	return choice{}, failed
}

func tryDriver(ctx context.Context, cfg *config.Config, c candidate) (environment.Provider, environment.Report, error) {
	p, err := c.make(cfg)
	if err != nil {
		return nil, environment.Report{}, err
	}
	ctx, cancel := context.WithTimeout(ctx, probeTimeout)
	defer cancel()
	return p, p.Probe(ctx), nil
}

func closeDriver(p environment.Provider) {
	ctx, cancel := context.WithTimeout(context.Background(), closeTimeout)
	defer cancel()
	_ = p.Close(ctx)
}

// computers are the parts of a node that give agents their environments.
type computers struct {
	host    *host.Host
	hub     *executor.Hub
	planner *plan.Planner
	keys    *seal.Keys
	base    string
}

// openComputers puts them together. service is asked later, when executors come and environments connect.
func (n *node) openComputers(ctx context.Context, keys *seal.Keys, heads *wrap.Heads, callers *identity.Service, named configured, sessions journal.Directory, service func() *runner.Runner) (*computers, error) {
	chosen, err := chooseDriver(ctx, n.cfg, n.log)
	if err != nil {
		return nil, err
	}
	driver := chosen.driver
	if driver == nil {
		n.log.Warn("no hosted environments on this node", "because", chosen.problem)
	} else {
		n.computer = driver.Name()
	}
	c := &computers{keys: keys, base: n.publicURL()}
	c.hub = executor.NewHub(executor.HubConfig{
		Lookup: func(ctx context.Context, id, token string) (executor.Registration, error) {
			return c.lookup(ctx, projectOfExecutor(ctx, callers, token), id, service())
		},
		Admits: admitsExecutor(callers),
		Shown:  n.clients.ofExecutor,
		In: func(ctx context.Context, project stead.ProjectID, id string) (executor.Registration, error) {
			return c.lookup(ctx, project, id, service())
		},
		Admitted: n.executorAdmitted,
		Changed:  func(ch executor.Change) { n.executorChanged(ch, service()) },
		Log:      n.log,
	})
	n.onStop(c.hub.Close)
	way, err := egressOf(n.cfg.Environments.Egress)
	if err != nil {
		return nil, err
	}
	way.Audit = n.auditConnection
	way.Ask = func(ctx context.Context, k stead.SessionKey, r egress.Record) error {
		return askAbout(ctx, service(), k, r)
	}
	way.Watch = n.watchConnection
	root, err := n.rootImage(ctx, driver)
	if err != nil {
		return nil, err
	}
	var base []string
	if driver != nil && driver.Name() == config.DriverDocker {
		base = []string{n.cfg.Environments.Image} // a name of the engine's
	}
	c.host, err = host.New(host.Config{
		Image: root, Base: base,
		Dir: n.cfg.Data, Room: n.room.Admit, Blobs: n.blobs, Keys: keys, Whole: heads.Whole, Driver: driver, Problem: chosen.problem, Report: chosen.report, Remote: remote{c.hub.Provider(), c.hub},
		File: named.nodeContent, Template: named.templates.Version, Egress: way, Log: n.log,
		Session: func(ctx context.Context, key stead.SessionKey) error {
			_, err := sessions.Head(ctx, key)
			return err
		},
		Tools: func(find func(stead.SessionKey) (environment.Environment, error), began func(stead.SessionKey, string) func()) []tool.Tool {
			return computer.Tools(find, began)
		},
	})
	if err != nil {
		return nil, err
	}
	n.onStop(c.host.Close)
	if driver != nil && walksIn(driver.Name()) {
		if err := enterable(n.cfg.Data); err != nil {
			return nil, stead.Wrap(stead.KindUnavailable, err, "the data directory can't be opened for the commands of environments")
		}
	}
	c.planner = plan.New(plan.Config{Keys: keys, Part: heads.Part, Resolve: named.templates.Resolve, Able: c.host.Able, RemoteURL: c.bareURL})
	return c, nil
}

// remote is the hub as the host sees it.
type remote struct {
	*executor.Provider
	hub *executor.Hub
}

// Connected implements host.Remote.
func (r remote) Connected(id string) bool { return r.hub.Connected(id) }

// Forget implements host.Remote.
func (r remote) Forget(id string) { r.hub.Drop(id) }

// token is what an environment's executor shows. It is derived from the node's key, so that nothing
// of it is stored anywhere.
func (c *computers) token(project stead.ProjectID, id string) string {
	return executor.TokenIn(project, c.keys.Derive(executorLabel(project, id)))
}

func executorLabel(project stead.ProjectID, id string) seal.Label {
	return seal.Label{Project: project, Kind: "executor", ID: id}
}

// bareURL is where an executor connects, without its token: the journal has that.
func (c *computers) bareURL(id string) string { return executor.RemoteURL(c.base, id, "") }

// remoteURL is the whole of it, for whoever may write the session.
func (c *computers) remoteURL(p stead.Principal, id string) string {
	return executor.RemoteURL(c.base, id, c.token(p.Project, id))
}

// lookup finds the environment that an executor wants to be.
func (c *computers) lookup(ctx context.Context, project stead.ProjectID, id string, service session.Environments) (executor.Registration, error) {
	node := nodePrincipal()
	node.Project = project
	info, err := service.Environment(ctx, node, id)
	if err != nil {
		return executor.Registration{}, err
	}
	if info.Type != session.EnvironmentSelfHosted {
		return executor.Registration{}, stead.NotFound("self-hosted environment", id)
	}
	var public template.Public
	if err := json.Unmarshal(info.Config, &public); err != nil {
		return executor.Registration{}, stead.Wrap(stead.KindInternal, err, "the configuration of environment %s can't be read", id)
	}
	var before []string
	for _, secret := range c.keys.Others(executorLabel(project, id)) {
		before = append(before, executor.Digest(executor.TokenIn(project, secret)))
	}
	return executor.Registration{Project: project, Digest: executor.Digest(c.token(project, id)), Before: before, Workspace: public.Workspace}, nil
}

// projectOfExecutor is the project of what an executor shows, an environment's own token or one of a session: where it
// is to be looked for, and no proof of anything.
func projectOfExecutor(ctx context.Context, callers *identity.Service, token string) stead.ProjectID {
	if callers != nil && identity.IsSessionToken(token) {
		if c, err := callers.Authenticate(ctx, token, ""); err == nil {
			return c.Principal.Project
		}
	}
	return executor.ProjectOf(token)
}

// admitsExecutor says until when a session token opens an environment to an executor; nil without API keys.
func admitsExecutor(callers *identity.Service) func(context.Context, string, string) (time.Time, error) {
	if callers == nil {
		return nil
	}
	return func(ctx context.Context, token, id string) (time.Time, error) {
		c, err := callers.Authenticate(ctx, token, "")
		if err != nil {
			return time.Time{}, err
		}
		if of, ok := session.SessionOfEnvironment(id); !ok || c.Session != of || !identity.HasScope(c.Scope, identity.ScopeExecute) {
			return time.Time{}, stead.Errorf(stead.KindUnauthenticated, "what the executor came with is not for environment %.80q", id)
		}
		return c.Until, nil
	}
}

// nodePrincipal is this server, acting for itself.
func nodePrincipal() stead.Principal {
	return stead.Principal{Project: stead.DefaultProject, Kind: stead.PrincipalNode, ID: "node"}
}

// executorChanged brings an executor's coming and going into its session's journal.
func (n *node) executorChanged(ch executor.Change, service session.Environments) {
	id, ok := session.SessionOfEnvironment(ch.Environment)
	if !ok {
		return
	}
	ctx, cancel := context.WithTimeout(context.Background(), closeTimeout)
	defer cancel()
	err := service.Executor(ctx, stead.SessionKey{Project: ch.Project, Session: id}, session.ConnectionInput{Connected: ch.Connected, Reason: ch.Reason})
	if err != nil && stead.KindOf(err) != stead.KindNotFound {
		n.log.Warn("an executor's connection is not in its session's journal", "environment", ch.Environment, "connected", ch.Connected, "err", err)
	}
}

// executorAdmitted records that somebody becomes the executor of an environment by a certificate, before they do.
func (n *node) executorAdmitted(r *http.Request, by executor.Certificate, environmentID string) error {
	from, _, err := net.SplitHostPort(r.RemoteAddr)
	if err != nil {
		from = r.RemoteAddr
	}
	id, _ := session.SessionOfEnvironment(environmentID)
	return n.audit.Append(r.Context(), audit.Record{
		At: time.Now().UnixMilli(), Project: by.Project, Principal: audit.Principal{Kind: config.KindExecutor, ID: by.Name, Key: by.ID}, Session: id,
		Action: audit.ActExecutor, Resource: environmentID, Decision: audit.Allow, By: "certificate", From: from,
	})
}

// rootImage unpacks the image that hosted environments have for a root; "" is the machine's own
// programs. A driver with an engine of its own brings its images itself.
func (n *node) rootImage(ctx context.Context, driver environment.Provider) (string, error) {
	source := n.cfg.Environments.Image
	if source == "" || driver == nil || (driver.Name() != config.DriverNS && driver.Name() != config.DriverGVisor) {
		return "", nil
	}
	store, err := image.OpenStore(filepath.Join(n.cfg.Data, imagesDir), image.Options{})
	if err != nil {
		return "", err
	}
	defer store.Close()
	found, err := store.Get(ctx, source)
	if err != nil {
		return "", fmt.Errorf("environments.image: %w", err)
	}
	return found.Dir, nil
}

// dockerSocket is the path of an engine's socket: the configured one, that of DOCKER_HOST, or the
// usual place.
func dockerSocket(configured string) string {
	host := cmp.Or(configured, os.Getenv("DOCKER_HOST"), "/var/run/docker.sock")
	return strings.TrimPrefix(host, "unix://")
}

// sweepLeftovers ends what a server that was killed left at an engine or a cluster. Drivers whose
// boxes die with their server have nothing to sweep.
func sweepLeftovers(ctx context.Context, p environment.Provider, log *slog.Logger) {
	s, ok := p.(interface {
		Sweep(context.Context) (int, error)
	})
	if !ok {
		return
	}
	ctx, cancel := context.WithTimeout(ctx, probeTimeout)
	defer cancel()
	if _, err := s.Sweep(ctx); err != nil {
		log.Warn("what an older server left could not be removed", "driver", p.Name(), "err", err)
	}
}

// cluster makes the driver of a Kubernetes cluster: the one that this server runs in, unless the
// configuration names another.
func cluster(cfg *config.Config) (environment.Provider, error) {
	k := cfg.Environments.Kubernetes
	if k.Template == "" {
		e := stead.Invalid("environments.kubernetes.template", "environments.kubernetes.template names no SandboxTemplate of a cluster")
		e.Hint = "To use a cluster, set it as docs/kubernetes.md says; otherwise nothing is amiss."
		return nil, e
	}
	host, err := os.Hostname()
	if err != nil {
		return nil, err
	}
	o := kubernetes.Options{Namespace: k.Namespace, Pool: k.Template, Node: cmp.Or(k.Node, host)}
	if k.Server == "" {
		if o, err = kubernetes.InCluster(o, kubernetes.AccountDir, os.LookupEnv); err != nil {
			return nil, err
		}
		return kubernetes.New(o)
	}
	o.Server = k.Server
	if k.CAFile != "" {
		if o.CA, err = os.ReadFile(k.CAFile); err != nil {
			return nil, err
		}
	}
	o.Token = func() (string, error) {
		token, err := os.ReadFile(k.TokenFile)
		return strings.TrimSpace(string(token)), err
	}
	return kubernetes.New(o)
}
