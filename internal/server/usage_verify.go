package server

import (
	"net/http"

	"github.com/stead-dev/stead"
	"github.com/stead-dev/stead/internal/usage"
	"github.com/stead-dev/stead/internal/usage/account"
)

type wireDifference struct {
	ID      string           `json:"id"`
	What    string           `json:"what"` // "missing", "surplus" or "different"
	Journal *wireUsageRecord `json:"journal"`
	Store   *wireUsageRecord `json:"store"`
}

type wireTotals struct {
	Kind    string       `json:"kind"`
	Journal wireUsageRow `json:"journal"`
	Store   wireUsageRow `json:"store"`
}

type wireVerification struct {
	Object      string           `json:"object"` // "usage.verification"
	OK          bool             `json:"ok"`
	Sessions    int              `json:"sessions"` // whose journals were folded
	Totals      []wireTotals     `json:"totals"`
	Kept        wireUsageRow     `json:"kept"`      // records of deleted sessions: there is no journal any more
	Stateless   wireUsageRow     `json:"stateless"` // records of calls that have no journal
	Count       int              `json:"difference_count"`
	Differences []wireDifference `json:"differences"` // the first account.MaxDifferences
	Repaired    int              `json:"repaired"`
}

func (s *server) verifyUsage(w http.ResponseWriter, r *http.Request, p stead.Principal) error {
	req, err := read(w, r)
	if err != nil {
		return err
	}
	if err := req.Only("a verification", "repair", "project"); err != nil {
		return err
	}
	repair, _, err := req.Bool("repair")
	if err != nil {
		return err
	}
	project, _, err := req.String("project")
	if err != nil {
		return err
	}
	every, err := everyProject(p, project)
	if err != nil {
		return err
	}
	v, err := s.Usage.Verify(r.Context(), p, every, repair)
	if err != nil {
		return err
	}
	return s.write(w, wireVerificationOf(v))
}

func wireVerificationOf(v *account.Verification) wireVerification {
	none := map[string]string{}
	out := wireVerification{
		Object: "usage.verification", OK: v.OK(), Sessions: v.Sessions, Totals: []wireTotals{}, Count: v.Count, Differences: []wireDifference{},
		Kept: wireUsageRowOf(none, &v.Kept), Stateless: wireUsageRowOf(none, &v.Stateless), Repaired: v.Repaired,
	}
	for _, k := range usage.Kinds() {
		if v.Journal[k] == nil && v.Store[k] == nil {
			continue
		}
		out.Totals = append(out.Totals, wireTotals{string(k), wireSumOf(v.Journal[k]), wireSumOf(v.Store[k])})
	}
	for _, d := range v.Differences {
		out.Differences = append(out.Differences, wireDifference{d.ID, d.What, wireRecordOrNull(d.Journal), wireRecordOrNull(d.Store)})
	}
	return out
}

func wireSumOf(s *usage.Sum) wireUsageRow {
	if s == nil {
		s = &usage.Sum{}
	}
	return wireUsageRowOf(map[string]string{}, s)
}

func wireRecordOrNull(r *usage.Record) *wireUsageRecord {
	if r == nil {
		return nil
	}
	out := wireUsageRecordOf(r)
	return &out
}
