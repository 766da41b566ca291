package recall

import (
	"strings"
	"unicode"
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
	return a
}

// words returns the words of a text that carry content, in their order. A possessive 's is no part
// of a word, and accents are kept.
func (a *analyzer) words(text string) []word {
	var out []word
	first := true // the next word begins a sentence
	for i := 0; i < len(text); {
		start := i
		for i < len(text) && text[i] < 0x80 && !isWordByte(text[i]) {
			first = first || strings.IndexByte(".!?:\n", text[i]) >= 0
			i++
		}
		start = i
		for i < len(text) && (text[i] >= 0x80 || isWordByte(text[i])) {
			i++
		}
		for _, part := range strings.FieldsFunc(text[start:i], func(r rune) bool { return !unicode.IsLetter(r) && !unicode.IsDigit(r) }) {
			lower := strings.ToLower(part)
			if !a.stop[lower] {
				out = append(out, word{stem: a.base(lower), text: lower, name: !first && lower != part})
			}
			first = false
		}
	}
	return out
}

func isWordByte(c byte) bool {
	return c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z' || c >= '0' && c <= '9'
}

// base is the stem of a word, or of the base form that an irregular one belongs to.
func (a *analyzer) base(lower string) string {
	if b, ok := a.irregular[lower]; ok {
		lower = b
	}
	return stem(lower)
}
