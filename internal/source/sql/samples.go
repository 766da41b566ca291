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
aadhaar access account addr address adresse allergies allergy ansprechpartner answer apikey applicant approver assignee attendee auth author authorization avatar bank bearer beneficiary bic
biometric birth birthdate birthday blood body borrower bsn buyer by caller candidate card caregiver cc cell certificate cipher citizen city client cliente cnp colleague comment consultant
contact content contractor cookie coordinates cpf creator credential credentials credit csrf curp customer cvc cvv debtor delegate dependent description device diagnose diagnosis disability
dni dob doctor document donor driver editor email empleado employee employer ethnicity expiry face facebook father fax fingerprint first firstname forename founder geburtsdatum gender geo
gps guardian guest handle hash health heir hmac home husband iban icd identity imei income instagram insured investor ip ipv4 ipv6 jwt key kontonummer kunde kundin landlord last lastname lat
latitude lawyer legal lender licence license linkedin lng location login lon longitude mac maiden mail manager mandant medical medication medicine member message middle mitarbeiter mobile
mother msisdn nachname name nationality nhs nickname nie nif nino nonce note notes npi nurse oauth occupant ort otp owner params participant pass passcode passenger passphrase passport
passwd password patient payee payer payload pem people person personal pesel phone photo physician pin plate plz postal postcode prenom prescription private prompt psk pupil pwd race
recipient recovery referrer relative religion remark remarks reporter representative requester resident reviewer rut salary salesperson salt seal secret security seed seller sender session
sessionid sex sexuality sibling signature sin social speaker spouse ssh ssn staff strasse street student subject subscriber supervisor surname swift symptom tax teacher tel telefon telegram
telephone tenant text therapist therapy tin title token totp trainee traveller treatment twitter url user username usr vat victim vin visitor volunteer vorname voter wage wallet whatsapp who
wife winner witness worker zip
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

// shown are the values of columns in which nothing looks like a secret or like personal data. One that a single row has may be somebody's, and is not shown.
func shown(t database.Table, sample database.Sample, most int) map[string]database.Shown {
	personal := sensitive.Personal()
	marked := func(v database.SampledValue) bool {
		return len(sensitive.FindSecrets(v.Text)) > 0 || len(sensitive.Find(v.Text, personal)) > 0
	}
	out := map[string]database.Shown{}
	for _, c := range t.Columns {
		all := sample.Values[c.Name]
		if slices.ContainsFunc(all, marked) {
			continue
		}
		var one database.Shown
		for _, v := range all[:min(len(all), most)] {
			if v.Rows > 1 {
				one.Values = append(one.Values, database.Clip(v.Text))
			}
		}
		one.All = sample.Whole && len(one.Values) == len(all)
		out[c.Name] = one
	}
	return out
}
