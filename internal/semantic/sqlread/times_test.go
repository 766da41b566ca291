package sqlread

import (
	"path/filepath"
	"testing"
	"time"

	"github.com/stead-dev/stead/internal/semantic"
)

const events = `
name: events
version: 1
sources: {s: {database: warehouse}}
entities:
  event:
    table: events
    key: [id]
    attributes:
      id: {type: text}
      seconds: {type: timestamp, stored: unix}
      millis: {type: timestamp, stored: unix_ms}
      day: {type: date}
      moment: {type: timestamp}
      weight: {type: number}
    freshness: {table: loads, column: done, stored: unix, within: 2d}
    rows:
      - where: [{attribute: id, op: not_equals, principal: label.hidden}]
metrics:
  by_seconds: {description: x, entity: event, aggregate: count, time: seconds}
  by_millis: {description: x, entity: event, aggregate: count, time: millis}
  by_day: {description: x, entity: event, aggregate: count, time: day}
  by_moment: {description: x, entity: event, aggregate: count, time: moment}
  last: {description: x, entity: event, aggregate: max, of: moment}
  heaviest: {description: x, entity: event, aggregate: max, of: weight * 2}
  middle: {description: x, entity: event, aggregate: avg, of: weight}
  first_name: {description: x, entity: event, aggregate: min, of: id}
`

// Times are the same however they are stored, and so are days, months and years of them; ids of any type compare with texts.
func TestTimes(t *testing.T) {
	m, err := semantic.Parse([]byte(events))
	if err != nil {
		t.Fatal(err)
	}
	onBoth(t, func(t *testing.T, w *warehouse) {
		id, at := "TEXT", "TEXT"
		if w.Dialect() == semantic.PostgreSQL {
			id, at = "UUID", "TIMESTAMPTZ"
		}
		if _, err := w.raw.Exec(`CREATE TABLE events (id ` + id + `, seconds BIGINT, millis BIGINT, day DATE, moment ` + at + `, weight NUMERIC(20,6));
			CREATE TABLE loads (done BIGINT);
			INSERT INTO loads VALUES (1603772800);
			INSERT INTO events VALUES ('00000000-0000-0000-0000-000000000001', 1767225599, 1767225599500, '2025-12-31', '2025-12-31T23:59:59Z', 12345678901.5),
				('00000000-0000-0000-0000-000000000002', 1767225600, 1767225600000, '2026-01-01', '2026-01-01T00:00:00Z', 0.25),
				('00000000-0000-0000-0000-000000000003', 1771804800, 1771804800000, '2026-02-23', '2026-02-23T01:00:00+01:00', NULL)`); err != nil {
			t.Fatal(err)
		}
		who := semantic.Principal{ID: "ada", Role: "developer", Labels: map[string][]string{"hidden": {"00000000-0000-0000-0000-0000000000ff"}}}
		for _, metric := range []string{"by_seconds", "by_millis", "by_day", "by_moment"} {
			for grain, want := range map[string]string{
				"year": "2025-01-01 | 1.0000\n2026-01-01 | 2.0000\n", "month": "2025-12-01 | 1.0000\n2026-01-01 | 1.0000\n2026-02-01 | 1.0000\n",
				"week": "2025-12-29 | 2.0000\n2026-02-23 | 1.0000\n", "day": "2025-12-31 | 1.0000\n2026-01-01 | 1.0000\n2026-02-23 | 1.0000\n",
			} {
				if got := text(w.asks(t, m, who, semantic.Query{Metrics: []string{metric}, Time: &semantic.Range{Grain: grain}}).Rows); got != want {
					t.Errorf("%s by %s is\n%s, not\n%s", metric, grain, got, want)
				}
			}
			if got := text(w.asks(t, m, who, semantic.Query{Metrics: []string{metric}, Time: &semantic.Range{From: "2026-01-01", To: "2026-02-23"}}).Rows); got != "1.0000\n" {
				t.Errorf("%s within a range is %s", metric, got)
			}
		}
		a := w.asks(t, m, who, semantic.Query{Metrics: []string{"last", "heaviest", "middle", "first_name"}})
		if got := text(a.Rows); got != "2026-02-23T00:00:00Z | 24691357803.0000 | 6172839450.8750 | 00000000-0000-0000-0000-000000000001\n" {
			t.Errorf("aggregates are %s", got)
		}
		if f := a.Freshness; len(f) != 1 || f[0].DataAsOf != time.Unix(1603772800, 0).UTC().Format(time.RFC3339) || f[0].Within != "2d" {
			t.Errorf("freshness is %+v", f)
		}
		who.Labels["hidden"] = []string{"00000000-0000-0000-0000-000000000002"}
		for _, q := range []semantic.Query{
			{Entity: "event", Dimensions: []string{"id", "seconds", "millis", "day", "moment"}, Filters: []semantic.Filter{{Dimension: "moment", Operator: "at_least", Values: []any{"2026-01-01T00:00:00Z"}}, {Dimension: "seconds", Operator: "greater_than", Values: []any{"2025-12-31T23:59:59Z"}}, {Dimension: "day", Operator: "not_equals", Values: []any{"2025-12-31"}}}},
			{Entity: "event", Dimensions: []string{"id", "seconds", "millis", "day", "moment"}, Filters: []semantic.Filter{{Dimension: "id", Values: []any{"00000000-0000-0000-0000-000000000003"}}}},
		} {
			if got := text(w.asks(t, m, who, q).Rows); got != "00000000-0000-0000-0000-000000000003 | 2026-02-23T00:00:00Z | 2026-02-23T00:00:00Z | 2026-02-23 | 2026-02-23T00:00:00Z\n" {
				t.Errorf("rows are %s", got)
			}
		}
		who.Labels = nil // what it has not, fits nothing: not even what differs from it
		if got := text(w.asks(t, m, who, semantic.Query{Metrics: []string{"by_day"}}).Rows); got != "0.0000\n" {
			t.Errorf("without the label it sees %s", got)
		}
	})
	if _, err := Open(Config{"w", semantic.SQLite, filepath.Join("file:x.db")}); err == nil {
		t.Error("an address is taken for a file")
	}
}
