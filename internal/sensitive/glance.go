package sensitive

import (
	"slices"
	"strings"
	"sync"
)

// FindSecrets is Find for what has the form of a secret, in one pass: looking for each kind by itself takes twenty times as long.
func FindSecrets(text string) []Found {
	p := pass{text: text, index: anchors()}
	for i := range len(text) {
		if class := rare[text[i]]; class != 0 {
			p.look(i, class)
		}
	}
	for _, s := range append(p.names, loginPasswords(text)...) { // last: a form of its own says more
		p.all = append(p.all, Found{s, NamedSecret})
	}
	return Apart(rests(p.all))
}

// rests leaves of what another one reaches into the rest, since nobody has looked there for more: of a key behind a password that nothing parts from it.
func rests(all []Found) []Found {
	slices.SortStableFunc(all, inOrder)
	end := 0
	for i := range all {
		if f := &all[i]; f.From < end && f.To > end {
			f.From = end
		}
		end = max(end, all[i].To)
	}
	return all
}

// pass is one pass over a text. What was found is not looked into for more of its like, so that no text takes more than in proportion to it.
type pass struct {
	text         string
	index        *index
	all          []Found
	names        []Span
	formed, told int // where the last secret with a form ends, and the last with a name
}

// The rare bytes: every form has one near its beginning, and texts have few of them.
const (
	_ = iota
	hyphen
	underscore
	dot
	capitalA
	capitalJ
	capitalK
	colon
	sign
	classes
)

var rare = [256]uint8{'-': hyphen, '_': underscore, '.': dot, 'A': capitalA, 'J': capitalJ, 'K': capitalK, ':': colon, '=': sign, '>': sign}

// anchor is the beginning of a form, and where in it its rare byte stands.
type anchor struct {
	begin string
	at    int
	form  *form
}

// index has anchors by their rare byte and the byte in front of it, or the one behind where it is the first.
type index [classes][2][256][]anchor

const (
	first = iota // the rare byte begins
	later
)

var anchors = sync.OnceValue(func() *index {
	var out index
	all := forms()
	for i := range all {
		for _, begin := range all[i].begins {
			out.add(anchor{begin: begin, form: &all[i]})
		}
	}
	return &out
})

// add takes the last rare byte of a beginning that is a word, which has others in front that tell it from most: the first of one that begins with its own.
func (x *index) add(a anchor) {
	for i := len(a.begin) - 1; i > 0; i-- {
		if class := rare[a.begin[i]]; class != 0 && rare[a.begin[0]] == 0 {
			a.at = i
			x[class][later][a.begin[i-1]] = append(x[class][later][a.begin[i-1]], a)
			return
		}
	}
	class := rare[a.begin[0]]
	x[class][first][a.begin[1]] = append(x[class][first][a.begin[1]], a)
}

// look adds what has its rare byte at a place.
func (p *pass) look(i int, class uint8) {
	if class == colon || class == sign {
		p.named(i)
	}
	if i < p.formed || class == sign {
		return
	}
	if class == colon {
		if s, ok := urlPassword(p.text, i); ok {
			p.add(s, "url_password")
		} else if s, ok := telegramToken(p.text, i); ok {
			p.add(s, "telegram_token")
		}
		return
	}
	if i > 0 {
		p.formsAt(i, p.index[class][later][p.text[i-1]])
	}
	if i+1 < len(p.text) {
		p.formsAt(i, p.index[class][first][p.text[i+1]])
	}
}

func (p *pass) formsAt(i int, of []anchor) {
	for _, a := range of {
		if from := i - a.at; from >= 0 && strings.HasPrefix(p.text[from:], a.begin) {
			if s, ok := a.form.at(p.text, from); ok {
				p.add(s, a.form.name)
			}
		}
	}
}

func (p *pass) add(s Span, kind string) {
	p.all, p.formed = append(p.all, Found{s, kind}), max(p.formed, s.To)
}

func (p *pass) named(i int) {
	if i < p.told {
		return
	}
	if s, ok := namedSecret(p.text, i); ok {
		p.names, p.told = append(p.names, s), s.To
	}
}
