package meter_test

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/stead-dev/stead"
	"github.com/stead-dev/stead/internal/environment"
	"github.com/stead-dev/stead/internal/policy"
	"github.com/stead-dev/stead/internal/session"
	"github.com/stead-dev/stead/internal/usage"
	"github.com/stead-dev/stead/internal/usage/meter"
)

// journal writes events at given seconds.
type journal struct {
	t      *testing.T
	events []stead.Event
}

var key = stead.SessionKey{Project: "default", Session: "sess_00000000000000000000000000000001"}

func (j *journal) at(second int64, kind string, payload any) stead.Seq {
	j.t.Helper()
	e, err := session.NewEvent(1_800_000_000_000+second*1000, kind, payload)
	if err != nil {
		j.t.Fatal(err)
	}
	e.Seq = stead.Seq(len(j.events) + 1)
	j.events = append(j.events, e)
	return e.Seq
}

func (j *journal) call(second int64, a session.Action) stead.Seq {
	return j.at(second, session.KindEnvironmentCalled, session.EnvironmentCalled{Action: a, Attempt: 1, Decision: policy.Decision{Allow: true}})
}

func (j *journal) records() string {
	j.t.Helper()
	all, err := meter.Fold(key, j.events)
	if err != nil {
		j.t.Fatal(err)
	}
	var lines []string
	for _, r := range all {
		switch r.Kind {
		case usage.Environment:
			line := fmt.Sprintf("resident %ds", r.Millis/1000)
			if r.Commands > 0 {
				line += fmt.Sprintf(" (%d commands, %d ms, at most %d bytes)", r.Commands, r.CPUMillis, r.MemoryBytes)
			}
			lines = append(lines, line)
		case usage.Egress:
			lines = append(lines, fmt.Sprintf("egress %d/%d", r.SentBytes, r.ReceivedBytes))
		case usage.Storage:
			lines = append(lines, fmt.Sprintf("stored %dB %ds %dMBs", r.StoredBytes, r.Millis/1000, r.MegabyteSeconds))
		default:
			lines = append(lines, string(r.Kind))
		}
	}
	return strings.Join(lines, "; ")
}

func hosted(t *testing.T) *journal {
	j := &journal{t: t}
	setup := environment.Setup{Type: session.EnvironmentHosted}
	j.at(0, session.KindSessionCreated, session.Created{Principal: stead.LocalPrincipal(), Setup: &setup})
	c := j.call(1, session.ActionPrepare)
	j.at(2, session.KindEnvironmentPrepared, session.EnvironmentPrepared{Call: c, Checkpoint: environment.Checkpoint{Digest: "a", Bytes: 3_000_000}})
	c = j.call(10, session.ActionOpen)
	j.at(12, session.KindEnvironmentConnected, session.EnvironmentConnected{Call: c, Node: "n"})
	return j
}

func egressed(sent, received int64) environment.Usage {
	return environment.Usage{EgressSentBytes: sent, EgressReceivedBytes: received}
}

// A residence is metered piece by piece, and what was stored up to each checkpoint with it.
func TestResidence(t *testing.T) {
	j := hosted(t)
	c := j.call(20, session.ActionSave)
	j.at(22, session.KindEnvironmentCheckpointed, session.EnvironmentCheckpointed{Call: c, Checkpoint: environment.Checkpoint{Digest: "b", Bytes: 500_000}, Usage: egressed(10, 100)})
	c = j.call(30, session.ActionSuspend)
	j.at(32, session.KindEnvironmentSuspended, session.EnvironmentSuspended{Call: c, Checkpoint: environment.Checkpoint{Digest: "c", Bytes: 1_000_000}, Usage: egressed(15, 100)})
	c = j.call(1000, session.ActionExpire)
	j.at(1032, session.KindEnvironmentExpired, session.EnvironmentExpired{Call: c})
	want := "resident 10s; egress 10/100; stored 3000000B 20s 60MBs; " +
		"resident 10s; egress 5/0; stored 500000B 10s 5MBs; stored 1000000B 1000s 1000MBs"
	if got := j.records(); got != want {
		t.Errorf("records are\n%s, want\n%s", got, want)
	}
}

