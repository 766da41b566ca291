package extract

import (
	"maps"
	"regexp"
	"slices"
	"strings"
	"sync"
	"unicode/utf8"

	"github.com/stead-dev/stead/internal/sensitive"
)

// How people and commands say what a secret is, besides "the password is …" (secret.go): in assignments, options of commands, beside a
// name, and in sentences. Where the words around it leave open whether it is one, the value must look like a password (likely).

// said are those patterns. Of each what its first group has stays.
var said = sync.OnceValue(func() []secret {
	out := []secret{
		// DB_PASS=…, PGPASSWORD=…, "password": "…", pass: …
		is(concrete, `((?:^|[^\pL\pN])(?:[\pL\pN_.-]*[_.-])?pass`+quoteMark+`\s*=\s*`+quoteMark+`)`+word, "pass"),
		odd(likely, `((?:^|[^\pL\pN])(?:[\pL\pN_.-]*[_.-])?pass`+quoteMark+`\s*:\s*`+quoteMark+`)`+word, "pass"),
		is(concrete, `((?:^|[^\pL\pN])[\pL\pN_.-]*(?:password|passwd|passphrase|passwort|kennwort|contraseña|senha|pwd)`+quoteMark+`\s*(?:=>?|:)\s*`+quoteMark+`)`+word, "pass", "kennwort", "contrase", "senha", "pwd"),
		is(concrete, `(<(?:\w+:)?(?:password|passwd|pwd)>)(?P<value>[^<]+)`, "<"),
		odd(key, `((?:^|[^\pL\pN])[\pL\pN_.-]*(?:token|secret|api[_-]?key|access[_-]?key|private[_-]?key|secret[_-]?key|cookie)`+quoteMark+`\s*(?:=>?|:)\s*`+quoteMark+`)`+word, "token", "secret", "key", "cookie"),
		odd(key, `(^|[^\pL\pN])(?:token|jeton|ficha|токен)`+whose+saysIt(`is|was|ist|lautet|est|es|é|è|jest|to|это`)+word, "token", "jeton", "ficha", "токен"),
		// Options of commands.
		is(noNumbers, `((?:^|\s)(?:-u|--user|--proxy-user)(?:\s+|=)["'`+"`"+`]?[^\s:"'`+"`"+`/]+:)`+word, "-u", "--user", "--proxy-user"),
		is(concrete, `(\bsshpass\s+-p\s*`+quoteMark+`)`+word, "sshpass"),
		is(concrete, `(\b(?:mysql\w*|mariadb[\w-]*)\s[^\n|;]*?-p`+quoteMark+`)(?P<value>[^\s"'`+"`"+`-][^\s"'`+"`"+`]*)`, "mysql", "mariadb"),
		is(concrete, `(--(?:password|passwd|pass|pwd)=`+quoteMark+`)`+word, "--pass", "--pwd"),
		odd(likely, `(--(?:password|passwd|pass|pwd|token|secret|api-?key|[a-z]+-token)[ =]`+quoteMark+`)`+word, "--"),
		// Sentences.
		is(plainly, `(^|[^\pL\pN])(?:password|passphrase|pass ?code|pwd|pw)(?:'s|’s)\s+(?:still\s+|now\s+)?`+word, "'s ", "’s "),
		is(plainly, `(^|[^\pL\pN])(?:with|using|by|and)\s+(?:(?:the|a|my|our|its|your)\s+)?(?:password|passphrase|pass ?code|pwd|pw)\s+`+word, "pass", "pw"),
		is(plainly, `(^|[^\pL\pN])password of `+word, "password of"),
		is(asPassword, `(^|[^\pL\pN])(?:use[sd]?|using|enter|type|try|chose|picked)\s+(?P<value>\S+)\s+(?:as|for)\s+(?:(?:the|a|my|our|its|your|his|her|their)\s+)?(?:[\pL-]+\s+)?(?:password|passphrase|pass ?code)\b`, "pass"),
		odd(likely, `(^|\s)(?P<value>\S+)\s+(?:as|als|comme|como|come|jako|как|як)\s+(?:\pL+\s+){0,2}(?:`+anyPassword()+`)`, wordHints()...),
		odd(likely, `(\b(?:wi-?fi|wlan|hotspot|router|network)\b[^.\n]{0,40}\s)(?P<value>\S+)\s+(?:as|als|comme|como|come)\s+(?:\pL+\s+){0,2}(?:key|schlüssel|clé|clave|chave|chiave)\b`, "wi-fi", "wifi", "wlan", "hotspot", "router", "network"),
		odd(likely, `(^|[^\pL\pN])(?:log-?in|credentials?|creds|zugang|zugangsdaten|identifiants?|credenciales|credenziali)(?:\s+\pL+){0,3}?(?:\s*[:=]|\s+(?:is|are|ist|lautet|lauten|sind|est|sont|es|son|sono))?\s+[^\s/:]+\s*[/:]\s*(?P<value>[^\s/"'`+"`"+`]*[^\s/"'`+"`"+`.,;!?])`, "login", "log-in", "cred", "zugang", "identifiant"),
		odd(likely, `(\blog(?:s|ged|ging)?[ -]?(?:in|on)\s+(?:with|as|using)\s+[^\s,]+(?:,|\s+and|\s*/|\s*:)\s*)`+word, "log"),
		// What has a name of its own.
		odd(nil, `(^|[^\pL\pN])(?:cvv2?|cvc2?|card (?:security|verification) (?:code|number|value)|(?:karten)?prüf(?:nummer|ziffer)|cryptogramme(?: visuel)?|código de seguridad|código de segurança|codice di sicurezza|код безопасности)(?:\s+(?:code|number|no\.?))?`+codeSign+`\pN{3,4}\b`, "cvv", "cvc", "card", "prüf", "cryptogramme", "código", "codice", "код"),
		odd(nil, `(^|[^\pL\pN])(?:ssn|social security(?: number| no\.?)?)`+codeSign+`\pN{3}[- ]?\pN{2}[- ]?\pN{4}\b`, "ssn", "social security"),
		odd(nil, `(^|[^\pL\pN])(?:otp|totp|one[- ]time (?:code|pass ?word|pass ?code|pin)|einmal(?:code|passwort)|tan)(?:\s+(?:code|for|from)(?:\s+\pL+){0,3})?`+codeSign+`\pN{4,8}\b`, "otp", "one", "einmal", "tan"),
		odd(withNumber, `(^|[^\pL\pN])(?:(?:2fa|mfa|verification|backup|recovery|security|authentication|authenticator|login|sms|activation|unlock(?:ing)?)[ -]){1,2}codes?(?:\s+(?:for|of|from|to)(?:\s+\pL+){1,3})?`+codeSign+word, "code"),
		odd(withNumber, `(^|[^\pL\pN])(?:bestätigungscode|sicherheitscode|wiederherstellungscode|code de (?:vérification|sécurité|récupération)|código de (?:verificación|seguridad|recuperación|verificação|segurança|recuperação)|codice di (?:verifica|sicurezza|recupero)|kod weryfikacyjny|verificatiecode|код подтверждения)`+codeSign+word, "code", "código", "codice", "kod", "код"),
		is(concrete, `(^|[^\pL\pN])(?:(?:recovery|seed|backup|mnemonic|secret) (?:phrase|words)|wiederherstellungsphrase|phrase (?:de récupération|secrète)|frase (?:semilla|de recuperación|de recuperação|di recupero|segreta)|fraza odzyskiwania|herstelzin|сид-фраза)`+whose+saysIt(`is|are|was|ist|lautet|est|es|é|è|to|это`)+value+sentence, "phrase", "words", "frase", "fraza", "herstelzin", "фраза"),
	}
	for _, c := range changes() {
		out = append(out, is(plainly, `(^|[^\pL\pN])`+c+word, wordHints()...))
	}
	return append(out, odd(likely, `(^|[^\pL\pN])(?:`+anyPassword()+`)\s+`+word, wordHints()...))
})

