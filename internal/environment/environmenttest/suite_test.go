package environmenttest_test

import (
	"os"
	"os/exec"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/stead-dev/stead/internal/environment"
	"github.com/stead-dev/stead/internal/environment/environmenttest"
)

// bare marks the process in which TestBare runs.
const bare = "STEAD_TEST_BARE"

// TestBare runs the suite against the driver without a border, for TestSuiteCanFail alone.
func TestBare(t *testing.T) {
	if os.Getenv(bare) == "" {
		t.Skip("run by TestSuiteCanFail in a process of its own: it fails, and has to")
	}
	environmenttest.Suite(t, func(*testing.T) environment.Provider { return environmenttest.Bare{} }, environmenttest.Options{
		HostPaths: true,
		Exempt: map[string]string{
			"Root/only workspace and tmp can be written": "it would write into the directories of this machine",
			"Root/layers and upper":                      "it would write into the directories of this machine",
		},
	})
}

// TestSuiteCanFail holds that the suite finds each border that a bare process lacks, and that it has no
// complaint about what needs none.
func TestSuiteCanFail(t *testing.T) {
	c := exec.Command(os.Args[0], "-test.run=^TestBare$", "-test.v", "-test.timeout=5m")
	c.Env = append(os.Environ(), bare+"=1")
	out, err := c.CombinedOutput()
	if err == nil {
		t.Fatalf("a driver without a border passes:\n%s", out)
	}
	var failed []string
	for _, m := range regexp.MustCompile(`(?m)^ +--- FAIL: TestBare/(\S+)`).FindAllStringSubmatch(string(out), -1) {
		failed = append(failed, m[1])
	}
	failed = slices.DeleteFunc(failed, func(name string) bool {
		// A group fails with its members. On a machine with much else to do a loop gets no more than the
		// limit that is tested: there this one passes.
		return name == "Limits/cpu" || slices.ContainsFunc(failed, func(other string) bool { return strings.HasPrefix(other, name+"/") })
	})
	want := []string{
		"Close/no_process_survives", "Close/a_lifetime_that_is_over_ends_it",
		"Processes/what_runs_in_the_background_lives_across_commands", // and past the end
		"Root/tmp_is_not_the_host's_and_not_another_environment's", "Root/mounts_are_read-only",
		"Network/without_egress_nothing_answers", "Network/the_egress_proxy_and_nothing_else_is_reached",
		"Network/the_bridge_carries_much,_and_many", "Network/the_tools_socket_is_reached",
		"Limits/memory/one_process", "Limits/memory/many_together", "Limits/pids", "Limits/disk", "Limits/open_files",
	}
	if os.Getuid() == 0 {
		want = append(want, "Root/commands_are_root_only_for_set-up")
	}
	slices.Sort(failed)
	slices.Sort(want)
	if !slices.Equal(failed, want) {
		t.Errorf("the suite fails\n%q, want\n%q\n%s", failed, want, out)
	}
}