// What a set-up used is on record, also of one that failed, and is no part of the residence after it.
func TestASetUpIsMetered(t *testing.T) {
	j := &journal{t: t}
	setup := environment.Setup{Type: session.EnvironmentHosted}
	j.at(0, session.KindSessionCreated, session.Created{Principal: stead.LocalPrincipal(), Setup: &setup})
	used := environment.Usage{Commands: 2, CPU: 6 * time.Second, MemoryBytes: 4096, EgressSentBytes: 20, EgressReceivedBytes: 300}
	c := j.call(1, session.ActionPrepare)
	j.at(8, session.KindEnvironmentFailed, session.EnvironmentFailed{Call: c, RetryAt: 1, SetUp: &environment.SetUp{Millis: 7000, Usage: used}})
	c = j.call(9, session.ActionPrepare)
	j.at(20, session.KindEnvironmentPrepared, session.EnvironmentPrepared{Call: c, SetUp: &environment.SetUp{Millis: 11_000, Usage: used}})
	c = j.call(30, session.ActionOpen)
	j.at(30, session.KindEnvironmentConnected, session.EnvironmentConnected{Call: c, Node: "n"})
	c = j.call(40, session.ActionSave)
	j.at(40, session.KindEnvironmentCheckpointed, session.EnvironmentCheckpointed{Call: c, Usage: egressed(1, 2)})
	want := "resident 7s (2 commands, 6000 ms, at most 4096 bytes); egress 20/300; resident 11s (2 commands, 6000 ms, at most 4096 bytes); egress 20/300; resident 10s; egress 1/2"
	if got := j.records(); got != want {
		t.Errorf("records are\n%s, want\n%s", got, want)
	}
}

// What commands took is on record with the time in which they ran, once.
func TestComputingIsMetered(t *testing.T) {
	j := hosted(t)
	used := func(commands, ms, peak int64) environment.Usage {
		return environment.Usage{Commands: commands, CPU: time.Duration(ms)*time.Millisecond + 999*time.Microsecond, MemoryBytes: peak}
	}
	c := j.call(20, session.ActionSave)
	j.at(22, session.KindEnvironmentCheckpointed, session.EnvironmentCheckpointed{Call: c, Usage: used(2, 1500, 4096)})
	j.at(30, session.KindToolReturned, session.ToolReturned{CallID: "a", Resided: &environment.Resided{Residence: 4, Usage: used(3, 1600, 8192)}})
	j.at(900, session.KindRunnerRecovered, session.RunnerRecovered{Node: "m", Epoch: 2})
	want := "resident 10s (2 commands, 1500 ms, at most 4096 bytes); stored 3000000B 20s 60MBs; resident 8s (1 commands, 100 ms, at most 8192 bytes)"
	if got := j.records(); got != want {
		t.Errorf("records are\n%s, want\n%s", got, want)
	}
}

// What died is metered up to the moment that says so; what a crash took, up to what is known.
func TestResidenceThatEndsBadly(t *testing.T) {
	j := hosted(t)
	j.at(40, session.KindEnvironmentDisconnected, session.EnvironmentDisconnected{Node: "n", Reason: "out of memory", Usage: egressed(1, 2)})
	if got, want := j.records(), "resident 28s; egress 1/2"; got != want {
		t.Errorf("after a death: %s, want %s", got, want)
	}
	j = hosted(t)
	j.at(50, session.KindInputMessage, session.Message{})
	j.at(900, session.KindRunnerRecovered, session.RunnerRecovered{Node: "m", Epoch: 2})
	if got, want := j.records(), "resident 38s"; got != want {
		t.Errorf("after a crash: %s, want %s", got, want)
	}
	// What commands said before it is known, and what a checkpoint has put on record is not counted again.
	crashed := hosted(t)
	used := func(second int64, sent, received int64) {
		crashed.at(second, session.KindToolReturned, session.ToolReturned{CallID: "a", Resided: &environment.Resided{Residence: 4, Usage: egressed(sent, received)}})
	}
	used(20, 5, 50)
	save := crashed.call(30, session.ActionSave)
	crashed.at(32, session.KindEnvironmentCheckpointed, session.EnvironmentCheckpointed{Call: save, Usage: egressed(5, 60)})
	used(40, 8, 60)
	used(42, 9, 90)
	crashed.at(900, session.KindRunnerRecovered, session.RunnerRecovered{Node: "m", Epoch: 2})
	if got, want := crashed.records(), "resident 20s; egress 5/60; stored 3000000B 30s 90MBs; resident 10s; egress 4/30"; got != want {
		t.Errorf("after a crash with commands: %s, want %s", got, want)
	}
	// The next residence begins anew.
	c := j.call(910, session.ActionOpen)
	j.at(912, session.KindEnvironmentConnected, session.EnvironmentConnected{Call: c, Node: "m"})
	j.at(913, session.KindEnvironmentDisconnected, session.EnvironmentDisconnected{Node: "m"})
	if got, want := j.records(), "resident 38s; resident 1s"; got != want {
		t.Errorf("after another residence: %s, want %s", got, want)
	}
}

// A self-hosted environment is its user's machine.
func TestSelfHostedIsNotMetered(t *testing.T) {
	j := &journal{t: t}
	setup := environment.Setup{Type: session.EnvironmentSelfHosted}
	j.at(0, session.KindSessionCreated, session.Created{Principal: stead.LocalPrincipal(), Setup: &setup})
	j.at(1, session.KindInputConnection, session.ConnectionInput{Connected: true, Node: "n"})
	j.at(60, session.KindInputConnection, session.ConnectionInput{Node: "n"})
	j.at(90, session.KindRunnerRecovered, session.RunnerRecovered{Node: "m", Epoch: 2})
	if got := j.records(); got != "" {
		t.Errorf("records are %s, want none", got)
	}
}
