package audit

import (
	"bytes"
	"encoding/base64"
	"encoding/binary"
	"encoding/hex"
	"strconv"
	"strings"

	"github.com/stead-dev/stead"
)

// How records lie in a database. Most of a record's line are names of fields and the text forms of hashes, ids and times: packed it
// takes a third. What is hashed, exported and sent on is always the line, which Unpack gives back byte by byte.
//
//	packed = 0x01 part*
//	part   = 0x80+n                        the nth of phrases
//	       | packHash   32 bytes           base64 of them, with its padding
//	       | packDigest 32 bytes           hex of them
//	       | packID     16 bytes           hex of them
//	       | packAgain  n                  hex of the nth packID of this record, from 0
//	       | packNumber uvarint            in decimal
//	       | packText   uvarint, bytes     as they are
//
// A line begins with "{" or, of a draft, with a quotation mark: what does not begin with 0x01 is a line that was stored before there
// was this form.
const (
	packed     = 0x01
	packHash   = 0x02
	packDigest = 0x03
	packID     = 0x04
	packAgain  = 0x05
	packNumber = 0x06
	packText   = 0x07
	packPhrase = 0x80
)

// phrases are what lines have in common. Their order is part of the form: new ones are added at the end, and there are 128 at most.
var phrases = []string{
	`{"seq":`, `,"prev":"`, `","at":`, `"at":`, `,"project":"`, `default`, `","principal":{"kind":"`,
	`","principal":{"kind":"user","id":"`, `","principal":{"kind":"service","id":"`, `","principal":{"kind":"agent","id":"`, `","principal":{"kind":"node","id":"`,
	`","role":"`, `","role":"owner`, `","role":"operator`, `","role":"developer`, `","role":"approver`, `","role":"auditor`, `","role":"agent`,
	`","key":"`, `"},"agent":"agent_`, `"},"session":"sess_`, `","session":"sess_`, `"},"action":"`, `","action":"`,
	`","action":"model.call","resource":"`, `","action":"tool.call","resource":"`, `","action":"session.create","resource":"agent_`,
	`","action":"session.write`, `","action":"environment.prepare","resource":"env_`, `","action":"environment.open","resource":"env_`,
	`","action":"environment.save","resource":"env_`, `","action":"environment.suspend","resource":"env_`, `","action":"environment.expire","resource":"env_`,
	`","action":"memory.read`, `","action":"memory.write`, `","action":"credential.use`, `","action":"network.connect`,
	`","resource":"`, `","arguments":"`, `","decision":"allow`, `","decision":"deny`, `","decision":"require_approval`,
	`","by":"`, `","by":"local`, `","by":"role`, `","by":"policy`, `","reason":"`, `,"policies":["`, `","policies":["`, `","version":"`, `"],"version":"`,
	`","request":"req_`, `","from":"`, `","detail":"`, `"}`, `environment/shell`, `agent_`, `sess_`, `env_`, `key_`, `file_`, `vault_`, `mem_`,
	`POST /v1/`, `GET /v1/`, `DELETE /v1/`, `agents/sessions`, `127.0.0.1`,
}

// phrasesFrom are the numbers of phrases by their first byte, the longest first.
var phrasesFrom = func() (out [256][]int) {
	for n, p := range phrases {
		list := &out[p[0]]
		at := 0
		for at < len(*list) && len(phrases[(*list)[at]]) >= len(p) {
			at++
		}
		*list = append(*list, 0)
		copy((*list)[at+1:], (*list)[at:])
		(*list)[at] = n
	}
	return out
}()

const (
	idDigits     = 32
	digestDigits = 64
	hashDigits   = 44
	// minNumber is the shortest number that is shorter as such.
	minNumber = 4
	maxNumber = 18
	maxAgain  = 255
)

// Pack is a line, or a draft, as it is stored. It is the line itself where packing gains nothing.
func Pack(line []byte) []byte {
	p := packer{out: append(make([]byte, 0, len(line)/2), packed)}
	for at := 0; at < len(line); {
		n := p.part(line[at:])
		if n == 0 {
			p.text = append(p.text, line[at])
			n = 1
		}
		at += n
	}
	p.flush()
	if back, err := Unpack(p.out); err != nil || len(p.out) >= len(line) || !bytes.Equal(back, line) {
		return line
	}
	return p.out
}

type packer struct {
	out  []byte
	text []byte   // as it is, not yet written
	ids  [][]byte // in hex
}

