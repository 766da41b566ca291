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

// rules are policies that a node has.
type rules struct {
	name string
	text string // in Cedar; "": there are none
}

// ruleSets are from none to many, of which none refuses what is measured, and none keeps it from being passed on.
func ruleSets() []rules {
	about := func(n int) string {
		var out strings.Builder
		for i := range n {
			switch i % 4 {
			case 0:
				fmt.Fprintf(&out, "forbid(principal, action == Action::\"tool.call\", resource) when { context.labels.hasTag(\"k%d\") };\n", i)
			case 1:
				fmt.Fprintf(&out, "forbid(principal in User::\"u%d\", action == Action::\"tool.call\", resource in Server::\"s%d\");\n", i, i)
			default:
				fmt.Fprintf(&out, "forbid(principal, action == Action::\"tool.call\", resource == Tool::\"s%d/refund\") when { context.text like \"*all*\" };\n", i)
			}
		}
		return out.String()
	}
	return []rules{
		{"none", ""}, {"1, about models", `forbid(principal, action == Action::"model.call", resource == Model::"other");`},
		{"10, about tools", about(10)}, {"1,000, about tools", about(1000)},
	}
}

// config is what of stead.yaml has them.
func (r rules) config() string {
	if r.text == "" {
		return ""
	}
	return "policies:\n  inline: |\n    " + strings.ReplaceAll(r.text, "\n", "\n    ") + "\n"
}

// offer is what a request offers.
type offer struct{ name, members string }

func offersOf() []offer {
	const functions = 20
	var list []string
	for i := range functions {
		list = append(list, fmt.Sprintf(`{"type":"function","function":{"name":"look_%d","description":"Looks something up.","parameters":{"type":"object","properties":{"of":{"type":"string"}}}}}`, i))
	}
	return []offer{{"nothing", ""}, {"20 functions", `,"tools":[` + strings.Join(list, ",") + `]`}, {"a web search", `,"web_search_options":{}`}}
}

// compareOffers is compare by what requests offer and by which policies are asked about it.
func compareOffers(w io.Writer, programs []string, window time.Duration, rounds int) error {
	out := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	fmt.Fprintln(out, "policies\toffered\tprogram\tCPU a request\tratio")
	for _, r := range ruleSets() {
		if err := r.compare(out, programs, window, rounds); err != nil {
			return err
		}
	}
	return out.Flush()
}

func (r rules) compare(w io.Writer, programs []string, window time.Duration, rounds int) error {
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
		m, err := stead(&stop, rig.NodeOptions{Program: program, Dir: filepath.Join(dir, fmt.Sprint("node", i)), Config: r.config()}, base)
		if err != nil {
			return err
		}
		m.name = programs[i]
		all = append(all, m)
	}
	for _, o := range offersOf() {
		payload := []byte(strings.TrimSuffix(string(body(strings.Repeat("x", prompts()[0].bytes))), "}") + o.members + "}")
		used, err := turns(all, payload, window, rounds)
		if err != nil {
			return fmt.Errorf("%s, %s: %w", r.name, o.name, err)
		}
		for i, m := range all {
			mine := quarter(used[i])
			fmt.Fprintf(w, "%s\t%s\t%s\t%d µs\t%.3f\n", r.name, o.name, m.name, mine.Microseconds(), float64(mine)/float64(quarter(used[0])))
		}
	}
	return nil
}
