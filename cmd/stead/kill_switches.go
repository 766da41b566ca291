package main

import (
	"github.com/stead-dev/stead"
	"github.com/stead-dev/stead/internal/config"
	"github.com/stead-dev/stead/internal/killswitch"
)

// reach is by which other names models and tool servers can be had.
func (n *node) reach() killswitch.Reach {
	n.places.Store(serverPlaces(n.cfg))
	return killswitch.Reach{
		Model:  func(asked, of string) bool { return n.models.Answers(asked, of) },
		Server: func(label string) string { return (*n.places.Load())[label] },
	}
}

// serverPlaces are the hosts of the operator's tool servers, by their labels.
func serverPlaces(cfg *config.Config) *map[string]string {
	out := map[string]string{}
	for _, s := range cfg.Servers {
		if s.URL != "" {
			out[s.Label] = stead.HostPort(s.URL)
		}
	}
	return &out
}
