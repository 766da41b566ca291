//go:build linux

package main

import (
	"errors"
	"fmt"
	"maps"
)

// attack tries to cross a border. It returns how that worked, or the error that stopped it.
type attack func(args []string) (how string, err error)

// try runs one attack and prints its verdict as one line. That it was blocked is no failure of the
// probe: its exit code is 0, so that whoever reads a missing line knows that the probe died.
func try(args []string) error {
	all := map[string]attack{}
	for _, group := range []map[string]attack{fileAttacks(), processAttacks(), networkAttacks(), kernelAttacks(), mountAttacks(), privilegeAttacks(), bombAttacks(), attributeAttacks(), ipcAttacks()} {
		maps.Copy(all, group)
	}
	do, ok := all[args[0]]
	if !ok {
		return fmt.Errorf("no attack %q", args[0])
	}
	how, err := do(args[1:])
	if err != nil {
		fmt.Printf("blocked: %v\n", err)
		return nil
	}
	fmt.Printf("succeeded: %s\n", how)
	return nil
}

// errNothing is the error of an attack that found nothing to attack.
var errNothing = errors.New("nothing there")

// any1 tries each, and succeeds with the first that does; the errors of all others say why not.
func any1(targets []string, do func(string) (string, error)) (string, error) {
	var all []error
	for _, t := range targets {
		if t == "" {
			continue
		}
		how, err := do(t)
		if err == nil {
			return how, nil
		}
		all = append(all, fmt.Errorf("%s: %w", t, err))
	}
	if len(all) == 0 {
		return "", errNothing
	}
	return "", errors.Join(all[:min(len(all), 3)]...)
}
