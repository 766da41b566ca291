package sqlread

import (
	"fmt"
	"strings"
	"testing"

	"github.com/stead-dev/stead/internal/semantic"
)

const ticks = `
name: ticks
version: 1
sources: {s: {database: warehouse}}
entities:
  tick:
    table: ticks
    key: [id]
    attributes:
      id: {type: integer}
      name: {type: text}
      at: {type: timestamp}
      seconds: {type: timestamp, stored: unix}
      millis: {type: timestamp, stored: unix_ms}
      day: {type: date, column: at_day}
      price: {type: number}
    freshness: {attribute: %s, within: 1h}
  fee:
    table: fees
    key: [id]
    attributes: {id: {type: integer}, tick: {type: integer, hidden: true}, price: {type: number}}
relations:
  fee_of: {from: fee, to: tick, on: {tick: id}, cardinality: many_to_one}
metrics:
  ticks: {description: x, entity: tick, aggregate: count, dimensions: [name], time: at}
  earned: {description: x, entity: tick, aggregate: sum, of: price, dimensions: [name]}
  paid: {description: x, entity: fee, aggregate: sum, of: price, dimensions: [tick.name]}
  net: {description: x, formula: earned - paid}
  per_paid: {description: x, formula: earned / paid}
  per_tick: {description: x, formula: (paid + 1) / ticks}
  marked_up: {description: x, formula: net * 2 - (- paid) + 1}
`

// fillTicks has rows with fractions of seconds, one of a far future, and one without anything.
func fillTicks(t *testing.T, w *warehouse) {
	t.Helper()
	at, day, price := "TEXT", "TEXT", "NUMERIC"
	if w.Dialect() == semantic.PostgreSQL {
		at, day, price = "TIMESTAMP(6)", "TIMESTAMP", "MONEY"
	}
	if _, err := w.raw.Exec(`CREATE TABLE ticks (id INTEGER PRIMARY KEY, name TEXT, at ` + at + `, seconds NUMERIC, millis BIGINT, at_day ` + day + `, price ` + price + `);
		CREATE TABLE fees (id INTEGER PRIMARY KEY, tick INTEGER, price ` + price + `);
		INSERT INTO ticks VALUES (1, 'Ärzte GmbH', '2020-01-31 23:59:59.123456', 1580515199.25, 1580515199123, '2020-01-31 12:00:00', 10),
			(2, 'ΟΔΟΣ', '2020-02-01 00:00:00', 1580515200, 1580515200000, '2020-02-01', 20), (3, 'far', '2199-01-01 00:00:00', 7226582400, 7226582400000, '2199-01-01', 5),
			(4, NULL, NULL, NULL, NULL, NULL, NULL);
		INSERT INTO fees VALUES (1, 2, 3)`); err != nil {
		t.Fatal(err)
	}
}

// ids are rows of one whole number.
func ids(rows [][]any) string {
	return strings.Join(strings.Fields(strings.ReplaceAll(text(rows), ".0000", "")), " ")
}

// What a time is shown as finds it again, by every operator, however it is stored and whatever its fraction is.
func TestATimeIsFoundByWhatItIsShownAs(t *testing.T) {
	m, err := semantic.Parse([]byte(fmt.Sprintf(ticks, "at")))
	if err != nil {
		t.Fatal(err)
	}
	onBoth(t, func(t *testing.T, w *warehouse) {
		fillTicks(t, w)
		who := semantic.Principal{ID: "ada", Role: "owner"}
		list := func(filters ...semantic.Filter) string {
			t.Helper()
			rows := w.asks(t, m, who, semantic.Query{Entity: "tick", Dimensions: []string{"id"}, Filters: filters, Order: []semantic.Order{{By: "id"}}}).Rows
			return ids(rows)
		}
		shown := w.asks(t, m, who, semantic.Query{Entity: "tick", Dimensions: []string{"at", "seconds", "millis", "day"}, Filters: []semantic.Filter{{Dimension: "id", Values: []any{1}}}}).Rows
		if len(shown) != 1 {
			t.Fatal(shown)
		}
		for i, name := range []string{"at", "seconds", "millis", "day"} {
			value := shown[0][i]
			for op, want := range map[string]string{"equals": "1", "in": "1", "not_equals": "2 3 4", "not_in": "2 3 4", "at_least": "1 2 3", "greater_than": "2 3", "at_most": "1", "less_than": ""} {
				if got := list(semantic.Filter{Dimension: name, Operator: op, Values: []any{value}}); got != want {
					t.Errorf("%s %s %v finds %q, not %q", name, op, value, got, want)
				}
			}
		}
	})
}

