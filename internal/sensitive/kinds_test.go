package sensitive

import "strings"

// Secrets look for each kind of secrets by itself: FindSecrets is held against them.
func Secrets() []Kind {
	var out []Kind
	for _, f := range forms() {
		out = append(out, Kind{f.name, f.find})
	}
	return append(out, Kind{"telegram_token", telegramTokens}, Kind{"url_password", urlPasswords}, Kind{NamedSecret, namedSecrets})
}

func telegramTokens(text string) (out []Span) {
	for at := 0; ; at++ {
		n := strings.Index(text[at:], ":AA")
		if n < 0 {
			return out
		}
		at += n
		if s, ok := telegramToken(text, at); ok {
			out = append(out, s)
		}
	}
}

func urlPasswords(text string) (out []Span) {
	for at := 0; ; at++ {
		n := strings.IndexByte(text[at:], ':')
		if n < 0 {
			return out
		}
		at += n
		if s, ok := urlPassword(text, at); ok {
			out = append(out, s)
		}
	}
}

func (f *form) find(text string) (out []Span) {
	for _, begin := range f.begins {
		for at := 0; ; {
			n := strings.Index(text[at:], begin)
			if n < 0 {
				break
			}
			at += n
			s, ok := f.at(text, at)
			if !ok {
				at += len(begin)
				continue
			}
			out = append(out, s)
			at = s.To
		}
	}
	return out
}

func namedSecrets(text string) (out []Span) {
	for at := 0; at < len(text); at++ {
		if c := rare[text[at]]; c != colon && c != sign {
			continue
		}
		if s, ok := namedSecret(text, at); ok {
			out = append(out, s)
			at = s.To - 1
		}
	}
	return append(out, loginPasswords(text)...)
}
