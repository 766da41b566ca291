package database

import (
	"regexp"
	"slices"
	"strings"
	"unicode/utf8"

	"github.com/stead-dev/stead"
)

// Check refuses what is no single statement that reads, and returns it without a semicolon at its end.
func Check(driver, text string) (string, error) {
	switch {
	case strings.TrimSpace(text) == "":
		return "", refuse("there is no statement")
	case len(text) > MaxStatementBytes:
		return "", refuse("the statement has %d bytes, the limit is %d", len(text), MaxStatementBytes)
	case !utf8.ValidString(text) || strings.ContainsRune(text, 0):
		return "", refuse("the statement is no text in UTF-8")
	}
	l := lexer{text: text, postgres: driver == PostgreSQL}
	tokens, err := l.tokens()
	if err != nil {
		return "", err
	}
	end := len(text)
	if n := len(tokens); n > 0 && tokens[n-1].kind == ';' {
		end, tokens = tokens[n-1].at, tokens[:n-1]
	}
	if slices.ContainsFunc(tokens, func(t token) bool { return t.kind == ';' }) {
		return "", refuse("there is more than one statement: send them one at a time")
	}
	if err := reads(tokens, driver); err != nil {
		return "", err
	}
	if driver == PostgreSQL {
		for i, t := range tokens[:max(len(tokens)-1, 0)] {
			if t.isName() && tokens[i+1].kind == '(' && refused().MatchString(t.text) {
				return "", refuse("the function %.80s can't be called: it does more than read, or reads what is no table", t.text)
			}
		}
	}
	return text[:end], nil
}

func refuse(format string, args ...any) error {
	e := stead.Invalid("sql", format, args...)
	e.Hint = "One SELECT, WITH … SELECT, VALUES or EXPLAIN of those."
	return e
}

// reads looks at how a statement begins. EXPLAIN is of one that reads, since with ANALYZE it is carried out.
func reads(tokens []token, driver string) error {
	words := []string{"select", "with", "values"}
	if driver == PostgreSQL {
		words = append(words, "table")
	}
	first := 0
	for ; first < len(tokens); first++ {
		switch t := tokens[first]; {
		case t.kind == '(':
			continue
		case t.is("explain") && first == 0:
			first += options(tokens[1:])
			continue
		case t.kind == 'w' && slices.Contains(words, t.text):
			return nil
		}
		break
	}
	if first < len(tokens) && tokens[first].kind == 'w' {
		return refuse("%.40s does not read: this tool only reads", strings.ToUpper(tokens[first].text))
	}
	return refuse("it does not begin with SELECT, WITH, VALUES or EXPLAIN")
}

// options counts the tokens between EXPLAIN and its statement.
func options(tokens []token) int {
	n := 0
	for n < len(tokens) && (tokens[n].is("analyze") || tokens[n].is("analyse") || tokens[n].is("verbose") || tokens[n].is("query") || tokens[n].is("plan")) {
		n++
	}
	if n > 0 || len(tokens) < 2 || tokens[0].kind != '(' || tokens[1].is("select") || tokens[1].is("with") || tokens[1].is("values") || tokens[1].is("table") || tokens[1].kind == '(' {
		return n
	}
	for n < len(tokens) && tokens[n].kind != ')' {
		n++
	}
	return min(n+1, len(tokens))
}

// refused are functions of PostgreSQL that a read-only transaction lets by, though they do more than read tables: they change the session or
// locks, wait, read files, talk to other servers, signal other sessions, or run a text as SQL. The rights of the role are what counts;
// these are those that every role may call, and those of extensions and of roles that may too much.
func refused() *regexp.Regexp { return refusedFunctions }

var refusedFunctions = regexp.MustCompile(`^(?:set_config|setval|nextval|` +
	`pg_(?:try_)?advisory_.*|pg_sleep.*|pg_notify|pg_terminate_backend|pg_cancel_backend|pg_(?:read|ls|file|logdir|rotate|switch|create|drop|copy|replication|logical|import|stat_reset|wal|backup|start|stop|promote|reload|extension_config|log)_.*|` +
	`pg_(?:stat_file|export_snapshot|promote|current_logfile|relation_filepath|prewarm|stat_reset|log_backend_memory_contexts)|pg_get_wal.*|` +
	`lo_.*|loread|lowrite|dblink.*|postgres_fdw_.*|` +
	`(?:query|cursor|table|schema|database)_to_xml.*|ts_stat|ts_rewrite|crosstab.*|connectby|xpath_table|binary_upgrade_.*)$`)

// token is a word ('w'), a quoted name ('q'), a semicolon, a parenthesis, or anything else ('x').
type token struct {
	kind byte
	text string // of a word in small letters, of a quoted name without its quotes
	at   int
}

func (t token) is(word string) bool { return t.kind == 'w' && t.text == word }
func (t token) isName() bool        { return t.kind == 'w' || t.kind == 'q' }

// lexer takes a statement apart as the database does: strings and comments hold nothing.
type lexer struct {
	text     string
	postgres bool
	at       int
}

