package environment

import (
	"cmp"
	"maps"
	"path"
	"slices"
	"strings"
	"time"

	"github.com/stead-dev/stead"
)

// Check says whether a driver may try to run c over the variables of its Spec. What it refuses is a
// *NotStartedError around a KindInvalid or, above MaxArgBytes and MaxCommandTime, a KindTooLarge
// error. Every driver asks it first, so that the same command is refused everywhere in the same words.
func (c Command) Check(env map[string]string) error {
	err := c.check(env)
	if err == nil {
		return nil
	}
	return &NotStartedError{Err: err}
}

func (c Command) check(env map[string]string) *stead.Error {
	if len(c.Args) == 0 || c.Args[0] == "" {
		return stead.Invalid("args", "a command names a program")
	}
	size := 0
	for _, a := range c.Args {
		if strings.ContainsRune(a, 0) {
			return stead.Invalid("args", "an argument contains a zero byte")
		}
		size += len(a) + 1
	}
	for name, value := range c.variables(env) {
		if name == "" || strings.ContainsAny(name, "=\x00") || strings.ContainsRune(value, 0) {
			return stead.Invalid("env", "%.80q can't be a variable: its name has no %q, and neither name nor value a zero byte", name, "=")
		}
		size += len(name) + len(value) + 2
	}
	if size > MaxArgBytes {
		return stead.Errorf(stead.KindTooLarge, "the arguments and variables of a command are at most %d bytes, and these are %d: write a file and name it", MaxArgBytes, size)
	}
	if c.Dir != "" && (!path.IsAbs(c.Dir) || strings.ContainsRune(c.Dir, 0)) {
		return stead.Invalid("dir", "%.80q is no absolute path", c.Dir)
	}
	if c.Timeout < 0 {
		return stead.Invalid("timeout", "a timeout is not negative")
	}
	if c.Timeout > MaxCommandTime {
		return stead.Errorf(stead.KindTooLarge, "a command runs at most %v, and this timeout is %v", MaxCommandTime, c.Timeout)
	}
	return nil
}

// Environ returns c's variables over those of its Spec, as NAME=value, sorted.
func (c Command) Environ(env map[string]string) []string {
	merged := c.variables(env)
	list := make([]string, 0, len(merged))
	for name, value := range merged {
		list = append(list, name+"="+value)
	}
	slices.Sort(list)
	return list
}

func (c Command) variables(env map[string]string) map[string]string {
	merged := make(map[string]string, len(env)+len(c.Env))
	maps.Copy(merged, env)
	maps.Copy(merged, c.Env)
	return merged
}

// Output is where the output of c goes: as much of it as c says, or the limits of its environment.
func (c Command) Output(l Limits, out func(Chunk)) *Output {
	return NewOutput(cmp.Or(c.OutputBytes, l.OutputBytes), out)
}

// TimeLimit is how long c runs at most: as c says, or the limits of its environment.
func (c Command) TimeLimit(l Limits) time.Duration { return cmp.Or(c.Timeout, l.CommandTime) }
