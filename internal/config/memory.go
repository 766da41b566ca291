package config

// Memory says what memories and passages are found by, besides their words.
type Memory struct {
	Embeddings *Embeddings `yaml:"embeddings"` // left out: words alone
}

// Embeddings is the model that makes their vectors.
type Embeddings struct {
	Model      string `yaml:"model"`
	Dimensions int    `yaml:"dimensions"` // 0: the model's own
}

// MaxDimensions is the longest vector of a memory.
const MaxDimensions = 4096

func (c *Config) checkMemory() error {
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
