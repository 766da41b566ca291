package bare_test

import (
	"testing"

	"github.com/stead-dev/stead/internal/environment"
	"github.com/stead-dev/stead/internal/environment/bare"
	"github.com/stead-dev/stead/internal/environment/environmenttest"
)

func TestSuite(t *testing.T) {
	environmenttest.Suite(t, func(*testing.T) environment.Provider { return bare.Provider{} }, environmenttest.Options{
		HostPaths: true,
		Exempt: map[string]string{
			"Root/only_workspace_and_tmp_can_be_written":               "there is no border: commands have the user's rights",
			"Root/tmp_is_not_the_host's_and_not_another_environment's": "there is no border",
			"Root/mounts_are_read-only":                                "there are no mounts",
			"Root/commands_are_root_only_for_set-up":                   "commands are the user's",
			"Network":                                                  "the network is the machine's",
		},
	})
}
