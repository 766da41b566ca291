package vectorstore

import (
	"context"
	"time"

	"github.com/stead-dev/stead"
)

// Nudge is what whoever brings work does.
func (s *Service) Nudge(ctx context.Context, project stead.ProjectID, store string) error {
	return s.nudge(ctx, project, store)
}

// Hurry makes a Service impatient, before it runs.
func (s *Service) Hurry(lease, read, grace time.Duration) {
	s.leaseTime, s.readTime, s.readGrace = lease, read, grace
}
