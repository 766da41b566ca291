package session_test

import (
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/stead-dev/stead"
	"github.com/stead-dev/stead/internal/agent"
	"github.com/stead-dev/stead/internal/environment"
	"github.com/stead-dev/stead/internal/session"
	"github.com/stead-dev/stead/internal/tool"
)

// The words of tables about environments.
//
//	new … env=hosted|self [tools=inside] [expire=MS]   file PATH   connect | disconnect
//	reply cmd ID EFFECT COMMAND               a command of the model
//	prepared   connected   saved   suspended   expired   died outcomes
//	saved bg=COMMAND                          a command ran in the background then
//	changed                                   one has changed the workspace since
//	wanted                                    somebody is about to copy the session
//	saved many=PATH                           nor did this one: there are as many as there may be
//	saved large=PATH                          an output did not become an artifact
//	connected reset=kept|restored             the residence before was cut off
//	envfail MESSAGE [MS]                      the action failed: for good, or to be tried again at
//	print ID TEXT   exit ID CODE TEXT          what a command says, and how it ends
//	uses ID MS PEAK                            it ends, and used so much time and memory of a machine of the user's
//	used ID MS PEAK N [old]                    it ends, and the hosted environment has used that since it connected,
//	                                          or one before that residence had: N commands
//	asks ID EFFECT   codegone ID              code calls a tool; nobody waits for it any more
//	copied [foreign]   environment            the journal was copied; the environment as it is

const specIdle = 60 * time.Second

// withEnvironment gives a session of a table its environment.
func (s *spec) withEnvironment(c *session.Created, words *[]string) {
	kind, ok := option(words, "env")
	if !ok {
		return
	}
	c.Setup = &environment.Setup{Type: session.EnvironmentHosted}
	if kind == "self" {
		c.Setup.Type = session.EnvironmentSelfHosted
	}
	if _, inside := option(words, "tools"); inside {
		c.Agent.Spec.Tools = []agent.Tool{{Type: agent.ToolMCP, ServerLabel: "in", ConnectionOrigin: agent.OriginEnvironment}}
	}
	s.window.EnvironmentIdle = specIdle
	if ms, ok := option(words, "expire"); ok {
		s.window.EnvironmentExpire = time.Duration(s.number(ms)) * time.Millisecond
	}
}

func commandItem(words []string) session.ReplyItem {
	args, _ := json.Marshal(map[string]string{"command": strings.Join(words[3:], " ")})
	return session.ReplyItem{
		Item: stead.Item{Type: stead.ItemCommandExecution, CallID: words[1], Name: "shell", Arguments: args},
		Tool: &session.ToolCall{Name: "shell", Effect: tool.Effect(words[2]), Environment: true},
	}
}

