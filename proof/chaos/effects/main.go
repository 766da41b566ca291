// Command effects is the chaos proof's tool server: one tool of each class of effect, each of which
// writes what it does to the ledger before it answers.
//
//	read  pure        answers, changes nothing
//	put   idempotent  applies an effect once a key
//	post  unknown     applies an effect at every call: a repeated call is a doubled effect
//
// Arguments of all: {"id": which effect, "before_ms": time before it, "after_ms": time after it}.
// The classes are declared by MCP's annotations alone.
package main

import (
	"encoding/json"
	"flag"
	"fmt"
	"os"
	"time"

	"github.com/modelcontextprotocol/go-sdk/mcp"

	"github.com/stead-dev/stead/proof/effect"
)

// maxWork bounds the time that a call's arguments may ask for, on each side of its effect.
const maxWork = 10 * time.Second

func main() {
	listen := flag.String("listen", "127.0.0.1:0", "address")
	ledger := flag.String("ledger", "", "file of the ledger; it must not exist")
	flag.Parse()
	l, err := effect.Open(*ledger)
	if err == nil {
		err = effect.Serve("effects", *listen, l, []effect.Tool{
			tool("read", effect.Pure, &mcp.ToolAnnotations{ReadOnlyHint: true}),
			tool("put", effect.Idempotent, &mcp.ToolAnnotations{IdempotentHint: true}),
			tool("post", effect.Unknown, &mcp.ToolAnnotations{}),
		})
	}
	fmt.Fprintln(os.Stderr, "effects:", err)
	os.Exit(1)
}

const schema = `{"type":"object","properties":{"id":{"type":"string"},"before_ms":{"type":"integer"},"after_ms":{"type":"integer"}},"required":["id"]}`

func tool(name, class string, hints *mcp.ToolAnnotations) effect.Tool {
	return effect.Tool{
		Tool: &mcp.Tool{Name: name, Description: "An effect of class " + class + ".", InputSchema: json.RawMessage(schema), Annotations: hints},
		Call: func(_ map[string]any, raw json.RawMessage) (effect.Call, func() (string, error), error) {
			var args struct {
				ID     string `json:"id"`
				Before int    `json:"before_ms"`
				After  int    `json:"after_ms"`
			}
			if err := json.Unmarshal(raw, &args); err != nil {
				return effect.Call{}, nil, err
			}
			c := effect.Call{
				Class: class, ID: args.ID,
				Before: min(time.Duration(args.Before)*time.Millisecond, maxWork),
				After:  min(time.Duration(args.After)*time.Millisecond, maxWork),
			}
			return c, func() (string, error) { return "done " + args.ID, nil }, nil
		},
	}
}
