package e2e

import (
	"bufio"
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"strings"
)

// frame is one server-sent event as it stands on the wire: the SDK does not show SSE ids.
type frame struct {
	id, kind    string
	event       string // event_id
	item, delta string
}

// follow reads a session's stream after a cursor until done.
func (n *node) follow(ctx context.Context, session, after string, done func(frame, []frame) bool) ([]frame, error) {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, "GET", n.base+"/v1/agents/sessions/"+session+"/events", nil)
	if err != nil {
		return nil, err
	}
	req.Header.Set("Last-Event-ID", after)
	res, err := http.DefaultClient.Do(req)
	if err != nil {
		return nil, err
	}
	defer res.Body.Close()
	if res.StatusCode != http.StatusOK {
		return nil, fmt.Errorf("follow: status %s", res.Status)
	}
	var all []frame
	var f frame
	lines := bufio.NewScanner(res.Body)
	lines.Buffer(nil, 1<<20)
	for lines.Scan() {
		field, value, _ := strings.Cut(lines.Text(), ": ")
		switch field {
		case "id":
			f.id = value
		case "event":
			f.kind = value
		case "data":
			var body struct {
				EventID string `json:"event_id"`
				ItemID  string `json:"item_id"`
				Delta   string `json:"delta"`
			}
			if err := json.Unmarshal([]byte(value), &body); err != nil {
				return nil, err
			}
			f.event, f.item, f.delta = body.EventID, body.ItemID, body.Delta
		case "":
			if f.kind == "" {
				continue // the end of a comment
			}
			all = append(all, f)
			if done(f, all) {
				return all, nil
			}
			f = frame{}
		}
	}
	return nil, fmt.Errorf("the stream ended after %d events: %v", len(all), lines.Err())
}

func countDeltas(all []frame) int {
	n := 0
	for _, f := range all {
		if f.delta != "" {
			n++
		}
	}
	return n
}

// outline is the order of events, with the text of each item's deltas joined: in how many pieces a
// text comes may differ from one reading to the next, the text may not.
func outline(all []frame) []string {
	var out []string
	text, item := "", ""
	flush := func() {
		if text != "" {
			out = append(out, "text of "+item+": "+text)
		}
		text = ""
	}
	for _, f := range all {
		if f.delta != "" {
			if f.item != item {
				flush()
			}
			text, item = text+f.delta, f.item
			continue
		}
		flush()
		out = append(out, f.kind)
	}
	flush()
	return out
}
