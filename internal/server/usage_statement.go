package server

import (
	"encoding/csv"
	"fmt"
	"net/http"
	"strconv"
	"time"

	"github.com/stead-dev/stead"
	"github.com/stead-dev/stead/internal/usage"
)

type wireStatementLine struct {
	Rule  string `json:"rule"` // "-": no rule matched
	Party string `json:"party"`
	Exact string `json:"exact_microcents"` // a decimal number, whole but for four digits
	Cents int64  `json:"cents"`
}

type wirePartySum struct {
	Party string `json:"party"`
	Cents int64  `json:"cents"`
}

type wireStatement struct {
	Object     string              `json:"object"` // "usage.statement"
	From       int64               `json:"from"`   // Unix seconds
	To         int64               `json:"to"`
	Lines      []wireStatementLine `json:"lines"`
	Parties    []wirePartySum      `json:"parties"`
	TotalCents int64               `json:"total_cents"`
	Total      wireUsageRow        `json:"total"`
	// Rounding is how cents are made of micro-cents.
	Rounding string `json:"rounding"`
	// Capped is how records were taken that say what can't be; the first of them are in CappedRecords as they are stored.
	Capped        usage.Capped      `json:"capped"`
	CappedCount   int               `json:"capped_count"`
	CappedRecords []wireUsageRecord `json:"capped_records"`
}

const rounding = "the total to the nearest cent, half up; lines down to a cent, the cents left to the largest remainders, of equal ones to the earlier line"

func (s *server) usageStatement(w http.ResponseWriter, r *http.Request, p stead.Principal) error {
	q := r.URL.Query()
	from, to, err := statementTime(q.Get("month"))
	if err == nil && from == 0 {
		if from, err = queryTime(q, "from"); err == nil {
			to, err = queryTime(q, "to")
		}
	}
	if err != nil {
		return err
	}
	format := q.Get("format")
	if format != "" && format != "json" && format != "csv" {
		return stead.Invalid("format", `format must be "json" or "csv", not %.40q`, format)
	}
	how, err := usage.CappedOf(q.Get("capped"))
	if err != nil {
		return err
	}
	every, err := everyProject(p, q.Get("project"))
	if err != nil {
		return err
	}
	st, err := s.Usage.Statement(r.Context(), p, every, from, to, how)
	if err != nil {
		return err
	}
	if format == "csv" {
		return statementCSV(w, st)
	}
	out := wireStatement{
		Object: "usage.statement", From: from / millis, To: to / millis, Lines: []wireStatementLine{}, Parties: []wirePartySum{},
		TotalCents: st.Cents, Total: wireUsageRowOf(map[string]string{}, &st.Total), Rounding: rounding,
		Capped: how, CappedCount: st.CappedCount, CappedRecords: []wireUsageRecord{},
	}
	for _, l := range st.Lines {
		out.Lines = append(out.Lines, wireStatementLine{l.Rule, l.Party, exactly(l), l.Cents})
	}
	for _, sum := range st.Parties {
		out.Parties = append(out.Parties, wirePartySum(sum))
	}
	for i := range st.Capped {
		out.CappedRecords = append(out.CappedRecords, wireUsageRecordOf(&st.Capped[i]))
	}
	return s.write(w, out)
}

// exactly writes a share, which is whole in ten-thousandths of a micro-cent.
func exactly(l usage.StatementLine) string {
	const digits = 4
	return l.Exact.FloatString(digits)
}

// statementTime is a month of UTC, or zero.
func statementTime(month string) (from, to int64, err error) {
	if month == "" {
		return 0, 0, nil
	}
	t, err := time.Parse("2006-01", month)
	if err != nil {
		return 0, 0, stead.Invalid("month", "month must be as 2026-11, not %.40q", month)
	}
	return t.UnixMilli(), t.AddDate(0, 1, 0).UnixMilli(), nil
}

func statementCSV(w http.ResponseWriter, st usage.Statement) error {
	w.Header().Set("Content-Type", mediaCSV+"; charset=utf-8")
	w.Header().Set("Cache-Control", "no-store")
	out := csv.NewWriter(w)
	rows := [][]string{{"rule", "party", "exact_microcents", "cents"}}
	for _, l := range st.Lines {
		rows = append(rows, []string{l.Rule, harmless(l.Party), exactly(l), strconv.FormatInt(l.Cents, 10)})
	}
	rows = append(rows, []string{"total", "", fmt.Sprint(st.Total.Cost), strconv.FormatInt(st.Cents, 10)})
	for i := range st.Capped { // as they are stored: what they count with is in the lines, or they count with nothing
		rows = append(rows, []string{"capped:" + string(st.How), st.Capped[i].ID, fmt.Sprint(st.Capped[i].Cost), ""})
	}
	if more := st.CappedCount - len(st.Capped); more > 0 {
		rows = append(rows, []string{"capped:" + string(st.How), fmt.Sprintf("and %d more", more), "", ""})
	}
	return out.WriteAll(rows)
}
