package cedar

import (
	"embed"
	"path"
	"slices"
	"strings"

	"github.com/stead-dev/stead"
)

//go:embed builtin/*.cedar
var builtin embed.FS

// Builtins are the names of the policies that come with Stead.
func Builtins() []string {
	files, err := builtin.ReadDir("builtin")
	if err != nil {
		panic(err) // they are part of the program
	}
	var out []string
	for _, f := range files {
		out = append(out, strings.TrimSuffix(f.Name(), Extension))
	}
	return out
}

// Builtin is one of them. KindInvalid names those that there are.
func Builtin(name string) (Source, error) {
	if !slices.Contains(Builtins(), name) {
		return Source{}, stead.Invalid("policies.builtin", "there is no built-in policy %.80q: there are %s", name, strings.Join(Builtins(), ", "))
	}
	file := path.Join("builtin", name+Extension)
	text, err := builtin.ReadFile(file)
	return Source{file, text}, err
}
