package client

import (
	"context"
	"encoding/json"
	"io"
	"net/http"
	"net/url"
)

// UsageRecord is one thing that was used.
type UsageRecord struct {
	Raw       json.RawMessage `json:"-"`
	ID        string          `json:"id"`
	CreatedAt int64           `json:"created_at"` // Unix seconds
	Kind      string          `json:"kind"`
	SessionID *string         `json:"session_id"`
	Model     *string         `json:"model"`
	Name      *string         `json:"name"`
	Quantities
}

// UnmarshalJSON keeps what the server said.
func (r *UsageRecord) UnmarshalJSON(data []byte) error {
	type plain UsageRecord
	if err := json.Unmarshal(data, (*plain)(r)); err != nil {
		return err
	}
	r.Raw = append(json.RawMessage(nil), data...)
	return nil
}

// Quantities are what was used; money is micro-cents (1 US cent = 1,000,000).
type Quantities struct {
	Calls           int64 `json:"calls"`
	InputTokens     int64 `json:"input_tokens"`
	CachedTokens    int64 `json:"cached_tokens"`
	OutputTokens    int64 `json:"output_tokens"`
	DurationMS      int64 `json:"duration_ms"`
	SentBytes       int64 `json:"sent_bytes"`
	ReceivedBytes   int64 `json:"received_bytes"`
	MegabyteSeconds int64 `json:"megabyte_seconds"`
	CPUMS           int64 `json:"cpu_ms"`
	Commands        int64 `json:"commands"`
	CostMicroCents  int64 `json:"cost_microcents"`
}

// UsageRow is a sum of records.
type UsageRow struct {
	Key     map[string]string `json:"key"`
	Records int64             `json:"records"`
	Capped  bool              `json:"capped"` // a number is beyond what can be, and stands at a bound
	Quantities
}

// UsageReport is records added up.
type UsageReport struct {
	GroupBy []string   `json:"group_by"`
	Data    []UsageRow `json:"data"`
	Total   UsageRow   `json:"total"`
}

// UsageVerification is what a verification found.
type UsageVerification struct {
	OK       bool `json:"ok"`
	Sessions int  `json:"sessions"`
	Totals   []struct {
		Kind    string   `json:"kind"`
		Journal UsageRow `json:"journal"`
		Store   UsageRow `json:"store"`
	} `json:"totals"`
	Kept        UsageRow `json:"kept"`
	Stateless   UsageRow `json:"stateless"`
	Count       int      `json:"difference_count"`
	Differences []struct {
		ID      string          `json:"id"`
		What    string          `json:"what"`
		Journal json.RawMessage `json:"journal"`
		Store   json.RawMessage `json:"store"`
	} `json:"differences"`
	Repaired int `json:"repaired"`
}

// UsageStatement says who gets what.
type UsageStatement struct {
	Lines []struct {
		Rule  string `json:"rule"`
		Party string `json:"party"`
		Exact string `json:"exact_microcents"`
		Cents int64  `json:"cents"`
	} `json:"lines"`
	TotalCents int64    `json:"total_cents"`
	Total      UsageRow `json:"total"`
	// Capped is how records were taken that say what can't be: refuse, leave_out or at_bound.
	Capped        string        `json:"capped"`
	CappedCount   int           `json:"capped_count"`
	CappedRecords []UsageRecord `json:"capped_records"` // the first of them
}

// UsageStatement makes a settlement statement.
func (c *Client) UsageStatement(ctx context.Context, query url.Values) (st UsageStatement, raw json.RawMessage, err error) {
	return decoded[UsageStatement](ctx, c, http.MethodGet, "/v1/usage/statement", query, nil)
}

// UsageRecords lists records, the newest first.
func (c *Client) UsageRecords(ctx context.Context, query url.Values, limit int) ([]UsageRecord, error) {
	return list(ctx, c, "/v1/usage_records", query, limit, func(r UsageRecord) string { return r.ID })
}

// UsageReport adds records up; raw is the answer as it came.
func (c *Client) UsageReport(ctx context.Context, query url.Values) (report UsageReport, raw json.RawMessage, err error) {
	return decoded[UsageReport](ctx, c, http.MethodGet, "/v1/usage", query, nil)
}

// VerifyUsage holds the records against the journals; project "*" is every one.
func (c *Client) VerifyUsage(ctx context.Context, project string, repair bool) (v UsageVerification, raw json.RawMessage, err error) {
	return decoded[UsageVerification](ctx, c, http.MethodPost, "/v1/usage/verify", nil, map[string]any{"repair": repair, "project": project})
}

// UsageText writes an answer to w as the server made it: a report as CSV, a statement.
func (c *Client) UsageText(ctx context.Context, path string, query url.Values, w io.Writer) error {
	resp, err := c.do(ctx, http.MethodGet, path, query, nil, "*/*", nil)
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	_, err = io.Copy(w, resp.Body)
	return err
}

// decoded calls and returns the answer both read and as it came.
func decoded[T any](ctx context.Context, c *Client, method, path string, query url.Values, body any) (out T, raw json.RawMessage, err error) {
	if err = c.call(ctx, method, path, query, body, &raw); err == nil {
		err = json.Unmarshal(raw, &out)
	}
	return out, raw, err
}

// Commitment is how a commitment of the operator stands. Amounts are in its unit.
type Commitment struct {
	Raw         json.RawMessage `json:"-"`
	Name        string          `json:"name"`
	Unit        string          `json:"unit"`         // "microcents", "tokens"
	PeriodStart int64           `json:"period_start"` // Unix seconds
	PeriodEnd   int64           `json:"period_end"`
	Committed   int64           `json:"committed"`
	Used        int64           `json:"used"`
	Remaining   int64           `json:"remaining"`
	Share       int64           `json:"share_basis_points"`
	Elapsed     int64           `json:"elapsed_basis_points"`
	Projected   int64           `json:"projected"`
	Shortfall   int64           `json:"shortfall_microcents"`
}

// UnmarshalJSON keeps what the server said.
func (m *Commitment) UnmarshalJSON(data []byte) error {
	type plain Commitment
	if err := json.Unmarshal(data, (*plain)(m)); err != nil {
		return err
	}
	m.Raw = append(json.RawMessage(nil), data...)
	return nil
}

// Commitments lists how the commitments stand; query may hold at.
func (c *Client) Commitments(ctx context.Context, query url.Values) ([]Commitment, error) {
	p, _, err := decoded[page[Commitment]](ctx, c, http.MethodGet, "/v1/capacity/commitments", query, nil)
	return p.Data, err
}
