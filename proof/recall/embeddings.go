package main

import (
	"context"
	"fmt"
	"os"
	"time"

	"github.com/stead-dev/stead/internal/memory"
	"github.com/stead-dev/stead/internal/memory/embed"
	"github.com/stead-dev/stead/internal/model/catalog"
	"github.com/stead-dev/stead/internal/model/openai"
	"github.com/stead-dev/stead/internal/model/sim"
	"github.com/stead-dev/stead/internal/policy"
)

// provider makes vectors; the zero one makes none.
type provider struct {
	address    string // simProvider, or the base URL of an OpenAI API
	model      string
	dimensions int
}

const simProvider = "sim"

func (p provider) String() string {
	if p.address == simProvider {
		return "sim"
	}
	return fmt.Sprintf("%s at %s", p.model, p.address)
}

// embedding is the real one, over a catalog of this one model.
func (p provider) embedding(store memory.Store) (*memory.Embedding, error) {
	if p.address == "" {
		return nil, nil
	}
	c := catalog.Config{Sim: sim.New(sim.Options{})}
	name := catalog.SimName
	if p.address != simProvider {
		m, err := openai.New(openai.Config{Name: "provider", BaseURL: p.address, APIKey: os.Getenv("EMBEDDINGS_API_KEY")})
		if err != nil {
			return nil, err
		}
		name = "provider/" + p.model
		c.Providers = []catalog.Provider{{Name: "provider", Model: m}}
	}
	models, err := catalog.New(c)
	if err != nil {
		return nil, err
	}
	embedder := embed.New(embed.Config{Model: name, Dimensions: p.dimensions, Models: models, Policy: policy.AllowLocal{}, Now: time.Now, Meter: func(embed.Call) bool { return true }})
	return memory.NewEmbedding(memory.EmbeddingConfig{Store: store, Embedder: embedder, Text: func(_ memory.Place, data []byte) (string, []string, error) {
		return memory.EmbeddedText(data)
	}, Now: time.Now}), nil
}

// embedAll waits until every entry has its vector.
func (n *node) embedAll(ctx context.Context) error {
	if n.vectors == nil {
		return nil
	}
	for {
		if worked, err := n.vectors.Once(ctx); err != nil || !worked {
			return err
		}
	}
}
