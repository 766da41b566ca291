package recall

import (
	"slices"
	"time"
)

// asked reads expressions that a question means a time with, and that a text which tells something means none in particular with: "in summer",
// "around Christmas", "since October", "before May 2025", "Q2 2026", "earlier this year", "on Monday", "on 14 March". What is of no year is the last that began.
func (r *reader) asked(i int, today time.Time) (from, to time.Time, n int) {
	w := r.word(i)
	if w == "earlier" && r.word(i+1) == "this" && r.word(i+2) == "year" {
		return time.Date(today.Year(), 1, 1, 0, 0, 0, 0, time.UTC), today.AddDate(0, 0, 1), 3
	}
	if w == "on" {
		return r.onDay(i, today)
	}
	if !slices.Contains([]string{"in", "during", "over", "at", "around", "since", "before", "until", "after"}, w) {
		return r.stated(i, today)
	}
	at := i + 1
	if r.word(at) == "the" {
		at++
	}
	if from, to, n = r.stated(at, today); n == 0 {
		from, to, n = r.date(at)
	}
	if n == 0 {
		first, long, ok := season(r.word(at))
		if !ok || r.word(at) == "may" && w != "in" && w != "since" { // "before may I …"
			return
		}
		from = begun(today, func(year int) time.Time { return time.Date(year, first, 1, 0, 0, 0, 0, time.UTC) })
		to, n = from.AddDate(0, long, 0), 1
	}
	n += at - i
	switch w {
	case "since":
		return from, today.AddDate(0, 0, 1), n
	case "after":
		return to, today.AddDate(0, 0, 1), n
	case "before", "until":
		return time.UnixMilli(1), from, n // 0 is no time
	}
	return from, to, n
}

// onDay reads "on Monday", "on 14 March" and "on March 14th", the last one that there was. What has a year is a date.
func (r *reader) onDay(i int, today time.Time) (from, to time.Time, n int) {
	a, b := r.word(i+1), r.word(i+2)
	d, m := day(a), month(b)
	if m == 0 {
		d, m = day(b), month(a)
	}
	switch wd := slices.Index(weekdays(), a); {
	case wd >= 0:
		from, n = today.AddDate(0, 0, -(int(today.Weekday())-wd+7)%7), 2
	case d > 0 && m > 0 && year(r.word(i+3)) == 0:
		from, n = begun(today, func(year int) time.Time { return time.Date(year, m, d, 0, 0, 0, 0, time.UTC) }), 3
	}
	return from, from.AddDate(0, 0, 1), n
}

// stated reads a feast or a quarter, with its year or without.
func (r *reader) stated(i int, today time.Time) (from, to time.Time, n int) {
	var start func(year int) time.Time
	days, months := 0, 0
	switch w := r.word(i); w {
	case "christmas", "xmas":
		start, days = func(year int) time.Time { return time.Date(year, time.December, 18, 0, 0, 0, 0, time.UTC) }, 14
	case "easter":
		start, days = func(year int) time.Time { return easter(year).AddDate(0, 0, -7) }, 15
	case "q1", "q2", "q3", "q4":
		first := time.Month(w[1]-'1')*3 + time.January
		start, months = func(year int) time.Time { return time.Date(year, first, 1, 0, 0, 0, 0, time.UTC) }, 3
	default:
		return
	}
	if y := year(r.word(i + 1)); y > 0 {
		from, n = start(y), 2
	} else {
		from, n = begun(today, start), 1
	}
	return from, from.AddDate(0, months, days), n
}

// begun is the last beginning of what comes each year.
func begun(today time.Time, start func(year int) time.Time) time.Time {
	if from := start(today.Year()); !from.After(today) {
		return from
	}
	return start(today.Year() - 1)
}

// easter is Easter Sunday (the Gregorian computus, Anonymous, "Nature" 1876).
func easter(year int) time.Time {
	a, b, c := year%19, year/100, year%100
	d, e, f := b/4, b%4, (b+8)/25
	g := (b - f + 1) / 3
	h := (19*a + b - d - g + 15) % 30
	l := (32 + 2*e + 2*(c/4) - h - c%4) % 7
	m := (a + 11*h + 22*l) / 451
	n := h + l - 7*m + 114
	return time.Date(year, time.Month(n/31), n%31+1, 0, 0, 0, 0, time.UTC)
}
