package sim_test

import (
	"testing"

	"github.com/stead-dev/stead/internal/model"
	"github.com/stead-dev/stead/internal/model/modeltest"
	"github.com/stead-dev/stead/internal/model/sim"
)

func TestSuite(t *testing.T) {
	modeltest.Suite(t, func(*testing.T, *modeltest.Script) model.Model { return sim.New(sim.Options{}) }, modeltest.Skips{
		"usage":        "sim counts its own",
		"no usage":     "sim counts its own",
		"service tier": "sim has none",
		"cache writes": "sim caches nothing",
		"filter stop":  "sim has no filter",
		"rate limit":   "sim has no wish of when to be retried",
	})
}
