package workload

import (
	"context"
	"slices"
	"time"

	"github.com/stead-dev/stead"
	"github.com/stead-dev/stead/internal/policy"
)

// exchangeName is what policies and the audit log call the credential that an exchanged token is.
const exchangeName = "exchange"

// Exchange makes a token of the form OnBehalfOf for who asks, p, and a session's agent: for one of the audiences that the
// operator named, since the other side believes it without a policy for tools having been asked. It ends with until at the
// latest. KindForbidden for what is not allowed.
func (i *Issuer) Exchange(ctx context.Context, p stead.Principal, until time.Time, id stead.SessionID, agent stead.AgentID, audience string) (Token, error) {
	if !slices.Contains(i.cfg.Audiences, audience) {
		e := stead.Errorf(stead.KindForbidden, "audience %.80q is none for which tokens are exchanged", audience)
		e.Hint = "The operator names them in identity.exchange_audiences."
		return Token{}, e
	}
	key := stead.SessionKey{Project: p.Project, Session: id}
	for _, req := range []policy.Request{
		{Principal: p, Session: key, Agent: agent, Effect: policy.SessionWrite},
		{Principal: p, Session: key, Agent: agent, Effect: policy.CredentialUse, Resource: Vault + "/" + exchangeName, Destination: audience},
	} {
		if _, err := policy.Check(ctx, i.cfg.Policy, req); err != nil {
			return Token{}, err
		}
	}
	who := stead.Principal{Project: p.Project, Kind: p.Kind, ID: p.ID}
	return i.Sign(ctx, OnBehalfOf, Bearer{Principal: who, Session: key, Agent: agent}, audience, until)
}
