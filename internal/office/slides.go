package office

import (
	"fmt"
	"strings"

	"github.com/stead-dev/stead"
)

// slides reads a presentation, in the order of its show.
func (p *pack) slides(main string) (string, error) {
	links, err := p.links(main)
	if err != nil {
		return "", err
	}
	targets := map[string]string{}
	for _, l := range links {
		targets[l.ID] = l.Target
	}
	var order []string
	err = p.walk(main, func(e element) error {
		if e.name != "sldId" || !e.begins {
			return nil
		}
		target, ok := targets[e.id()]
		if !ok {
			return fmt.Errorf("slide %s is missing", quoted(e.id()))
		}
		if len(order) == MaxParts {
			return stead.Errorf(stead.KindTooLarge, "it has more than %d slides", MaxParts)
		}
		order = append(order, target)
		return nil
	})
	if err != nil {
		return "", err
	}
	var out markdown
	for i, name := range order {
		if err := p.slide(&out, i+1, name); err != nil {
			return "", err
		}
	}
	return out.String(), out.err()
}

func (p *pack) slide(out *markdown, number int, name string) error {
	s := &slide{out: out}
	if err := p.walk(name, s.tell); err != nil {
		return err
	}
	out.heading(2, strings.TrimSuffix(fmt.Sprintf("Slide %d: %s", number, flat(s.title.String())), ": "))
	s.write()
	links, err := p.links(name)
	if err != nil {
		return err
	}
	for _, l := range links {
		if !strings.HasSuffix(l.Type, "/notesSlide") {
			continue
		}
		notes := &slide{out: out}
		if err := p.walk(l.Target, notes.tell); err != nil {
			return err
		}
		if len(notes.parts) > 0 {
			out.paragraph("Notes:")
			notes.write()
		}
	}
	out.held = 0
	return out.err()
}

// slide is one that is being read.
type slide struct {
	out   *markdown
	title strings.Builder
	parts []slidePart
	kind  string // of the shape's placeholder: "title", "body", "sldNum" …
	text  strings.Builder
	in    bool // within an element whose text counts
	rows  [][]string
	cell  *strings.Builder // nil: no table is open
}

// slidePart is a paragraph, or a table.
type slidePart struct {
	text string
	rows [][]string
}

func (s *slide) tell(e element) error {
	switch e.name {
	case "":
		if s.in {
			s.out.hold(len(e.text))
			s.text.WriteString(e.text)
		}
	case "sp":
		s.kind = ""
	case "ph":
		if e.begins {
			s.kind = e.attr("type")
		}
	case "t":
		s.in = e.begins
	case "br":
		if e.begins {
			s.text.WriteString("\n")
		}
	case "p":
		if !e.begins {
			s.paragraph()
		}
	case "tbl", "tr", "tc":
		s.grid(e)
	}
	return s.out.err()
}

func (s *slide) paragraph() {
	text := s.text.String()
	s.text.Reset()
	switch {
	case strings.TrimSpace(text) == "", s.kind == "sldNum", s.kind == "dt", s.kind == "ftr", s.kind == "hdr":
	case s.cell != nil:
		s.cell.WriteString(text + " ")
	case s.kind == "title", s.kind == "ctrTitle":
		s.title.WriteString(" " + text)
	default:
		s.out.hold(rowBytes)
		s.parts = append(s.parts, slidePart{text: text})
	}
}

func (s *slide) grid(e element) {
	switch {
	case e.name == "tbl" && e.begins:
		s.rows, s.cell = nil, &strings.Builder{}
	case s.cell == nil:
	case e.name == "tr" && e.begins:
		s.out.hold(rowBytes)
		s.rows = append(s.rows, nil)
	case e.name == "tc" && !e.begins && len(s.rows) > 0:
		s.out.hold(cellBytes)
		last := len(s.rows) - 1
		s.rows[last] = append(s.rows[last], s.cell.String())
		s.cell.Reset()
	case e.name == "tbl":
		s.parts = append(s.parts, slidePart{rows: s.rows})
		s.rows, s.cell = nil, nil
	}
}

func (s *slide) write() {
	for i, part := range s.parts {
		if part.rows != nil {
			s.out.table(part.rows)
			continue
		}
		s.out.item(0, part.text, i == 0 || s.parts[i-1].rows != nil)
	}
}
