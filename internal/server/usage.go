package server

import (
	"context"
	"encoding/csv"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"time"

	"github.com/stead-dev/stead"
	"github.com/stead-dev/stead/internal/identity"
	"github.com/stead-dev/stead/internal/usage"
	"github.com/stead-dev/stead/internal/usage/account"
)

// Usage answers what was used: see package account, which implements it.
type Usage interface {
	List(ctx context.Context, p stead.Principal, q account.ListQuery) ([]usage.Record, bool, error)
	Report(ctx context.Context, p stead.Principal, every bool, f usage.Filter, groupBy []string) (usage.Report, error)
	Statement(ctx context.Context, p stead.Principal, every bool, from, to int64, how usage.Capped) (usage.Statement, error)
	Verify(ctx context.Context, p stead.Principal, every, repair bool) (*account.Verification, error)
	Commitments(ctx context.Context, p stead.Principal, at int64) ([]usage.Standing, error)
	Figures(ctx context.Context, p stead.Principal, f usage.Filter) ([]*usage.Figures, error)
	Judge(ctx context.Context, p stead.Principal, j account.Judgement) (usage.Record, error)
}

// wireQuantities are what can be counted, all of them always: a reader need not know which kinds have which.
type wireQuantities struct {
	Calls            int64 `json:"calls"`
	InputTokens      int64 `json:"input_tokens"`
	CachedTokens     int64 `json:"cached_tokens"`
	CacheWriteTokens int64 `json:"cache_write_tokens"`
	OutputTokens     int64 `json:"output_tokens"`
	ReasoningTokens  int64 `json:"reasoning_tokens"`
	DurationMS       int64 `json:"duration_ms"`
	SentBytes        int64 `json:"sent_bytes"`
	ReceivedBytes    int64 `json:"received_bytes"`
	MegabyteSeconds  int64 `json:"megabyte_seconds"`
	CPUMS            int64 `json:"cpu_ms"`
	Commands         int64 `json:"commands"`
	CostMicroCents   int64 `json:"cost_microcents"`
}

func wireQuantitiesOf(q usage.Quantities, cost int64) wireQuantities {
	return wireQuantities{
		q.Calls, q.InputTokens, q.CachedTokens, q.CacheWriteTokens, q.OutputTokens, q.ReasoningTokens, q.Millis,
		q.SentBytes, q.ReceivedBytes, q.MegabyteSeconds, q.CPUMillis, q.Commands, cost,
	}
}

// quantityNames and values are a row of CSV: the wire's names, in its order.
func quantityNames() []string {
	return []string{"calls", "input_tokens", "cached_tokens", "cache_write_tokens", "output_tokens", "reasoning_tokens", "duration_ms",
		"sent_bytes", "received_bytes", "megabyte_seconds", "cpu_ms", "commands", "cost_microcents"}
}

func (q wireQuantities) values() []string {
	var out []string
	for _, n := range []int64{q.Calls, q.InputTokens, q.CachedTokens, q.CacheWriteTokens, q.OutputTokens, q.ReasoningTokens, q.DurationMS,
		q.SentBytes, q.ReceivedBytes, q.MegabyteSeconds, q.CPUMS, q.Commands, q.CostMicroCents} {
		out = append(out, strconv.FormatInt(n, 10))
	}
	return out
}

type wireUsageRecord struct {
	ID        string  `json:"id"`
	Object    string  `json:"object"`     // "usage.record"
	CreatedAt int64   `json:"created_at"` // Unix seconds
	Kind      string  `json:"kind"`
	AgentID   *string `json:"agent_id"`
	SessionID *string `json:"session_id"`
	TurnID    *string `json:"turn_id"`
	Subagent  *string `json:"subagent_id"`
	User      *string `json:"user"`
	Provider  *string `json:"provider"`
	Model     *string `json:"model"`
	Upstream  *string `json:"upstream"`
	Region    *string `json:"region"`
	Tier      *string `json:"tier"`
	Name      *string `json:"name"`
	Outcome   *string `json:"outcome"` // of a model call that did not end well, or is estimated
	wireQuantities
	StoredBytes int64   `json:"stored_bytes"`
	MemoryBytes int64   `json:"memory_bytes"` // the most at once
	Prices      *string `json:"prices"`       // version of the price book
}

