package policyset

import (
	"context"
	"errors"
	"testing"
	"time"

	"github.com/stead-dev/stead"
	"github.com/stead-dev/stead/internal/policy"
)

func TestAProjectChecksOneTextAtATime(t *testing.T) {
	s := NewService(Config{})
	busy := make(chan struct{}, 1)
	busy <- struct{}{}
	s.checking.Store(stead.ProjectID("one"), busy)
	check := func(ctx context.Context, project stead.ProjectID) error {
		_, err := s.compile(ctx, stead.Principal{Project: project}, "a", policy.Enforce, "forbid (principal, action, resource);")
		return err
	}
	short, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
	defer cancel()
	if err := check(short, "one"); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("beside another of its project: %v", err)
	}
	if err := check(t.Context(), "two"); err != nil {
		t.Errorf("another project's: %v", err)
	}
	<-busy
	if err := check(t.Context(), "one"); err != nil {
		t.Errorf("after it: %v", err)
	}
}
