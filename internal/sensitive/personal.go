package sensitive

import (
	"net/netip"
	"strings"
)

// Personal data is found by its form, and where there is one by its check digits: what looks like a card number and does
// not add up is none. None of it goes over the end of a line. Names, addresses and birthdays have no form, and are a
// judge's to find.
//
// Sources: RFC 5321, 4.5.3.1 (lengths of addresses of e-mail); ITU-T E.164; ISO/IEC 7812-1 (Luhn); ISO 13616 and the IBAN
// registry (lengths by country, mod 97 of ISO/IEC 7064); the Social Security Administration's list of numbers never given.

// The kinds of personal data.
const (
	Email      = "email"
	Phone      = "phone" // international: it begins with +
	CreditCard = "credit_card"
	IBAN       = "iban"
	SSN        = "us_ssn"
	IPv4       = "ipv4"
	IPv6       = "ipv6"
)

// Personal are the kinds of personal data.
func Personal() []Kind {
	return []Kind{{Email, emails}, {Phone, phones}, {CreditCard, cards}, {IBAN, ibans}, {SSN, ssns}, {IPv4, ipv4s}, {IPv6, ipv6s}}
}

// Limits of an address of e-mail, in bytes.
const (
	maxLocal  = 64
	maxDomain = 255
)

func emails(text string) (out []Span) {
	for at := 0; ; at++ {
		n := strings.IndexByte(text[at:], '@')
		if n < 0 {
			return out
		}
		at += n
		from := at
		for from > 0 && at-from < maxLocal && (wordly(text[from-1]) || strings.IndexByte(".%+-'", text[from-1]) >= 0) {
			from--
		}
		to := at + 1
		for to < len(text) && to-at <= maxDomain && (wordly(text[to]) && text[to] != '_' || text[to] == '.' || text[to] == '-') {
			to++
		}
		domain := strings.TrimRight(text[at+1:to], ".-")
		dot := strings.LastIndexByte(domain, '.')
		if from == at || dot < 1 || len(domain)-dot < 3 || digit(domain[dot+1]) || strings.Contains(domain, "..") {
			continue
		}
		out = append(out, Span{from, at + 1 + len(domain)})
	}
}

// Digits of an international number (E.164).
const (
	minPhone = 8
	maxPhone = 15
)

func phones(text string) (out []Span) {
	for at := 0; at < len(text); at++ {
		n := strings.IndexByte(text[at:], '+')
		if n < 0 {
			return out
		}
		at += n
		if at > 0 && wordly(text[at-1]) {
			continue
		}
		digits, to, gap := 0, at+1, 0
		for i := at + 1; i < len(text); i++ {
			if digit(text[i]) {
				digits, to, gap = digits+1, i+1, 0
				continue
			}
			if gap++; gap > 2 || strings.IndexByte(" -.()/", text[i]) < 0 {
				break
			}
		}
		if digits < minPhone || digits > maxPhone || text[at+1] == '0' || !apart(text, Span{at, to}) {
			continue
		}
		out = append(out, Span{at, to})
		at = to - 1
	}
	return out
}

// group is a run of digits.
type group struct{ Span }

// groups are the runs of digits from a place on that stand one space or hyphen apart, up to most digits.
func groups(text string, at, most int) (out []group) {
	total := 0
	for at < len(text) && digit(text[at]) {
		to := at
		for to < len(text) && digit(text[to]) {
			to++
		}
		if total += to - at; total > most && len(out) > 0 {
			return out
		}
		out = append(out, group{Span{at, to}})
		if to+1 >= len(text) || text[to] != ' ' && text[to] != '-' {
			return out
		}
		at = to + 1
	}
	return out
}

// Digits of a card's number, and of each of its groups where it is written in some.
const (
	minCard      = 13
	maxCard      = 19
	minCardGroup = 3
)

// cards finds numbers of payment cards: of the networks that begin with 2 to 6, with their check digit.
func cards(text string) (out []Span) {
	for at := 0; at < len(text); at++ {
		if !digit(text[at]) {
			continue
		}
		list := groups(text, at, maxCard)
		to := list[0].To
		if at == 0 || !wordly(text[at-1]) {
			if s, ok := card(text, list); ok {
				out = append(out, s)
				to = s.To
			}
		}
		at = to // what follows a run of digits is none
	}
	return out
}

// card is the longest card's number that begins with the first group.
func card(text string, list []group) (Span, bool) {
	for n := len(list); n > 0; n-- {
		s := Span{list[0].From, list[n-1].To}
		short := false
		for _, g := range list[:n] {
			short = short || n > 1 && g.To-g.From < minCardGroup
		}
		if !short && apart(text, s) && luhn(text[s.From:s.To]) {
			return s, true
		}
	}
	return Span{}, false
}

func luhn(text string) bool {
	if text[0] < '2' || text[0] > '6' {
		return false
	}
	sum, n, same := 0, 0, true
	for i := len(text) - 1; i >= 0; i-- {
		if !digit(text[i]) {
			continue
		}
		d := int(text[i] - '0')
		same = same && text[i] == text[0]
		if n%2 == 1 {
			if d *= 2; d > 9 {
				d -= 9
			}
		}
		sum, n = sum+d, n+1
	}
	return n >= minCard && n <= maxCard && sum%10 == 0 && !same
}