// oddOnes are what no word of a language has within it.
const oddOnes = "0123456789!#$%&*+?^~|"

// Bytes of a text that are looked at around a hint: it may stand behind the value, or in front of a few words and the value.
const beforeHint, afterHint = 160, 320

// maskSaid takes what the patterns of said find out of a text. They are slow, and their hints are not rare: they are tried around these alone.
func maskSaid(text string, found *bool) string {
	lower, at := strings.ToLower(text), hintsAt{}
	for _, p := range said() {
		var out strings.Builder
		kept := 0
		for _, w := range p.around(lower, at) {
			if len(lower) != len(text) { // places differ
				w = sensitive.Span{From: 0, To: len(text)}
			}
			if p.odd && !strings.ContainsAny(text[w.From:w.To], oddOnes) {
				continue
			}
			hit := false
			masked := p.without(text[w.From:w.To], &hit)
			if hit {
				out.WriteString(text[kept:w.From] + masked)
				kept, *found = w.To, true
			}
			if len(lower) != len(text) {
				break
			}
		}
		if kept > 0 {
			text = out.String() + text[kept:]
			lower, at = strings.ToLower(text), hintsAt{}
		}
	}
	return text
}

// hintsAt are where the hints of patterns end in a text, as far as they were looked for: patterns share most of them.
type hintsAt map[string][]int

