package config

import "fmt"

// Memory says what memories and passages are found by, besides their words.
type Memory struct {
	Embeddings *Embeddings `yaml:"embeddings"` // left out: words alone
	// SessionLabels are keys of sessions' metadata, by which policies decide: what is remembered in a session is labelled with its values of them.
	// Left out: those of Labels.
	SessionLabels []string `yaml:"session_labels"`
}

// Labels are the keys of sessions' metadata that what is remembered in them is labelled with. apart: nobody has named any, nor a policy that decides
// by them, so that sessions without a label do not find what has it.
func (m Memory) Labels() (keys []string, apart bool) {
	if m.SessionLabels != nil {
		return m.SessionLabels, false
	}
	return []string{"confidentiality", "classification", "sensitivity"}, true
}

// Embeddings is the model that makes their vectors.
type Embeddings struct {
	Model      string `yaml:"model"`
	Dimensions int    `yaml:"dimensions"` // 0: the model's own
}

// MaxSessionLabels is how many keys of sessions' labels memories may have, and maxLabelKeyBytes the longest of them: that of metadata.
const (
	MaxSessionLabels = 16
	maxLabelKeyBytes = 64
)

// MaxDimensions is the longest vector of a memory.
const MaxDimensions = 4096

func (c *Config) checkMemory() error {
	if n := len(c.Memory.SessionLabels); n > MaxSessionLabels {
		return invalid("memory.session_labels", "Name those that policies speak of.", "memory.session_labels has %d keys, at most %d", n, MaxSessionLabels)
	}
	for i, key := range c.Memory.SessionLabels {
		if key == "" || len(key) > maxLabelKeyBytes {
			return invalid(fmt.Sprintf("memory.session_labels[%d]", i), "Give a key of sessions' metadata.", "memory.session_labels[%d] must have 1 to %d bytes", i, maxLabelKeyBytes)
		}
	}
	e := c.Memory.Embeddings
	switch {
	case e == nil:
		return nil
	case e.Model == "":
		return invalid("memory.embeddings.model", "Name a model that makes embeddings, as models are named everywhere.", "memory.embeddings names no model")
	case e.Dimensions < 0 || e.Dimensions > MaxDimensions:
		return invalid("memory.embeddings.dimensions", "Leave it out for the model's own.", "memory.embeddings.dimensions must be from 1 to %d, not %d", MaxDimensions, e.Dimensions)
	}
	return nil
}
