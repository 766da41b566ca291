package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"time"
)

// conversation is one file.
type conversation struct {
	file      string
	turns     []turn
	questions []question
}

type turn struct {
	id, session, speaker, text, caption string
	index                               int64 // in its session
	at                                  time.Time
}

type question struct {
	text     string
	category int
	evidence []string // ids of turns, each once
}

// file is the format: what is not needed is left out.
type file struct {
	Questions []struct {
		Question string   `json:"question"`
		Evidence []string `json:"evidence"`
		Category int      `json:"category"`
	} `json:"qa"`
	Conversation map[string]json.RawMessage `json:"conversation"`
}

// load reads the conversations of a folder.
func load(dir string) ([]conversation, error) {
	files, err := filepath.Glob(filepath.Join(dir, "*.json"))
	if err != nil {
		return nil, err
	}
	var out []conversation
	for _, name := range files {
		c, err := read(name)
		if err != nil {
			return nil, fmt.Errorf("%s: %w", name, err)
		}
		if len(c.questions) > 0 {
			out = append(out, c)
		}
	}
	if len(out) == 0 {
		return nil, fmt.Errorf("no conversations in %q: give the folder of LoCoMo's files, as in make bench-memory LOCOMO=DIR", dir)
	}
	return out, nil
}

func read(name string) (conversation, error) {
	c := conversation{file: name}
	data, err := os.ReadFile(name)
	if err != nil {
		return c, err
	}
	var f file
	if err := json.Unmarshal(data, &f); err != nil {
		return c, err
	}
	if f.Conversation == nil { // the sessions may also stand at the top
		if err := json.Unmarshal(data, &f.Conversation); err != nil {
			return c, err
		}
	}
	if c.turns, err = f.turns(); err != nil {
		return c, err
	}
	known := map[string]bool{}
	for _, t := range c.turns {
		known[t.id] = true
	}
	for _, q := range f.Questions {
		if ids := evidence(q.Evidence, known); len(ids) > 0 {
			c.questions = append(c.questions, question{q.Question, q.Category, ids})
		}
	}
	return c, nil
}

var sessionName = regexp.MustCompile(`^session_(\d+)$`)

func (f *file) turns() ([]turn, error) {
	last := 0
	for name := range f.Conversation {
		if m := sessionName.FindStringSubmatch(name); m != nil {
			n, err := strconv.Atoi(m[1])
			if err != nil {
				return nil, err
			}
			last = max(last, n)
		}
	}
	var out []turn
	for n := 1; n <= last; n++ {
		name := fmt.Sprintf("session_%d", n)
		var said []struct {
			ID      string `json:"dia_id"`
			Speaker string `json:"speaker"`
			Text    string `json:"text"`
			Caption string `json:"blip_caption"`
		}
		if raw := f.Conversation[name]; raw == nil || json.Unmarshal(raw, &said) != nil {
			continue // no such session, or one that is not a list of turns
		}
		at, err := sessionTime(f.Conversation[name+"_date_time"])
		if err != nil {
			return nil, fmt.Errorf("%s: %w", name, err)
		}
		for i, t := range said {
			out = append(out, turn{id: t.ID, session: name, speaker: t.Speaker, text: t.Text, caption: t.Caption, index: int64(i), at: at})
		}
	}
	return out, nil
}

// sessionTime reads "1:56 pm on 8 May, 2023".
func sessionTime(raw json.RawMessage) (time.Time, error) {
	var text string
	if raw == nil {
		return time.Time{}, errors.New("the session has no time")
	}
	if err := json.Unmarshal(raw, &text); err != nil {
		return time.Time{}, err
	}
	return time.Parse("3:04 pm on 2 January, 2006", strings.TrimSpace(text))
}

var evidenceID = regexp.MustCompile(`D:?(\d+):(\d+)`)

// evidence reads ids of turns, which some files write as "D1:3; D2:4" or "D:1:3". Those of turns that
// are not there are left out.
func evidence(texts []string, known map[string]bool) []string {
	var out []string
	seen := map[string]bool{}
	for _, m := range evidenceID.FindAllStringSubmatch(strings.Join(texts, " "), -1) {
		id := "D" + strings.TrimLeft(m[1], "0") + ":" + strings.TrimLeft(m[2], "0")
		if known[id] && !seen[id] {
			seen[id] = true
			out = append(out, id)
		}
	}
	return out
}
