// Package host keeps the environments of one node: it joins a driver, the workspace's files, the
// egress proxy and the session's blobs into environment.Host.
//
// Shape:
//
//	DIR/environments/<project>/<session>/   workspace, services (sockets), state.json
//	DIR/layers/<project>/<layer>/           what packages and set-up commands installed, while a session claims it
//
//	Prepare ─▶ layer, files, skills ─▶ first checkpoint
//	Open    ─▶ workspace (kept, or restored) ─▶ proxy, sockets ─▶ driver
//	Save    ─▶ files in ─▶ checkpoint, artifacts        Suspend ─▶ the same, and nothing is left running
//
// What is on the node's disk is a cache: the truth is the checkpoint whose digest stands in the
// session's journal. state.json says whose state the workspace is in. It is trusted only if it names
// the journal's last residence or checkpoint, and only until the machine is started anew: pages that
// a power cut lost are not missed by anybody else.
//
// Nodes may share DIR: each place belongs to the holder of its session's lease, and what makes and ends
// layers is safe between processes: see type layer.
//
// Limits: MaxResident environments at once; see also package environment.
//
// Errors: *stead.Error, as environment.Host says.
package host

import (
	"cmp"
	"context"
	"errors"
	"io"
	"log/slog"
	"net/http"
	"os"
	"path/filepath"
	"sync"
	"sync/atomic"
	"time"

	"github.com/stead-dev/stead"
	"github.com/stead-dev/stead/internal/blob"
	"github.com/stead-dev/stead/internal/egress"
	"github.com/stead-dev/stead/internal/environment"
	"github.com/stead-dev/stead/internal/environment/origin"
	"github.com/stead-dev/stead/internal/environment/workspace"
	"github.com/stead-dev/stead/internal/seal"
	"github.com/stead-dev/stead/internal/template"
	"github.com/stead-dev/stead/internal/tool"
)

// Limits of one node.
const (
	// MaxResident is the most environments that are resident at once.
	MaxResident = 1000
	// CloseTimeout is how long an environment may take to end.
	CloseTimeout = 20 * time.Second
	// PartBytes is the largest blob of an artifact.
	PartBytes = 8 << 20
	// MaxPublishing is how many outputs are read at once, over all sessions: each has PartBytes in memory.
	MaxPublishing = 4
	// MaxUnpacking is how many skills and plugins are in memory at once, over all sessions, each with its
	// archive and what is in it: see package capability.
	MaxUnpacking = 2
	// MaxArtifactBytes is the largest file that is published.
	MaxArtifactBytes = 512 << 20
	// MaxTooLarge is the most files above that of which one save tells.
	MaxTooLarge = 16
	// MaxSetupOutput is how much of a failed set-up's output its error shows.
	MaxSetupOutput = 2 << 10
	// SetupTime bounds all commands of one set-up together.
	SetupTime = time.Hour
)

// Config is what a host needs. Dir, Blobs, Keys and Whole must be set.
type Config struct {
	Dir   string // of the node's data
	Blobs blob.Store
	Keys  *seal.Keys
	// Whole puts what a session has sealed together, of its blob and what is kept beside it: wrap.Heads.Whole.
	Whole func(ctx context.Context, key stead.SessionKey, stored []byte) ([]byte, error)
	// Room says whether the node's disk has room for so many bytes of workspaces, in so many new files; nil: nobody asks.
	Room func(bytes, files int64) error
	// Driver runs hosted environments; nil: this node has none, and Problem says why.
	Driver  environment.Provider
	Problem string
	// Report is what Driver's probe said: see Able. nil: nobody asked, and nothing is refused for it.
	Report *environment.Report
	// Remote reaches self-hosted ones; nil: none.
	Remote Remote
	// Image is the directory of an unpacked image to use in place of the host's /usr; "": the host's.
	Image string
	// Base is what else layers depend on: the image of an engine. nil: nothing.
	Base []string
	// Template is the version of a template as it is now: for as long as a layer is of that, it is kept for the template's next
	// session. KindNotFound: it is deleted. nil: layers end with their sessions.
	Template func(ctx context.Context, project stead.ProjectID, id string) (version int64, err error)
	// Session says KindNotFound of a session that is deleted, whose claims to layers end then. nil: nobody asks.
	Session func(ctx context.Context, key stead.SessionKey) error
	// File and Skill read what an environment's configuration names by id. The caller closes a file.
	File  func(ctx context.Context, project stead.ProjectID, id string) (io.ReadCloser, error)
	Skill func(ctx context.Context, project stead.ProjectID, id, version string) ([]byte, error)
	// Egress is what the operator says of every way out; Policy's wire fields are the environment's own.
	Egress Egress
	// Tools makes the agent's tools over a way to find a session's environment.
	// They say by began which commands go on in the background, and by what it returns when one has ended.
	Tools func(find func(stead.SessionKey) (environment.Environment, error), began func(key stead.SessionKey, command string) (ended func())) []tool.Tool
	// BackgroundEvery is for tests; 0: the constant of that name.
	BackgroundEvery time.Duration
	Log             *slog.Logger // nil: slog.Default()
}

