// Command bench measures the product beside what its disk and its database can give at best, in one
// run on one machine, and prints one table: baseline, ours, ratio, goal, reached.
//
// Baselines: the raw group commit of one file with fdatasync (2 KB records), and DBOS's Go library
// on the same PostgreSQL. Ours: the real runner and stores in this process with a model and a tool
// that answer at once, and the real binary over HTTP.
//
// Units: a step is one model call and one tool call, intent and outcome of both durable; times are
// milliseconds; the limit of a time is given in fdatasyncs of one writer, measured in this run.
//
// Errors: whatever keeps a figure from being measured ends the run; a goal missed does not.
package main

import (
	"errors"
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"runtime/debug"
	"runtime/pprof"
	"strings"
	"time"

	"github.com/stead-dev/stead/internal/audit"
	"github.com/stead-dev/stead/proof/rig"
)

// payloadBytes is the size of each model answer and each tool result, in ours and in DBOS.
const payloadBytes = 256

// options are how long and on what to measure.
type options struct {
	dir    string
	quick  bool
	parts  map[string]bool // nil: all
	window time.Duration   // of one measurement
	runs   int             // of which the median counts
}

func (o options) wants(part string) bool { return o.parts == nil || o.parts[part] }

func main() {
	quick := flag.Bool("quick", false, "short windows and small numbers: for a look, not for a record")
	only := flag.String("only", "", "parts to run, by comma: raw, dbos, steps, memory, recover, http, streams (default all)")
	dir := flag.String("dir", "", "where to write; must be on the disk to be measured (default a temporary directory)")
	profile := flag.String("cpuprofile", "", "write this process's CPU profile to a file")
	child := flag.String("child", "", "internal: be the process that is going to be killed")
	level := flag.String("audit", string(audit.LevelAll), "which decisions are recorded: all, denied or none")
	flag.Parse()
	auditLevel = audit.Level(*level)
	o := options{quick: *quick, window: 3 * time.Second, runs: 3}
	if o.quick {
		o.window, o.runs = time.Second, 1
	}
	if *only != "" {
		o.parts = map[string]bool{}
		for _, p := range strings.Split(*only, ",") {
			o.parts[p] = true
		}
	}
	if *profile != "" {
		stop, err := startProfile(*profile)
		if err != nil {
			fmt.Fprintln(os.Stderr, "bench:", err)
			os.Exit(1)
		}
		defer stop()
	}
	if err := run(o, *dir, *child); err != nil {
		fmt.Fprintln(os.Stderr, "bench:", err)
		os.Exit(1)
	}
}

// gcPercent is what cmd/stead sets.
const gcPercent = 200

func run(o options, dir, child string) (err error) {
	debug.SetGCPercent(gcPercent)
	if child != "" {
		return runChild(child)
	}
	o.dir, err = os.MkdirTemp(dir, "stead-bench-")
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, os.RemoveAll(o.dir)) }()
	pg, err := rig.NewPostgres(filepath.Join(o.dir, "postgres"))
	if err != nil && !errors.Is(err, rig.ErrNoPostgres) {
		return err
	}
	if err != nil {
		fmt.Println("without PostgreSQL, and so without DBOS:", err)
	} else {
		defer pg.Kill()
	}
	b := &bench{options: o, pg: pg, table: &table{}, raw: map[int]rate{}}
	if err := b.measure(); err != nil {
		return err
	}
	return b.table.print(os.Stdout)
}

// startProfile samples this process until stop is called.
func startProfile(path string) (stop func(), err error) {
	f, err := os.Create(path)
	if err != nil {
		return nil, err
	}
	if err := pprof.StartCPUProfile(f); err != nil {
		return nil, errors.Join(err, f.Close())
	}
	return func() {
		pprof.StopCPUProfile()
		_ = f.Close()
	}, nil
}

// bench is one run.
type bench struct {
	options
	pg    *rig.Postgres // nil: there is none
	table *table
	raw   map[int]rate // writers →
	dbos  map[int]rate // workflows →
}

// counts are the numbers of sessions, writers and workflows at once.
func counts() []int { return []int{1, 64, 1024} }

func (b *bench) measure() error {
	parts := []struct {
		name string
		run  func() error
	}{
		{"raw", b.measureRaw},
		{"dbos", b.measureDBOS},
		{"steps", b.measureSteps},
		{"memory", b.measureMemory},
		{"recover", b.measureRecover},
		{"http", b.measureHTTP},
		{"streams", b.measureStreams},
	}
	for _, p := range parts {
		// The raw limit is every other part's baseline.
		if p.name != "raw" && !b.wants(p.name) {
			continue
		}
		fmt.Fprintf(os.Stderr, "%s …\n", p.name)
		if err := p.run(); err != nil {
			return fmt.Errorf("%s: %w", p.name, err)
		}
	}
	return nil
}

func (b *bench) measureRaw() error {
	for _, n := range counts() {
		r, err := medianOf(b.runs, func() (rate, error) { return rawLimit(b.dir, n, b.window) })
		if err != nil {
			return err
		}
		b.raw[n] = r
		b.table.add(row{name: fmt.Sprintf("raw file, 2 KB appends, %d writers", n), baseline: perSecond(r)})
	}
	return nil
}

// fdatasync is what one durable write of one writer takes on this disk: the unit of the goals.
func (b *bench) fdatasync() time.Duration { return b.raw[1].P50 }

func (b *bench) measureDBOS() error {
	if b.pg == nil {
		return nil
	}
	var err error
	if b.dbos, err = dbosLimit(b.pg, counts(), b.window); err != nil {
		return err
	}
	for _, n := range counts() {
		b.table.add(row{name: fmt.Sprintf("DBOS on PostgreSQL, steps, %d workflows", n), baseline: perSecond(b.dbos[n])})
	}
	return nil
}
