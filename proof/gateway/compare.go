package main

import (
	"fmt"
	"io"
	"path/filepath"
	"slices"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/stead-dev/stead/proof/rig"
)

// compare measures builds of the program side by side: for whoever makes the doors faster, on a machine that others
// use as well. They take
// turns, short ones; what disturbs adds to some of them, and the lower quarter counts.
func compare(w io.Writer, programs []string, window time.Duration, rounds int) (err error) {
	var stop []func()
	defer func() {
		for _, f := range stop {
			f()
		}
	}()
	dir, base, bare, err := surroundings(&stop)
	if err != nil {
		return err
	}
	all := []middle{bare}
	for i, program := range programs {
		program, err := filepath.Abs(program)
		if err != nil {
			return err
		}
		m, err := stead(&stop, rig.NodeOptions{Program: program, Dir: filepath.Join(dir, fmt.Sprint("node", i))}, base)
		if err != nil {
			return err
		}
		m.name = programs[i]
		all = append(all, m)
	}
	out := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	fmt.Fprintln(out, "prompt\tprogram\tCPU a request\tratio")
	for _, p := range prompts() {
		used, err := turns(all, body(strings.Repeat("x", p.bytes)), window, rounds)
		if err != nil {
			return err
		}
		for i, m := range all {
			mine := quarter(used[i])
			fmt.Fprintf(out, "%s\t%s\t%d µs\t%.3f\n", p.name, m.name, mine.Microseconds(), float64(mine)/float64(quarter(used[0])))
		}
	}
	return out.Flush()
}

// turns are what each uses a request, in each round but the first, which warms up.
func turns(all []middle, payload []byte, window time.Duration, rounds int) ([][]time.Duration, error) {
	used := make([][]time.Duration, len(all))
	for round := range rounds + 1 {
		for i, m := range all {
			r, err := run(m, payload, window, 0)
			if err != nil {
				return nil, fmt.Errorf("%s: %w", m.name, err)
			}
			if round > 0 {
				used[i] = append(used[i], r.cpu)
			}
		}
	}
	return used, nil
}

// quarter is the value that a quarter of all are below.
func quarter(all []time.Duration) time.Duration {
	slices.Sort(all)
	return all[len(all)/4]
}
