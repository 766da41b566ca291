package recall

import (
	"slices"
	"strconv"
	"strings"
	"time"
)

// span is a stretch of time that a text names, in Unix milliseconds: from the first to before the second.
type span struct{ from, to int64 }

func (s span) overlaps(o span) bool { return s.from < o.to && o.from < s.to }

// format writes a span as a date: as much of it as the span is exact.
func (s span) format() string {
	layout := "2 January 2006"
	switch long := time.Duration(s.to-s.from) * time.Millisecond; {
	case long > 100*24*time.Hour:
		layout = "2006"
	case long > 24*time.Hour:
		layout = "January 2006"
	}
	return time.UnixMilli(s.from).UTC().Format(layout)
}

// maxSpans is the most stretches of time that are read from one text.
const maxSpans = 4

// spans reads when a text says something was: "7 May 2023", "May 2023", "in 2023", "yesterday", "last
// Friday", "last spring", "two weeks ago", "the week before 9 June 2023". Relative ones count from ref.
// A month without a year is not one: its name is a word as any other.
func spans(text string, ref time.Time) []span {
	r := newReader(text, ref)
	out, _ := r.all()
	return out
}

// spansAsked are those that a question names, and the question without the words that say so from when it is asked ("last week", "since October"): what has
// these words was said at another time. A date is left: entries have theirs as words.
func spansAsked(text string, ref time.Time) ([]span, string) {
	r := newReader(text, ref)
	r.asks = true
	out, relative := r.all()
	rest := []byte(text)
	for _, i := range relative {
		for at := r.starts[i]; at < r.starts[i]+len(r.words[i]); at++ {
			rest[at] = ' '
		}
	}
	return out, string(rest)
}

// reader looks at a text word by word.
type reader struct {
	words  []string
	starts []int // of each, in bytes of the text
	ref    time.Time
	asks   bool // it is a question
}

func newReader(text string, ref time.Time) *reader {
	r := &reader{ref: ref.UTC()}
	start := -1
	for i := 0; i <= len(text); i++ {
		in := i < len(text) && (text[i] >= 'a' && text[i] <= 'z' || text[i] >= 'A' && text[i] <= 'Z' || text[i] >= '0' && text[i] <= '9')
		switch {
		case in && start < 0:
			start = i
		case !in && start >= 0:
			r.words, r.starts = append(r.words, strings.ToLower(text[start:i])), append(r.starts, start)
			start = -1
		}
	}
	return r
}

// all reads all of a text, and says which words are of times that count from ref.
func (r *reader) all() (out []span, relative []int) {
	for i := 0; i < len(r.words) && len(out) < maxSpans; {
		from, to, n := r.at(i)
		if n == 0 {
			i++
			continue
		}
		out = append(out, span{from.UnixMilli(), to.UnixMilli()})
		dated := slices.ContainsFunc(r.words[i:i+n], func(w string) bool { return year(w) > 0 })
		for k := range n {
			if !dated {
				relative = append(relative, i+k)
			}
		}
		i += n
	}
	return out, relative
}

func (r *reader) word(i int) string {
	if i < 0 || i >= len(r.words) {
		return ""
	}
	return r.words[i]
}

// at reads an expression of time that begins at word i, and says how many words it has; 0: there is none.
func (r *reader) at(i int) (from, to time.Time, n int) {
	today := time.Date(r.ref.Year(), r.ref.Month(), r.ref.Day(), 0, 0, 0, 0, time.UTC)
	switch w := r.word(i); w {
	case "":
		return
	case "today", "tonight":
		return today, today.AddDate(0, 0, 1), 1
	case "yesterday":
		return today.AddDate(0, 0, -1), today, 1
	case "tomorrow":
		return today.AddDate(0, 0, 1), today.AddDate(0, 0, 2), 1
	case "last", "past", "this", "next":
		return r.relative(i, today)
	}
	if r.asks {
		if from, to, n = r.asked(i, today); n > 0 {
			return
		}
	}
	if from, to, n = r.date(i); n > 0 {
		return
	}
	if from, to, n = r.ago(i, today); n > 0 {
		return
	}
	return r.around(i)
}

