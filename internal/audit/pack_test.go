package audit_test

import (
	"bytes"
	"math/rand/v2"
	"strings"
	"testing"

	"github.com/stead-dev/stead"
	"github.com/stead-dev/stead/internal/audit"
)

// stepRecord is a record as an agent's step makes it.
func stepRecord() audit.Record {
	return audit.Record{
		At: 1795749681483, Project: "default", Principal: audit.Principal{Kind: stead.PrincipalUser, ID: "local"},
		Agent: "agent_01a21b05994b76d59140ba144e8cb59d", Session: "sess_01a21b05994b76cf86b44ef8aeecb4ae",
		Action: "tool.call", Resource: "environment/shell", Arguments: "86ed9bba316f28defe4770b01bc8b52726d3e90c425af172f7f5376ac3ea97ce",
		Decision: audit.Allow, By: "local",
	}
}

func lineOf(t *testing.T, records ...audit.Record) [][]byte {
	t.Helper()
	rows, _, err := audit.Extend(audit.Tree{}, "default", records)
	if err != nil {
		t.Fatal(err)
	}
	out := make([][]byte, len(rows))
	for i, r := range rows {
		out[i] = r.Data
	}
	return out
}

func packs(t *testing.T, line []byte) []byte {
	t.Helper()
	p := audit.Pack(line)
	back, err := audit.Unpack(p)
	if err != nil || !bytes.Equal(back, line) {
		t.Fatalf("%q became %q: %v", line, back, err)
	}
	return p
}

// TestPackedRecordsAreAThird of what they are as lines, those that steps of agents make.
func TestPackedRecordsAreAThird(t *testing.T) {
	call := stepRecord()
	call.Action, call.Resource, call.Arguments = "model.call", "sim", ""
	for i, line := range lineOf(t, stepRecord(), call) {
		if p := packs(t, line); 5*len(p) > 2*len(line) {
			t.Errorf("record %d: %d of %d bytes", i, len(p), len(line))
		}
	}
	draft, err := audit.DraftOf("default", stepRecord())
	if err != nil {
		t.Fatal(err)
	}
	if p := packs(t, draft); 5*len(p) > 2*len(draft) {
		t.Errorf("a draft: %d of %d bytes", len(p), len(draft))
	}
}

// TestWhateverIsPackedComesBack, byte by byte: it is what is hashed.
func TestWhateverIsPackedComesBack(t *testing.T) {
	rng := rand.New(rand.NewPCG(7, 7))
	texts := []string{
		"", "0", "007", "1234", "12345678901234567890", "999999999999999999", strings.Repeat("a", 31), strings.Repeat("a", 32), strings.Repeat("f", 33),
		strings.Repeat("0", 64), strings.Repeat("9", 65), strings.Repeat("ab", 600), "DEADBEEFdeadbeef", "Wgvmwn/uiWomDI9xyLNnNea0prS4oe5Unu/3LcCfacc=",
		"Wgvmwn/uiWomDI9xyLNnNea0prS4oe5Unu/3LcCfacd=", "\x00\x01\x02\x7f", "日本\u2028", `"}`, `","decision":"allow`, "agent_", "\x80\x81", "sess_01a21b05994b76cf86b44ef8aeecb4ae",
	}
	any := func() string {
		if rng.IntN(3) == 0 {
			b := make([]byte, rng.IntN(80))
			for i := range b {
				b[i] = byte(rng.IntN(256))
			}
			return string(b)
		}
		return texts[rng.IntN(len(texts))] + texts[rng.IntN(len(texts))]
	}
	for range 3000 {
		r := audit.Record{
			At: rng.Int64N(1 << 50), Principal: audit.Principal{Kind: stead.PrincipalKind(any()), ID: any(), Role: stead.Role(any()), Key: any()}, Agent: stead.AgentID(any()),
			Session: stead.SessionID(any()), Action: any(), Resource: any(), Arguments: any(), Decision: audit.Decision(any()), By: any(), Reason: any(),
			Policies: []string{any()}, Version: any(), Request: any(), From: any(), Detail: any(),
		}
		for _, line := range lineOf(t, r, r) {
			packs(t, line)
		}
		packs(t, []byte("{"+any())) // and what is no record at all
	}
}

// TestADamagedRecordIsNone: nothing that is stored makes it panic, or is taken for a text that it is not by growing without end.
func TestADamagedRecordIsNone(t *testing.T) {
	line := lineOf(t, stepRecord())[0]
	whole := audit.Pack(line)
	rng := rand.New(rand.NewPCG(1, 1))
	failed := 0
	for range 20_000 {
		b := bytes.Clone(whole)
		for range 1 + rng.IntN(3) {
			b[1+rng.IntN(len(b)-1)] = byte(rng.IntN(256))
		}
		back, err := audit.Unpack(b[:2+rng.IntN(len(b)-1)])
		if err != nil {
			failed++
		} else if bytes.Equal(back, line) && !bytes.Equal(b, whole) {
			t.Fatalf("%x is taken for the same", b)
		}
	}
	if failed == 0 {
		t.Error("nothing was refused")
	}
}

func BenchmarkPack(b *testing.B) {
	rows, _, err := audit.Extend(audit.Tree{}, "default", []audit.Record{stepRecord()})
	if err != nil {
		b.Fatal(err)
	}
	b.SetBytes(int64(len(rows[0].Data)))
	for b.Loop() {
		audit.Pack(rows[0].Data)
	}
	b.ReportMetric(float64(len(audit.Pack(rows[0].Data))), "bytes/record")
	b.ReportMetric(float64(len(rows[0].Data)), "bytes/line")
}
