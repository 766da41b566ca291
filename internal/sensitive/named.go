package sensitive

import "strings"

// A value is a secret where the name in front says so, and the value looks like one: NAME=value in environments and files of settings, JSON,
// YAML, XML, headers, and assignments in programs. What stands there in programs, schemas, templates and documentation is none: types, calls,
// variables, placeholders, words.
//
// Sources: POSIX environments (NAME=value), RFC 8259, YAML 1.2 (flow and block scalars), RFC 9110, 11.6.2 (Authorization), the manual of
// inetutils (.netrc); for names the generic rule of github.com/gitleaks/gitleaks.

// NamedSecret is the kind of a value that its name says is a secret.
const NamedSecret = "secret"

// Bytes of a name, and of a value.
const (
	maxName  = 64
	maxValue = 4096
)

// meaning is what a name says of its value, from which follows how much of a secret it must look like.
type meaning int

const (
	nothing       meaning = iota
	password              // anything that is no word
	secret                // what has digits or signs in it
	key                   // what chance wrote
	token                 // as a key, and longer: pages and parsers have tokens too
	authorization         // a scheme, and what follows it
)

// place is where a value stands.
type place struct {
	Span
	quoted  bool // within quotes or marks of its own
	setting bool // behind NAME= on a line of its own, as in environments: no program
}

// namedSecret is the value behind the sign (: = >) at a place, if it is a secret.
func namedSecret(text string, at int) (Span, bool) {
	name := nameBefore(text, at)
	if name.To == 0 {
		return Span{}, false
	}
	m := meaningOf(text[name.From:name.To])
	if m == nothing {
		return Span{}, false
	}
	v, ok := valueBehind(text, name, at, m)
	if !ok {
		return Span{}, false
	}
	if m == authorization {
		return credential(text, v)
	}
	return v.Span, looksSecret(m, text[name.From:name.To], text[v.From:v.To], v)
}

// nameBefore is the name in front of a sign: NAME=, name :, "name":, \"name\":, ["name"] =, <name>.
func nameBefore(text string, at int) Span {
	i := at
	if text[at] == '=' && i > 0 && text[i-1] == ':' { // name := value
		i--
	}
	for n := 0; n < 8 && i > 0 && (text[i-1] == ' ' || text[i-1] == '\t'); n++ {
		i--
	}
	for n := 0; n < 8 && i > 0 && strings.IndexByte("\"'`\\]?!", text[i-1]) >= 0; n++ {
		i--
	}
	if i == 0 || !endsName[text[i-1]|0x20] && !digit(text[i-1]) {
		return Span{}
	}
	from := i
	for from > 0 && i-from <= maxName && (wordly(text[from-1]) || text[from-1] == '-' || text[from-1] == '.') {
		from--
	}
	if i-from > maxName {
		return Span{}
	}
	if from > 0 && i-from > 1 && text[from-1] == '\\' && strings.IndexByte("nrt", text[from]) >= 0 { // an escape, and not a letter of the name
		from++
	}
	if text[at] == '>' && (from == 0 || text[from-1] != '<') || from > 1 && text[from-2:from] == "${" { // ${NAME:-value}
		return Span{}
	}
	return Span{from, i}
}

// endsName are the last letters of names of secrets, and of what may stand behind those: nearly all names end in others or are told apart soon.
var endsName = [256]bool{'d': true, 'e': true, 'h': true, 'n': true, 's': true, 't': true, 'v': true, 'w': true, 'y': true, 'g': true}

// suffixes are what may stand behind the name of a secret: API_KEY_PROD.
var suffixes = []string{"prod", "production", "dev", "test", "testing", "staging", "base", "old", "new", "live"}

var meanings = []struct {
	end string
	meaning
}{
	{"password", password}, {"passwd", password}, {"passphrase", password}, {"passwort", password}, {"pwd", password}, {"passcode", password}, {"secret", secret},
	{"apikey", key}, {"secretkey", key}, {"accesskey", key}, {"privatekey", key}, {"encryptionkey", key}, {"signingkey", key}, {"authkey", key},
	{"accountkey", key}, {"masterkey", key}, {"sharedkey", key}, {"licensekey", key}, {"servicekey", key}, {"servicerolekey", key},
	{"token", token}, {"authorization", authorization},
}

// passing are tokens that are given back by whoever asked, and open nothing: places in a list, and what makes a request one.
var passing = []string{"page", "next", "continuation", "continue", "cursor", "sync", "delta", "start", "client", "idempotency", "pagination", "resume", "resumption", "skip", "previous", "csrf", "xsrf", "authenticity", "antiforgery", "verification"}

