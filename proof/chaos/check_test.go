package chaos

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"reflect"
	"time"

	"github.com/stead-dev/stead/proof/effect"
	"github.com/stead-dev/stead/proof/rig"
)

// checkTimeout bounds reading everything back.
const checkTimeout = 60 * time.Second

// check weighs everything after the harm:
//
//   - no session is stuck: its driver came to rest;
//   - no accepted input is lost or doubled: the user's messages are in the items, once, in order;
//   - every call asked for is an item, completed, with its result; every turn has its answer;
//   - no idempotent effect was applied under two keys or twice; no unknown effect twice;
//   - every subagent asked for is there once, did its tasks in a turn each, and its answers reached whoever gave them, once;
//   - the stream was without gaps over all its connections;
//   - a second reading, after one more kill, gives the same items and the same stream.
func (w *world) check(all []*driver) {
	t := w.t
	ctx, cancel := context.WithTimeout(context.WithoutCancel(t.Context()), checkTimeout)
	defer cancel()
	before := map[string][]rig.Item{}
	below := map[string]together{}
	for _, d := range all {
		w.report(ctx, d, "driver", d.fault)
		if d.session == "" || d.fault != nil {
			continue
		}
		items, err := w.client.Items(ctx, d.session)
		if err != nil {
			t.Fatal(err)
		}
		before[d.session] = items
		own, err := d.together(ctx)
		if err != nil {
			t.Fatal(err)
		}
		below[d.session] = own
		w.report(ctx, d, "subagents", own.check(d, items))
		w.report(ctx, d, "items", d.checkItems(items))
		w.report(ctx, d, "turns", d.checkTurns(ctx))
		w.report(ctx, d, "stream", d.checkStream(ctx, items, own))
	}
	w.checkLedger(all)
	w.checkUsage(ctx)
	for _, n := range w.nodes {
		n.Kill()
		if err := n.Start(); err != nil {
			t.Fatal(err)
		}
	}
	for _, d := range all {
		if before[d.session] == nil {
			continue
		}
		items, err := w.client.Items(ctx, d.session)
		if err != nil {
			t.Fatal(err)
		}
		if !reflect.DeepEqual(items, before[d.session]) {
			w.report(ctx, d, "second reading", errors.New("the items are not those of the first"))
		}
		own, err := d.together(ctx)
		if err != nil {
			t.Fatal(err)
		}
		if !reflect.DeepEqual(own, below[d.session]) {
			w.report(ctx, d, "second reading of subagents", errors.New("they are not those of the first"))
		}
		w.report(ctx, d, "second stream", d.checkReplay(ctx, own))
	}
	w.sum(all)
}

func (w *world) sum(all []*driver) {
	var turns, calls, unknown, breaks, subagents int
	for _, d := range all {
		turns += len(d.turns)
		unknown += len(d.unknown)
		subagents += d.made
		for _, t := range d.turns {
			calls += len(t.all())
		}
		if d.watcher != nil {
			breaks += d.watcher.Breaks()
		}
	}
	w.t.Logf("%d turns accepted, %d subagents, %d calls, %d unknown outcomes asked and answered, streams taken up again %d times", turns, subagents, calls, unknown, breaks)
	if calls == 0 || breaks == 0 || subagents == 0 {
		w.t.Errorf("nothing was proved: %d subagents, %d calls, %d broken streams", subagents, calls, breaks)
	}
}

// report fails the test with the session's whole journal.
func (w *world) report(ctx context.Context, d *driver, what string, err error) {
	w.t.Helper()
	if err == nil {
		return
	}
	path := fmt.Sprintf("%s/stead-chaos-seed%d-%s.jsonl", w.keep(), *seed, d.session)
	_ = writeFile(path, w.client.Export(ctx, d.session))
	w.t.Errorf("%s of session %s (driver %d): %v\nits journal: %s", what, d.session, d.n, err, path)
}

func (d *driver) checkItems(items []rig.Item) error {
	var faults []error
	var users []string
	results := map[string][]rig.Item{} // call id argument → items
	answers := map[string]int{}        // whole text → times
	for _, it := range items {
		switch {
		case it.Type == "message" && it.Role == "user":
			users = append(users, it.Text())
		case it.Type == "message" && it.Status == "completed":
			answers[it.Text()]++
		case it.Type == "mcp_call":
			var args struct{ ID string }
			if err := json.Unmarshal(it.Arguments, &args); err != nil {
				faults = append(faults, fmt.Errorf("arguments of %s: %w", it.ID, err))
			}
			results[args.ID] = append(results[args.ID], it)
		}
	}
	var sent []string
	for _, t := range d.turns {
		sent = append(sent, t.text)
		if t.says != "" && answers[t.says] != 1 {
			faults = append(faults, fmt.Errorf("the answer %q is there %d times", t.says, answers[t.says]))
		}
		for _, c := range t.calls {
			got := results[c.id]
			if len(got) != 1 {
				faults = append(faults, fmt.Errorf("call %s is there %d times", c.id, len(got)))
			} else if got[0].Status != "completed" || got[0].OutputText() != "done "+c.id {
				faults = append(faults, fmt.Errorf("call %s (%s) is %s: output %s, error %s", c.id, c.tool, got[0].Status, got[0].Output, got[0].Error))
			}
		}
	}
	if !reflect.DeepEqual(users, sent) {
		faults = append(faults, fmt.Errorf("%d inputs were accepted, %d are in the items: sent %q, there %q", len(sent), len(users), sent, users))
	}
	return errors.Join(faults...)
}

