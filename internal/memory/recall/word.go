package recall

import (
	"iter"
	"slices"
	"strings"
	"sync"
	"unicode"
	"unicode/utf8"

	"golang.org/x/text/unicode/norm"
)

// stopWords carry grammar and no content.
const stopWords = `a an the and or but if of at by for with about to from in on is am are was were be been being
do does did doing done have has had having i me my mine myself you your yours yourself he him his himself she her hers herself
it its itself we our ours us they them their theirs themselves this that these those what which who whom whose when where why how
will would can could should may might must shall there here as so than then too very just not no nor also into onto out up down
over under again once only own same such more most other some any each both few all s t d m re ve ll don didn isn wasn aren
couldn wouldn doesn hasn haven won im ive id youre thats`

// word is one word of a text.
type word struct {
	stem string
	text string // in lower case
	name bool   // written with a capital, and not because a sentence begins with it
}

// analyzer cuts texts into words. It is safe for concurrent use.
type analyzer struct {
	stop      map[string]bool
	irregular map[string]string
	times     []string // parts of texts that say when
	familiar  map[string]float64
}

// irregular lists the forms of irregular verbs and nouns, each line beginning with the base form.
const irregular = `go went gone goes going
buy bought
see saw seen
make made
take took taken
give gave given
get got gotten
come came
become became
find found
meet met
tell told
say said
think thought
feel felt
leave left
begin began begun
start started
write wrote written
read read
run ran
win won
lose lost
keep kept
know knew known
teach taught
catch caught
bring brought
fight fought
seek sought
sell sold
hold held
build built
spend spent
send sent
lend lent
bend bent
eat ate eaten
drink drank drunk
drive drove driven
ride rode ridden
fly flew flown
grow grew grown
throw threw thrown
draw drew drawn
sing sang sung
swim swam swum
speak spoke spoken
break broke broken
choose chose chosen
wear wore worn
hear heard
sleep slept
dream dreamt
learn learnt
stand stood
understand understood
fall fell fallen
steal stole stolen
wake woke woken
forget forgot forgotten
hide hid hidden
bite bit bitten
shake shook shaken
lead led
feed fed
pay paid
lie lay lain
sit sat
stick stuck
hang hung
shoot shot
show shown
child children
person people
man men
woman women
foot feet
tooth teeth
mouse mice
life lives
wife wives
knife knives`

func newAnalyzer() *analyzer {
	a := &analyzer{stop: map[string]bool{}, irregular: map[string]string{}}
	for w := range strings.FieldsSeq(stopWords) {
		a.stop[w] = true
	}
	for w := range strings.FieldsSeq(timeWords) {
		a.times = append(a.times, strings.ReplaceAll(w, "_", " "))
	}
	for line := range strings.Lines(irregular) {
		forms := strings.Fields(line)
		for _, f := range forms[1:] {
			a.irregular[f] = forms[0]
		}
	}
	a.familiar = a.familiarWords()
	return a
}

// words returns the words of a text that carry content, in their order. A possessive 's is no part
// of a word.
func (a *analyzer) words(text string) []word { return a.read(text, func(string) {}) }

// read is words, and hears each word as it stands, those without content too, in lower case.
func (a *analyzer) read(text string, hear func(lower string)) []word {
	var out []word
	for part, first := range written(text) {
		lower := strings.ToLower(part)
		hear(lower)
		if unspaced(part) {
			out = grams(out, part)
			continue
		}
		if !a.stop[lower] {
			out = append(out, word{stem: a.base(lower), text: lower, name: !first && lower != part})
		}
		for _, piece := range humps(part) {
			if lower := strings.ToLower(piece); !a.stop[lower] {
				out = append(out, word{stem: a.base(lower), text: lower})
			}
		}
	}
	return out
}

// Words are the words of a text that carry content, as they stand in it, in lower case.
func Words(text string) []string {
	var out []string
	for _, w := range english().words(text) {
		out = append(out, w.text)
	}
	return out
}

