package chaos

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/stead-dev/stead/proof/effect"
	"github.com/stead-dev/stead/proof/rig"
)

// Every togetherEvery-th driver gives its work to subagents, some of which have subagents themselves. Whatever dies, each is made once, does its calls
// once, and answers once whoever made it.
const (
	togetherEvery = 4
	// mostSubagents is when a session makes no more (stead.MaxSubagents is the end): those that there are get more to do.
	mostSubagents = 16
	// nestedPercent of the tasks of a session's first turn have subagents of their own: sim would take {agent 1} of a later one for the root's.
	nestedPercent = 50
)

// task is what a subagent was given.
type task struct {
	text  string // as its parent said it
	calls []call
	says  string // its answer
	sub   *task  // of the subagent that it makes; nil: it makes none
}

// flat are a turn's tasks, those below others too.
func (t turn) flat() (all []*task) {
	for _, task := range t.tasks {
		for ; task != nil; task = task.sub {
			all = append(all, task)
		}
	}
	return all
}

// all are the calls of a turn, and of the tasks in it.
func (t turn) all() []call {
	calls := slices.Clone(t.calls)
	for _, task := range t.flat() {
		calls = append(calls, task.calls...)
	}
	return calls
}

// planTogether draws a message that gives tasks to two or three subagents at once and waits for them.
func (d *driver) planTogether() turn {
	name := fmt.Sprintf("s%d-t%d", d.n, len(d.turns))
	t := turn{says: "All of " + name + " is done"}
	var lines, ids []string
	first, again := d.own == 0, d.rnd.Perm(max(d.own, 1))
	for i := range 2 + d.rnd.IntN(2) {
		anew := d.made < mostSubagents
		task := d.task(fmt.Sprintf("%s-a%d", name, i), first && d.rnd.IntN(100) < nestedPercent)
		t.tasks = append(t.tasks, task)
		if anew {
			d.own++
			for sub := task; sub != nil; sub = sub.sub {
				d.made++
			}
			ids = append(ids, fmt.Sprintf(`"{agent %d}"`, d.own))
			lines = append(lines, "Call create_subagent with "+object("message", task.text))
			continue
		}
		ids = append(ids, fmt.Sprintf(`"{agent %d}"`, again[i]+1))
		lines = append(lines, fmt.Sprintf(`Call send_subagent_input with {"agent_id":%s,"message":%s}`, ids[i], quoted(task.text)))
	}
	lines = append(lines, fmt.Sprintf(`Then call wait_for_subagents with {"agent_ids":[%s]}`, strings.Join(ids, ",")), "Say "+t.says, "Stream slowly every 2ms")
	t.text = strings.Join(lines, "\n")
	return t
}

// task draws what a subagent does: a few calls, perhaps a subagent of its own, and an answer.
func (d *driver) task(name string, nested bool) *task {
	t := &task{says: "This is what became of " + name + ", word by word"}
	var lines []string
	for i := range 1 + d.rnd.IntN(2) {
		tools := []call{{tool: "read", class: effect.Pure}, {tool: "put", class: effect.Idempotent}, {tool: "post", class: effect.Unknown}}
		c := tools[d.rnd.IntN(len(tools))]
		c.id = fmt.Sprintf("%s-c%d", name, i)
		t.calls = append(t.calls, c)
		lines = append(lines, fmt.Sprintf(`Call %s with {"id":%q,"before_ms":%d,"after_ms":%d}`, c.tool, c.id, d.rnd.IntN(60), d.rnd.IntN(60)))
	}
	if nested {
		t.sub = d.task(name+"-n", false)
		lines = append(lines, "Call create_subagent with "+object("message", t.sub.text), `Then call wait_for_subagents with {"agent_ids":["{agent 1}"]}`)
	}
	t.text = strings.Join(append(lines, "Say "+t.says, fmt.Sprintf("Stream slowly every %dms", 1+d.rnd.IntN(20))), "\n")
	return t
}

func object(key, value string) string { return fmt.Sprintf("{%q:%s}", key, quoted(value)) }

func quoted(s string) string {
	raw, _ := json.Marshal(s)
	return string(raw)
}

// together is what a session shows of its subagents.
type together struct {
	items map[string][]rig.Item // by subagent
	turns map[string][]rig.Turn
}

// all are the items of the session and of its subagents.
func (g together) all(root []rig.Item) []rig.Item {
	out := slices.Clone(root)
	for _, id := range slices.Sorted(maps.Keys(g.items)) {
		out = append(out, g.items[id]...)
	}
	return out
}

func (d *driver) together(ctx context.Context) (together, error) {
	out := together{items: map[string][]rig.Item{}, turns: map[string][]rig.Turn{}}
	ids, err := d.w.client.Subagents(ctx, d.session)
	for _, id := range ids {
		if err == nil {
			out.items[id], err = d.w.client.SubagentItems(ctx, d.session, id)
		}
		if err == nil {
			out.turns[id], err = d.w.client.SubagentTurns(ctx, d.session, id)
		}
	}
	return out, err
}

// check: as many subagents as were asked for, one turn a task, each task's calls and answer once, and the answer once with whoever gave it.
func (g together) check(d *driver, root []rig.Item) error {
	var faults []error
	fault := func(format string, args ...any) { faults = append(faults, fmt.Errorf(format, args...)) }
	if len(g.items) != d.made {
		fault("%d subagents were asked for, and there are %d", d.made, len(g.items))
	}
	tasks := 0
	for _, t := range d.turns {
		tasks += len(t.flat())
	}
	turns := 0
	for id, all := range g.turns {
		for _, t := range all {
			if turns++; t.Status != "completed" {
				fault("turn %s of subagent %s is %s: %+v", t.ID, id, t.Status, t.Error)
			}
		}
	}
	if turns != tasks {
		fault("%d tasks made %d turns", tasks, turns)
	}
	said, told, asked, results := map[string]int{}, map[string]int{}, map[string]int{}, map[string][]rig.Item{}
	for _, it := range g.all(nil) {
		switch it.Type {
		case "message":
			if it.Status == "completed" {
				said[it.Text()]++
			}
		case "mcp_call":
			var args struct{ ID string }
			if err := json.Unmarshal(it.Arguments, &args); err != nil {
				fault("arguments of %s: %w", it.ID, err)
			}
			results[args.ID] = append(results[args.ID], it)
		}
	}
	for _, it := range g.all(root) {
		if it.Type == "agent_message" {
			told[it.Text()]++
			asked[it.Text()]++
		}
	}
	for _, t := range d.turns {
		for _, task := range t.flat() {
			if said[task.says] != 1 || told[task.says] != 1 || asked[task.text] != 1 {
				fault("task %q was given %d times, its answer said %d times and told %d times", task.says, asked[task.text], said[task.says], told[task.says])
			}
			for _, c := range task.calls {
				if got := results[c.id]; len(got) != 1 || got[0].Status != "completed" || got[0].OutputText() != "done "+c.id {
					fault("call %s of a subagent is there %d times: %+v", c.id, len(got), got)
				}
			}
		}
	}
	return errors.Join(faults...)
}