// Egress is the operator's part of a way out.
type Egress struct {
	Private     []string // names and CIDRs that may be reached although they are not public
	Limits      egress.Limits
	Credentials []environment.Credential
	Proxy       func(*egress.Config) // sets what else the operator wants; nil: nothing
	// Audit stores each decision about a connection, beside the session's journal, which ends with its session. An error
	// refuses the connection. nil: it is in the journal alone.
	Audit func(ctx context.Context, k stead.SessionKey, r egress.Record) error
	// Ask decides about each connection that the network allows, as egress.Asker has it; nil: it is allowed.
	Ask func(ctx context.Context, k stead.SessionKey, r egress.Record) error
	// Watch may end what was allowed before its time, as egress.Watcher has it; nil: it goes on.
	Watch func(k stead.SessionKey, r egress.Record, end func(error)) (done func())
}

// Remote is the driver of self-hosted environments.
type Remote interface {
	environment.Provider
	// Connected reports whether an environment's executor is connected to this node.
	Connected(environmentID string) bool
	// Forget ends an environment whose session was deleted: its executor is told, and stops.
	Forget(environmentID string)
}

// Host implements environment.Host.
type Host struct {
	cfg   Config
	log   *slog.Logger
	tools []tool.Tool
	boot  string // names this start of the machine
	parts parts
	// unpacking has a place for each of MaxUnpacking.
	unpacking chan struct{}

	places    turns[stead.SessionKey] // who changes them
	layering  turns[string]           // project "/" digest of a set-up or of a checkpoint → who makes that layer
	endSweeps context.CancelFunc

	mu      sync.Mutex
	boxes   map[stead.SessionKey]*box
	origins map[stead.SessionKey]tool.Origin
}

var _ environment.Host = (*Host)(nil)

// New makes a host. What a node that was killed left below Dir is used again or replaced when its
// session is opened.
func New(cfg Config) (*Host, error) {
	if cfg.Log == nil {
		cfg.Log = slog.Default()
	}
	if cfg.Room == nil {
		cfg.Room = func(int64, int64) error { return nil }
	}
	dir, err := filepath.Abs(cfg.Dir) // drivers take whole paths, and a data directory is ./.stead by default
	if err != nil {
		return nil, stead.Wrap(stead.KindUnavailable, err, "the directory of environments can't be found")
	}
	cfg.Dir, cfg.BackgroundEvery = dir, cmp.Or(cfg.BackgroundEvery, BackgroundEvery)
	for _, dir := range []string{EnvironmentsDir, layersDir} {
		dir = filepath.Join(cfg.Dir, dir)
		if err := os.MkdirAll(dir, 0o700); err != nil {
			return nil, unavailable(err, "the directory of environments can't be made")
		}
		workspace.Apart(dir)
	}
	h := &Host{
		cfg: cfg, log: cfg.Log, boot: bootID(), parts: newParts(), unpacking: make(chan struct{}, MaxUnpacking),
		boxes: map[stead.SessionKey]*box{}, origins: map[stead.SessionKey]tool.Origin{},
	}
	sweeping, end := context.WithCancel(context.Background())
	h.endSweeps = end
	go h.keepSweeping(sweeping)
	if cfg.Tools != nil {
		h.tools = cfg.Tools(h.find, h.began)
	}
	return h, nil
}

// Tools implements environment.Host.
func (h *Host) Tools() []tool.Tool { return h.tools }

// box is a session's environment on this node.
type box struct {
	key       stead.SessionKey
	residence stead.Seq
	place     place
	public    template.Public
	env       environment.Environment
	proxy     *egress.Proxy
	tools     *http.Server
	limits    environment.Limits
	saving    sync.Mutex        // one checkpoint at a time
	stored    string            // digest of the last checkpoint, under saving
	took      atomic.Int64      // nanoseconds that it took
	remote    bool              // its executor has it
	told      environment.Usage // what Used has said, under Host.mu

	background background
}

// find returns a session's environment for its tools.
func (h *Host) find(key stead.SessionKey) (environment.Environment, error) {
	h.mu.Lock()
	b := h.boxes[key]
	h.mu.Unlock()
	if b != nil {
		return b.env, nil
	}
	if h.cfg.Remote == nil || !h.Connected(key) {
		return nil, stead.Errorf(stead.KindUnavailable, "the environment is not open")
	}
	env, err := h.cfg.Remote.Open(context.Background(), environment.Spec{ID: environmentID(key), Limits: environment.LimitsOf(environment.SizeMedium)})
	if err != nil {
		return nil, err
	}
	return h.keepRemote(key, env), nil
}

