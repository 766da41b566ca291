// Package recall finds entries by what they say, with no model: the ranking of memory, as a pure
// index in memory. It does no I/O and reads no clock.
//
// Shape: Put(Entry) and Remove(id) keep an Index; Search(Query) gives Hits, best first.
//
//	query ─ words ─▶ BM25 of each entry, over its text, author, caption and date
//	                 + BM25 of its neighbours in the conversation   (an answer means what was asked)
//	                 + BM25 of the conversation as a whole          (the topic)
//	                 × what kind of entry it is: asks or tells, by whom, says when, importance, age
//
// Words are stemmed, irregular forms are brought to their base, stop words are left out; a word of
// the query that no entry has stands for those that look like it. Every part of a score is reported
// on request: see Parts. docs/memory.md has the reasons and the figures.
//
// Units and limits: times are Unix milliseconds; scores compare within one search only, their shares between all. An index
// takes some 0.5 to 1 KB an entry of a sentence or two.
//
// Errors: none. Concurrency: an Index is not safe for concurrent use while it is changed.
//
// Source: BM25 as in S. Robertson and H. Zaragoza, "The Probabilistic Relevance Framework: BM25 and
// Beyond" (2009), with fields weighted before saturation, as its BM25F.
package recall

// Entry is what is indexed. T is what the caller wants to filter by.
type Entry[T any] struct {
	ID         string
	Text       string
	Caption    string  // what an attached picture or file shows
	Author     string  // who said it
	Session    string  // conversation that it is part of; "": none
	Place      int64   // rises along the conversation
	At         int64   // when it was said or happened; 0: unknown
	Importance float64 // 0 … 1; 0.5 changes nothing
	Facets     T
}

// Query is what is asked.
type Query[T any] struct {
	Text    string
	Vector  []byte       // of Text, as Pack makes it; nil: words alone
	Balance *Balance     // of words and vectors; nil: 1 each
	Now     int64        // the question's time; 0: unknown, and recency does not count
	Limit   int          // most hits
	Allow   func(T) bool // which may be hits; nil: all
	See     func(T) bool // nil: all. What it refuses is as if it were not there, but for the frequency of its words
	Spread  bool         // of entries that say nearly the same, those beyond the second come behind what is different
	// From, with Spread, is what an entry was made of, or is, by numbers: of entries with a number in common the best that has most of
	// another's words stands for it, which comes behind what is different. nil: nothing was made of anything.
	From    func(T) []uint64
	Explain bool
}

// Balance is how much words and vectors count, to what they count otherwise. Without a vector words count as ever.
type Balance struct{ Words, Vectors float64 }

// Hit is an entry that was found.
type Hit struct {
	ID    string
	Score float64
	Share float64 // 0 … 1, of what an entry would score that has all words of the query over and over: compares between searches
	Fit   float64 // 0 … 1, how well it fits what the query is about, however many words are beside that: compares between searches
	Alike string  // with Spread: it says nearly the same as this entry and another, or one was made of the other, and came behind what is different
	Parts *Parts  // with Explain
}

// Parts says why a hit came: Score = (Words + Neighbours + Session + Near) × the factors.
type Parts struct {
	Words      float64            `json:"words"`                // BM25 of the entry itself
	Terms      map[string]float64 `json:"terms"`                // of which each word of the query, as its stem
	Neighbours float64            `json:"neighbours"`           // from the entries before and after
	Session    float64            `json:"session"`              // from the conversation as a whole
	Near       float64            `json:"near,omitempty"`       // from how near its vector is, of what is nearer than most
	Similarity float64            `json:"similarity,omitempty"` // the cosine that this comes from; 0 where there are no vectors
	Tells      float64            `json:"tells"`                // factor: below 1 for what is a question itself
	Author     float64            `json:"author"`               // factor: above 1 when the query names who said it, most where they speak of themselves
	Time       float64            `json:"time"`                 // factor: says when, more if that was asked; or is from the time that the query names
	Importance float64            `json:"importance"`           // factor
	Recency    float64            `json:"recency"`              // factor
	Alike      string             `json:"alike,omitempty"`      // it says nearly the same as this entry and another, or one was made of the other, and so came behind what is different
}

// weights are how much each part counts. Each stands on a plateau: half or twice of it changes the
// recall of whole data sets by a hundredth or less (docs/memory.md).
type weights struct {
	k1, b            float64 // BM25: saturation, and how far length counts
	name             float64 // a word that is an author's name: it says whom the query is about, and is everywhere
	own              float64 // the entry's words once more, without its neighbours'
	before1, before2 float64 // words of the entry before, and of the one before that
	after1, after2   float64
	asked            float64 // how much more the words of a question before count: what follows answers it
	asks             float64 // how much less an entry counts that is nothing but questions
	addresses        float64 // how much less one counts that tells somebody else about themselves
	session          float64
	byAuthor         float64 // an entry of whom the query is about; none of what tells somebody else about themselves
	ofSelf           float64 // the same, where the author speaks of themselves
	timed            float64 // an entry that says when
	when             float64 // the same once more, if that is asked
	during           float64 // an entry from the time that the query names
	mentioned        float64 // words of the date that "last Friday" means
	fuzzy            float64 // a word that looks like an unknown one of the query, times their likeness
	alias            float64 // a word of another name of what the query names
	near, nearFrom   float64 // what a vector that is the query's own counts, of what its words can; from how many deviations above the mean
	importance       float64
	recency          float64 // of an entry of now; it halves in recencyHalf
}

func tuned() weights {
	return weights{
		k1: 0.6, b: 0.35, name: 0.1, own: 0.3, before1: 0.7, before2: 0.3, after1: 0.3, after2: 0.1, asked: 2, asks: 0.6, addresses: 0.03,
		session: 0.5, byAuthor: 0.3, ofSelf: 0.37, timed: 0.06, when: 0.2, during: 0.2, mentioned: 0.5, fuzzy: 0.3, alias: 0.7, near: 0.4, nearFrom: 2, importance: 0.5, recency: 0.05,
	}
}

const (
	// recencyHalf is how old an entry is when recency counts half: 30 days.
	recencyHalf = 30 * 24 * 3600 * 1000
	// minLikeness is the least share of letter pairs that two words have in common to be taken for one.
	minLikeness = 0.6
	// minInside is how many different pairs of letters a word within another must have, its edges too, to count as a part of it.
	minInside = 7
	// maxLike is the most words that stand for an unknown one.
	maxLike = 3
	// minFuzzyLetters is the shortest word that others may stand for.
	minFuzzyLetters = 4
	// maxTerms is how many different words of a query are looked for, those first that fewest entries have.
	maxTerms = 128
	// maxUnknown is for how many words of a query that no entry has others are looked for that are written alike.
	maxUnknown = 16
	// maxFuzzyBytes is the longest word that is compared by its pairs of letters.
	maxFuzzyBytes = 64
)