// date reads "7 may 2023", "may 7 2023", "may 2023", "spring 2023", "summer of 2023" and "2023".
func (r *reader) date(i int) (from, to time.Time, n int) {
	if first, long, ok := season(r.word(i)); ok && long > 1 {
		at := i + 1
		if r.word(at) == "of" {
			at++
		}
		if y := year(r.word(at)); y > 0 { // a winter is of the year in which it begins
			from = time.Date(y, first, 1, 0, 0, 0, 0, time.UTC)
			return from, from.AddDate(0, long, 0), at + 1 - i
		}
		return
	}
	if m := month(r.word(i)); m > 0 {
		if d, y := day(r.word(i+1)), year(r.word(i+2)); d > 0 && y > 0 {
			from = time.Date(y, m, d, 0, 0, 0, 0, time.UTC)
			return from, from.AddDate(0, 0, 1), 3
		}
		if y := year(r.word(i + 1)); y > 0 {
			from = time.Date(y, m, 1, 0, 0, 0, 0, time.UTC)
			return from, from.AddDate(0, 1, 0), 2
		}
		return
	}
	if d, m, y := day(r.word(i)), month(r.word(i+1)), year(r.word(i+2)); d > 0 && m > 0 && y > 0 {
		from = time.Date(y, m, d, 0, 0, 0, 0, time.UTC)
		return from, from.AddDate(0, 0, 1), 3
	}
	if y := year(r.word(i)); y > 0 {
		if m, d := twoDigits(r.word(i+1)), twoDigits(r.word(i+2)); m >= 1 && m <= 12 && d >= 1 && d <= 31 { // 2026-03-14
			from = time.Date(y, time.Month(m), d, 0, 0, 0, 0, time.UTC)
			return from, from.AddDate(0, 0, 1), 3
		}
		from = time.Date(y, 1, 1, 0, 0, 0, 0, time.UTC)
		return from, from.AddDate(1, 0, 0), 1
	}
	return
}

// twoDigits is the number that two digits are; 0: they are not.
func twoDigits(w string) int {
	if n, err := strconv.Atoi(w); err == nil && len(w) == 2 {
		return n
	}
	return 0
}

// relative reads "last week", "this month", "next friday", "last spring", "the last three months".
func (r *reader) relative(i int, today time.Time) (from, to time.Time, n int) {
	step := map[string]int{"last": -1, "past": -1, "next": 1}[r.word(i)]
	w := r.word(i + 1)
	monday := today.AddDate(0, 0, -(int(today.Weekday())+6)%7)
	switch w {
	case "week":
		from = monday.AddDate(0, 0, 7*step)
		return from, from.AddDate(0, 0, 7), 2
	case "weekend":
		from = monday.AddDate(0, 0, 5+7*step)
		return from, from.AddDate(0, 0, 2), 2
	case "month":
		from = time.Date(today.Year(), today.Month()+time.Month(step), 1, 0, 0, 0, 0, time.UTC)
		return from, from.AddDate(0, 1, 0), 2
	case "year":
		from = time.Date(today.Year()+step, 1, 1, 0, 0, 0, 0, time.UTC)
		return from, from.AddDate(1, 0, 0), 2
	case "night":
		return today.AddDate(0, 0, -1), today, 2
	}
	if wd := slices.Index(weekdays(), w); wd >= 0 {
		ahead := (wd - int(today.Weekday()) + 7) % 7
		if step > 0 && ahead == 0 {
			ahead = 7
		} else if step < 0 {
			ahead -= 7
		}
		from = today.AddDate(0, 0, ahead)
		return from, from.AddDate(0, 0, 1), 2
	}
	if count, unit := number(w), unitOf(r.word(i+2)); step < 0 && count > 0 && unit != "" {
		return before(today, unit, count), today.AddDate(0, 0, 1), 3
	}
	if first, long, ok := season(w); ok {
		from = nearest(today, first, long, step)
		return from, from.AddDate(0, long, 0), 2
	}
	return
}

// nearest is the first day of a stretch of months: the last that is over, the next to come, or that under way, else this year's.
func nearest(today time.Time, m time.Month, long, step int) time.Time {
	from := time.Date(today.Year(), m, 1, 0, 0, 0, 0, time.UTC)
	over := func(from time.Time) bool { return !from.AddDate(0, long, 0).After(today) }
	switch {
	case step < 0:
		for !over(from) {
			from = from.AddDate(-1, 0, 0)
		}
	case step > 0 && !from.After(today):
		return from.AddDate(1, 0, 0)
	case step == 0 && !over(from.AddDate(-1, 0, 0)): // a winter that began last year
		return from.AddDate(-1, 0, 0)
	}
	return from
}

