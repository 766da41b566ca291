package server

import (
	"context"
	"net/http"
	"time"

	"github.com/stead-dev/stead"
	"github.com/stead-dev/stead/internal/retention"
)

// Retention shows how long a project keeps things: see package retention, which implements it.
type Retention interface {
	Rule(ctx context.Context, p stead.Principal) (retention.Rule, error)
}

// wireRetention is in days; null: for ever.
type wireRetention struct {
	Object   string          `json:"object"` // "retention"
	Project  stead.ProjectID `json:"project"`
	Sessions *int64          `json:"sessions"`
	Files    *int64          `json:"files"`
	Memories *int64          `json:"memories"`
	Audit    *int64          `json:"audit"`
}

func (s *server) getRetention(w http.ResponseWriter, r *http.Request, p stead.Principal) error {
	if s.Retention == nil {
		return stead.Errorf(stead.KindNotImplemented, "this server has no retention")
	}
	rule, err := s.Retention.Rule(r.Context(), p)
	if err != nil {
		return err
	}
	days := func(d time.Duration) *int64 {
		if d == 0 {
			return nil
		}
		n := int64(d / (24 * time.Hour))
		return &n
	}
	return s.write(w, wireRetention{"retention", rule.Project, days(rule.Sessions), days(rule.Files), days(rule.Memories), days(rule.Audit)})
}
