package schema

import (
	"container/list"
	"crypto/sha256"
	"encoding/json"
	"sync"
)

// Limits of a Cache.
const (
	// MaxCached is the most compiled schemas that it keeps.
	MaxCached = 4096
	// MaxCachedBytes is the most schema text that what it keeps was compiled from.
	MaxCachedBytes = 32 << 20
)

// Cache keeps compiled schemas by the SHA-256 digest of their text, the recently used ones first.
// Schemas that do not compile are not kept. Safe for concurrent use.
type Cache struct {
	mu      sync.Mutex
	bytes   int                                 // of schema text
	entries map[[sha256.Size]byte]*list.Element // of cached
	recent  list.List                           // front: used last
}

type cached struct {
	digest [sha256.Size]byte
	schema *Schema
	bytes  int
}

// NewCache returns an empty cache.
func NewCache() *Cache {
	return &Cache{entries: map[[sha256.Size]byte]*list.Element{}}
}

// Compile is Compile, from the cache if it holds the schema. Two callers that miss at the same
// time both compile; the work is small and the results are alike.
func (c *Cache) Compile(schema json.RawMessage) (*Schema, error) {
	digest := sha256.Sum256(schema)
	c.mu.Lock()
	if e, ok := c.entries[digest]; ok {
		c.recent.MoveToFront(e)
		c.mu.Unlock()
		return e.Value.(cached).schema, nil
	}
	c.mu.Unlock()

	compiled, err := Compile(schema)
	if err != nil {
		return nil, err
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if e, ok := c.entries[digest]; ok {
		return e.Value.(cached).schema, nil
	}
	c.entries[digest] = c.recent.PushFront(cached{digest, compiled, len(schema)})
	c.bytes += len(schema)
	for c.recent.Len() > MaxCached || c.bytes > MaxCachedBytes {
		oldest := c.recent.Back()
		c.recent.Remove(oldest)
		delete(c.entries, oldest.Value.(cached).digest)
		c.bytes -= oldest.Value.(cached).bytes
	}
	return compiled, nil
}

// Len is how many schemas the cache holds.
func (c *Cache) Len() int {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.recent.Len()
}
