package egress

import (
	"bufio"
	"errors"
	"io"
	"strconv"
	"strings"
)

// errChunk: a chunked body is malformed.
var errChunk = errors.New("the chunked body is malformed")

// body reads the body of a request; io.EOF at its end, io.ErrUnexpectedEOF when it is cut off.
func (f framing) body(r *bufio.Reader) io.Reader {
	if f.chunked {
		return &chunks{r: r}
	}
	return &exactly{r, f.length}
}

// exactly reads n bytes.
type exactly struct {
	r    io.Reader
	left int64
}

func (e *exactly) Read(b []byte) (int, error) {
	if e.left == 0 {
		return 0, io.EOF
	}
	n, err := e.r.Read(b[:min(int64(len(b)), e.left)])
	e.left -= int64(n)
	if errors.Is(err, io.EOF) && e.left > 0 {
		err = io.ErrUnexpectedEOF
	}
	return n, err
}

// chunks decodes the chunked coding strictly: sizes are hexadecimal digits, lines end with CR LF.
// Extensions and trailers are read, bounded, and dropped. The proxy writes its own chunks, so that
// the other end reads exactly what was read here.
type chunks struct {
	r    *bufio.Reader
	left int64 // of the chunk
	any  bool  // a chunk was begun, and its CR LF is still to come
	end  bool
}

func (c *chunks) Read(b []byte) (int, error) {
	if c.left == 0 && !c.end {
		if err := c.next(); err != nil {
			return 0, noEOF(err)
		}
	}
	if c.end {
		return 0, io.EOF
	}
	n, err := c.r.Read(b[:min(int64(len(b)), c.left)])
	c.left -= int64(n)
	return n, noEOF(err)
}

func (c *chunks) next() error {
	if c.any {
		if line, err := c.line(); err != nil || line != "" {
			return errors.Join(errChunk, err)
		}
	}
	line, err := c.line()
	if err != nil {
		return err
	}
	digits, _, _ := strings.Cut(line, ";")
	digits = strings.TrimRight(digits, " \t")
	if digits == "" || len(digits) > 15 || strings.Trim(digits, "0123456789abcdefABCDEF") != "" {
		return errChunk
	}
	size, err := strconv.ParseInt(digits, 16, 64)
	if err != nil {
		return errChunk
	}
	c.left, c.any = size, true
	if size == 0 {
		c.end = true
		return c.trailers()
	}
	return nil
}

func (c *chunks) trailers() error {
	for total := 0; ; {
		line, err := c.line()
		if err != nil || line == "" {
			return err
		}
		if _, no := parseField(line); no != nil {
			return errChunk
		}
		if total += len(line); total > MaxChunkLineBytes {
			return errChunk
		}
	}
}

// line reads up to CR LF, which it drops.
func (c *chunks) line() (string, error) {
	var line []byte
	for {
		part, err := c.r.ReadSlice('\n')
		line = append(line, part...)
		if len(line) > MaxChunkLineBytes {
			return "", errChunk
		}
		if errors.Is(err, bufio.ErrBufferFull) {
			continue
		}
		if err != nil {
			return "", err
		}
		s, ok := strings.CutSuffix(string(line), "\r\n")
		if !ok || strings.ContainsAny(s, "\r\x00") {
			return "", errChunk
		}
		return s, nil
	}
}

func noEOF(err error) error {
	if errors.Is(err, io.EOF) {
		return io.ErrUnexpectedEOF
	}
	return err
}

// chunkWriter writes the chunked coding: each Write is one chunk, sent at once.
type chunkWriter struct{ w *bufio.Writer }

func (c chunkWriter) Write(b []byte) (int, error) {
	if len(b) == 0 {
		return 0, nil // an empty chunk would be the end
	}
	// What fails to be written stays in w, and Flush says so.
	_, _ = c.w.WriteString(strconv.FormatInt(int64(len(b)), 16) + "\r\n")
	_, _ = c.w.Write(b)
	_, _ = c.w.WriteString("\r\n")
	if err := c.w.Flush(); err != nil {
		return 0, err
	}
	return len(b), nil
}

// end writes the last chunk.
func (c chunkWriter) end() error {
	_, _ = c.w.WriteString("0\r\n\r\n")
	return c.w.Flush()
}
