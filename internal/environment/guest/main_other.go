//go:build !linux

package guest

import (
	"fmt"
	"os"
)

// Main is for Linux, where containers are.
func Main([]string) int {
	fmt.Fprintln(os.Stderr, "stead guest: it runs on Linux only")
	return 1
}

// openNonBlock is of Linux, where hostile processes work.
const openNonBlock = 0
