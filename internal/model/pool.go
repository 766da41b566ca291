package model

// Pooled is a Model whose calls share throughput.
type Pooled interface {
	// Pool says in words how the pool stands now that calls of an upstream model take their turns in; "" when there is none.
	Pool(upstream string) string
}