// Small and large letters are alike beyond ASCII. (PostgreSQL: as the database's locale has them.)
func TestContainsFoldsLetters(t *testing.T) {
	m, err := semantic.Parse([]byte(fmt.Sprintf(ticks, "at")))
	if err != nil {
		t.Fatal(err)
	}
	onBoth(t, func(t *testing.T, w *warehouse) {
		fillTicks(t, w)
		for part, want := range map[string]string{"ärzte": "1", "ÄRZTE gmbh": "1", "οδος": "2", "%": "", "_": "", "x": "", "fa": "3"} {
			if w.Dialect() == semantic.PostgreSQL && (want == "1" || want == "2") {
				continue // its locale may be C
			}
			rows := w.asks(t, m, semantic.Principal{Role: "owner"}, semantic.Query{Entity: "tick", Dimensions: []string{"id"}, Filters: []semantic.Filter{{Dimension: "name", Operator: "contains", Values: []any{part}}}}).Rows
			if got := ids(rows); got != want {
				t.Errorf("%q finds %q, not %q", part, got, want)
			}
		}
	})
}

// A row that is dated in the future makes nothing fresh, however times are stored.
func TestTheFutureIsNotFresh(t *testing.T) {
	for attribute, want := range map[string]string{"at": "2020-02-01T00:00:00Z", "seconds": "2020-02-01T00:00:00Z", "millis": "2020-02-01T00:00:00Z", "day": "2020-02-01"} {
		m, err := semantic.Parse([]byte(fmt.Sprintf(ticks, attribute)))
		if err != nil {
			t.Fatal(err)
		}
		t.Run(attribute, func(t *testing.T) {
			onBoth(t, func(t *testing.T, w *warehouse) {
				fillTicks(t, w)
				a := w.asks(t, m, semantic.Principal{Role: "owner"}, semantic.Query{Metrics: []string{"ticks"}})
				if f := a.Freshness; len(f) != 1 || f[0].DataAsOf != want || !f[0].Stale {
					t.Errorf("freshness is %+v", f)
				}
			})
		})
	}
}

// Sums of money are sums: beside those of another entity, and in formulas, in which they are numbers like others.
func TestSumsOfMoney(t *testing.T) {
	m, err := semantic.Parse([]byte(fmt.Sprintf(ticks, "at")))
	if err != nil {
		t.Fatal(err)
	}
	onBoth(t, func(t *testing.T, w *warehouse) {
		fillTicks(t, w)
		rows := w.asks(t, m, semantic.Principal{Role: "owner"}, semantic.Query{Metrics: []string{"earned", "paid", "net", "marked_up"}}).Rows
		if got := strings.NewReplacer("$", "", ".0000", "", ".00", "").Replace(text(rows)); got != "35 | 3 | 32 | 68\n" {
			t.Errorf("sums are %q", got)
		}
		rows = w.asks(t, m, semantic.Principal{Role: "owner"}, semantic.Query{Metrics: []string{"per_paid", "per_tick"}}).Rows
		if got := text(rows); got != "11.6667 | 1.0000\n" {
			t.Errorf("divided they are %q", got)
		}
	})
}