func wireUsageRecordOf(r *usage.Record) wireUsageRecord {
	return wireUsageRecord{
		ID: r.ID, Object: "usage.record", CreatedAt: r.At / millis, Kind: string(r.Kind),
		AgentID: known(string(r.Agent)), SessionID: known(string(r.Session)), TurnID: known(r.Turn), Subagent: known(r.Subagent), User: known(r.User),
		Provider: known(r.Provider), Model: known(r.Model), Upstream: known(r.Upstream), Region: known(r.Region), Tier: known(r.Tier), Name: known(r.Name), Outcome: known(r.Outcome),
		wireQuantities: wireQuantitiesOf(r.Quantities, r.Cost), StoredBytes: r.StoredBytes, MemoryBytes: r.MemoryBytes, Prices: known(r.Prices),
	}
}

// known is null for what a record does not say.
func known(s string) *string {
	if s == "" {
		return nil
	}
	return &s
}

func (s *server) listUsage(w http.ResponseWriter, r *http.Request, p stead.Principal) error {
	q := r.URL.Query()
	pq, err := idPage(q, usage.Prefix)
	if err != nil {
		return err
	}
	f, err := usageFilter(q)
	if err != nil {
		return err
	}
	found, more, err := s.Usage.List(r.Context(), p, account.ListQuery{Filter: f, After: pq.After, Desc: pq.Desc, Limit: pq.Limit})
	if err != nil {
		return err
	}
	data := make([]wireUsageRecord, len(found))
	for i := range found {
		data[i] = wireUsageRecordOf(&found[i])
	}
	return s.write(w, listOf(data, more, func(r wireUsageRecord) string { return r.ID }))
}

// usageFilters are the query parameters of usageFilter.
func usageFilters() []string {
	return []string{"from", "to", "kind", "session_id", "agent_id", "user", "provider", "model"}
}

func usageFilter(q url.Values) (usage.Filter, error) {
	f := usage.Filter{
		Session: stead.SessionID(q.Get("session_id")), Agent: stead.AgentID(q.Get("agent_id")), Kind: usage.Kind(q.Get("kind")),
		User: q.Get("user"), Provider: q.Get("provider"), Model: q.Get("model"),
	}
	var err error
	if f.From, err = queryTime(q, "from"); err != nil {
		return f, err
	}
	f.To, err = queryTime(q, "to")
	return f, err
}

// queryTime reads a moment as Unix milliseconds, 0 where there is none: Unix seconds, RFC 3339, or a
// day or month of UTC, which stands for its beginning.
func queryTime(q url.Values, name string) (int64, error) {
	s := q.Get(name)
	if s == "" {
		return 0, nil
	}
	if n, err := strconv.ParseInt(s, 10, 64); err == nil && len(s) > len("2026") && n >= 0 && n < 1<<40 {
		return n * millis, nil
	}
	for _, form := range []string{time.RFC3339, time.DateOnly, "2006-01"} {
		if t, err := time.Parse(form, s); err == nil {
			return t.UnixMilli(), nil
		}
	}
	return 0, stead.Invalid(name, "%s must be Unix seconds, or a time as 2026-11-26T08:00:00Z, 2026-11-26 or 2026-11, not %.40q", name, s)
}

type wireUsageRow struct {
	Key     map[string]string `json:"key"` // dimension → value, "" for what a record does not say
	Records int64             `json:"records"`
	wireQuantities
	Capped bool `json:"capped,omitempty"` // a number is beyond what can be, and stands at a bound
}

type wireUsageReport struct {
	Object  string         `json:"object"` // "usage.report"
	From    *int64         `json:"from"`   // Unix seconds; null: from the beginning
	To      *int64         `json:"to"`
	GroupBy []string       `json:"group_by"`
	Data    []wireUsageRow `json:"data"`
	Total   wireUsageRow   `json:"total"`
}

