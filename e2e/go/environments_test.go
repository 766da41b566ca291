package e2e

import (
	"context"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	openai "github.com/openai/openai-go/v3"
)

// needComputer ends a test, in words, on a machine that can give agents no computer; in CI that is a
// failure.
func needComputer(t *testing.T) {
	t.Helper()
	out, err := exec.Command(binary, "doctor", "-o", "json").Output()
	if err != nil {
		t.Fatalf("stead doctor: %v", err)
	}
	var found struct{ Environments struct{ Driver, Why string } }
	if err := json.Unmarshal(out, &found); err != nil {
		t.Fatal(err)
	}
	switch {
	case found.Environments.Driver != "":
	case os.Getenv("CI") == "true":
		t.Fatal("CI needs environments: " + found.Environments.Why)
	default:
		t.Skip("this machine has no driver for environments: " + found.Environments.Why)
	}
}

// inside is a session with an environment whose agent runs a command first.
func inside(env openai.EnvironmentParamUnion, command string) openai.BetaAgentSessionNewParams {
	p := params(shell(command))
	p.Environment = env
	return p
}

// shell is input that makes the model sim run a command.
func shell(command string) string {
	args, _ := json.Marshal(map[string]string{"command": command}) // a string always can be
	return "Call shell with " + string(args)
}

func hosted() openai.EnvironmentParamUnion {
	return openai.EnvironmentParamUnion{OfParamOpenAIHosted: &openai.EnvironmentParamOpenAIHosted{}}
}

// command runs a command in a session and returns its item.
func command(t *testing.T, ctx context.Context, client openai.Client, id, text string) openai.AgentSessionItemUnion {
	t.Helper()
	if _, err := client.Beta.Agents.Sessions.Stream(ctx, id, openai.AgentSessionStreamParams{Input: shell(text)}).FinalResult(); err != nil {
		t.Fatalf("run %q: %v", text, err)
	}
	return lastCommand(t, ctx, client, id)
}

func lastCommand(t *testing.T, ctx context.Context, client openai.Client, id string) openai.AgentSessionItemUnion {
	t.Helper()
	items := client.Beta.Agents.Sessions.Items.ListAutoPaging(ctx, id, openai.BetaAgentSessionItemListParams{Order: "desc"})
	for items.Next() {
		if it := items.Current(); it.Type == "command_execution" {
			return it
		}
	}
	t.Fatalf("session %s has no command: %v", id, items.Err())
	return openai.AgentSessionItemUnion{}
}

func TestHostedEnvironment(t *testing.T) {
	needComputer(t)
	_, client, ctx := setup(t)
	stream := client.Beta.Agents.Sessions.NewStreaming(ctx, inside(hosted(), "echo one; sleep 0.3; echo two; exit 3"))
	var states []string
	output, added, done := "", "", openai.AgentSessionItemUnion{}
	for stream.Next() {
		e := stream.Current()
		item := openai.AgentSessionItemUnion{}
		if raw := e.RawJSON(); strings.Contains(raw, `"command_execution"`) && strings.Contains(raw, ".turn.item.") {
			var carrier struct{ Item json.RawMessage }
			if err := errors.Join(json.Unmarshal([]byte(raw), &carrier), json.Unmarshal(carrier.Item, &item)); err != nil {
				t.Fatal(err)
			}
		}
		switch {
		case strings.HasPrefix(e.Type, "agent.session.environment."):
			states = append(states, strings.TrimPrefix(e.Type, "agent.session.environment."))
		case e.Type == "agent.output.command_execution_output.delta":
			if e.ItemID != added {
				t.Errorf("output of %q, the command is %q", e.ItemID, added)
			}
			output += e.Delta
		case e.Type == "agent.session.turn.item.added" && item.Type != "":
			added = item.ID
		case e.Type == "agent.session.turn.item.done" && item.Type != "":
			done = item
		}
	}
	if err := stream.Err(); err != nil {
		t.Fatal(err)
	}
	if want := []string{"pending", "ready", "connected"}; !slices.Equal(states, want) {
		t.Errorf("the environment was %v, want %v", states, want)
	}
	if output != "one\ntwo\n" || done.ID != added || done.ExitCode != 3 || done.Status != "completed" || done.DurationMs < 300 {
		t.Errorf("output %q, item %s", output, done.RawJSON())
	}
}

