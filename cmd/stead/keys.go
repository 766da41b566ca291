package main

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/stead-dev/stead"
	"github.com/stead-dev/stead/internal/client"
	"github.com/stead-dev/stead/internal/config"
	"github.com/stead-dev/stead/internal/document"
	"github.com/stead-dev/stead/internal/identity"
	"github.com/stead-dev/stead/internal/identity/token"
	"github.com/stead-dev/stead/internal/policy"
	"github.com/stead-dev/stead/internal/runner"
)

// projectHeader names the project that the root key acts in, as OpenAI's clients send it.
const projectHeader = "OpenAI-Project"

// openIdentity makes the service of API keys, or none in auth mode none.
func (n *node) openIdentity(documents document.Store, authorizer policy.Authorizer, withdrawn *identity.Withdrawn, sessions func() *runner.Runner) (*identity.Service, error) {
	if n.cfg.Auth.Mode == config.AuthNone {
		return nil, nil
	}
	root, path, err := identity.LoadRoot(n.cfg.Data, n.cfg.Auth.RootKey)
	if err != nil {
		return nil, err
	}
	n.rootKey, n.rootPath = root, path
	if path != "" {
		n.log.Info("the root key, which makes the first API keys, is in a file", "path", path)
	}
	return identity.NewService(identity.Config{
		Documents: documents, Policy: authorizer, Root: root, Now: time.Now, Withdrawn: withdrawn, Certified: n.clients.stands(),
		Serves: func(ctx context.Context, p stead.Principal, id stead.SessionID, effect policy.Effect) (stead.Principal, error) {
			return sessions().Serves(ctx, p, id, effect)
		},
	}), nil
}

// authenticate says who carries a request's key or token, or else whose certificate its connection has shown. tokens is nil
// where none are believed, clients where no certificates are asked for. A certificate that was shown must be good also where
// somebody comes with a key, who is known until the first of both ends.
func authenticate(keys *identity.Service, tokens *token.Authenticator, clients *clientCertificates) func(*http.Request) (identity.Caller, error) {
	return func(r *http.Request) (identity.Caller, error) {
		shown, certified, err := clients.shown(r)
		if err != nil {
			return identity.Caller{}, err
		}
		if certified && shown.Name != "" && r.Header.Get("Authorization") == "" {
			return clients.caller(r)
		}
		c, err := byHeader(r, keys, tokens)
		if certified && (c.Until.IsZero() || shown.Until.Before(c.Until)) {
			c.Until = shown.Until
		}
		return c, err
	}
}

// byHeader says who carries a request's key or token.
func byHeader(r *http.Request, keys *identity.Service, tokens *token.Authenticator) (identity.Caller, error) {
	scheme, secret, _ := strings.Cut(r.Header.Get("Authorization"), " ")
	if !strings.EqualFold(scheme, "Bearer") || secret == "" {
		e := stead.Errorf(stead.KindUnauthenticated, "the request carries no API key")
		e.Hint = "Send it as Authorization: Bearer KEY; the official SDKs do with apiKey."
		return identity.Caller{}, e
	}
	secret = strings.TrimSpace(secret)
	project := stead.ProjectID(r.Header.Get(projectHeader))
	if tokens == nil || !token.Looks(secret) {
		return keys.Authenticate(r.Context(), secret, project)
	}
	b, err := tokens.Authenticate(r.Context(), secret, project)
	if err == nil && identity.IsRoot(b.Principal) {
		err = stead.Errorf(stead.KindForbidden, "the token's sub is the name of the operator's own key: its issuer needs a prefix")
	}
	if err != nil {
		return identity.Caller{}, err // nobody, so that who is turned away at the door is recorded there
	}
	return identity.Caller{Principal: b.Principal, Key: identity.TokenID, Until: b.Until}, nil
}

func (a *app) keysCmd() *cobra.Command {
	return group("keys", "Make and revoke the API keys of a server with auth mode keys, and replace what agents' tokens are signed with", a.keysCreate(), a.keysList(), a.keysRotate(), a.keysRevoke(), a.keysWorkload())
}

