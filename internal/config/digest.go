package config

import (
	"crypto/hmac"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"reflect"
	"slices"
	"strings"
)

// SectionDigest says what a section of the file is, and nothing of what it says: two are equal where the sections are.
type SectionDigest struct {
	Section string // "mcp_servers"
	Digest  string // 16 hexadecimal digits, which nobody makes without the key; "": it is left out, or empty
}

// sectionDigits is how much of an HMAC-SHA256 a section's digest is, in hexadecimal digits: sections are told from each other by
// it, and with the key alone.
const sectionDigits = 16

// Digests are those of all sections, in the order of Config. They are of what is written in them, secrets too, whence the key; and of
// files, by section: what those hold that it names. The key that seals (seal_key) is left out: what it derives is the key of these.
func (c *Config) Digests(key []byte, files map[string][]string) ([]SectionDigest, error) {
	var out []SectionDigest
	v := reflect.ValueOf(*c)
	for i := range v.NumField() {
		name := v.Type().Field(i).Tag.Get("yaml")
		if name == "" || name == "-" || name == "seal_key" {
			continue
		}
		d := SectionDigest{Section: name}
		if !v.Field(i).IsZero() {
			text, err := json.Marshal([]any{v.Field(i).Interface(), files[name]})
			if err != nil {
				return nil, fmt.Errorf("section %s of the configuration can't be digested: %w", name, err)
			}
			mac := hmac.New(sha256.New, key)
			mac.Write([]byte(name + "\x00"))
			mac.Write(text)
			d.Digest = hex.EncodeToString(mac.Sum(nil))[:sectionDigits]
		}
		out = append(out, d)
	}
	return out, nil
}

// InForce are the digests from a reload on: what no reload takes stays as it was.
func InForce(before, now []SectionDigest) []SectionDigest {
	out := slices.Clone(before)
	for i := range out {
		if slices.Contains(Reloaded(), out[i].Section) {
			out[i] = now[i]
		}
	}
	return out
}

// Differences says in words which sections are others than before: "mcp_servers 0123456789abcdef, oauth left out". Without any before, it is all
// that are there.
func Differences(before, now []SectionDigest) string {
	var said []string
	for i, d := range now {
		was := ""
		if i < len(before) {
			was = before[i].Digest
		}
		switch {
		case d.Digest == was:
		case d.Digest == "":
			said = append(said, d.Section+" left out")
		default:
			said = append(said, d.Section+" "+d.Digest)
		}
	}
	return strings.Join(said, ", ")
}