func (h hintsAt) of(lower, hint string) []int {
	all, looked := h[hint]
	if looked {
		return all
	}
	for at := 0; ; {
		n := strings.Index(lower[at:], hint)
		if n < 0 {
			h[hint] = all
			return all
		}
		at += n + len(hint)
		all = append(all, at)
	}
}

// around are the places of a text, of small letters, that are near a hint, in their order. They begin and end between words.
func (s *secret) around(lower string, hints hintsAt) []sensitive.Span {
	var all []sensitive.Span
	for _, h := range s.hints {
		for _, at := range hints.of(lower, h) {
			from, to := max(0, at-len(h)-beforeHint), min(len(lower), at+afterHint)
			for from > 0 && !blank(lower[from-1]) && from > at-2*beforeHint {
				from--
			}
			for to < len(lower) && !blank(lower[to]) && to < at+2*afterHint {
				to++
			}
			for from > 0 && !utf8.RuneStart(lower[from]) {
				from--
			}
			for to < len(lower) && !utf8.RuneStart(lower[to]) {
				to++
			}
			all = append(all, sensitive.Span{From: from, To: to})
		}
	}
	slices.SortFunc(all, func(a, b sensitive.Span) int { return a.From - b.From })
	var out []sensitive.Span
	for _, w := range all {
		if n := len(out); n > 0 && w.From <= out[n-1].To {
			out[n-1].To = max(out[n-1].To, w.To)
			continue
		}
		out = append(out, w)
	}
	return out
}

func blank(c byte) bool { return c == ' ' || c == '\n' || c == '\t' || c == '\r' }

// changes say that a password is another one from now on, up to the value, in some languages.
func changes() []string {
	const few, from = `(?:\s+[^\s:=.,;!?]+){0,6}?`, `(?:(?:from|von|de|da|z|van|с)\s+\S+\s+)?`
	const set = `(?:set|sets|setting|changed?|changes|changing|reset|resetting|updated?|switch(?:ed)?|rotated?|renamed?)`
	return []string{
		`(?:passwords?|passphrase|pass ?code|pwd|pw)` + few + `\s+` + set + `\s+(?:back\s+)?` + from + `(?:to|into)\s+`,
		set + few + `\s+(?:password|passphrase|pass ?code|pwd|pw)` + few + `\s+` + from + `(?:to|into)\s+`,
		`(?:passwort|kennwort)` + few + `\s+(?:auf|in|zu)\s+`,
		`(?:chang|mis|modifi|défini|remplac)\pL*` + few + `\s+mots? de passe` + few + `\s+` + from + `(?:en|à|par|pour)\s+`,
		`(?:cambi|pus|actuali|modifi|mud|alter|troqu|defin)\pL*` + few + `\s+(?:contraseña|clave de acceso|senha|palavra-passe)` + few + `\s+` + from + `(?:a|por|para|en|como)\s+`,
		`(?:cambi|impost|modific)\pL*` + few + `\s+(?:password|parola d'ordine)` + few + `\s+` + from + `(?:in|a|con)\s+`,
		`wachtwoord` + few + `\s+` + from + `(?:naar|in|op)\s+`,
		`(?:zmieni|ustawi)\pL*` + few + `\s+hasło` + few + `\s+` + from + `na\s+`,
		`(?:смени|измени|поменя|установи|постави|зміни|встанови)\pL*` + few + `\s+парол\pL*` + few + `\s+` + from + `на\s+`,
	}
}