func TestPreparedEnvironments(t *testing.T) {
	needComputer(t)
	_, client, ctx := setup(t)
	environments := client.Beta.Agents.Environments
	var made []string
	for _, name := range []string{"a", "b", "c"} {
		e, err := environments.New(ctx, openai.BetaAgentEnvironmentNewParams{Environment: openai.BetaAgentEnvironmentNewParamsEnvironment{
			Env:   map[string]string{"NAME": name},
			Files: []openai.HostedEnvironmentFileParamUnion{openai.HostedEnvironmentFileParamOfParamInline(base64.StdEncoding.EncodeToString([]byte(name)), "/workspace/name.txt")},
		}})
		if err != nil {
			t.Fatal(err)
		}
		made = append(made, e.ID)
	}
	for _, id := range made {
		for {
			e, err := environments.Get(ctx, id)
			if err != nil {
				t.Fatal(err)
			}
			if e.Status == "ready" {
				break
			}
			time.Sleep(10 * time.Millisecond) // the deadline is ctx's
		}
	}
	var listed []string
	pager := environments.ListAutoPaging(ctx, openai.BetaAgentEnvironmentListParams{Limit: openai.Int(2), Order: "asc"})
	for pager.Next() {
		listed = append(listed, pager.Current().ID)
	}
	if err := pager.Err(); err != nil || !slices.Equal(listed, made) {
		t.Errorf("listed %v %v, want %v", listed, err, made)
	}
	env := hosted()
	env.OfParamOpenAIHosted.EnvironmentID = openai.String(made[1])
	s, err := client.Beta.Agents.Sessions.New(ctx, inside(env, "cat name.txt; echo $NAME"))
	if err != nil {
		t.Fatal(err)
	}
	settled(t, ctx, client, s.ID, "idle")
	if out := lastCommand(t, ctx, client, s.ID).Output.OfString; out != "bb\n" {
		t.Errorf("the attached environment printed %q", out)
	}
	_, err = client.Beta.Agents.Sessions.New(ctx, inside(env, "true"))
	if e, ok := errors.AsType[*openai.Error](err); !ok || e.StatusCode != http.StatusConflict {
		t.Errorf("a second session: %v", err)
	}
}

func TestEnvironmentFilesAndArtifacts(t *testing.T) {
	needComputer(t)
	n, client, ctx := setup(t)
	sessions, files := client.Beta.Agents.Sessions, client.Beta.Agents.Environments.Files
	res, err := openai.BetaAgentSessionFinalResult(sessions.NewStreaming(ctx, inside(hosted(), "mkdir d; echo 1 > outputs/r.txt; echo d > d/1")))
	if err != nil {
		t.Fatal(err)
	}
	s, err := sessions.Get(ctx, res.SessionID())
	if err != nil {
		t.Fatal(err)
	}
	env := s.Environment.ID
	inline := openai.HostedEnvironmentFileParamOfParamInline(base64.StdEncoding.EncodeToString([]byte("inline")), "/workspace/in.txt")
	put, err := files.New(ctx, env, openai.BetaAgentEnvironmentFileNewParams{HostedEnvironmentFileParam: inline})
	if err != nil || put.Path != "/workspace/in.txt" || put.SizeBytes != 6 {
		t.Fatalf("put: %+v %v", put, err)
	}
	if it := command(t, ctx, client, s.ID, "cat in.txt"); it.Output.OfString != "inline" {
		t.Errorf("the uploaded file reads %s", it.RawJSON())
	}
	var listed []string
	pager := files.ListAutoPaging(ctx, env, openai.BetaAgentEnvironmentFileListParams{Limit: openai.Int(1), Order: "asc"})
	for pager.Next() {
		listed = append(listed, pager.Current().Path)
	}
	if want := []string{"/workspace/d/1", "/workspace/in.txt", "/workspace/outputs/r.txt"}; pager.Err() != nil || !slices.Equal(listed, want) {
		t.Errorf("listed %v %v, want %v", listed, pager.Err(), want)
	}
	artifacts, err := sessions.Artifacts.List(ctx, s.ID, openai.BetaAgentSessionArtifactListParams{EnvironmentID: openai.String(env)})
	if err != nil || len(artifacts.Data) != 1 || artifacts.Data[0].Path != "/workspace/outputs/r.txt" || artifacts.Data[0].TurnID != res.TurnID() {
		t.Fatalf("artifacts: %+v %v", artifacts, err)
	}
	id := artifacts.Data[0].ID

	// A crash takes nothing of this.
	n.kill()
	n.start()
	client = n.client()
	sessions = client.Beta.Agents.Sessions
	content, err := sessions.Artifacts.Content(ctx, s.ID, id)
	if err != nil {
		t.Fatal(err)
	}
	defer content.Body.Close()
	if b, err := io.ReadAll(content.Body); err != nil || string(b) != "1\n" {
		t.Errorf("the artifact reads %q %v", b, err)
	}
	if it := command(t, ctx, client, s.ID, "cat in.txt d/1"); it.Output.OfString != "inlined\n" {
		t.Errorf("after a crash the files read %s", it.RawJSON())
	}
	if d, err := sessions.Artifacts.Delete(ctx, s.ID, id); err != nil || !d.Deleted {
		t.Errorf("delete: %v %v", d, err)
	}
	_, err = sessions.Artifacts.Get(ctx, s.ID, id)
	if e, ok := errors.AsType[*openai.Error](err); !ok || e.StatusCode != http.StatusNotFound {
		t.Errorf("get a deleted artifact: %v", err)
	}
}

