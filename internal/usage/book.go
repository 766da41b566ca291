package usage

import (
	"cmp"
	"slices"
	"sync/atomic"

	"github.com/stead-dev/stead"
	"github.com/stead-dev/stead/internal/model"
)

// Book is a price book: editions, each valid from a moment until the next one begins. A call is
// priced by the edition of the moment at which it ends, and its record names it; what was charged is
// journaled, so that a later edition changes nothing of the past. It is safe for concurrent use.
type Book struct {
	editions atomic.Pointer[[]Edition] // by From
}

// Edition is one version of the book.
type Edition struct {
	Version string
	From    int64 // Unix milliseconds
	Prices  []PriceLine
	Tools   []ToolPrice
	Rates   Rates // of environments; its Version is the edition's
}

// PriceLine is what calls of a model cost. Empty fields mean any.
type PriceLine struct {
	Provider string
	Model    string // as agents ask for it, or as the provider names it
	Tier     string // service tier
	Price    model.Price
}

// Sale is what a price is asked for.
type Sale struct {
	At       int64  // Unix milliseconds
	Model    string // as it was asked for
	Provider string
	Upstream string // as the provider names the model
	Tier     string
}

// NewBook makes a book; the editions may come in any order.
func NewBook(editions []Edition) *Book {
	b := &Book{}
	b.Replace(editions)
	return b
}

// Replace puts other editions in their place, all at once.
func (b *Book) Replace(editions []Edition) {
	editions = slices.Clone(editions)
	slices.SortStableFunc(editions, func(a, b Edition) int { return cmp.Compare(a.From, b.From) })
	b.editions.Store(&editions)
}

// Price finds the price of a call: of the lines that fit, the one that says most (tier, then model,
// then provider), of equals the first. nil: the book has none.
func (b *Book) Price(s Sale) *model.Price {
	if e := b.edition(s.At); e != nil {
		return e.price(s)
	}
	return nil
}

// Dearest is what no call of a sale costs more than, whichever tier its provider serves: the one that is asked for or its
// default, and where the provider chooses ("" or "auto"), any that the book has. What the book does not price costs
// otherwise. Budgets reserve by it.
func (b *Book) Dearest(s Sale, otherwise *model.Price) *model.Price {
	e := b.edition(s.At)
	if e == nil {
		return otherwise
	}
	tiers := []string{"", s.Tier}
	if s.Tier = model.AskedTier("", s.Tier); s.Tier == "" {
		for _, l := range e.Prices {
			tiers = append(tiers, l.Tier)
		}
	}
	var dearest *model.Price
	for _, tier := range tiers {
		s.Tier = tier
		dearest = dearest.Over(cmp.Or(e.price(s), otherwise))
	}
	return dearest
}

// PriceBeside fills in what the attempts beside a call cost: see PriceHedged. route may be nil.
func (b *Book) PriceBeside(route *model.Route, s Sale, won stead.Usage, estimate int64) {
	for _, h := range route.Beside() {
		b.PriceHedged(h, s, won, estimate)
	}
}

// PriceHedged fills in what an attempt cost that was given up: by the book, else by its own price. Of one whose
// provider could not say any more what it used that is the input, by the count of the attempt that won, else by
// the estimate of the request (tokens) that budgets reserved by: an attempt that was asked is never free.
func (b *Book) PriceHedged(h *model.Hedged, s Sale, won stead.Usage, estimate int64) {
	if h == nil {
		return
	}
	if input := max(cmp.Or(won.InputTokens, estimate), 1); h.Usage == nil && h.Unknown {
		h.Usage = &stead.Usage{InputTokens: input}
	}
	if h.Usage == nil {
		return
	}
	s.Provider, s.Upstream, s.Tier = h.Provider, h.Model, h.Tier
	price := cmp.Or(b.Price(s), h.Price)
	h.Cost = price.Cost(*h.Usage)
	if price != nil {
		h.Prices = price.Version
	}
}

func (e *Edition) price(s Sale) *model.Price {
	var found *PriceLine
	best := -1
	for i := range e.Prices {
		l := &e.Prices[i]
		if l.fits(s) && l.weight() > best {
			found, best = l, l.weight()
		}
	}
	if found == nil {
		return nil
	}
	p := found.Price
	p.Version = e.Version
	return &p
}

func (l *PriceLine) fits(s Sale) bool {
	return is(l.Provider, s.Provider) && is(l.Tier, s.Tier) && (l.Model == "" || l.Model == s.Model || l.Model == s.Upstream)
}

func (l *PriceLine) weight() int {
	n := 0
	for i, named := range []bool{l.Provider != "", l.Model != "", l.Tier != ""} {
		if named {
			n += 1 << i
		}
	}
	return n
}
