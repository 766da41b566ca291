package server

import (
	"encoding/csv"
	"net/http"
	"strconv"

	"github.com/stead-dev/stead"
	"github.com/stead-dev/stead/internal/usage"
)

// wireCommitment is how a commitment stands. Amounts are in its unit.
type wireCommitment struct {
	Name        string  `json:"name"`
	Object      string  `json:"object"` // "capacity.commitment"
	Provider    string  `json:"provider"`
	Pool        *string `json:"pool"` // null: all of the provider
	Unit        string  `json:"unit"` // "microcents", "tokens"
	PeriodStart int64   `json:"period_start"`
	PeriodEnd   int64   `json:"period_end"`
	AsOf        int64   `json:"as_of"` // Unix seconds: what was used from then on does not count
	Committed   int64   `json:"committed"`
	Used        int64   `json:"used"`
	Own         int64   `json:"used_by_project"` // the caller's part of it
	Remaining   int64   `json:"remaining"`
	Over        int64   `json:"over"`
	Share       int64   `json:"share_basis_points"`   // used of committed
	Elapsed     int64   `json:"elapsed_basis_points"` // of the period's time
	Projected   int64   `json:"projected"`            // used at the period's end, at the present rate
	Owed        int64   `json:"shortfall_microcents"` // what the projected shortfall costs
}

func wireCommitmentOf(s usage.Standing) wireCommitment {
	unit := "microcents"
	if s.Tokens > 0 {
		unit = "tokens"
	}
	return wireCommitment{
		Name: s.Name, Object: "capacity.commitment", Provider: s.Provider, Pool: known(s.Pool), Unit: unit,
		PeriodStart: s.From / millis, PeriodEnd: s.To / millis, AsOf: s.At / millis, Committed: s.Committed, Used: s.Used, Own: s.Own,
		Remaining: s.Remaining, Over: s.Over, Share: s.Share, Elapsed: s.Elapsed, Projected: s.Projected, Owed: s.Owed,
	}
}

// listCommitments shows how the operator's commitments stand, now or as of a time.
func (s *server) listCommitments(w http.ResponseWriter, r *http.Request, p stead.Principal) error {
	q := r.URL.Query()
	at, err := queryTime(q, "at")
	if err != nil {
		return err
	}
	format := q.Get("format")
	if format != "" && format != "json" && format != "csv" {
		return stead.Invalid("format", `format must be "json" or "csv", not %.40q`, format)
	}
	found, err := s.Usage.Commitments(r.Context(), p, at)
	if err != nil {
		return err
	}
	data := make([]wireCommitment, len(found))
	for i, c := range found {
		data[i] = wireCommitmentOf(c)
	}
	if format == "csv" {
		return commitmentsCSV(w, data)
	}
	return s.write(w, listOf(data, false, func(c wireCommitment) string { return c.Name }))
}

func commitmentsCSV(w http.ResponseWriter, all []wireCommitment) error {
	w.Header().Set("Content-Type", mediaCSV+"; charset=utf-8")
	w.Header().Set("Cache-Control", "no-store")
	rows := [][]string{{"name", "provider", "pool", "unit", "period_start", "period_end", "as_of", "committed", "used", "used_by_project",
		"remaining", "over", "share_basis_points", "elapsed_basis_points", "projected", "shortfall_microcents"}}
	for _, c := range all {
		pool := ""
		if c.Pool != nil {
			pool = *c.Pool
		}
		row := []string{harmless(c.Name), harmless(c.Provider), harmless(pool), c.Unit}
		for _, n := range []int64{c.PeriodStart, c.PeriodEnd, c.AsOf, c.Committed, c.Used, c.Own, c.Remaining, c.Over, c.Share, c.Elapsed, c.Projected, c.Owed} {
			row = append(row, strconv.FormatInt(n, 10))
		}
		rows = append(rows, row)
	}
	return csv.NewWriter(w).WriteAll(rows)
}
