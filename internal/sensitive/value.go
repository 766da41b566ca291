package sensitive

import "strings"

// What a value looks like: a secret, or what stands in its place in programs, schemas, templates and documentation.

// Bytes that a secret has at least, by what its name says.
const (
	minNamedPassword = 4
	maxNamedPassword = 256
	minNumber        = 6 // digits of a password that has nothing else
	minSecret        = 8
	minKey           = 12
	minToken         = 16
	maxLooked        = 512 // how much of a value tells what it is
)

// looksSecret reports whether a value is what its name says it is.
func looksSecret(m meaning, name, value string, v place) bool {
	value = value[:min(len(value), maxLooked)]
	if placeholder(value) || refers(value, v.quoted) || !v.quoted && program(value) || typed(value) {
		return false
	}
	capitals := v.setting && strings.ToUpper(name) == name
	switch m {
	case password:
		if len(value) < minNamedPassword || len(value) > maxNamedPassword || strings.ContainsAny(value, " \t") || value[0] == '/' && strings.HasSuffix(strings.ToLower(name), "pwd") {
			return false
		}
		return capitals && !strings.ContainsAny(value, "./()_") || !sayable(value)
	case secret:
		if capitals {
			return len(value) >= minSecret && !spoken(value)
		}
		return chance(value, minSecret)
	case key:
		return chance(value, minKey)
	}
	return chance(value, minToken)
}

// sayable reports whether a password may be a word, a type, a rule or a label: it has no digit, and no sign within it.
func sayable(value string) bool {
	core := strings.Trim(value, ":?!.,;*()")
	letters, digits, signs := 0, 0, 0
	for i := range len(core) {
		switch c := core[i]; {
		case digit(c):
			digits++
		case letter(c) || c >= 0x80:
			letters++
		case strings.IndexByte("_-./:|=[]<>?,", c) < 0:
			signs++
		}
	}
	if letters == 0 {
		return digits < minNumber && signs == 0
	}
	if digits == 0 && signs == 0 {
		return true
	}
	if strings.ContainsAny(core, "(|") && letter(core[0]) && digits < 4 { // varchar(255), required|min:8
		return true
	}
	return typed(core)
}

// typed reports whether a value is the name of a type or of a method: a stem, and a number.
func typed(value string) bool {
	stem := strings.ToLower(strings.TrimRight(value, "0123456789[]*?"))
	switch stem {
	case "int", "uint", "u", "i", "f", "s", "float", "base", "sha", "md", "utf", "utf-", "byte", "bytes", "char", "varchar", "nvarchar", "str", "string", "text", "argon", "pbkdf", "oauth", "rsa", "aes", "aes-",
		"sha-", "ed", "x", "min", "max", "min:", "max:", "min=", "max=", "http", "ipv", "optional[str", "id", "arg", "var", "param", "line", "step", "field", "col", "row", "h", "v":
		return true
	}
	return strings.HasSuffix(value, "Array")
}

// chance reports whether a value of at least so many bytes is none that somebody named: its parts are neither words nor small numbers.
func chance(value string, least int) bool {
	if len(value) < least || strings.Trim(value, base64url+"+/=.~:!@#$%^&*") != "" || placeholder(value) {
		return false
	}
	return !spoken(value)
}

// spoken reports whether each part of a value is a word, a small number or a word with one.
func spoken(value string) bool {
	const apart = "-_./ :+=~"
	for value != "" {
		part := value
		if at := strings.IndexAny(value, apart); at >= 0 {
			part, value = value[:at], value[at+1:]
		} else {
			value = ""
		}
		if !wordOrNumber(part) {
			return false
		}
	}
	return true
}

// wordOrNumber: of so many letters and then so few digits, and without the changes of case that chance makes.
func wordOrNumber(part string) bool {
	const (
		maxDigits  = 4 // a year
		maxBehind  = 2
		minChanges = 8 // letters from which on changes tell something
	)
	n := 0
	for n < len(part) && (letter(part[n]) || part[n] >= 0x80) {
		n++
	}
	for i := n; i < len(part); i++ {
		if !digit(part[i]) {
			return false
		}
	}
	if digits := len(part) - n; n == 0 && digits > maxDigits || n > 0 && digits > maxBehind {
		return false
	}
	changes := 0
	for i := 1; i < n; i++ {
		if (part[i-1]^part[i])&0x20 != 0 && part[i] < 0x80 {
			changes++
		}
	}
	return n < minChanges || changes*100 <= n*35
}

