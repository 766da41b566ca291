// Command airline is the tau proof's tool server: it offers every tool that the recorded
// conversations call, answers each call with the recorded result, and keeps a ledger of the calls.
//
// Which conversation a session plays arrives in a call's _meta as "trajectory" (its number) and
// "class" (the class of effect that the tools were given). Per session, calls must come in the
// recorded order with the recorded arguments: anything else is refused and stands in the ledger.
// With class idempotent, a known key is answered from memory; with class unknown, keys mean
// nothing, and a repeated call is the next one, which shows.
package main

import (
	"bytes"
	"encoding/json"
	"flag"
	"fmt"
	"math/rand/v2"
	"os"
	"sync"
	"time"

	"github.com/modelcontextprotocol/go-sdk/mcp"

	"github.com/stead-dev/stead/proof/effect"
	"github.com/stead-dev/stead/proof/tau/trajectory"
)

func main() {
	listen := flag.String("listen", "127.0.0.1:0", "address")
	ledger := flag.String("ledger", "", "file of the ledger; it must not exist")
	data := flag.String("data", "", "folder with "+trajectory.File)
	work := flag.Duration("work", 0, "most time that a call takes before its effect, and again after it")
	seed := flag.Uint64("seed", 1, "seed of those times")
	flag.Parse()
	fmt.Fprintln(os.Stderr, "airline:", run(*listen, *ledger, *data, *work, *seed))
	os.Exit(1)
}

func run(listen, ledger, data string, work time.Duration, seed uint64) error {
	all, err := trajectory.Load(data)
	if err != nil {
		return err
	}
	l, err := effect.Open(ledger)
	if err != nil {
		return err
	}
	d := &desk{all: all, done: map[string]int{}, work: work, rnd: rand.New(rand.NewPCG(seed, 0))}
	var tools []effect.Tool
	for _, name := range trajectory.ToolNames(all) {
		tools = append(tools, d.tool(name))
	}
	return effect.Serve("airline", listen, l, tools)
}

// desk knows how far each session has come.
type desk struct {
	all  []trajectory.Trajectory
	work time.Duration

	mu   sync.Mutex
	rnd  *rand.Rand
	done map[string]int // session/conversation → recorded calls applied
}

func (d *desk) tool(name string) effect.Tool {
	return effect.Tool{
		Tool: &mcp.Tool{Name: name, Description: "Airline desk: " + name + ".", InputSchema: json.RawMessage(`{"type":"object"}`)},
		Call: func(meta map[string]any, args json.RawMessage) (effect.Call, func() (string, error), error) {
			number, ok := meta["trajectory"].(float64)
			if !ok || number < 0 || int(number) >= len(d.all) {
				return effect.Call{}, nil, fmt.Errorf("_meta.trajectory is %v, not the number of a conversation", meta["trajectory"])
			}
			class, _ := meta["class"].(string)
			session, _ := meta["stead.dev/session"].(string)
			c := effect.Call{Class: class, Before: d.time(), After: d.time()}
			return c, func() (string, error) { return d.answer(session, int(number), name, args) }, nil
		},
	}
}

func (d *desk) time() time.Duration {
	if d.work <= 0 {
		return 0
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	return time.Duration(d.rnd.Int64N(int64(d.work)))
}

// answer is the effect: the session's next recorded call happens, if this is it.
func (d *desk) answer(session string, number int, name string, args json.RawMessage) (string, error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	at := fmt.Sprintf("%s/%d", session, number)
	calls := d.all[number].Calls()
	i := d.done[at]
	if i >= len(calls) {
		return "", fmt.Errorf("conversation %d has only %d calls, and %s comes after them", number, len(calls), name)
	}
	if want := calls[i]; want.Name != name || !same([]byte(want.Arguments), args) {
		return "", fmt.Errorf("call %d of conversation %d is %s %s, not %s %s", i, number, want.Name, want.Arguments, name, args)
	}
	d.done[at] = i + 1
	return calls[i].Result, nil
}

// same compares JSON by value.
func same(a, b []byte) bool {
	var x, y any
	if json.Unmarshal(a, &x) != nil || json.Unmarshal(b, &y) != nil {
		return bytes.Equal(a, b)
	}
	p, errP := json.Marshal(x)
	q, errQ := json.Marshal(y)
	return errP == nil && errQ == nil && bytes.Equal(p, q)
}
