package main

import (
	"encoding/hex"
	"time"

	"github.com/google/uuid"

	"github.com/stead-dev/stead/internal/killswitch"
	"github.com/stead-dev/stead/internal/memory"
	"github.com/stead-dev/stead/internal/memory/embed"
	"github.com/stead-dev/stead/internal/model"
	"github.com/stead-dev/stead/internal/policy"
	"github.com/stead-dev/stead/internal/server"
	"github.com/stead-dev/stead/internal/vectorstore"
)

// openEmbeddings makes what embeds memories and passages; nil: nothing does.
func (n *node) openEmbeddings(store memory.Store, authorizer policy.Authorizer, switches *killswitch.Switches, metered *metering) *memory.Embedding {
	c := n.cfg.Memory.Embeddings
	if c == nil {
		return nil
	}
	embedder := embed.New(embed.Config{
		Model: c.Model, Dimensions: c.Dimensions, Models: n.models, Policy: authorizer, Watch: switches.Watch,
		Budgets: metered.purse, Prices: metered.prices, Now: time.Now,
		NewID: func(prefix string) string {
			u := uuid.Must(uuid.NewV7())
			return prefix + hex.EncodeToString(u[:])
		},
		Meter: func(c embed.Call) bool {
			m := embeddingCall(c)
			metered.stateless.Metered(m)
			return m.Charged()
		},
	})
	return memory.NewEmbedding(memory.EmbeddingConfig{Store: store, Embedder: embedder, Text: vectorstore.EmbeddedText, Log: n.log, Now: time.Now})
}

// embeddingCall is a call for vectors as the meter of calls without a journal knows them.
func embeddingCall(c embed.Call) server.Metered {
	m := server.Metered{
		Caller: c.Caller, Dialect: model.DialectEmbeddings, Model: c.Model, Info: c.Info, Route: c.Route, Usage: c.Usage, Guess: c.Guess,
		Whole: c.Err == nil, Sent: c.Sent, Began: c.Began, Took: c.Took, Outcome: server.OutcomeDone, Hold: c.Hold, Finish: model.FinishStop,
	}
	if c.Err == nil {
		m.First = c.Took
	} else {
		m.Outcome = server.OutcomeGone
	}
	return m
}