const (
	// quoteMark is one around a value, which may stand in a text of JSON itself.
	quoteMark = `\\?["'` + "`" + `„“«]?`
	// word is a value of one word.
	word = `["'` + "`" + `„“«]?(?P<value>[^\s"'` + "`" + `\\]*[^\s"'` + "`" + `\\.,;!?)}\]])`
	// codeSign stands between the name of a number and the number.
	codeSign = `(?:\s*(?:=|:|->|→|—|–)\s*|\s+-\s+|\s+(?:(?:is|was|are|ist|lautet|est|es|é|è|jest|to|это)\s+)?)`
)

// wordHints are how those words begin.
func wordHints() []string {
	return []string{"pass", "pwd", "pswd", "pw ", "kennwort", "mot de", "mots de", "contrase", "clave de", "senha", "palavra", "parol", "hasło", "wachtwoord", "парол", "şifre", "lösenord", "heslo", "jelsz", "κωδικ", "συνθημ"}
}

// anyPassword is the word for one, in any of the languages.
func anyPassword() string {
	return strings.Join(slices.Sorted(maps.Keys(passwords())), "|")
}

// judge says whether a value that stands where a secret would is one, by what it is and what follows it.
type judge func(value, rest string) bool

func is(j judge, pattern string, hints ...string) secret {
	return secret{Regexp: regexp.MustCompile(`(?i)` + pattern), hints: hints, judge: j}
}

// odd is a pattern whose value has numbers or signs.
func odd(j judge, pattern string, hints ...string) secret {
	s := is(j, pattern, hints...)
	s.odd = true
	return s
}

// concrete is everything but what stands for a value, or says something about it.
func concrete(value, rest string) bool {
	const shortest = 3
	if onlyDigits(value) && len(value) <= shortest {
		return false // passed: 12
	}
	return !strings.ContainsAny(value[:1], "/~$<%{*([.•") && !strings.HasSuffix(value, "()") && !saysOfIt(value, rest)
}

func noNumbers(value, rest string) bool { return !onlyDigits(value) && concrete(value, rest) }

// withNumber is a code: it has a number.
func withNumber(value, rest string) bool {
	const shortest = 4
	return len(value) >= shortest && strings.ContainsAny(value, "0123456789") && concrete(value, rest)
}

// key is a value that nobody would have chosen for its sound.
func key(value, rest string) bool {
	const shortest = 12
	return len(value) >= shortest && likely(value, rest)
}

// plainly is a value that looks like a password, or is the last word of what says so.
func plainly(value, rest string) bool {
	return likely(value, rest) || concrete(value, rest) && !purposes()[strings.ToLower(value)] && !strings.ContainsAny(value, "/@") && ends(rest)
}

// asPassword is a value that is used as one, and no manager of them.
func asPassword(value, rest string) bool {
	next := passwordAnd().FindStringSubmatch(rest)
	return concrete(value, rest) && !purposes()[strings.ToLower(value)] && (next == nil || !slices.Contains(behindPassword(), strings.ToLower(next[1])))
}

var passwordAnd = sync.OnceValue(func() *regexp.Regexp {
	return regexp.MustCompile(`(?i)^[^.\n]*?(?:password|passphrase|pass ?code)\s+(\pL+)`)
})

// likely is a word that has no language: letters with numbers or signs among them, or a number.
func likely(value, rest string) bool {
	const shortest = 4
	value = strings.Trim(value, `.,;:!?()[]{}<>`)
	if len(value) < shortest || !concrete(value, rest) || notPasswords().MatchString(value) {
		return false
	}
	if next := nextWord().FindStringSubmatch(rest); next != nil && slices.Contains(behindPassword(), strings.ToLower(next[1])) {
		return false
	}
	letters := strings.IndexFunc(value, func(r rune) bool { return r|0x20 >= 'a' && r|0x20 <= 'z' || r > 0x7f }) >= 0
	return letters && strings.ContainsAny(value, oddOnes) || onlyDigits(value)
}

// notPasswords have letters and numbers, and are names of methods, products, versions, places, years, amounts.
var notPasswords = sync.OnceValue(func() *regexp.Regexp {
	return regexp.MustCompile(`(?i)^(?:v?\pN+(?:[.,]\pN+)*\pL?|\pN+(?:st|nd|rd|th|ms|s|h|kb|mb|gb|px|pt|d|x|k)|\pN+-?[\pL-]+|(?:19|20)\pN\pN|\S*@\S+\.\S+|\S+://\S*|[^\s=]*/\S*|(?:sha|md|base|aes|rsa|utf|argon|bcrypt|pbkdf|oauth|openid|win|windows|office|microsoft|o|http|ipv|web|sess_|msg_|mem_|resp_|call_|conv_|file_)-?\pN[\pN\pLa-z_-]*|&\pL+|c\+\+|q&a|r&d)$`)
})

