package usage

import "testing"

// TestARefusalSaysWhatIsUsedAndWhatIsHeld: a budget of which nothing is used is not said to be used up.
func TestARefusalSaysWhatIsUsedAndWhatIsHeld(t *testing.T) {
	const dollar = 100_000_000
	each := &Budget{ID: "config_each", Name: "each", Scope: ScopeSession, Period: PeriodTotal}
	cost := func(n int64) Amount { return Amount{Cost: n} }
	for _, c := range []struct {
		grant Grant
		want  string
	}{
		{Grant{Refused: each, Claim: Claim{Limit: cost(dollar / 5)}, Have: Counter{Held: cost(3 * dollar)}, Environment: cost(3 * dollar)},
			"The budget (each, per session) has no room: $0.00 of $0.20 is used and $3.00 held, all of it by the session's environment."},
		{Grant{Refused: each, Claim: Claim{Limit: cost(dollar)}, Have: Counter{Spent: cost(dollar/2 + 1), Held: cost(dollar)}, Environment: cost(dollar / 4)},
			"The budget (each, per session) has no room: $0.50000001 of $1.00 is used and $1.00 held, $0.25 of it by the session's environment."},
		{Grant{Refused: each, Claim: Claim{Limit: cost(dollar)}, Have: Counter{Spent: cost(dollar), Held: cost(dollar / 100)}},
			"The budget (each, per session) is used up: $1.00 of $1.00 is used and $0.01 held by calls and environments that are not on record yet."},
		{Grant{Refused: &Budget{ID: "budget_1", Scope: ScopeUser, Period: PeriodDay}, Claim: Claim{Limit: Amount{Cost: dollar, Tokens: 50, Calls: 2, Millis: 1500}},
			Have: Counter{Spent: Amount{Cost: 1, Tokens: 60, Calls: 1, Millis: 1500}, Held: Amount{Calls: 1}}},
			"The budget of this day (budget_1, per user) is used up: 60 of 50 tokens are used and nothing held; " +
				"1 of 2 calls are used and 1 held by calls and environments that are not on record yet; 1.5 of 1.5 seconds are used and nothing held."},
	} {
		if got := c.grant.Exhausted(); got != c.want {
			t.Errorf("%q,\nwant %q", got, c.want)
		}
	}
}
