package seccomp_test

// callsHere are calls that only this architecture has.
func callsHere(uintptr) []call { return nil }
