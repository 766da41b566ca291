package main

import (
	"os"
	"strconv"
)

// width is how many characters a line of the output has: of the terminal, or as $COLUMNS says. 0: as many as are written.
func (a *app) width() int {
	if v, ok := a.env("COLUMNS"); ok {
		if n, err := strconv.Atoi(v); err == nil && n > 0 {
			return n
		}
	}
	if f, ok := a.out.(*os.File); ok && a.terminal {
		return terminalWidth(f)
	}
	return 0
}
