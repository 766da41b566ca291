// Command dbos runs the benchmark's steps on DBOS's Go library, for comparison: the same payloads,
// the same PostgreSQL, its settings left as they come. It is a module of its own so that the
// product never depends on it.
//
// Shape: a workflow is 20 steps, a step is two durable DBOS steps (the model call and the tool call),
// both of which answer at once with a payload of -payload bytes. Result on standard output: a JSON
// list of {workflows, per_second, p50, p99}, in nanoseconds, a step being the unit.
//
// Source: github.com/dbos-inc/dbos-transact-golang v1.8.0.
package main

import (
	"context"
	"encoding/json"
	"flag"
	"fmt"
	"io"
	"log/slog"
	"os"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/dbos-inc/dbos-transact-golang/dbos"
)

// stepsPerWorkflow is the length of one workflow, in steps of a model call and a tool call each.
const stepsPerWorkflow = 20

// shutdownTimeout is how long DBOS may take to stop.
const shutdownTimeout = 10 * time.Second

type result struct {
	Workflows int           `json:"workflows"`
	PerSecond float64       `json:"per_second"`
	P50       time.Duration `json:"p50"`
	P99       time.Duration `json:"p99"`
}

func main() {
	database := flag.String("database", "", "postgres:// URL of an empty database")
	payload := flag.Int("payload", 256, "bytes of each model answer and each tool result")
	window := flag.Duration("window", 3*time.Second, "least time to measure at each number of workflows")
	counts := flag.String("workflows", "1,64,1024", "numbers of workflows at once")
	flag.Parse()
	if err := run(*database, *payload, *window, *counts); err != nil {
		fmt.Fprintln(os.Stderr, "dbos:", err)
		os.Exit(1)
	}
}

func run(database string, payload int, window time.Duration, counts string) error {
	ctx, err := dbos.NewContext(context.Background(), dbos.Config{
		DatabaseURL: database,
		AppName:     "bench",
		Logger:      slog.New(slog.NewTextHandler(io.Discard, nil)),
	})
	if err != nil {
		return fmt.Errorf("start: %w", err)
	}
	b := &bench{ctx: ctx, answer: strings.Repeat("x", payload)}
	dbos.RegisterWorkflow(ctx, b.workflow)
	if err := dbos.Launch(ctx); err != nil {
		return fmt.Errorf("launch: %w", err)
	}
	defer dbos.Shutdown(ctx, shutdownTimeout)

	if _, err := b.round(1); err != nil { // connections and plans are warm from here on
		return err
	}
	var results []result
	for _, text := range strings.Split(counts, ",") {
		n, err := strconv.Atoi(text)
		if err != nil {
			return err
		}
		r, err := b.measure(n, window)
		if err != nil {
			return err
		}
		results = append(results, r)
	}
	return json.NewEncoder(os.Stdout).Encode(results)
}

type bench struct {
	ctx    dbos.Context
	answer string

	mu   sync.Mutex
	took []time.Duration // of steps, since it was last emptied
}

// measure runs rounds of n workflows at once until the window is over.
func (b *bench) measure(n int, window time.Duration) (result, error) {
	b.mu.Lock()
	b.took = b.took[:0]
	b.mu.Unlock()
	var busy time.Duration
	for busy < window {
		d, err := b.round(n)
		if err != nil {
			return result{}, err
		}
		busy += d
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	slices.Sort(b.took)
	last := float64(len(b.took) - 1)
	return result{
		Workflows: n,
		PerSecond: float64(len(b.took)) / busy.Seconds(),
		P50:       b.took[int(last*0.50)],
		P99:       b.took[int(last*0.99)],
	}, nil
}

func (b *bench) round(n int) (time.Duration, error) {
	start := time.Now()
	errs := make(chan error, n)
	for range n {
		go func() {
			h, err := dbos.RunWorkflow(b.ctx, b.workflow, b.answer)
			if err == nil {
				_, err = h.GetResult()
			}
			errs <- err
		}()
	}
	for range n {
		if err := <-errs; err != nil {
			return 0, err
		}
	}
	return time.Since(start), nil
}

func (b *bench) workflow(ctx dbos.Context, answer string) (int, error) {
	took := make([]time.Duration, 0, stepsPerWorkflow)
	for range stepsPerWorkflow {
		began := time.Now()
		if _, err := dbos.RunAsStep(ctx, func(context.Context) (string, error) { return answer, nil }, dbos.WithStepName("model")); err != nil {
			return 0, err
		}
		if _, err := dbos.RunAsStep(ctx, func(context.Context) (string, error) { return answer, nil }, dbos.WithStepName("tool")); err != nil {
			return 0, err
		}
		took = append(took, time.Since(began))
	}
	b.mu.Lock()
	b.took = append(b.took, took...)
	b.mu.Unlock()
	return len(took), nil
}
