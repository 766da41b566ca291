package schema

import (
	"errors"

	"github.com/google/jsonschema-go/jsonschema"
)

// value is a JSON value with its size, measured once.
type value struct {
	plain  any // as encoding/json decodes it
	bytes  int // about as long as its JSON
	fields map[string]*value
	items  []*value
}

func measure(plain any) *value {
	v := &value{plain: plain, bytes: 8}
	switch p := plain.(type) {
	case string:
		v.bytes += len(p)
	case []any:
		v.items = make([]*value, len(p))
		for i, item := range p {
			v.items[i] = measure(item)
			v.bytes += v.items[i].bytes
		}
	case map[string]any:
		v.fields = make(map[string]*value, len(p))
		for name, field := range p {
			f := measure(field)
			v.fields[name] = f
			v.bytes += len(name) + f.bytes
		}
	}
	return v
}

var errTooMuch = errors.New("the arguments are too large or nested too deep to be checked against the tool's parameters: send less")

// spend walks every way in which the schema can apply to the value, without judging, and fails
// when that is more than MaxWork. The library never does more: it stops early where this does not.
func (s *Schema) spend(v *value) error {
	m := meter{schema: s, left: MaxWork}
	return m.visit(s.root, v, 0)
}

type meter struct {
	schema *Schema
	left   int
}

func (m *meter) pay(units int) error {
	m.left -= units
	if m.left < 0 {
		return errTooMuch
	}
	return nil
}

func (m *meter) visit(at *jsonschema.Schema, v *value, stack int) error {
	if stack > maxStack {
		return errTooMuch
	}
	lookups := len(at.Enum) + len(at.Required) + len(at.Properties) + len(at.DependentRequired) + len(at.DependencyStrings)
	if err := m.pay(1 + v.bytes/bytesPerUnit + lookups); err != nil {
		return err
	}
	for next := range m.schema.inPlace(at) {
		if err := m.visit(next, v, stack+1); err != nil {
			return err
		}
	}
	if v.fields != nil {
		return m.visitFields(at, v, stack+1)
	}
	return m.visitItems(at, v, stack+1)
}

func (m *meter) visitFields(at *jsonschema.Schema, v *value, stack int) error {
	for name, field := range v.fields {
		if one := at.Properties[name]; one != nil {
			if err := m.visit(one, field, stack); err != nil {
				return err
			}
		}
		for _, one := range at.PatternProperties {
			if err := m.pay(len(name) / bytesPerUnit); err != nil {
				return err
			}
			if err := m.visit(one, field, stack); err != nil {
				return err
			}
		}
		for _, one := range []*jsonschema.Schema{at.AdditionalProperties, at.UnevaluatedProperties} {
			if one != nil {
				if err := m.visit(one, field, stack); err != nil {
					return err
				}
			}
		}
		if at.PropertyNames != nil {
			if err := m.visit(at.PropertyNames, &value{plain: name, bytes: len(name)}, stack); err != nil {
				return err
			}
		}
	}
	return nil
}

func (m *meter) visitItems(at *jsonschema.Schema, v *value, stack int) error {
	for i, item := range v.items {
		for _, list := range [][]*jsonschema.Schema{at.PrefixItems, at.ItemsArray} {
			if i < len(list) {
				if err := m.visit(list[i], item, stack); err != nil {
					return err
				}
			}
		}
		for _, one := range []*jsonschema.Schema{at.Items, at.AdditionalItems, at.Contains, at.UnevaluatedItems} {
			if one != nil {
				if err := m.visit(one, item, stack); err != nil {
					return err
				}
			}
		}
	}
	return nil
}