func (d *driver) checkTurns(ctx context.Context) error {
	turns, err := d.w.client.Turns(ctx, d.session)
	if err != nil {
		return err
	}
	var faults []error
	if !d.burst && len(turns) != len(d.turns) {
		faults = append(faults, fmt.Errorf("%d messages, each sent at rest, made %d turns", len(d.turns), len(turns)))
	}
	for _, t := range turns {
		if t.Status != "completed" {
			faults = append(faults, fmt.Errorf("turn %s is %s: %+v", t.ID, t.Status, t.Error))
		}
	}
	return errors.Join(faults...)
}

func (d *driver) checkStream(ctx context.Context, items []rig.Item, own together) error {
	turns, err := d.w.client.Turns(ctx, d.session)
	if err != nil {
		return err
	}
	ended := len(turns)
	for _, of := range own.turns {
		ended += len(of)
	}
	if err := d.watcher.AwaitTurns(ended, checkTimeout); err != nil {
		return err
	}
	d.watcher.Close()
	return rig.CheckStream(d.watcher.Events(), own.all(items))
}

// checkReplay reads the stream once more, from its beginning and from a few cursors in between: the
// same events, but for text, whose pieces may be cut in other places as long as they add up.
func (d *driver) checkReplay(ctx context.Context, own together) error {
	items, err := d.w.client.Items(ctx, d.session)
	if err != nil {
		return err
	}
	items = own.all(items)
	first := d.watcher.Events()
	again, err := d.replay(ctx, "0.0.0", first)
	if err != nil {
		return err
	}
	faults := []error{rig.CheckStream(again, items)}
	for range replays {
		i := d.rnd.IntN(len(first) - 1)
		rest, err := d.replay(ctx, first[i].Cursor, first[i+1:])
		if err != nil {
			return err
		}
		for id, text := range texts(first[i+1:], items) {
			if got := texts(rest, items)[id]; got != text {
				faults = append(faults, fmt.Errorf("taken up at %s, after %s: the text of %s goes on with %q, not %q", first[i].Cursor, first[i].Type, id, got, text))
			}
		}
	}
	return errors.Join(faults...)
}

// replays is how many cursors of each session are tried.
const replays = 8

// replay reads the stream after a cursor, up to its last event, and compares it with what must come.
func (d *driver) replay(ctx context.Context, after string, want []rig.WireEvent) ([]rig.WireEvent, error) {
	w := d.w.client.WatchFrom(ctx, d.session, after)
	defer w.Close()
	first := landmarks(want)
	err := rig.Poll(checkTimeout, "the stream after "+after+" to come to its end", func() error {
		if got := landmarks(w.Events()); len(got) < len(first) {
			return fmt.Errorf("%d of %d events", len(got), len(first))
		}
		return nil
	})
	if err != nil {
		return nil, err
	}
	second := landmarks(w.Events())
	for i := range max(len(first), len(second)) {
		if i >= len(first) || i >= len(second) || first[i] != second[i] {
			return nil, fmt.Errorf("the stream after %s is another one from event %d on:\nfirst %v\nagain %v", after, i, first[min(i, len(first)):min(i+4, len(first))], second[min(i, len(second)):min(i+4, len(second))])
		}
	}
	return w.Events(), nil
}

// texts are the sums of the deltas of every message that is whole in the end, by item.
func texts(events []rig.WireEvent, items []rig.Item) map[string]string {
	whole := map[string]bool{}
	for _, it := range items {
		whole[it.ID] = it.Status == "completed"
	}
	sums := map[string]string{}
	for _, e := range events {
		if e.Delta != "" && whole[e.ItemID] {
			sums[e.ItemID] += e.Delta
		}
	}
	return sums
}

// landmarks are the events of a stream but for its pieces of text.
func landmarks(events []rig.WireEvent) []string {
	var marks []string
	for _, e := range events {
		if e.Delta == "" {
			marks = append(marks, e.Type+" "+e.EventID)
		}
	}
	return marks
}

// checkLedger weighs the effects: what the tool server did, and under which keys.
func (w *world) checkLedger(all []*driver) {
	records, err := effect.Read(w.ledger)
	if err != nil {
		w.t.Fatal(err)
	}
	applied := map[string][]effect.Record{} // effect id →
	keys := map[string]map[string]bool{}    // effect id → keys it came under
	for _, r := range records {
		if r.What == effect.Applied {
			applied[r.ID] = append(applied[r.ID], r)
		}
		if keys[r.ID] == nil {
			keys[r.ID] = map[string]bool{}
		}
		keys[r.ID][r.Key] = true
	}
	for _, d := range all {
		for _, t := range d.turns {
			for _, c := range t.all() {
				n := len(applied[c.id])
				switch {
				case n == 0:
					w.t.Errorf("%s effect %s of session %s never happened", c.class, c.id, d.session)
				case n > 1 && c.class != effect.Pure:
					w.t.Errorf("%s effect %s of session %s happened %d times: %+v", c.class, c.id, d.session, n, applied[c.id])
				}
				if len(keys[c.id]) > 1 || keys[c.id][""] {
					w.t.Errorf("%s effect %s of session %s came under the keys %v", c.class, c.id, d.session, keys[c.id])
				}
			}
		}
	}
}
