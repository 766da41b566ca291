package main

import (
	"context"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/jackc/pgx/v5"
	"golang.org/x/sys/unix"
)

// Goals of targets: parts of the raw limit and multiples of DBOS.
const (
	goalSQLiteRaw, goalSQLiteDBOS     = 0.15, 4.0
	goalPostgresRaw, goalPostgresDBOS = 0.10, 3.0
	goalStepSyncs                     = 2.5
	goalStepP99                       = 5 * time.Millisecond
	goalStepBytes                     = 1 << 10
)

func (b *bench) measureSteps() error {
	if err := b.stepsOn("SQLite", "", goalSQLiteRaw, goalSQLiteDBOS); err != nil {
		return err
	}
	if b.pg == nil {
		return nil
	}
	url, err := b.pg.CreateDatabase("steps")
	if err != nil {
		return err
	}
	return b.stepsOn("PostgreSQL", url, goalPostgresRaw, goalPostgresDBOS)
}

func (b *bench) stepsOn(store, url string, goalRaw, goalDBOS float64) error {
	dir := filepath.Join(b.dir, "steps-"+store)
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return err
	}
	c, err := openCore(dir, url, newInstant(stepsPerTurn))
	if err != nil {
		return err
	}
	empty, err := databaseBytes(dir, url)
	if err != nil {
		return err
	}
	steps := 0
	for _, n := range counts() {
		r, raw, cpu, err := b.turns(c, n, &steps)
		if err != nil {
			return err
		}
		name := fmt.Sprintf("%s, steps, %d sessions", store, n)
		if n == 1 {
			b.oneSession(store, r, raw.P50)
			b.againstDBOS(name, n, r, 0)
			continue
		}
		b.table.add(row{name: name + ", CPU time of this process per step", ours: ms(cpu)})
		b.table.atLeast(name+", to raw", r, raw, goalRaw)
		b.againstDBOS(name, n, r, goalDBOS)
	}
	if err := c.close(); err != nil {
		return err
	}
	return b.bytesPerStep(store, dir, url, empty, steps)
}

// turns measures ours and the raw limit in turns, so that a machine that others use too treats both
// alike, and returns the median of each. The rate says what the machine left us; the CPU time of this
// process per step says what a step costs on any.
func (b *bench) turns(c *core, n int, steps *int) (ours, raw rate, cpu time.Duration, err error) {
	var raws []rate
	var used time.Duration
	before := *steps
	ours, err = medianOf(b.runs, func() (rate, error) {
		r, err := rawLimit(b.dir, n, b.window/rawShare)
		if err != nil {
			return rate{}, err
		}
		raws = append(raws, r)
		began := cpuTime()
		r, err = c.steps(n, b.window, steps)
		used += cpuTime() - began
		return r, err
	})
	if err != nil {
		return ours, raw, 0, err
	}
	i := -1
	raw, err = medianOf(len(raws), func() (rate, error) { i++; return raws[i], nil })
	return ours, raw, used / time.Duration(*steps-before), err
}

// rawShare is how much shorter the raw limit's turns are than ours.
const rawShare = 3

// cpuTime is what this process has used of the processors, itself and the kernel for it.
func cpuTime() time.Duration {
	var u unix.Rusage
	if err := unix.Getrusage(unix.RUSAGE_SELF, &u); err != nil {
		return 0
	}
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}

// steps runs rounds of n sessions until the window is over.
func (c *core) steps(n int, window time.Duration, count *int) (rate, error) {
	if _, err := c.round(1); err != nil { // warm
		return rate{}, err
	}
	c.model.takeSteps()
	var busy time.Duration
	for busy < window {
		d, err := c.round(n)
		if err != nil {
			return rate{}, err
		}
		busy += d
	}
	took := c.model.takeSteps()
	*count += len(took) + stepsPerTurn
	if err := c.settled(shutdownTimeout); err != nil {
		return rate{}, err
	}
	c.model.forget()
	return newRate(took, busy), nil
}

func (b *bench) oneSession(store string, r rate, sync time.Duration) {
	limit := time.Duration(goalStepSyncs * float64(sync))
	base := "one fdatasync " + ms(sync)
	b.table.within(store+", added latency of a step, 1 session, p50", base, r.P50, limit,
		fmt.Sprintf("%.2f", float64(r.P50)/float64(sync)), fmt.Sprintf("≤ %.1f fdatasyncs", goalStepSyncs))
	b.table.within(store+", added latency of a step, 1 session, p99", base, r.P99, goalStepP99,
		fmt.Sprintf("%.2f", float64(r.P99)/float64(sync)), "≤ "+ms(goalStepP99))
}

func (b *bench) againstDBOS(name string, n int, r rate, goal float64) {
	baseline, ok := b.dbos[n]
	switch {
	case ok && goal > 0:
		b.table.atLeast(name+", to DBOS on PostgreSQL", r, baseline, goal)
	case ok:
		b.table.add(row{name: name + ", to DBOS on PostgreSQL", baseline: perSecond(baseline), ours: perSecond(r), ratio: fmt.Sprintf("%.2f", r.PerSecond/baseline.PerSecond)})
	default:
		b.table.add(row{name: name, ours: perSecond(r)})
	}
}

// bytesPerStep is what the database grew by, over all steps, without the steps' payload: the
// sessions' beginnings and ends are in it.
func (b *bench) bytesPerStep(store, dir, url string, empty int64, steps int) error {
	size, err := databaseBytes(dir, url)
	if err != nil {
		return err
	}
	beyond := float64(size-empty)/float64(steps) - 2*payloadBytes
	b.table.add(row{
		name: store + ", bytes on disk per step beyond its payload", baseline: fmt.Sprintf("payload %d B", 2*payloadBytes),
		ours: fmt.Sprintf("%.0f B", beyond), ratio: fmt.Sprintf("%.2f", beyond/(2*payloadBytes)), goal: fmt.Sprintf("≤ %d B", goalStepBytes),
		verdict: reached(beyond <= goalStepBytes),
	})
	return nil
}

func databaseBytes(dir, url string) (int64, error) {
	var size int64
	if url != "" {
		ctx, cancel := context.WithTimeout(context.Background(), shutdownTimeout)
		defer cancel()
		conn, err := pgx.Connect(ctx, url)
		if err != nil {
			return 0, err
		}
		defer conn.Close(ctx)
		err = conn.QueryRow(ctx, "select pg_database_size(current_database())").Scan(&size)
		return size, err
	}
	err := filepath.WalkDir(dir, func(_ string, e fs.DirEntry, err error) error {
		if err != nil || !strings.HasPrefix(e.Name(), "stead.db") {
			return err
		}
		info, err := e.Info()
		if err == nil {
			size += info.Size()
		}
		return err
	})
	return size, err
}