// ibanLengths are the characters of a country's account numbers: the IBAN registry.
const ibanLengths = "AD24AE23AL28AT20AZ28BA20BE16BG22BH22BI27BR29BY28CH21CR22CY28CZ24DE22DJ27DK18DO28EE20EG29ES24FI18FK18FO18FR27GB22GE22GI23GL18GR27GT28" +
	"HR21HU28IE22IL23IQ23IS26IT27JO30KW30KZ20LB28LC32LI21LT20LU20LV21LY25MC27MD24ME22MK19MN20MR27MT31MU30NI28NL18NO15OM23PK24PL28PS29PT25QA29RO24RS22" +
	"RU33SA24SC31SD18SE24SI19SK24SM27SO23ST25SV28TL23TN24TR26UA29VA22VG24XK20YE30"

// ibanLength is how long a country's numbers are; 0: it has none.
func ibanLength(country string) int {
	const entry = 4
	for i := 0; i < len(ibanLengths); i += entry {
		if ibanLengths[i:i+2] == country {
			return int(ibanLengths[i+2]-'0')*10 + int(ibanLengths[i+3]-'0')
		}
	}
	return 0
}

func ibans(text string) (out []Span) {
	for at := 0; at+4 < len(text); at++ {
		// Two letters, two digits: all else is passed over quickly.
		if !digit(text[at+2]) || !digit(text[at+3]) || !letter(text[at]) || !letter(text[at+1]) || at > 0 && wordly(text[at-1]) {
			continue
		}
		want := ibanLength(strings.ToUpper(text[at : at+2]))
		if want == 0 {
			continue
		}
		to, ok := iban(text, at, want)
		if ok && apart(text, Span{at, to}) {
			out = append(out, Span{at, to})
			at = to - 1
		}
	}
	return out
}

// iban reads a number of so many characters, which may stand in groups a space or hyphen apart.
func iban(text string, at, want int) (int, bool) {
	number := make([]byte, 0, 34)
	i := at
	for ; i < len(text) && len(number) < want; i++ {
		switch c := text[i]; {
		case digit(c):
			number = append(number, c)
		case letter(c):
			number = append(number, c&^0x20)
		case (c == ' ' || c == '-') && i+1 < len(text) && text[i+1] != ' ' && text[i+1] != '-':
		default:
			return i, false
		}
	}
	if len(number) < want {
		return i, false
	}
	rest := 0
	for n := range number {
		c := number[(n+4)%len(number)]
		if digit(c) {
			rest = (rest*10 + int(c-'0')) % 97
		} else {
			rest = (rest*100 + int(c-'A') + 10) % 97
		}
	}
	return i, rest == 1
}

// ssns finds social security numbers of the United States, written with hyphens or spaces.
func ssns(text string) (out []Span) {
	const long = len("000-00-0000")
	for at := 0; at+long <= len(text); at++ {
		s := text[at : at+long]
		if sep := s[3]; sep != '-' && sep != ' ' || s[6] != sep {
			continue
		}
		ok := apart(text, Span{at, at + long}) && (at == 0 || text[at-1] != '-') && (at+long == len(text) || text[at+long] != '-')
		for i := range s {
			ok = ok && (digit(s[i]) || i == 3 || i == 6)
		}
		if area := s[:3]; ok && area != "000" && area != "666" && area < "900" && s[4:6] != "00" && s[7:] != "0000" {
			out = append(out, Span{at, at + long})
			at += long - 1
		}
	}
	return out
}

// runs are the spans of text that consist of such bytes and hold one that must be there.
func runs(text string, of func(byte) bool, must byte) (out []Span) {
	for at := 0; at < len(text); {
		n := strings.IndexByte(text[at:], must)
		if n < 0 {
			return out
		}
		s := Span{at + n, at + n}
		for s.From > at && of(text[s.From-1]) {
			s.From--
		}
		for s.To < len(text) && of(text[s.To]) {
			s.To++
		}
		out = append(out, s)
		at = s.To
	}
	return out
}

// trimmed is a span without such bytes at its ends.
func trimmed(text string, s Span, cut string) Span {
	for s.From < s.To && strings.IndexByte(cut, text[s.From]) >= 0 {
		s.From++
	}
	for s.From < s.To && strings.IndexByte(cut, text[s.To-1]) >= 0 {
		s.To--
	}
	return s
}

func ipv4s(text string) (out []Span) {
	for _, s := range runs(text, func(c byte) bool { return digit(c) || c == '.' }, '.') {
		s = trimmed(text, s, ".")
		if a, err := netip.ParseAddr(text[s.From:s.To]); err == nil && a.Is4() && apart(text, s) {
			out = append(out, s)
		}
	}
	return out
}

// minIPv6Digits keeps names of programs such as a::b from being taken for addresses.
const minIPv6Digits = 4

func ipv6s(text string) (out []Span) {
	hexed := func(c byte) bool { return digit(c) || c|0x20 >= 'a' && c|0x20 <= 'f' }
	for _, s := range runs(text, func(c byte) bool { return hexed(c) || c == ':' || c == '.' }, ':') {
		s = trimmed(text, s, ".")
		if s.To-s.From > 2 && text[s.To-1] == ':' && text[s.To-2] != ':' {
			s.To-- // "from 2001:db8::1: it failed"
		}
		n := 0
		for i := s.From; i < s.To; i++ {
			if hexed(text[i]) {
				n++
			}
		}
		if n < minIPv6Digits || !apart(text, s) {
			continue
		}
		if a, err := netip.ParseAddr(text[s.From:s.To]); err == nil && a.Is6() {
			out = append(out, s)
		}
	}
	return out
}
