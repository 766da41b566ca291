package template

import (
	"regexp"
	"strings"
	"sync"

	"github.com/stead-dev/stead"
	"github.com/stead-dev/stead/internal/param"
)

// What the package managers are given. Each form begins with a letter, a digit or a scope, so that
// nothing can be an option; none has room for a path, a URL, a marker or shell text. Each is handed
// over as one argument, after "--", and not through a shell.
var (
	// The name and version parts of PEP 508, without URLs and markers; versions as in PEP 440.
	pythonForm = sync.OnceValue(func() *regexp.Regexp {
		return regexp.MustCompile(`^[A-Za-z0-9]([A-Za-z0-9._-]*[A-Za-z0-9])?` +
			`(\[[A-Za-z0-9][A-Za-z0-9._-]*(, ?[A-Za-z0-9][A-Za-z0-9._-]*)*\])?` +
			`( ?` + pythonClause + `(, ?` + pythonClause + `)*)?$`)
	})
	// npm's validate-npm-package-name, and a version, range of one comparison, or tag.
	npmForm = sync.OnceValue(func() *regexp.Regexp {
		return regexp.MustCompile(`^(@[a-z0-9~][a-z0-9._~-]*/)?[a-z0-9~][a-z0-9._~-]*(@(\^|~|>=|<=|>|<|=)?[A-Za-z0-9][A-Za-z0-9.+_-]*)?$`)
	})
	// Debian Policy 5.6.1 and 5.6.12: name, architecture, version. The last character of the name is
	// not "-", by which apt-get means a removal.
	systemForm = sync.OnceValue(func() *regexp.Regexp {
		return regexp.MustCompile(`^[a-z0-9][a-z0-9+.-]*[a-z0-9+](:[a-z0-9][a-z0-9-]*[a-z0-9])?(=[A-Za-z0-9][A-Za-z0-9.+:~-]*)?$`)
	})
)

const pythonClause = `(===|==|~=|!=|<=|>=|<|>) ?[A-Za-z0-9][A-Za-z0-9.!+*_-]*`

func (d *decoder) packages() error {
	o, ok, err := d.o.Object("packages")
	if !ok || err != nil {
		return err
	}
	if err := only(o, "packages", []string{"npm", "python", "system"}); err != nil {
		return err
	}
	p := &Packages{}
	if p.Python, err = packageList(o, "python", isPython, `such as "pandas" or "requests[socks]>=2.31,<3"`); err != nil {
		return err
	}
	if p.NPM, err = packageList(o, "npm", isNPM, `such as "typescript", "@types/node@22" or "left-pad@^1.3.0"`); err != nil {
		return err
	}
	if p.System, err = packageList(o, "system", isSystem, `such as "ripgrep" or "jq=1.6-2.1"`); err != nil {
		return err
	}
	d.c.Packages = p
	return nil
}

func isPython(s string) bool { return pythonForm().MatchString(s) && !isFileName(s) }

func isSystem(s string) bool { return systemForm().MatchString(s) }

func isNPM(s string) bool { return npmForm().MatchString(s) && !isFileName(s) }

// isFileName reports what npm and pip take for a file in the directory where they run.
func isFileName(s string) bool {
	lower := strings.ToLower(s)
	for _, ext := range []string{".tgz", ".tar.gz", ".tar", ".tar.bz2", ".tar.xz", ".zip", ".whl"} {
		if strings.HasSuffix(lower, ext) {
			return true
		}
	}
	return false
}

// packageList reads one list: never nil.
func packageList(o param.Object, name string, valid func(string) bool, example string) ([]string, error) {
	list, ok, err := o.Strings(name)
	if err != nil {
		return nil, err
	}
	if !ok {
		return []string{}, nil
	}
	if len(list) > MaxPackages {
		return nil, tooMany(o.Path(name), len(list), MaxPackages)
	}
	for i, s := range list {
		if len(s) > maxPackageBytes || !valid(s) {
			at := param.Index(o.Path(name), i)
			e := stead.Invalid(at, "%s must be the name of a package, with a version or without, not %.100q", at, s)
			e.Hint = "It is a text " + example + "; paths, URLs and options are not taken."
			return nil, e
		}
	}
	return list, nil
}