// meaningOf is what a name says: of the end of it, whatever its words are joined with.
func meaningOf(name string) meaning {
	var lower [maxName]byte
	n := 0
	for i := range len(name) {
		if c := name[i]; wordly(c) && c != '_' {
			if c >= 'A' && c <= 'Z' {
				c |= 0x20
			}
			lower[n] = c
			n++
		}
	}
	for n > 0 && digit(lower[n-1]) {
		n--
	}
	if m := ending(lower[:n]); m != nothing {
		return m
	}
	for _, s := range suffixes {
		if n > len(s) && string(lower[n-len(s):n]) == s {
			return ending(lower[:n-len(s)])
		}
	}
	word := strings.TrimLeft(name[max(0, len(name)-len("_auth")):], "-.")
	switch {
	case name == "auth" || word == "_auth" || word == "_AUTH": // of npm and Docker
		return token
	case strings.EqualFold(name, "pass") || strings.HasSuffix(name, "_PASS") || strings.HasSuffix(name, "_pass") || strings.HasSuffix(name, "-pass") || strings.HasSuffix(name, ".pass"):
		return password
	}
	return nothing
}

func ending(name []byte) meaning {
	for _, m := range meanings {
		if len(name) < len(m.end) || string(name[len(name)-len(m.end):]) != m.end {
			continue
		}
		if m.meaning == token {
			for _, p := range passing {
				if before := name[:len(name)-len(m.end)]; len(before) >= len(p) && string(before[len(before)-len(p):]) == p {
					return nothing
				}
			}
		}
		return m.meaning
	}
	return nothing
}

// valueBehind is the value behind the sign at a place, within its line.
func valueBehind(text string, name Span, at int, m meaning) (place, bool) {
	i := at + 1
	if text[at] == '=' && i < len(text) && text[i] == '>' { // PHP, Ruby
		i++
	}
	if text[at] == '>' {
		end := strings.IndexByte(text[i:min(len(text), i+maxValue)], '<')
		return place{Span{i, i + max(end, 0)}, true, false}, end > 0
	}
	for i < len(text) && (text[i] == ' ' || text[i] == '\t') {
		i++
	}
	if v, ok := quotedAt(text, i); ok {
		v.setting = text[at] == '=' && i == at+1 && name.To == at && leads(text, name.From)
		return v, v.To > v.From
	}
	return bare(text, name, at, i, m)
}

// quotedAt is what stands within the quotes that begin at a place, also with a letter (f"", b”) or escapes (\") in front.
func quotedAt(text string, i int) (place, bool) {
	if i+1 < len(text) && strings.IndexByte("fbruFBRU@", text[i]) >= 0 && strings.IndexByte("\"'", text[i+1]) >= 0 {
		i++
	}
	escapes := 0
	for i < len(text) && text[i] == '\\' {
		i, escapes = i+1, escapes+1
	}
	if i >= len(text) || strings.IndexByte("\"'`", text[i]) < 0 {
		return place{}, false
	}
	v, run := Span{i + 1, i + 1}, 0
	for ; v.To < len(text) && v.To-v.From < maxValue && text[v.To] != '\n'; v.To++ {
		switch c := text[v.To]; {
		case c == text[i] && run <= escapes:
			v.To -= run
			return place{v, true, false}, true
		case c == '\\':
			run++
		default:
			run = 0
		}
	}
	return place{Span{v.From, v.From}, true, false}, true // it does not end
}

// bare is a value without quotes of its own: to the next blank in a setting, to where a program's expression ends elsewhere.
func bare(text string, name Span, at, i int, m meaning) (place, bool) {
	v := place{Span: Span{i, i}}
	var quote byte
	before := byte('\n')
	if name.From > 0 {
		before = text[name.From-1]
	}
	if before == '"' || before == '\'' {
		quote = before // "NAME=value", as Docker has them
		if name.To != at {
			return v, false // {"name": value}
		}
	}
	alone := quote != 0 || leads(text, name.From)
	v.setting = alone && text[at] == '=' && i == at+1 && name.To == at
	stops := &endsExpression
	switch {
	case before == '?' || before == '&':
		stops = &endsQuery
	case alone && (v.setting || text[at] == ':' || m == authorization):
		stops = &endsSetting
	}
	for ; v.To < len(text) && v.To-v.From < maxValue; v.To++ {
		c := text[v.To]
		if stops[c] || (c == ' ' || c == '\t') && m != authorization || c == '\\' && v.To+1 < len(text) && strings.IndexByte("nrtu\"'\\", text[v.To+1]) >= 0 {
			break
		}
	}
	for v.To > v.From && strings.IndexByte(",; ", text[v.To-1]) >= 0 {
		v.To--
	}
	return v, v.To > v.From
}

