// Package trajectory reads the recorded conversations of tau-bench's airline set, as the tau proof
// plays them.
//
// Shape: a file of {task_id, trial, traj: [message]}; a message has a role (system, user,
// assistant, tool), a content that may be null, and an assistant's may have one tool call, whose
// result is the tool message after it. After the last user message there may be no answer: the
// simulated user had said goodbye.
//
// Source: tau-bench (MIT), recorded with gpt-4o; see the data folder's README.
package trajectory

import (
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"slices"
)

// File is the recordings' name in the data folder.
const File = "trajectories.json"

// Trajectory is one conversation.
type Trajectory struct {
	Messages []Message `json:"traj"`
}

// Message is one message of it.
type Message struct {
	Role    string  `json:"role"`
	Content *string `json:"content"`
	Calls   []struct {
		Function struct {
			Name      string `json:"name"`
			Arguments string `json:"arguments"`
		} `json:"function"`
	} `json:"tool_calls"`
}

// Text is the content, "" for null.
func (m Message) Text() string {
	if m.Content == nil {
		return ""
	}
	return *m.Content
}

// Call is a recorded tool call with its recorded result.
type Call struct {
	Name, Arguments, Result string
}

// Turn is one user message and what the agent did with it.
type Turn struct {
	User string
	Says []string // the agent's texts, in order; empty ones left out
	// Calls are the tool calls, in order.
	Calls []Call
	// Cut is true when the recording ends with a tool's result: the model has no answer to it.
	Cut bool
}

// Load reads the recordings of a data folder.
func Load(dir string) ([]Trajectory, error) {
	raw, err := os.ReadFile(filepath.Join(dir, File))
	if err != nil {
		return nil, err
	}
	var all []Trajectory
	if err := json.Unmarshal(raw, &all); err != nil {
		return nil, fmt.Errorf("%s: %w", File, err)
	}
	for i, t := range all {
		for j, m := range t.Messages {
			if len(m.Calls) > 1 || (len(m.Calls) == 1 && (j+1 == len(t.Messages) || t.Messages[j+1].Role != "tool")) {
				return nil, fmt.Errorf("%s: conversation %d, message %d: not one call followed by its result", File, i, j)
			}
		}
	}
	return all, nil
}

// System is the instructions of the conversation.
func (t Trajectory) System() string {
	if len(t.Messages) > 0 && t.Messages[0].Role == "system" {
		return t.Messages[0].Text()
	}
	return ""
}

// Turns are the conversation by user message. A last user message without an answer is left out.
func (t Trajectory) Turns() []Turn {
	var turns []Turn
	for i, m := range t.Messages {
		last := i+1 == len(t.Messages)
		switch {
		case m.Role == "user" && !last:
			turns = append(turns, Turn{User: m.Text()})
		case m.Role == "assistant":
			turn := &turns[len(turns)-1]
			if m.Text() != "" {
				turn.Says = append(turn.Says, m.Text())
			}
			for _, c := range m.Calls {
				turn.Calls = append(turn.Calls, Call{c.Function.Name, c.Function.Arguments, t.Messages[i+1].Text()})
			}
		case m.Role == "tool" && last:
			turns[len(turns)-1].Cut = true
		}
	}
	return turns
}

// Calls are all tool calls of the conversation, in order.
func (t Trajectory) Calls() []Call {
	var calls []Call
	for _, turn := range t.Turns() {
		calls = append(calls, turn.Calls...)
	}
	return calls
}

// ToolNames are the names of all tools called in any of the conversations, sorted.
func ToolNames(all []Trajectory) []string {
	var names []string
	for _, t := range all {
		for _, c := range t.Calls() {
			names = append(names, c.Name)
		}
	}
	slices.Sort(names)
	return slices.Compact(names)
}