// keepRemote keeps a self-hosted environment until it is gone. Two that opened it at once share one.
func (h *Host) keepRemote(key stead.SessionKey, env environment.Environment) environment.Environment {
	h.mu.Lock()
	defer h.mu.Unlock()
	if b := h.boxes[key]; b != nil {
		return b.env
	}
	b := &box{key: key, env: env, remote: true}
	h.boxes[key] = b
	go func() {
		<-env.Done()
		h.take(key, func(other *box) bool { return other == b })
	}()
	return env
}

// take removes a session's box from the table, if it is the one that is meant.
func (h *Host) take(key stead.SessionKey, meant func(*box) bool) *box {
	h.mu.Lock()
	defer h.mu.Unlock()
	b := h.boxes[key]
	if b == nil || !meant(b) {
		return nil
	}
	delete(h.boxes, key)
	return b
}

func (h *Host) box(key stead.SessionKey) (*box, error) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if b := h.boxes[key]; b != nil {
		return b, nil
	}
	return nil, stead.Errorf(stead.KindUnavailable, "the environment of session %s is not open on this node", key.Session)
}

// Used implements environment.Host.
func (h *Host) Used(key stead.SessionKey) environment.Resided {
	b, err := h.box(key)
	if err != nil {
		return environment.Resided{}
	}
	if !b.remote {
		u := b.usage()
		u.DiskBytes = 0 // each checkpoint says it
		return environment.Resided{Residence: b.residence, Usage: u}
	}
	h.mu.Lock()
	defer h.mu.Unlock()
	now, before := b.env.Usage(), b.told
	b.told = now
	return environment.Resided{Usage: environment.Usage{
		CPU: max(now.CPU-before.CPU, 0), MemoryBytes: now.MemoryBytes, DiskBytes: now.DiskBytes,
		Commands: now.Commands - before.Commands, OutputBytes: now.OutputBytes - before.OutputBytes,
	}}
}

// Connected implements environment.Host.
func (h *Host) Connected(key stead.SessionKey) bool {
	return h.cfg.Remote != nil && h.cfg.Remote.Connected(environmentID(key))
}

// Origin implements environment.Host.
func (h *Host) Origin(key stead.SessionKey) tool.Origin {
	h.mu.Lock()
	defer h.mu.Unlock()
	o := h.origins[key]
	if o == nil {
		o = origin.New(origin.Config{
			Key:  string(key.Project) + "/" + string(key.Session),
			Open: func(context.Context) (environment.Environment, error) { return h.find(key) },
			Dial: h.dialer(key),
		})
		h.origins[key] = o
	}
	return o
}

// Drop implements environment.Host.
func (h *Host) Drop(key stead.SessionKey, residence stead.Seq) {
	defer h.hold(key)() // who opens the next residence waits until this one has ended
	if b := h.take(key, func(b *box) bool { return b.residence == residence }); b != nil {
		h.end(b)
	}
}

// Forget implements environment.Host.
func (h *Host) Forget(_ context.Context, key stead.SessionKey) error {
	defer h.hold(key)()
	if b := h.take(key, func(*box) bool { return true }); b != nil {
		h.end(b)
	}
	h.mu.Lock()
	delete(h.origins, key)
	h.mu.Unlock()
	if h.cfg.Remote != nil {
		h.cfg.Remote.Forget(environmentID(key))
	}
	return errors.Join(h.place(key).remove(), h.release(key))
}

// Close ends every environment of this node. What they hold stays on the disk.
func (h *Host) Close(ctx context.Context) error {
	h.endSweeps()
	h.mu.Lock()
	all := h.boxes
	h.boxes = map[stead.SessionKey]*box{}
	h.mu.Unlock()
	var work sync.WaitGroup
	for _, b := range all {
		work.Go(func() { h.end(b) })
	}
	work.Wait()
	if h.cfg.Driver == nil {
		return nil
	}
	return h.cfg.Driver.Close(ctx)
}

// end closes a box. It takes as long as it takes: nothing may be left behind.
func (h *Host) end(b *box) {
	ctx, cancel := context.WithTimeout(context.Background(), CloseTimeout)
	defer cancel()
	if err := b.env.Close(ctx); err != nil {
		h.log.Warn("an environment did not close in order", "session", b.key.Session, "err", err)
	}
	h.closeServices(ctx, b)
}

func environmentID(key stead.SessionKey) string {
	return environmentPrefix + string(key.Session)[min(len(key.Session), len(stead.SessionPrefix)):]
}

// environmentPrefix begins every environment's id, as in package session.
const environmentPrefix = "env_"