// english is the one analyzer, of all indexes.
var english = sync.OnceValue(newAnalyzer)

// written yields the words of a text as they stand, and whether a sentence begins with each. A run of a script that is written
// without spaces is one.
func written(text string) iter.Seq2[string, bool] {
	if !norm.NFKC.IsNormalString(text) { // "é" is one letter, however it was written
		text = norm.NFKC.String(text)
	}
	return func(yield func(string, bool) bool) {
		first := true // the next word begins a sentence
		start, dense := -1, false
		end := func(i int) bool {
			if start < 0 {
				return true
			}
			part := text[start:i]
			start = -1
			ok := yield(part, first)
			first = false
			return ok
		}
		for i, r := range text {
			if !unicode.IsLetter(r) && !unicode.IsDigit(r) && (!unicode.IsMark(r) && !unseen(r) || start < 0) {
				if !end(i) || pictured(r) && !yield(string(r), first) {
					return
				}
				first = first || strings.ContainsRune(".!?:\n", r)
				continue
			}
			if d := isDense(r); start >= 0 && d != dense && !unicode.IsMark(r) && !unseen(r) {
				if !end(i) {
					return
				}
				dense = d
			} else if start < 0 {
				dense = d
			}
			if start < 0 {
				start = i
			}
		}
		end(len(text))
	}
}

// pictures are the letters that stand for something by themselves: emoji, without what changes the colour of one.
var pictures = &unicode.RangeTable{
	R16: []unicode.Range16{{Lo: 0x231A, Hi: 0x231B, Stride: 1}, {Lo: 0x23E9, Hi: 0x23F3, Stride: 1}, {Lo: 0x2600, Hi: 0x27BF, Stride: 1}, {Lo: 0x2B50, Hi: 0x2B55, Stride: 5}},
	R32: []unicode.Range32{{Lo: 0x1F000, Hi: 0x1F3FA, Stride: 1}, {Lo: 0x1F400, Hi: 0x1FAFF, Stride: 1}},
}

// pictured reports whether a letter is a word: an emoji is, wherever it stands.
func pictured(r rune) bool { return r >= 0x231A && unicode.Is(pictures, r) }

// isDense reports whether a letter is of a script that puts no spaces between words, or hangs on to them what others write apart.
func isDense(r rune) bool {
	return r >= 0x0E00 && unicode.In(r, unicode.Han, unicode.Hiragana, unicode.Katakana, unicode.Hangul, unicode.Thai, unicode.Lao, unicode.Khmer, unicode.Myanmar)
}

func unspaced(part string) bool {
	r, _ := utf8.DecodeRuneInString(part)
	return isDense(r)
}

// grams stand for the words of a run that has no spaces: each two letters that follow each other, and each Han character, which may be
// a word.
func grams(to []word, run string) []word {
	runes := slices.DeleteFunc([]rune(run), unseen)
	add := func(s string) { to = append(to, word{stem: s, text: s}) }
	for i, r := range runes {
		if i+1 < len(runes) {
			add(string(runes[i : i+2]))
		}
		if len(runes) == 1 || unicode.Is(unicode.Han, r) {
			add(string(r))
		}
	}
	return to
}

// humps are the words that a name in a program is made of: of handleRefundRequest handle, refund and request; none of a word.
func humps(part string) []string {
	var out []string
	start := 0
	for i := 1; i < len(part); i++ {
		if isLower(part[i-1]) && isUpper(part[i]) {
			out = append(out, part[start:i])
			start = i
		}
	}
	if start == 0 {
		return nil
	}
	return append(out, part[start:])
}

func isLower(c byte) bool { return c >= 'a' && c <= 'z' }
func isUpper(c byte) bool { return c >= 'A' && c <= 'Z' }

// base is the stem of a word, folded, or of the base form that an irregular one belongs to.
func (a *analyzer) base(lower string) string {
	lower = fold(lower)
	if b, ok := a.irregular[lower]; ok {
		lower = b
	}
	return stem(lower)
}
