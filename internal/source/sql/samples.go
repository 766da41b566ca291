package sql

import (
	"slices"
	"strings"
	"unicode"

	"github.com/stead-dev/stead/internal/database"
	"github.com/stead-dev/stead/internal/sensitive"
)

// sounding are words of names of columns of which no value is shown: they hold secrets, or what somebody is known by.
var sounding = strings.Fields(`
access account address addr adresse answer apikey auth authorization avatar bank bearer bic biometric birth birthdate birthday blood body card cc cell certificate cipher citizen city
comment contact content cookie coordinates credential credentials credit csrf cvc cvv description device diagnosis disability dob document driver email ethnicity expiry face fax fingerprint
firstname first forename geo gender gps handle hash health hmac home iban icd identity imei income ip ipv4 ipv6 jwt key kontonummer lastname last lat latitude legal license licence lng location
login lon longitude mac mail maiden medical message middle mobile mother msisdn name nationality nickname nonce note notes oauth otp owner params passcode passphrase passport passwd password
patient payload pem person personal phone photo pin plate postal postcode private prompt race recovery religion remark remarks salary salt seal secret security seed sessionid session
sex sexuality signature sin social ssh ssn street subject surname swift tax tel telephone telefon text title token totp url user username usr vat vin wage wallet zip pwd pass psk
`)

// sampled are the columns whose values may be looked at.
func sampled(t database.Table) []string {
	if t.View() {
		return nil
	}
	var out []string
	for _, c := range t.Columns {
		if len(c.Values) == 0 && !t.Identifies(c.Name) && countable(c.Type) && !sounds(c.Name) {
			out = append(out, c.Name)
		}
	}
	return out
}

// countable reports whether values of a type are told by few words: texts and truth values. A number that counts something tells nothing by itself.
func countable(kind string) bool {
	kind = strings.ToLower(kind)
	return slices.ContainsFunc([]string{"char", "text", "clob", "string", "bool", "domain"}, func(part string) bool { return strings.Contains(kind, part) }) && !strings.HasSuffix(kind, "[]")
}

// sounds reports whether a column's name has one of those words: parts that _ or another sign, a digit or a capital begins.
func sounds(name string) bool {
	var words []string
	var word strings.Builder
	end := func() {
		if word.Len() > 0 {
			words = append(words, strings.ToLower(word.String()))
			word.Reset()
		}
	}
	before := ' '
	for _, r := range name {
		if !unicode.IsLetter(r) || unicode.IsUpper(r) && unicode.IsLower(before) {
			end()
		}
		if unicode.IsLetter(r) {
			word.WriteRune(r)
		}
		before = r
	}
	end()
	words = append(words, strings.ToLower(strings.Join(words, ""))) // api_key is apikey
	return slices.ContainsFunc(words, func(w string) bool {
		return slices.Contains(sounding, w) || slices.Contains(sounding, strings.TrimSuffix(w, "s")) ||
			slices.ContainsFunc([]string{"password", "passwd", "secret", "token", "email", "phone", "name"}, func(part string) bool { return strings.Contains(w, part) })
	})
}

// shown are the values of columns in which nothing looks like a secret or like personal data.
func shown(t database.Table, values map[string][]string, most int) map[string][]string {
	kinds := slices.Concat(sensitive.Secrets(), sensitive.Personal())
	out := map[string][]string{}
	for _, c := range t.Columns {
		all := values[c.Name]
		if slices.ContainsFunc(all, func(v string) bool { return len(sensitive.Find(v, kinds)) > 0 }) {
			continue
		}
		for _, v := range all[:min(len(all), most+1)] {
			out[c.Name] = append(out[c.Name], database.Clip(v))
		}
	}
	return out
}