// season gives the first month of a season of the northern half, or a month, and how many it has.
func season(w string) (time.Month, int, bool) {
	switch w {
	case "spring":
		return time.March, 3, true
	case "summer":
		return time.June, 3, true
	case "autumn", "fall":
		return time.September, 3, true
	case "winter":
		return time.December, 3, true
	}
	m := month(w)
	return m, 1, m > 0
}

// ago reads "two weeks ago", "a month ago", "three days before 9 june 2023".
func (r *reader) ago(i int, today time.Time) (from, to time.Time, n int) {
	count, unit := number(r.word(i)), unitOf(r.word(i+1))
	if count == 0 || unit == "" {
		return
	}
	n = 3
	switch r.word(i + 2) {
	case "ago":
	case "before":
		at, _, more := r.date(i + 3)
		if more == 0 {
			return from, to, 0
		}
		today, n = at, 3+more
	default:
		return from, to, 0
	}
	from, to = stretch(today, unit, count)
	return from, to, n
}

// around reads "the week before 9 june 2023".
func (r *reader) around(i int) (from, to time.Time, n int) {
	if u := r.word(i); r.word(i+1) != "before" || unitOf(u) != u || u == "" {
		return
	}
	at, _, more := r.date(i + 2)
	if more == 0 {
		return
	}
	from, _ = stretch(at, r.word(i), 1)
	return from, at, 2 + more
}

// unitOf is the unit that a word names, of one or several; "": none.
func unitOf(w string) string {
	if u := strings.TrimSuffix(w, "s"); slices.Contains([]string{"day", "week", "month", "year"}, u) {
		return u
	}
	return ""
}

// before is a day so many units before another one.
func before(day time.Time, unit string, count int) time.Time {
	switch unit {
	case "week":
		return day.AddDate(0, 0, -7*count)
	case "month":
		return day.AddDate(0, -count, 0)
	case "year":
		return day.AddDate(-count, 0, 0)
	}
	return day.AddDate(0, 0, -count)
}

// stretch is a day, or as long as its unit is inexact: "two weeks ago" is some day of that week.
func stretch(from time.Time, unit string, count int) (at, end time.Time) {
	switch unit {
	case "day":
		at = from.AddDate(0, 0, -count)
		end = at.AddDate(0, 0, 1)
	case "week":
		at = from.AddDate(0, 0, -7*count-3)
		end = at.AddDate(0, 0, 7)
	case "month":
		at = time.Date(from.Year(), from.Month()-time.Month(count), 1, 0, 0, 0, 0, time.UTC)
		end = at.AddDate(0, 1, 0)
	default:
		at = time.Date(from.Year()-count, 1, 1, 0, 0, 0, 0, time.UTC)
		end = at.AddDate(1, 0, 0)
	}
	return at, end
}

func weekdays() []string {
	return []string{"sunday", "monday", "tuesday", "wednesday", "thursday", "friday", "saturday"}
}

// months are their names, whole and by three letters, in lower case.
var months = func() map[string]time.Month {
	out := map[string]time.Month{}
	for m := time.January; m <= time.December; m++ {
		name := strings.ToLower(m.String())
		out[name], out[name[:3]] = m, m
	}
	return out
}()

// month is 0 for what names none.
func month(w string) time.Month { return months[w] }

func day(w string) int {
	n, err := strconv.Atoi(strings.TrimRight(w, "stndrh"))
	if err != nil || n < 1 || n > 31 {
		return 0
	}
	return n
}

func year(w string) int {
	if n, err := strconv.Atoi(w); err == nil && len(w) == 4 && n >= 1900 && n < 2100 {
		return n
	}
	return 0
}

// number reads how many of a unit; 0 for what is no number.
func number(w string) int {
	if n := 1 + slices.Index([]string{"one", "two", "three", "four", "five", "six", "seven", "eight", "nine", "ten"}, w); n > 0 {
		return n
	}
	switch w {
	case "a", "an":
		return 1
	case "couple":
		return 2
	case "few":
		return 3
	}
	if n, err := strconv.Atoi(w); err == nil && n > 0 && n < 1000 {
		return n
	}
	return 0
}
