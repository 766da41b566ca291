package ns

import "os"

// An init of a box is this same binary, of which it needs a twentieth. This function is an exception
// to the rule that packages do nothing by themselves: called from the main function alone, init would
// first wait for all packages of the program, which cost a third of the time of its start and of the
// memory of an idle box (2.6 MB became 1.8). Here it takes over before most of them. In every other
// process it compares one string.
func init() {
	if len(os.Args) > 0 && os.Args[0] == Argv0 {
		Main()
	}
}

// Main is the main function of an init. It does not return.
func Main() { os.Exit(runInit()) }
