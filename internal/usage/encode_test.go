package usage_test

import (
	"bytes"
	"testing"

	"github.com/stead-dev/stead"
	"github.com/stead-dev/stead/internal/journal"
	"github.com/stead-dev/stead/internal/usage"
)

func full() usage.Record {
	const session = "sess_0123456789abcdef0123456789abcdef"
	r := usage.Record{
		ID: usage.EventID(session, 300, 2), At: 1_800_000_000_000, Project: "p", Session: session, Kind: usage.ModelCall, Agent: "agent_1",
		Turn: stead.DerivedID("turn", session, 297, -1), Subagent: stead.DerivedID("subagent", session, 290, -1), User: "ümit", Provider: "sim", Model: "sim/echo", Upstream: "echo-1", Region: "eu", Tier: "flex",
		Name: "a/b", Cost: -3, Prices: "2026-11", Hold: "hold_" + session + "_4_17",
		Asked: "echo", Outcome: "length", First: 250, Score: 1000,
	}
	r.Quantities = usage.Quantities{Calls: 1, InputTokens: 1 << 40, CachedTokens: 2, CacheWriteTokens: 3, OutputTokens: 4, ReasoningTokens: 5, Millis: 6,
		SentBytes: 7, ReceivedBytes: 8, StoredBytes: 9, MegabyteSeconds: 1<<63 - 1, CPUMillis: 10, Commands: 11, MemoryBytes: 12}
	return r
}

// A record reads back whole; of what most records hold, an event's takes few bytes beside what it shares.
func TestEncode(t *testing.T) {
	r := full()
	row, err := r.Row()
	if err != nil {
		t.Fatal(err)
	}
	if back, err := usage.FromRow("p", row); err != nil || back != r {
		t.Errorf("reads back as\n%+v, want\n%+v: %v", back, r, err)
	}
	shared := row.Shared
	r.Agent = "agent_00112233445566778899aabbccddeeff" // an inline one: it is its session's alone
	if row, err = r.Row(); err != nil || row.Shared != shared {
		t.Errorf("an agent changes what is shared: %q, %v", row.Shared, err)
	}
	if back, err := usage.FromRow("p", row); err != nil || back != r {
		t.Errorf("reads back as\n%+v, want\n%+v: %v", back, r, err)
	}
	usual := usage.Record{ID: r.ID, At: r.At, Project: "p", Session: r.Session, Turn: r.Turn, Kind: usage.ModelCall, Agent: r.Agent, Model: r.Model, Cost: 123_456}
	usual.Calls, usual.InputTokens, usual.OutputTokens, usual.Millis = 1, 5000, 400, 3000
	if row, err = usual.Row(); err != nil || len(row.Data) > 36 {
		t.Errorf("a usual record has %d bytes: %v", len(row.Data), err)
	}
}

// A record that is cut or longer than it should be is refused, not misread.
func TestDamagedRecords(t *testing.T) {
	row, err := full().Row()
	if err != nil {
		t.Fatal(err)
	}
	for n := range row.Data {
		if _, err := usage.FromRow("p", journal.UsageRow{UsageName: row.UsageName, Shared: row.Shared, Data: row.Data[:n]}); stead.KindOf(err) != stead.KindInternal {
			t.Fatalf("data cut to %d bytes: %v", n, err)
		}
	}
	for n := range row.Shared {
		if _, err := usage.FromRow("p", journal.UsageRow{UsageName: row.UsageName, Shared: row.Shared[:n], Data: row.Data}); stead.KindOf(err) != stead.KindInternal {
			t.Fatalf("shared cut to %d bytes: %v", n, err)
		}
	}
	for _, longer := range []journal.UsageRow{
		{UsageName: row.UsageName, Shared: row.Shared + "x", Data: row.Data}, {UsageName: row.UsageName, Shared: row.Shared, Data: append(bytes.Clone(row.Data), 0)}} {
		if _, err := usage.FromRow("p", longer); stead.KindOf(err) != stead.KindInternal {
			t.Errorf("a longer record: %v", err)
		}
	}
}

// Records that were stored as JSON are read as they were meant.
func TestRecordsOfBefore(t *testing.T) {
	r := full()
	row, err := r.Row()
	if err != nil {
		t.Fatal(err)
	}
	row.Shared = ""
	row.Data = []byte(`{"k":"model_call","a":"agent_1","t":"297","u":"ümit","p":"sim","m":"sim/echo","n":"echo-1","r":"eu","s":"flex","f":"a/b",` +
		`"c":1,"i":1099511627776,"ic":2,"iw":3,"o":4,"or":5,"d":6,"bs":7,"br":8,"bk":9,"bt":9223372036854775807,"x":-3,"v":"2026-11","h":"hold_sess_0123456789abcdef0123456789abcdef_4_17"}`)
	r.Subagent = ""
	r.Asked, r.Outcome, r.First, r.Score, r.CPUMillis, r.Commands, r.MemoryBytes = "", "", 0, 0, 0, 0, 0 // there was no such thing
	if back, err := usage.FromRow("p", row); err != nil || back != r {
		t.Errorf("reads as\n%+v, want\n%+v: %v", back, r, err)
	}
}

// Ids are of an event of the session, or of a call without one; nothing else names a record.
func TestNames(t *testing.T) {
	r := full()
	for id, session := range map[string]stead.SessionID{
		"": "", "usage_": "", "usage_zz": "", "usage_0123456789abcdef0123456789abcdef00": "", "turn_0123456789abcdef0123456789abcdef_3_0": r.Session,
		"usage_0123456789abcdef0123456789abcdef_3": r.Session, "usage_other_3_0": r.Session} {
		if _, err := usage.NameOf(session, id); stead.KindOf(err) != stead.KindInvalid {
			t.Errorf("%q of session %q: %v", id, session, err)
		}
	}
}

func BenchmarkRow(b *testing.B) {
	r := full()
	b.ReportAllocs()
	for b.Loop() {
		if _, err := r.Row(); err != nil {
			b.Fatal(err)
		}
	}
}

// Records of subagents from before they said so are those that the journal makes; of one that says another's it is told.
func TestCompareWithRecordsOfBefore(t *testing.T) {
	now := full()
	before, other, root := now, now, now
	before.Subagent, root.Subagent = "", ""
	other.Subagent = stead.DerivedID("subagent", now.Session, 291, -1)
	for _, c := range []struct {
		name           string
		journal, store usage.Record
		differences    int
	}{{"the same", now, now, 0}, {"from before", now, before, 0}, {"another's", now, other, 1}, {"the root's", root, now, 1}} {
		if got := usage.Compare([]usage.Record{c.journal}, []usage.Record{c.store}); len(got) != c.differences {
			t.Errorf("%s: %+v", c.name, got)
		}
	}
}