// What ends values without quotes, besides blanks.
var endsExpression, endsQuery, endsSetting = bytesOf(",;)}]<>&|\n\r\"'`"), bytesOf("&#;,)<>\n\r\"'`"), bytesOf("\n\r\"'`")

func bytesOf(text string) (out [256]bool) {
	for i := range len(text) {
		out[text[i]] = true
	}
	return out
}

// leads reports whether a line has nothing in front of a place but what stands in front of settings and headers.
func leads(text string, at int) bool {
	const most = 24
	from := at
	for from > 0 && at-from < most && text[from-1] != '\n' && text[from-1] != '\r' {
		from--
	}
	line := text[from:at]
	if n := strings.LastIndex(line, `\n`); n >= 0 {
		line = line[n+len(`\n`):]
	} else if at-from >= most && strings.TrimLeft(line, " \t") != "" {
		return false
	}
	line = strings.Trim(line, " \t-+><*#|")
	return line == "" || line == "export" || line == "set" || line == "ENV" || line == "ARG" || line == "setenv" || line == "declare -x"
}

// credential is what follows the scheme in a header's value.
func credential(text string, v place) (Span, bool) {
	const shortest = 8
	scheme, rest, ok := strings.Cut(text[v.From:v.To], " ")
	if !ok {
		scheme, rest = "", scheme
	}
	s := Span{v.To - len(strings.TrimLeft(rest, " ")), v.To}
	if end := strings.IndexAny(text[s.From:s.To], " ,;)"); end >= 0 {
		s.To = s.From + end
	}
	value := text[s.From:s.To]
	if refers(value, v.quoted) || program(value) {
		return s, false
	}
	switch strings.ToLower(scheme) {
	case "basic":
		return s, len(value) >= shortest && !placeholder(value) && strings.Trim(value, base64url+"+/=") == "" && !spoken(value)
	case "bearer", "token", "apikey", "api-key", "", "bot", "negotiate", "oauth", "ssws", "genie-key":
		return s, len(value) >= shortest && chance(value, shortest)
	}
	return s, false
}

const base64url = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_"

// loginPasswords finds the passwords of .netrc: "login NAME password VALUE", or "password VALUE" on a line.
func loginPasswords(text string) (out []Span) {
	const word = "password "
	for at := 0; ; {
		n := strings.Index(text[at:], word)
		if n < 0 {
			return out
		}
		at += n
		from := at + len(word)
		v := place{Span: Span{from, from}}
		for v.To < len(text) && v.To-from < maxValue && strings.IndexByte(" \t\r\n\"'", text[v.To]) < 0 && !strings.HasPrefix(text[v.To:], `\n`) {
			v.To++
		}
		value := text[from:v.To]
		login, machine := behindLogin(text, at)
		if machine && len(value) >= minPassword && !placeholder(value) || (login || leads(text, at) && endsLine(text, v.To)) && looksSecret(password, word, value, v) {
			out = append(out, v.Span)
		}
		at = max(v.To, from)
	}
}

// behindLogin reports whether "login NAME " stands in front of a place, and whether "machine HOST " or "default " in front of that.
func behindLogin(text string, at int) (login, machine bool) {
	const most = 256
	line := text[max(0, at-most):at]
	line = line[strings.LastIndexByte(line, '\n')+1:]
	words := strings.Fields(line[strings.LastIndex(line, `\n`)+1:])
	n := len(words)
	login = n >= 2 && strings.HasSuffix(words[n-2], "login")
	return login, login && (n >= 3 && strings.HasSuffix(words[n-3], "default") || n >= 4 && strings.HasSuffix(words[n-4], "machine") && (strings.Contains(words[n-3], ".") || words[n-3] == "localhost"))
}

func endsLine(text string, at int) bool {
	rest := strings.TrimLeft(text[at:min(len(text), at+8)], " \t")
	return rest == "" || rest[0] == '\n' || rest[0] == '\r' || strings.HasPrefix(rest, `\n`) || strings.HasPrefix(rest, `\r`)
}
