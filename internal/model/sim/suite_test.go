package sim_test

import (
	"testing"

	"github.com/stead-dev/stead/internal/model"
	"github.com/stead-dev/stead/internal/model/modeltest"
	"github.com/stead-dev/stead/internal/model/sim"
)

func TestSuite(t *testing.T) {
	modeltest.Suite(t, func(t *testing.T, s *modeltest.Script) model.Model {
		switch {
		case s.Case == "usage" || s.Case == "no usage":
			return nil // sim counts its own
		case s.Failure != nil && s.Failure.RetryAfter > 0:
			return nil // sim has no wish of when to be retried
		}
		return sim.New(sim.Options{})
	})
}