func (s *spec) environment(name, rest string) bool {
	id, text, _ := strings.Cut(rest, " ")
	call, upto := stead.Seq(0), s.state.Tail
	if e := s.state.Environment; e != nil {
		call = e.Call
		upto = e.Call
	}
	stored := environment.Checkpoint{Digest: "d", Files: 1}
	if n, ok := strings.CutPrefix(rest, "toolong="); ok {
		stored.TooLong = int(s.number(n))
	}
	stored.Unsettled = rest == "unsettled"
	switch name {
	case "file":
		s.event(session.KindInputFile, session.FileInput{Path: rest, Data: stead.Text{Digest: "f", Bytes: 1}})
	case "connect":
		s.event(session.KindInputConnection, session.ConnectionInput{Connected: true, Node: "n"})
	case "disconnect":
		s.event(session.KindInputConnection, session.ConnectionInput{Node: "n"})
	case "prepared":
		s.event(session.KindEnvironmentPrepared, session.EnvironmentPrepared{Call: call, Checkpoint: stored})
	case "connected":
		c := session.EnvironmentConnected{Call: call, Node: "n", Driver: "ns", Upto: upto}
		if how, ok := strings.CutPrefix(rest, "reset="); ok {
			e := s.state.Environment
			c.Reset = &session.Reset{Count: e.Resets + 1, Kept: how == "kept", Why: e.Lost, Commands: e.Commands, Background: e.Background, Since: e.CheckpointAt}
		}
		c.Refused = refused(rest)
		s.event(session.KindEnvironmentConnected, c)
	case "saved":
		c := session.EnvironmentCheckpointed{Call: call, Upto: upto, Checkpoint: stored}
		if path, ok := strings.CutPrefix(rest, "large="); ok {
			c.TooLarge = []environment.TooLarge{{Path: path, Size: 11, Limit: 10}}
		}
		c.Refused = refused(rest)
		if path, ok := strings.CutPrefix(rest, "many="); ok {
			c.TooLarge = []environment.TooLarge{{Path: path, Size: 11, Limit: 10, Many: true}}
		}
		if command, ok := strings.CutPrefix(rest, "bg="); ok {
			c.Background = []string{command}
		}
		s.event(session.KindEnvironmentCheckpointed, c)
	case "wanted":
		s.event(session.KindInputCheckpoint, session.CheckpointInput{})
	case "changed":
		s.event(session.KindEnvironmentChanged, session.EnvironmentChanged{Node: "n"})
	case "suspended":
		s.event(session.KindEnvironmentSuspended, session.EnvironmentSuspended{Call: call, Upto: upto, Checkpoint: stored, Refused: refused(rest)})
	case "expired":
		s.event(session.KindEnvironmentExpired, session.EnvironmentExpired{Call: call})
	case "died":
		s.event(session.KindEnvironmentDisconnected, session.EnvironmentDisconnected{Node: "n", Reason: "it ended by itself", Ended: rest})
	case "envfail":
		f := session.EnvironmentFailed{Call: call, Error: session.EnvironmentError{Code: "sandbox_error", Message: id, Type: "server_error"}}
		if text != "" {
			f.RetryAt = s.number(text)
		}
		s.event(session.KindEnvironmentFailed, f)
	case "print":
		s.event(session.KindToolStreamed, session.ToolStreamed{CallID: id, Text: text})
	case "exit":
		code, out, _ := strings.Cut(text, " ")
		n := int(s.number(code))
		s.event(session.KindToolReturned, session.ToolReturned{CallID: id, Exit: &n, DurationMS: 1500, Output: stead.TextContent(stead.ContentInputText, out)})
	case "uses":
		cpu, peak, _ := strings.Cut(text, " ")
		used := environment.Usage{CPU: time.Duration(s.number(cpu)) * time.Millisecond, MemoryBytes: s.number(peak), Commands: 1}
		s.event(session.KindToolReturned, session.ToolReturned{CallID: id, Output: stead.TextContent(stead.ContentInputText, "ok"), Usage: &used})
	case "used":
		w := strings.Fields(text)
		used := environment.Resided{Residence: s.state.Environment.Residence, Usage: environment.Usage{
			CPU: time.Duration(s.number(w[0])) * time.Millisecond, MemoryBytes: s.number(w[1]), Commands: s.number(w[2]),
		}}
		if len(w) > 3 {
			used.Residence--
		}
		s.event(session.KindToolReturned, session.ToolReturned{CallID: id, Output: stead.TextContent(stead.ContentInputText, "ok"), Resided: &used})
	case "asks":
		s.event(session.KindToolRequested, session.ToolRequested{
			CallID: id, Name: "f", Arguments: []byte(`{}`), Type: stead.ItemMCPCall, Tool: session.ToolCall{Server: "srv", Name: "act", Effect: tool.Effect(text)},
		})
	case "codegone":
		if slices.Contains(s.state.CodeAsks(), id) {
			s.event(session.KindToolReturned, session.ToolReturned{CallID: id, Error: session.ToldCodeGone})
		}
	case "copied":
		s.event(session.KindEnvironmentCopied, session.EnvironmentCopied{Foreign: rest == "foreign"})
	default:
		return false
	}
	return true
}

// refused reads "refused=PATH".
func refused(rest string) []environment.Refused {
	if path, ok := strings.CutPrefix(rest, "refused="); ok {
		return []environment.Refused{{Path: path, Reason: "it is a directory"}}
	}
	return nil
}

// environmentLine says how the environment is.
func (s *spec) environmentLine() string {
	e := s.state.Environment
	if e == nil {
		return "no environment"
	}
	words := []string{e.Status}
	if e.Action != "" {
		words = append(words, "under way: "+string(e.Action))
	}
	if e.Expiring {
		words = append(words, "expiring")
	}
	if e.Checkpoint != nil && s.window.EnvironmentExpire > 0 {
		words = append(words, "checkpoint "+e.Checkpoint.Digest)
	}
	if e.Touched > 0 {
		words = append(words, "touched by "+strings.Join(e.Commands, ", "))
	}
	for _, u := range e.Uploads {
		words = append(words, "waits "+u.Path)
	}
	if u := e.Usage(); u.Commands > 0 {
		words = append(words, fmt.Sprintf("used %d commands, %v, at most %d bytes", u.Commands, u.CPU, u.MemoryBytes))
	}
	if p := e.Problem(); p != nil {
		words = append(words, p.Code+": "+p.Message)
	}
	if e.Lost != "" {
		words = append(words, "lost: "+e.Lost)
	}
	return strings.Join(words, "; ")
}
