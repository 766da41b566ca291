package ns

import (
	"testing"

	"github.com/stead-dev/stead/internal/environment"
	"github.com/stead-dev/stead/internal/environment/cgroup"
	"github.com/stead-dev/stead/internal/environment/environmenttest"
)

func provider(*testing.T) environment.Provider { return New(cgroup.Detect()) }

func options() environmenttest.Options {
	return environmenttest.Options{
		Kill: func(t *testing.T, e environment.Environment) {
			if err := e.(*box).init.Kill(); err != nil {
				t.Error(err)
			}
		},
	}
}

func TestSuite(t *testing.T) { environmenttest.Suite(t, provider, options()) }

func TestHostile(t *testing.T) { environmenttest.Hostile(t, provider, options()) }
