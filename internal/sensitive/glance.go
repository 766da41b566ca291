package sensitive

import "strings"

// FindSecrets is Find for what has the form of a secret.
func FindSecrets(text string) []Found {
	if !MayHoldSecrets(text) {
		return nil
	}
	return Find(text, Secrets())
}

// MayHoldSecrets is a glance at a text, in one pass: where it is false, Find finds no secrets. Nearly all texts have none, and looking for each kind by itself
// takes twenty times as long.
func MayHoldSecrets(text string) bool {
	for i := range len(text) {
		if rare[text[i]] && secretAt(text, i) {
			return true
		}
	}
	return false
}

// rare are bytes of which every form has one near its beginning.
var rare = [256]bool{'-': true, '_': true, 'A': true, 'J': true, '/': true}

// secretAt reports whether the rare byte at a place stands in the beginning of a form.
func secretAt(text string, i int) bool {
	before := text[max(0, i-len("github_pat")) : i+1]
	switch text[i] {
	case '-':
		return strings.HasSuffix(before, "sk-") || strings.HasSuffix(before, "glpat-") || len(before) > 4 && before[len(before)-5:len(before)-2] == "xox" || strings.HasPrefix(text[i:], "-----BEGIN ")
	case '_':
		return len(before) > 3 && before[len(before)-4:len(before)-2] == "gh" || strings.HasSuffix(before, "npm_") || strings.HasSuffix(before, "k_live_") || strings.HasSuffix(before, "github_pat_")
	case 'A':
		rest := text[i:]
		return strings.HasPrefix(rest, "AKIA") || strings.HasPrefix(rest, "ASIA") || strings.HasPrefix(rest, "AIza")
	case 'J':
		return strings.HasSuffix(before, "eyJ")
	}
	from := strings.LastIndexByte(before, ':') // of "://", and before is longer than that with escapes
	if from < 0 || schemeEnd(before[from:]) != len(before)-from {
		return false
	}
	return len(urlPasswords(text[i+1-len(before)+from:min(len(text), i+1+maxUserInfo)])) > 0
}
