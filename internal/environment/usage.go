package environment

import (
	"cmp"
	"time"

	"github.com/stead-dev/stead"
)

// Usage is what an environment has used. Memory is a high-water mark, the disk is as it is; the rest only grow.
type Usage struct {
	CPU         time.Duration `json:"cpu_ns"`
	MemoryBytes int64         `json:"memory_bytes"` // peak; 0: not known
	DiskBytes   int64         `json:"disk_bytes"`   // of the workspace, when last measured
	Commands    int64         `json:"commands"`
	OutputBytes int64         `json:"output_bytes"`
	// What went through the egress proxy; the host of the environment counts it, not its driver.
	EgressSentBytes     int64 `json:"egress_sent_bytes,omitempty"`
	EgressReceivedBytes int64 `json:"egress_received_bytes,omitempty"`
}

// Plus adds what was used at another time.
func (u Usage) Plus(v Usage) Usage {
	return Usage{
		CPU: u.CPU + v.CPU, MemoryBytes: max(u.MemoryBytes, v.MemoryBytes), DiskBytes: cmp.Or(v.DiskBytes, u.DiskBytes),
		Commands: u.Commands + v.Commands, OutputBytes: u.OutputBytes + v.OutputBytes,
		EgressSentBytes: u.EgressSentBytes + v.EgressSentBytes, EgressReceivedBytes: u.EgressReceivedBytes + v.EgressReceivedBytes,
	}
}

// Grown is what was used up to now, of two counts of the same that may have come in any order.
func (u Usage) Grown(v Usage) Usage {
	return Usage{
		CPU: max(u.CPU, v.CPU), MemoryBytes: max(u.MemoryBytes, v.MemoryBytes), DiskBytes: cmp.Or(v.DiskBytes, u.DiskBytes),
		Commands: max(u.Commands, v.Commands), OutputBytes: max(u.OutputBytes, v.OutputBytes),
		EgressSentBytes: max(u.EgressSentBytes, v.EgressSentBytes), EgressReceivedBytes: max(u.EgressReceivedBytes, v.EgressReceivedBytes),
	}
}

// Resided is what an environment has used since a residence of it began.
type Resided struct {
	Residence stead.Seq `json:"residence"` // as State.Next names it
	Usage
}
