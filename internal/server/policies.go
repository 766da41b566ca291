package server

import (
	"context"
	"io"
	"net/http"

	"github.com/stead-dev/stead"
	"github.com/stead-dev/stead/internal/policy"
)

// Policies shows the policies in force: see package cedar, which implements it.
type Policies interface {
	Rules(ctx context.Context, p stead.Principal) ([]policy.Rule, error)
	Schema(ctx context.Context, p stead.Principal) (string, error)
}

func (s *server) listPolicies(w http.ResponseWriter, r *http.Request, p stead.Principal) error {
	rules, err := s.Policies.Rules(r.Context(), p)
	if err != nil {
		return err
	}
	return s.write(w, listOf(rules, false, func(x policy.Rule) string { return x.ID }))
}

func (s *server) policySchema(w http.ResponseWriter, r *http.Request, p stead.Principal) error {
	text, err := s.Policies.Schema(r.Context(), p)
	if err != nil {
		return err
	}
	w.Header().Set("Content-Type", "text/plain; charset=utf-8")
	_, err = io.WriteString(w, text)
	return err
}

// withPolicies serves a route of policies, where there is something to show.
func (s *server) withPolicies(handle handler) handler {
	return func(w http.ResponseWriter, r *http.Request, p stead.Principal) error {
		if s.Policies == nil {
			return stead.Errorf(stead.KindNotImplemented, "this server has no policies")
		}
		return handle(w, r, p)
	}
}
