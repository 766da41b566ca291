package environment

import "fmt"

// Reached says as a clause, for Explained, which limit ended an environment for this reason; "": none did, or the
// clause would say no more than the reason.
func (l Limits) Reached(r Reason) string {
	switch r {
	case ReasonMemory:
		return fmt.Sprintf("the limit of %d MiB of memory was reached", l.MemoryBytes>>20)
	case ReasonProcesses:
		return fmt.Sprintf("the limit of %d processes was used up", l.Processes)
	case ReasonDisk:
		return fmt.Sprintf("the limit of %d MiB for the workspace was passed in the background", l.DiskBytes>>20)
	case ReasonFiles:
		return fmt.Sprintf("the limit of %d files in the workspace was passed in the background", l.Files)
	case ReasonNodeDisk, ReasonNodeFiles:
		return "the workspace grew in the background while the disk of its node was nearly full"
	case ReasonExpired:
		return fmt.Sprintf("the time for which an environment may run without a pause, %v, was over", l.Lifetime)
	}
	return ""
}