// part packs what the line goes on with, and says how much of it that is; 0: nothing.
func (p *packer) part(rest []byte) int {
	for _, n := range phrasesFrom[rest[0]] {
		if bytes.HasPrefix(rest, []byte(phrases[n])) {
			p.flush()
			p.out = append(p.out, packPhrase+byte(n))
			return len(phrases[n])
		}
	}
	if n := run(rest, "0123456789"); n >= minNumber && n <= maxNumber && rest[0] != '0' && hexRun(rest) == n {
		var v uint64
		for _, d := range rest[:n] {
			v = 10*v + uint64(d-'0')
		}
		p.flush()
		p.out = binary.AppendUvarint(append(p.out, packNumber), v)
		return n
	}
	switch hexRun(rest) {
	case idDigits:
		return p.id(rest[:idDigits])
	case digestDigits:
		p.flush()
		p.out, _ = hex.AppendDecode(append(p.out, packDigest), rest[:digestDigits])
		return digestDigits
	}
	if len(rest) > hashDigits && rest[hashDigits] == '"' && rest[hashDigits-1] == '=' {
		var h Hash
		if h.UnmarshalText(rest[:hashDigits]) == nil {
			p.flush()
			p.out = append(append(p.out, packHash), h[:]...)
			return hashDigits
		}
	}
	return 0
}

func (p *packer) id(digits []byte) int {
	p.flush()
	for i, had := range p.ids[:min(len(p.ids), maxAgain+1)] {
		if bytes.Equal(had, digits) {
			p.out = append(p.out, packAgain, byte(i))
			return idDigits
		}
	}
	p.ids = append(p.ids, digits)
	p.out, _ = hex.AppendDecode(append(p.out, packID), digits)
	return idDigits
}

func (p *packer) flush() {
	if len(p.text) == 0 {
		return
	}
	p.out = binary.AppendUvarint(append(p.out, packText), uint64(len(p.text)))
	p.out = append(p.out, p.text...)
	p.text = p.text[:0]
}

// run is how many of the first bytes are of a set, as far as that matters.
func run(b []byte, of string) int {
	b = b[:min(len(b), digestDigits+1)]
	for n, c := range b {
		if strings.IndexByte(of, c) < 0 {
			return n
		}
	}
	return len(b)
}

func hexRun(b []byte) int { return run(b, "0123456789abcdef") }

// Unpack is the inverse of Pack; KindInternal for what is neither.
func Unpack(stored []byte) ([]byte, error) {
	if len(stored) == 0 || stored[0] != packed {
		return stored, nil
	}
	const grows = 4 // a packed line to a line, roughly
	u := unpacker{rest: stored[1:], out: make([]byte, 0, grows*len(stored))}
	for len(u.rest) > 0 && !u.bad {
		u.part()
	}
	if u.bad {
		return nil, stead.Errorf(stead.KindInternal, "a stored audit record can't be read")
	}
	return u.out, nil
}

type unpacker struct {
	rest, out []byte
	ids       [][]byte
	bad       bool
}

func (u *unpacker) part() {
	kind := u.rest[0]
	u.rest = u.rest[1:]
	switch {
	case kind >= packPhrase && int(kind-packPhrase) < len(phrases):
		u.out = append(u.out, phrases[kind-packPhrase]...)
	case kind == packHash:
		u.out = base64.StdEncoding.AppendEncode(u.out, u.take(len(Hash{})))
	case kind == packDigest:
		u.out = hex.AppendEncode(u.out, u.take(digestDigits/2))
	case kind == packID:
		id := u.take(idDigits / 2)
		u.ids, u.out = append(u.ids, id), hex.AppendEncode(u.out, id)
	case kind == packAgain:
		if n := u.take(1); !u.bad && int(n[0]) < len(u.ids) {
			u.out = hex.AppendEncode(u.out, u.ids[n[0]])
		} else {
			u.bad = true
		}
	case kind == packNumber:
		u.out = strconv.AppendUint(u.out, u.uvarint(), 10)
	case kind == packText:
		u.out = append(u.out, u.take(int(min(u.uvarint(), MaxRecordBytes)))...)
	default:
		u.bad = true
	}
}

func (u *unpacker) take(n int) []byte {
	if n > len(u.rest) {
		u.bad = true
		return nil
	}
	var out []byte
	out, u.rest = u.rest[:n], u.rest[n:]
	return out
}

func (u *unpacker) uvarint() uint64 {
	v, n := binary.Uvarint(u.rest)
	if n <= 0 {
		u.bad = true
		return 0
	}
	u.rest = u.rest[n:]
	return v
}