var errOpen = "a quote or a comment in it does not end"

func (l *lexer) tokens() ([]token, error) {
	var out []token
	for l.at < len(l.text) {
		from := l.at
		c := l.text[from]
		rest := l.text[from:]
		switch {
		case strings.HasPrefix(rest, "--"):
			l.line()
		case strings.HasPrefix(rest, "/*"):
			if !l.comment() {
				return nil, refuse("%s", errOpen)
			}
		case c == ' ' || c == '\t' || c == '\n' || c == '\r' || c == '\f' || c == '\v':
			l.at++
		case l.postgres && len(rest) > 2 && (c == 'u' || c == 'U') && rest[1] == '&' && (rest[2] == '"' || rest[2] == '\''):
			return nil, refuse("names and strings with U& are not taken: write the characters themselves")
		case l.postgres && len(rest) > 1 && (c == 'e' || c == 'E') && rest[1] == '\'':
			l.at++
			if _, ok := l.quoted('\'', true); !ok {
				return nil, refuse("%s", errOpen)
			}
			out = append(out, token{'x', "", from})
		case c == '\'':
			if _, ok := l.quoted('\'', false); !ok {
				return nil, refuse("%s", errOpen)
			}
			out = append(out, token{'x', "", from})
		case c == '"', !l.postgres && (c == '`' || c == '['):
			end := c
			if c == '[' {
				end = ']'
			}
			name, ok := l.quoted(end, false)
			if !ok {
				return nil, refuse("%s", errOpen)
			}
			out = append(out, token{'q', name, from})
		case l.postgres && c == '$' && l.dollar():
			out = append(out, token{'x', "", from})
		case wordly(c) && !(c >= '0' && c <= '9'):
			for l.at < len(l.text) && (wordly(l.text[l.at]) || l.text[l.at] == '$') {
				l.at++
			}
			out = append(out, token{'w', strings.ToLower(l.text[from:l.at]), from})
		default:
			kind := byte('x')
			if !l.postgres && strings.IndexByte("?:@$#", c) >= 0 {
				return nil, refuse("parameters (?, :name, @name, $name) are not taken: write the value itself")
			}
			if c == ';' || c == '(' || c == ')' {
				kind = c
			}
			l.at++
			if c >= '0' && c <= '9' { // a number takes letters with it, which begin no name
				for l.at < len(l.text) && wordly(l.text[l.at]) {
					l.at++
				}
			}
			out = append(out, token{kind, "", from})
		}
		if l.at > len(l.text) {
			return nil, refuse("%s", errOpen)
		}
	}
	return out, nil
}

func wordly(c byte) bool {
	return c == '_' || c >= 0x80 || c >= '0' && c <= '9' || c|0x20 >= 'a' && c|0x20 <= 'z'
}

func (l *lexer) line() {
	if n := strings.IndexAny(l.text[l.at:], "\n\r"); n >= 0 && (l.postgres || l.text[l.at+n] == '\n') {
		l.at += n + 1
		return
	} else if n >= 0 { // SQLite ends a comment at a line feed alone
		if n = strings.IndexByte(l.text[l.at:], '\n'); n >= 0 {
			l.at += n + 1
			return
		}
	}
	l.at = len(l.text)
}

// comment passes a comment; those of PostgreSQL lie inside of each other.
func (l *lexer) comment() bool {
	depth := 0
	for l.at < len(l.text) {
		switch rest := l.text[l.at:]; {
		case strings.HasPrefix(rest, "/*") && (depth == 0 || l.postgres):
			depth++
			l.at += 2
		case strings.HasPrefix(rest, "*/"):
			depth--
			l.at += 2
			if depth == 0 {
				return true
			}
		default:
			l.at++
		}
	}
	return false // SQLite would take it
}

// quoted passes what stands between quotes; a doubled one is one, and so is one behind a backslash where those escape.
func (l *lexer) quoted(end byte, escapes bool) (string, bool) {
	var b strings.Builder
	for l.at++; l.at < len(l.text); l.at++ {
		c := l.text[l.at]
		switch {
		case escapes && c == '\\':
			l.at++
		case c == end && end != ']' && l.at+1 < len(l.text) && l.text[l.at+1] == end:
			l.at++
			b.WriteByte(end)
		case c == end:
			l.at++
			return b.String(), true
		default:
			b.WriteByte(c)
		}
	}
	return "", false
}

// dollar passes a string between $tag$ and $tag$; false: there is none here.
func (l *lexer) dollar() bool {
	n := 1
	for l.at+n < len(l.text) && wordly(l.text[l.at+n]) && (n > 1 || l.text[l.at+1] < '0' || l.text[l.at+1] > '9') {
		n++
	}
	if l.at+n >= len(l.text) || l.text[l.at+n] != '$' {
		return false
	}
	tag := l.text[l.at : l.at+n+1]
	end := strings.Index(l.text[l.at+len(tag):], tag)
	if end < 0 {
		l.at = len(l.text) + 1 // it does not end
		return true
	}
	l.at += end + 2*len(tag)
	return true
}
