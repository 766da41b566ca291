package main

import (
	"fmt"
	"io"
	"path/filepath"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/stead-dev/stead/proof/rig"
)

// compare measures builds of the program side by side: for whoever makes the doors faster, on a machine that others
// use as well. Of each the least CPU of its rounds counts, since what disturbs only adds to it.
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
		payload := body(strings.Repeat("x", p.bytes))
		least := make([]time.Duration, len(all))
		for round := range rounds + 1 { // the first warms up
			for i, m := range all {
				r, err := run(m, payload, window, 0)
				if err != nil {
					return fmt.Errorf("%s: %w", m.name, err)
				}
				if round == 1 || round > 1 && r.cpu < least[i] {
					least[i] = r.cpu
				}
			}
		}
		for i, m := range all {
			fmt.Fprintf(out, "%s\t%s\t%d µs\t%.3f\n", p.name, m.name, least[i].Microseconds(), float64(least[i])/float64(least[0]))
		}
	}
	return out.Flush()
}