var nextWord = sync.OnceValue(func() *regexp.Regexp { return regexp.MustCompile(`^\s+(\pL+)`) })

// ends reports whether a sentence, or a part of it, ends before the rest.
func ends(rest string) bool {
	rest = strings.TrimLeft(rest, "\"'`”“»)")
	return rest == "" || strings.ContainsAny(rest[:1], ".,;!?\n")
}

func onlyDigits(s string) bool {
	return strings.Trim(s, "0123456789") == ""
}

// behindPassword are words that follow the word for a password in names of other things.
func behindPassword() []string {
	return strings.Fields("manager managers store vault safe generator policy policies hint hints hash hashes hashing authentication auth protection login logins reset resets " +
		"rule rules prompt prompts field fields strength rotation expiry storage sharing change changes recovery requirements requirement security encryption database file entry list access " +
		"guidelines problems issues trouble only alone form page fatigue length characters")
}

// saysOfIt reports whether a word where a password would stand says something about passwords instead. Words that could be the first of
// several do when nothing follows that they would be said of.
func saysOfIt(value, rest string) bool {
	value = strings.ToLower(strings.Trim(value, ".,;:!?()[]{}"))
	if value == "" || littleWords()[value] {
		return true
	}
	next := nextWord().FindStringSubmatch(rest)
	return (aboutPasswords()[value] || slices.Contains(behindPassword(), value)) && (next == nil || littleWords()[strings.ToLower(next[1])])
}

// littleWords begin no password, in the languages of passwords().
var littleWords = sync.OnceValue(func() map[string]bool {
	return setOf("not never always only still already being also too very so now at in on under with within from for of by as about up out no none null nil what why how where when which who it its this that these those them they " +
		"to again because if and or but is was are be every each once since until after before then than " +
		"nicht nie immer nur noch schon zu sehr im bei auf mit von für seit und oder aber ist war wird mindestens keine " +
		"pas plus trop dans sur et ou est depuis nunca demasiado en siempre muy y o es desde não sempre muito na em e é non troppo sempre molto nel nella è da nie za jest i niet te op met en не в на и с у")
})

// aboutPasswords are what is said of one.
var aboutPasswords = sync.OnceValue(func() map[string]bool {
	return setOf("required needed wanted asked mandatory optional changed expired wrong incorrect correct right invalid valid reset set stored kept saved missing forgotten lost gone unknown known empty blank weak strong long " +
		"short longer shorter hashed encrypted masked hidden visible shown sent shared managed rotated generated checked accepted rejected refused denied disabled enabled locked blocked case-sensitive sensitive secret secure " +
		"insecure safe unsafe private public confidential different new old temporary default temporarily deprecated obsolete approved printed read supported unsupported ignored used unused passed given provided supplied typed entered logged printed echoed cached synced undefined true false string str text varchar one something anything somebody someone yours mine itself " +
		"abgelaufen falsch richtig ungültig gültig geändert gespeichert vergessen weg leer nötig erforderlich notwendig unbekannt bekannt verschlüsselt sicher unsicher gesperrt " +
		"expiré incorrect obligatoire oublié perdu faux requis changé invalide inconnu nécessaire chiffré " +
		"caducada incorrecta obligatoria olvidada perdida necesaria cambiada desconocida cifrada inválida segura expirada incorreta obrigatória esquecida necessária errada " +
		"scaduta errata sbagliata obbligatoria dimenticata persa richiesta sicura necessaria cambiata " +
		"wygasło błędne wymagane verlopen onjuist fout vereist vergeten неверный истёк истек нужен забыт изменён")
})

// purposes are words behind "a password to …", "… with the password": what it is for, or whose.
var purposes = sync.OnceValue(func() map[string]bool {
	return setOf("the a an my our your his her their get have make avoid keep log login use see do go try let protect access expire stay work continue proceed der die das dem den ein eine einen mein le la les un une el los las una o os as um uma il lo gli het een de")
})

func setOf(words string) map[string]bool {
	out := map[string]bool{}
	for w := range strings.FieldsSeq(words) {
		out[w] = true
	}
	return out
}
