package semantic

import (
	"fmt"
	"strings"
)

// expression is + - * / over names and numbers. Nothing else is in the language, so that nothing else gets into SQL.
type expression struct {
	op          byte   // '+', '-', '*', '/'; 'n' negates left; 0: a name or a number
	name        string // of an attribute or a metric
	number      string // as it was written
	left, right *expression
}

// parseExpression reads an expression, and says at which byte it can't.
func parseExpression(text string) (*expression, error) {
	if len(text) > maxExpression {
		return nil, fmt.Errorf("the expression has %d bytes, the limit is %d", len(text), maxExpression)
	}
	p := &expressionParser{text: text}
	e, err := p.sum(0)
	if err != nil {
		return nil, err
	}
	if p.skip(); p.at < len(text) {
		return nil, p.wrong("an operator")
	}
	return e, nil
}

type expressionParser struct {
	text string
	at   int
}

func (p *expressionParser) wrong(want string) error {
	if p.at >= len(p.text) {
		return fmt.Errorf("%q ends where %s is wanted", p.text, want)
	}
	return fmt.Errorf("in %q, %.20q stands where %s is wanted: an expression is names and numbers with + - * / and parentheses", p.text, p.text[p.at:], want)
}

func (p *expressionParser) skip() {
	for p.at < len(p.text) && strings.IndexByte(" \t\n\r", p.text[p.at]) >= 0 {
		p.at++
	}
}

func (p *expressionParser) takes(ops string) byte {
	if p.skip(); p.at < len(p.text) && strings.IndexByte(ops, p.text[p.at]) >= 0 {
		p.at++
		return p.text[p.at-1]
	}
	return 0
}

func (p *expressionParser) sum(depth int) (*expression, error) {
	return p.chain("+-", p.product, depth)
}

func (p *expressionParser) product(depth int) (*expression, error) {
	return p.chain("*/", p.atom, depth)
}

func (p *expressionParser) chain(ops string, next func(int) (*expression, error), depth int) (*expression, error) {
	left, err := next(depth)
	if err != nil {
		return nil, err
	}
	for {
		op := p.takes(ops)
		if op == 0 {
			return left, nil
		}
		right, err := next(depth)
		if err != nil {
			return nil, err
		}
		left = &expression{op: op, left: left, right: right}
	}
}

func (p *expressionParser) atom(depth int) (*expression, error) {
	if depth > maxDepth {
		return nil, fmt.Errorf("%q is nested too deeply", p.text)
	}
	switch p.takes("(-") {
	case '(':
		e, err := p.sum(depth + 1)
		if err != nil {
			return nil, err
		}
		if p.takes(")") == 0 {
			return nil, p.wrong(")")
		}
		return e, nil
	case '-':
		e, err := p.atom(depth + 1)
		return &expression{op: 'n', left: e}, err
	}
	begin := p.at
	for p.at < len(p.text) && wordByte(p.text[p.at]) {
		p.at++
	}
	word := p.text[begin:p.at]
	switch {
	case word == "":
		return nil, p.wrong("a name or a number")
	case word[0] >= '0' && word[0] <= '9':
		if p.at+1 < len(p.text) && p.text[p.at] == '.' && digits(p.text[p.at+1:p.at+2]) {
			for p.at++; p.at < len(p.text) && digits(p.text[p.at:p.at+1]); p.at++ {
			}
		}
		whole, part, dotted := strings.Cut(p.text[begin:p.at], ".")
		if !digits(whole) || dotted && !digits(part) {
			p.at = begin
			return nil, p.wrong("a number")
		}
		return &expression{number: p.text[begin:p.at]}, nil
	}
	return &expression{name: word}, nil
}

func wordByte(c byte) bool {
	return c == '_' || c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z' || c >= '0' && c <= '9'
}

func digits(s string) bool {
	for i := range len(s) {
		if s[i] < '0' || s[i] > '9' {
			return false
		}
	}
	return s != ""
}

// names are those in the expression, each once, in order.
func (e *expression) names() []string {
	var out []string
	known := map[string]bool{}
	e.size(func(n string) int {
		if !known[n] {
			known[n], out = true, append(out, n)
		}
		return 0
	})
	return out
}

// size is how many numbers and signs are in the expression, and for each name, each time, what of says.
func (e *expression) size(of func(name string) int) int {
	switch {
	case e == nil:
		return 0
	case e.op == 'n':
		return 1 + e.left.size(of)
	case e.name != "":
		return of(e.name)
	case e.number != "":
		return 1
	}
	return e.left.size(of) + e.right.size(of)
}

func contains(list []string, s string) bool {
	for _, l := range list {
		if l == s {
			return true
		}
	}
	return false
}

// sql writes the expression. What is divided by nothing is nothing, and division is exact.
func (e *expression) sql(d Dialect, column func(name string) string) string {
	switch {
	case e.name != "":
		return column(e.name)
	case e.number != "":
		return e.number
	case e.op == 'n':
		return "(- " + e.left.sql(d, column) + ")"
	case e.op == '/':
		return "(" + d.exact(e.left.sql(d, column)) + " / NULLIF(" + d.number(e.right.sql(d, column)) + ", 0))"
	}
	return "(" + e.left.sql(d, column) + " " + string(e.op) + " " + e.right.sql(d, column) + ")"
}