func TestTemplateOfASession(t *testing.T) {
	needComputer(t)
	_, client, ctx := setup(t)
	template, err := client.Beta.Agents.Environments.Templates.New(ctx, openai.BetaAgentEnvironmentTemplateNewParams{
		Env:     map[string]string{"TOKEN": "of-the-template"},
		Network: openai.BetaAgentEnvironmentTemplateNewParamsNetwork{Access: "restricted", AllowedDomains: []string{"pypi.org"}},
	})
	if err != nil {
		t.Fatal(err)
	}
	env := hosted()
	env.OfParamOpenAIHosted.EnvironmentTemplateID = openai.String(template.ID)
	s, err := client.Beta.Agents.Sessions.New(ctx, inside(env, "echo $TOKEN"))
	if err != nil {
		t.Fatal(err)
	}
	settled(t, ctx, client, s.ID, "idle")
	if out := lastCommand(t, ctx, client, s.ID).Output.OfString; out != "of-the-template\n" {
		t.Errorf("the template's variable is %q", out)
	}
	env.OfParamOpenAIHosted.Network = openai.EnvironmentParamOpenAIHostedNetwork{Access: "enabled"}
	_, err = client.Beta.Agents.Sessions.New(ctx, inside(env, "true"))
	if e, ok := errors.AsType[*openai.Error](err); !ok || e.StatusCode != http.StatusBadRequest || !strings.HasPrefix(e.Param, "environment.network") {
		t.Errorf("a broader network: %v", err)
	}
}

func TestSelfHostedEnvironment(t *testing.T) {
	needComputer(t)
	_, client, ctx := setup(t)
	workspace := t.TempDir()
	own := openai.EnvironmentParamUnion{OfParamSelfHosted: &openai.EnvironmentParamSelfHosted{WorkspaceDirectory: workspace}}
	made, err := client.Beta.Agents.Sessions.New(ctx, inside(own, "echo here > made.txt; cat made.txt"))
	if err != nil {
		t.Fatal(err)
	}
	s := settled(t, ctx, client, made.ID, "requires_action")
	if a := s.RequiredActions; len(a) != 1 || a[0].Type != "environment_connection" || a[0].EnvironmentID != s.Environment.ID {
		t.Fatalf("required %s", s.RawJSON())
	}
	executor := exec.Command(binary, "executor", "--remote", s.Environment.RemoteURL, "--workspace", workspace)
	executor.Env, executor.Stderr = []string{"HOME=" + workspace, "PATH=" + os.Getenv("PATH")}, os.Stderr
	if err := executor.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := errors.Join(executor.Process.Signal(syscall.SIGINT), executor.Wait()); err != nil {
			t.Error(fmt.Errorf("stead executor: %w", err))
		}
	})
	settled(t, ctx, client, made.ID, "idle")
	if out := lastCommand(t, ctx, client, made.ID).Output.OfString; out != "here\n" {
		t.Errorf("the executor printed %q", out)
	}
	if b, err := os.ReadFile(filepath.Join(workspace, "made.txt")); err != nil || string(b) != "here\n" {
		t.Errorf("the file in the user's directory: %q %v", b, err)
	}
}
