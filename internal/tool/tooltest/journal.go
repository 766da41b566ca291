package tooltest

import (
	"bufio"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"sync"
)

// Record is one thing that happened at the server.
type Record struct {
	Tool      string          `json:"tool"`
	Key       string          `json:"key"`     // stead.dev/idempotency-key of the call
	Session   string          `json:"session"` // stead.dev/session of the call
	Arguments json.RawMessage `json:"arguments,omitempty"`
	Meta      map[string]any  `json:"meta,omitempty"`
	Effect    bool            `json:"effect"` // the world changed; false: the call came, and its effect was there already
}

// Journal remembers what happened, in memory and, if it has a file, durably: a record is on disk
// (fsync) before the tool answers.
type Journal struct {
	mu      sync.Mutex
	file    *os.File
	records []Record
	seen    map[string]bool // keys with an effect
}

// OpenJournal reads the file at path, if there is one, and appends to it. No path: memory only.
// A last line that a crash cut off is dropped: its effect never happened.
func OpenJournal(path string) (*Journal, error) {
	j := &Journal{seen: map[string]bool{}}
	if path == "" {
		return j, nil
	}
	records, size, err := readJournal(path)
	if err != nil {
		return nil, err
	}
	for _, r := range records {
		j.remember(r)
	}
	j.file, err = os.OpenFile(path, os.O_CREATE|os.O_RDWR, 0o600)
	if err != nil {
		return nil, err
	}
	if err := j.file.Truncate(size); err != nil {
		return nil, err
	}
	_, err = j.file.Seek(size, 0)
	return j, err
}

// ReadJournal returns the records of a file, for those who look from outside.
func ReadJournal(path string) ([]Record, error) {
	records, _, err := readJournal(path)
	return records, err
}

func readJournal(path string) (records []Record, size int64, err error) {
	f, err := os.Open(path)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, 0, nil
	}
	if err != nil {
		return nil, 0, err
	}
	defer f.Close()
	r := bufio.NewReader(f)
	for {
		line, err := r.ReadBytes('\n')
		if err != nil {
			return records, size, nil // the end, or half a line
		}
		var one Record
		if err := json.Unmarshal(line, &one); err != nil {
			return nil, 0, fmt.Errorf("effects journal %s, offset %d: %w", path, size, err)
		}
		records = append(records, one)
		size += int64(len(line))
	}
}

// Append records a call. With dedupe, a key whose effect has happened has none again; first says
// whether it happened now.
func (j *Journal) Append(r Record, dedupe bool) (first bool, err error) {
	j.mu.Lock()
	defer j.mu.Unlock()
	r.Effect = !dedupe || r.Key == "" || !j.seen[r.Key]
	if j.file != nil {
		line, err := json.Marshal(r)
		if err != nil {
			return false, err
		}
		if _, err := j.file.Write(append(line, '\n')); err != nil {
			return false, err
		}
		if err := j.file.Sync(); err != nil {
			return false, err
		}
	}
	j.remember(r)
	return r.Effect, nil
}

func (j *Journal) remember(r Record) {
	j.records = append(j.records, r)
	if r.Effect {
		j.seen[r.Key] = true
	}
}

// Calls returns all records, oldest first.
func (j *Journal) Calls() []Record {
	j.mu.Lock()
	defer j.mu.Unlock()
	return append([]Record(nil), j.records...)
}

// Effects counts the effects of each key.
func (j *Journal) Effects() map[string]int {
	j.mu.Lock()
	defer j.mu.Unlock()
	effects := map[string]int{}
	for _, r := range j.records {
		if r.Effect {
			effects[r.Key]++
		}
	}
	return effects
}

// Close closes the file.
func (j *Journal) Close() error {
	if j.file == nil {
		return nil
	}
	return j.file.Close()
}