// refers reports whether a value says where the secret is: a variable, a template, a file, an address, an entry of a store.
func refers(value string, quoted bool) bool {
	if value == "" || strings.Contains(value, "://") || strings.HasPrefix(value, "arn:") || strings.Contains(value, "{{") || strings.Contains(value, "${") || strings.Contains(value, "$(") ||
		strings.Contains(value, "<%") || strings.Contains(value, "%(") || value[0] == '[' || value[0] == '<' || value[0] == '{' || strings.Contains(value, "secrets/") {
		return true
	}
	if value[0] == '%' && len(value) <= 3 || value[0] == '$' && len(value) > 1 && name(value[1:]) {
		return true
	}
	if value[0] == '/' || strings.HasPrefix(value, "./") || strings.HasPrefix(value, "~/") || strings.HasPrefix(value, "../") {
		return spoken(value)
	}
	if !quoted && (value[0] == '*' || value[0] == '&') && name(value[1:]) { // of YAML
		return true
	}
	return !quoted && strings.IndexByte("=!&*|>@`%(,", value[0]) >= 0 && !strings.ContainsAny(value[1:], "0123456789")
}

// name reports whether a value is one of a program: letters, digits and _, and no digit first.
func name(value string) bool {
	for i := range len(value) {
		if !wordly(value[i]) || i == 0 && digit(value[0]) {
			return false
		}
	}
	return value != ""
}

// program reports whether a value without quotes is an expression: a call, an element, a member, or a variable that is named for what it holds.
func program(value string) bool {
	if value[0] == '=' || value[0] == '$' && name(value[1:]) {
		return true
	}
	value = strings.TrimPrefix(value, "$")
	end := 0
	for end < len(value) && (wordly(value[end]) || value[end] == '.' || value[end] == ':' || strings.HasPrefix(value[end:], "->") || value[end] == '>' || value[end] == '?') {
		end++
	}
	if head := strings.TrimLeft(value[:end], "_"); head != "" && letter(head[0]) && end < len(value) && strings.IndexByte("([{", value[end]) >= 0 {
		return true
	}
	const maxMember = 24 // of the words of user.profile.password2
	members, member := 0, value
	for rest := value; rest != ""; members++ {
		var more bool
		if member, rest, more = strings.Cut(rest, "."); !name(member) || len(member) > maxMember {
			return false
		}
		if !more {
			break
		}
	}
	if members > 0 {
		return true
	}
	lower := strings.ToLower(value)
	for _, word := range []string{"passw", "secret", "token", "key", "pwd"} {
		if strings.Contains(lower, word) {
			return true
		}
	}
	return false
}

// standIns are words that stand where a secret belongs.
var standIns = map[string]bool{
	"example": true, "sample": true, "dummy": true, "fake": true, "mock": true, "placeholder": true, "changeme": true, "change": true, "changeit": true, "insert": true, "todo": true, "test": true, "testing": true,
	"foo": true, "bar": true, "baz": true, "demo": true, "default": true, "redacted": true, "hidden": true, "masked": true, "none": true, "null": true, "nil": true, "undefined": true, "true": true, "false": true, "secret": true,
	"password": true, "passwd": true, "pass": true, "token": true, "key": true, "api": true, "user": true, "string": true, "str": true, "required": true, "optional": true, "my": true, "the": true, "a": true, "here": true,
	"me": true, "some": true, "new": true, "old": true, "value": true, "text": true, "empty": true, "access": true, "auth": true, "client": true, "refresh": true, "bearer": true, "abc": true, "xyz": true, "id": true,
	"boolean": true, "bool": true, "integer": true, "number": true, "object": true, "any": true, "unknown": true, "": true, "type": true, "field": true, "unset": true, "yes": true, "no": true, "enter": true,
}

// placeholder reports whether a value stands for one: your-key, changeme, xxxx, •••, "sk-...".
func placeholder(value string) bool {
	if strings.Contains(value, "...") || strings.Contains(value, "…") || strings.Contains(value, "•") || strings.Contains(value, "[redacted") {
		return true
	}
	var seen [256]bool
	different := 0
	for i := range len(value) {
		if !seen[value[i]] {
			seen[value[i]], different = true, different+1
		}
	}
	if different <= 2 {
		return true
	}
	all := true
	for part := range strings.FieldsFuncSeq(strings.ToLower(value), func(r rune) bool { return strings.ContainsRune("-_. /:<>{}()!?", r) }) {
		if strings.HasPrefix(part, "your") || strings.HasPrefix(part, "replace") || strings.HasPrefix(part, "changeme") || strings.HasPrefix(part, "placeholder") || strings.HasPrefix(part, "xxxx") || part == "example" || part == "insert" {
			return true
		}
		stem := strings.TrimRight(part, "0123456789")
		all = all && standIns[stem] && (stem != "" || len(part) < minNumber)
	}
	return all
}