func (a *app) keysCreate() *cobra.Command {
	var p client.KeyParams
	var user, service string
	var lifetime time.Duration
	c := &cobra.Command{
		Use: "create", Short: "Make a key; its secret is printed this once", Args: cobra.NoArgs,
		Long: "Roles: " + strings.Join(identity.Roles(), ", ") + ".\nThe first key is made with the root key: STEAD_API_KEY=$(cat DATA/" + identity.RootFile + ") stead keys create --role owner",
		RunE: func(cmd *cobra.Command, _ []string) error {
			c, err := a.dial()
			if err != nil {
				return err
			}
			switch {
			case user != "" && service != "":
				return stead.Invalid("user", "a key stands for a user or for a service, not for both")
			case user != "":
				p.Principal = &client.Principal{Kind: string(stead.PrincipalUser), ID: user}
			case service != "":
				p.Principal = &client.Principal{Kind: string(stead.PrincipalService), ID: service}
			}
			p.ExpiresAfter = int64(lifetime / time.Second)
			k, err := c.CreateKey(cmd.Context(), p)
			return a.secret(k, err)
		},
	}
	f := c.Flags()
	f.StringVar(&p.Role, "role", "", "what it may do; required")
	f.StringVar(&p.Name, "name", "", "what it is for")
	f.StringVar(&p.Project, "project", "", "of another project: only with the root key")
	f.StringVar(&user, "user", "", "the user that it stands for")
	f.StringVar(&service, "service", "", "the service that it stands for")
	f.BoolVar(&p.Bound, "bound", false, "it sees only the sessions that it makes")
	f.DurationVar(&lifetime, "expires", 0, "how long it is valid, as 720h; 0: for good")
	_ = c.MarkFlagRequired("role") // the flag is there
	return c
}

// secret prints a new key: the secret alone on standard output, so that it can be caught.
func (a *app) secret(k client.Key, err error) error {
	if err != nil {
		return err
	}
	return a.object(k.Raw, func(w io.Writer) {
		fmt.Fprintln(w, k.Secret)
		fmt.Fprintf(a.err, "%s: %s in project %s. The secret is not shown again.\n", k.ID, k.Role, k.Project)
	})
}

func (a *app) keysList() *cobra.Command {
	return &cobra.Command{
		Use: "list", Short: "List the keys of the project, the newest first", Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			c, err := a.dial()
			if err != nil {
				return err
			}
			keys, err := c.Keys(cmd.Context())
			if err != nil {
				return err
			}
			now := time.Now()
			var rows [][]string
			raw := []json.RawMessage{}
			for _, k := range keys {
				used := "never"
				if k.LastUsedAt != nil {
					used = ago(*k.LastUsedAt, now)
				}
				rows = append(rows, []string{k.ID, k.Role, k.Principal.Kind + " " + k.Principal.ID, boundText(k), expiryText(k, now), used, oneLine(k.Name, 40)})
				raw = append(raw, k.Raw)
			}
			return a.table(raw, "There are no keys.", []string{"KEY", "ROLE", "FOR", "SEES", "UNTIL", "USED", "NAME"}, rows)
		},
	}
}

// boundText says whose sessions a key sees.
func boundText(k client.Key) string {
	if k.Bound {
		return "its own"
	}
	return "all"
}

// expiryText says until when a key is good, and that it is no more.
func expiryText(k client.Key, now time.Time) string {
	switch {
	case k.ExpiresAt == nil:
		return "for good"
	case now.Unix() >= *k.ExpiresAt:
		return "expired " + utc(*k.ExpiresAt)
	}
	return utc(*k.ExpiresAt)
}

func (a *app) keysRotate() *cobra.Command {
	var grace time.Duration
	c := &cobra.Command{
		Use: "rotate KEY", Short: "Give a key a new secret, printed this once", Args: cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			c, err := a.dial()
			if err != nil {
				return err
			}
			k, err := c.RotateKey(cmd.Context(), args[0], int64(grace/time.Second))
			return a.secret(k, err)
		},
	}
	c.Flags().DurationVar(&grace, "grace", 0, "how long the old secret stays valid")
	return c
}

func (a *app) keysRevoke() *cobra.Command {
	return &cobra.Command{
		Use: "revoke KEY", Short: "Revoke a key, on all nodes within a second", Args: cobra.ExactArgs(1),
		Long: "Nobody comes in with it any more. Whose last valid one it was, in its role, is behind nothing more that agents begin, until\n" +
			"they have a key again. To stop somebody whatever they come with: stead kill-switches set user ID.",
		RunE: func(cmd *cobra.Command, args []string) error {
			c, err := a.dial()
			if err != nil {
				return err
			}
			if err := c.RevokeKey(cmd.Context(), args[0]); err != nil {
				return err
			}
			return a.object(map[string]any{"id": args[0], "deleted": true}, func(w io.Writer) { fmt.Fprintln(w, args[0], "revoked") })
		},
	}
}

// asRoot lets this process itself call its node.
func (n *node) asRoot(c *client.Client) *client.Client {
	c.Authorize(n.rootKey)
	if n.certificate != nil { // it may be for another name than the one that this process calls itself by
		c.Trust(func() []byte { return n.certificate.current().Certificate[0] })
	}
	if n.clients != nil && n.clients.own != nil {
		c.Present(n.clients.own)
	}
	return c
}
