package egress

import (
	"encoding/binary"
	"errors"
	"io"
)

// hello is what a ClientHello says of where it goes.
type hello struct {
	serverName string // as written; "" when there is none
	// ech: it has the encrypted_client_hello extension. Most that do are only greased, and can't be
	// told from those that mean it. What is read here is the outer name then, and it must be the host
	// of the CONNECT like any other: a client that hides an inner name needs an allowed host that
	// serves as the public name of somebody else's server. That is the same trust as with a Host field
	// inside a tunnel, which nobody sees either.
	ech bool
}

// TLS numbers (RFC 8446, section 5.1 and 4; RFC 6066, section 3; RFC 9849).
const (
	recordHandshake   = 22
	messageHello      = 1
	extensionName     = 0
	extensionECH      = 0xfe0d
	nameTypeHost      = 0
	recordHeaderBytes = 5
	maxRecordBytes    = 1 << 14
)

var (
	errNoTLS   = errors.New("the bytes are not TLS")
	errHello   = errors.New("the ClientHello is malformed")
	errTooLong = errors.New("the ClientHello is too long")
)

// readHello reads the records that hold the ClientHello, however it is cut into them, and returns the
// bytes read, for whoever is to get them.
func readHello(r io.Reader) (raw []byte, h hello, err error) {
	var message []byte
	for {
		header := make([]byte, recordHeaderBytes)
		n, err := io.ReadFull(r, header)
		raw = append(raw, header[:n]...)
		if err != nil {
			return raw, h, noEOF(err)
		}
		if header[0] != recordHandshake || header[1] != 3 {
			return raw, h, errNoTLS
		}
		size := int(binary.BigEndian.Uint16(header[3:]))
		if size == 0 || size > maxRecordBytes {
			return raw, h, errHello // an empty handshake record is forbidden
		}
		if len(message)+size > MaxHelloBytes {
			return raw, h, errTooLong
		}
		fragment := make([]byte, size)
		n, err = io.ReadFull(r, fragment)
		raw = append(raw, fragment[:n]...)
		if err != nil {
			return raw, h, noEOF(err)
		}
		message = append(message, fragment...)
		if body, whole, err := helloBody(message); err != nil {
			return raw, h, err
		} else if whole {
			h, err := parseHello(body)
			return raw, h, err
		}
	}
}

// helloBody returns the message's body once it is there; nothing may follow it.
func helloBody(message []byte) (body []byte, whole bool, err error) {
	if message[0] != messageHello {
		return nil, false, errHello
	}
	if len(message) < 4 {
		return nil, false, nil
	}
	size := int(message[1])<<16 | int(message[2])<<8 | int(message[3])
	if size > MaxHelloBytes {
		return nil, false, errTooLong
	}
	if len(message) > 4+size {
		return nil, false, errHello
	}
	return message[4:], len(message) == 4+size, nil
}

// cut is a cursor over length-prefixed fields; bad stays set once something did not fit.
type cut struct {
	b   []byte
	bad bool
}

func (c *cut) take(n int) []byte {
	if c.bad || n > len(c.b) {
		c.bad = true
		return nil
	}
	out := c.b[:n]
	c.b = c.b[n:]
	return out
}

func (c *cut) number(bytes int) int {
	n := 0
	for _, b := range c.take(bytes) {
		n = n<<8 | int(b)
	}
	return n
}

// vector takes a field whose length stands in front of it, in so many bytes.
func (c *cut) vector(lengthBytes int) cut { return cut{b: c.take(c.number(lengthBytes)), bad: c.bad} }

// parseHello reads the body of a ClientHello. It must parse to its last byte, and no extension may
// stand in it twice: of two server names, the other end could take the other.
func parseHello(body []byte) (hello, error) {
	c := cut{b: body}
	c.take(2 + 32) // version, random
	c.vector(1)    // session
	c.vector(2)    // cipher suites
	c.vector(1)    // compression methods
	if len(c.b) == 0 && !c.bad {
		return hello{}, nil // no extensions
	}
	list := c.vector(2)
	if list.bad || c.bad || len(c.b) > 0 {
		return hello{}, errHello
	}
	var h hello
	seen := map[int]bool{}
	for len(list.b) > 0 {
		kind := list.number(2)
		data := list.vector(2)
		if list.bad || data.bad || seen[kind] {
			return hello{}, errHello
		}
		seen[kind] = true
		switch kind {
		case extensionECH:
			h.ech = true
		case extensionName:
			name, ok := parseName(data)
			if !ok {
				return hello{}, errHello
			}
			h.serverName = name
		}
	}
	return h, nil
}

// parseName reads the one host name of a server_name extension.
func parseName(data cut) (string, bool) {
	list := data.vector(2)
	kind := list.number(1)
	name := list.vector(2)
	ok := !data.bad && len(data.b) == 0 && !list.bad && len(list.b) == 0 && !name.bad && kind == nameTypeHost && len(name.b) > 0
	return string(name.b), ok
}