// everyProject reads whether a question is about every project ("*"), which only their owner may ask: the root key, or
// the one user of a server without authentication.
func everyProject(p stead.Principal, project string) (bool, error) {
	switch {
	case project == "":
		return false, nil
	case project != "*":
		e := stead.Invalid("project", `project can be "*", for every project, not %.40q`, project)
		e.Hint = "One project is chosen by the key; the root key names it in the header OpenAI-Project."
		return false, e
	case !identity.IsRoot(p) && p != stead.LocalPrincipal():
		e := stead.Errorf(stead.KindForbidden, "only the root key may ask about every project")
		e.Param = "project"
		return false, e
	}
	return true, nil
}

func (s *server) reportUsage(w http.ResponseWriter, r *http.Request, p stead.Principal) error {
	q := r.URL.Query()
	f, err := usageFilter(q)
	if err != nil {
		return err
	}
	format := q.Get("format")
	if format != "" && format != "json" && format != "csv" {
		return stead.Invalid("format", `format must be "json" or "csv", not %.40q`, format)
	}
	every, err := everyProject(p, q.Get("project"))
	if err != nil {
		return err
	}
	report, err := s.Usage.Report(r.Context(), p, every, f, queryList(q, "group_by"))
	if err != nil {
		return err
	}
	if format == "csv" {
		return s.usageCSV(w, report)
	}
	out := wireUsageReport{Object: "usage.report", From: seconds(f.From), To: seconds(f.To), GroupBy: []string{}, Data: []wireUsageRow{}}
	for _, d := range report.Dimensions {
		out.GroupBy = append(out.GroupBy, string(d))
	}
	for _, row := range report.Rows {
		key := map[string]string{}
		for i, d := range out.GroupBy {
			key[d] = row.Values[i]
		}
		out.Data = append(out.Data, wireUsageRowOf(key, &row.Sum))
	}
	out.Total = wireUsageRowOf(map[string]string{}, &report.Total)
	return s.write(w, out)
}

func wireUsageRowOf(key map[string]string, sum *usage.Sum) wireUsageRow {
	return wireUsageRow{key, sum.Records, wireQuantitiesOf(sum.Quantities, sum.Cost), sum.Capped}
}

func seconds(ms int64) *int64 {
	if ms == 0 {
		return nil
	}
	n := ms / millis
	return &n
}

// queryList reads a list, by commas or given several times.
func queryList(q url.Values, name string) []string {
	var out []string
	for _, v := range q[name] {
		for part := range strings.SplitSeq(v, ",") {
			if part = strings.TrimSpace(part); part != "" {
				out = append(out, part)
			}
		}
	}
	return out
}

// usageCSV writes a report as RFC 4180 has it, without the total: a sum over the rows is the reader's.
func (s *server) usageCSV(w http.ResponseWriter, report usage.Report) error {
	var header []string
	for _, d := range report.Dimensions {
		header = append(header, string(d))
	}
	header = append(append(header, "records"), quantityNames()...)
	if report.Total.Capped {
		header = append(header, "capped") // a column for a report that needs it
	}
	w.Header().Set("Content-Type", mediaCSV+"; charset=utf-8")
	w.Header().Set("Cache-Control", "no-store")
	out := csv.NewWriter(w)
	if err := out.Write(header); err != nil {
		return err
	}
	for _, row := range report.Rows {
		var line []string
		for _, v := range row.Values {
			line = append(line, harmless(v))
		}
		line = append(line, strconv.FormatInt(row.Sum.Records, 10))
		line = append(line, wireQuantitiesOf(row.Sum.Quantities, row.Sum.Cost).values()...)
		if report.Total.Capped {
			line = append(line, strconv.FormatBool(row.Sum.Capped))
		}
		if err := out.Write(line); err != nil {
			return err
		}
	}
	out.Flush()
	return out.Error()
}

// harmless keeps a value from being taken for a formula by a spreadsheet: users choose some of them.
func harmless(s string) string {
	if s != "" && strings.ContainsRune("=+-@\t\r", rune(s[0])) {
		return "'" + s
	}
	return s
}
