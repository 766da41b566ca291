package environment

import (
	"regexp"
	"slices"
	"strings"
	"sync"
)

var variableForm = sync.OnceValue(func() *regexp.Regexp { return regexp.MustCompile(`^[A-Za-z_][A-Za-z0-9_]{0,127}$`) })

// IsVariable reports whether a text can be the name of a variable.
func IsVariable(name string) bool { return variableForm().MatchString(name) }

// ReservedVariable names the variables that the runtime sets, and those by which a loader or a shell would
// run something before the command that was asked for.
func ReservedVariable(name string) bool {
	upper := strings.ToUpper(name)
	for _, prefix := range []string{"LD_", "DYLD_", "STEAD_", "BASH_FUNC"} {
		if strings.HasPrefix(upper, prefix) {
			return true
		}
	}
	return slices.Contains([]string{
		"PATH", "BASH_ENV", "ENV", "IFS", "SHELLOPTS", "BASHOPTS", "PS4", "PROMPT_COMMAND", "GCONV_PATH", "GLIBC_TUNABLES",
		"HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY", "FTP_PROXY", "NO_PROXY",
	}, upper)
}
