package e2e

import (
	"context"
	"errors"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/modelcontextprotocol/go-sdk/mcp"
	openai "github.com/openai/openai-go/v3"
	"github.com/openai/openai-go/v3/packages/param"
)

func TestVaults(t *testing.T) {
	n, client, ctx := setup(t)
	vaults := client.Beta.Agents.Vaults
	made, err := vaults.New(ctx, openai.BetaAgentVaultNewParams{Name: openai.String("  research "), Metadata: map[string]string{"team": "a"}})
	if err != nil {
		t.Fatal(err)
	}
	if made.Object != "vault" || made.Name != "research" || made.Metadata["team"] != "a" || made.CreatedAt == 0 {
		t.Errorf("made %s", made.RawJSON())
	}
	changed, err := vaults.Update(ctx, made.ID, openai.BetaAgentVaultUpdateParams{Name: param.Null[string]()})
	if err != nil || changed.Name != "" || changed.Metadata["team"] != "a" {
		t.Fatalf("changed %s, %v", changed.RawJSON(), err)
	}
	ids := []string{made.ID}
	for range 3 {
		v, err := vaults.New(ctx, openai.BetaAgentVaultNewParams{})
		if err != nil {
			t.Fatal(err)
		}
		ids = append(ids, v.ID)
	}
	n.kill() // what was answered is durable
	n.start()
	client = n.client()
	vaults = client.Beta.Agents.Vaults
	var listed []string
	pager := vaults.ListAutoPaging(ctx, openai.BetaAgentVaultListParams{Limit: openai.Int(2), Order: openai.BetaAgentVaultListParamsOrderAsc, Status: openai.VaultStatusFilterUnionParam{OfStatus: param.NewOpt(openai.VaultStatusActive)}})
	for pager.Next() {
		listed = append(listed, pager.Current().ID)
	}
	if err := pager.Err(); err != nil || !slices.Equal(listed, ids) {
		t.Errorf("listed %v %v, want %v", listed, err, ids)
	}
	page, err := vaults.List(ctx, openai.BetaAgentVaultListParams{Metadata: map[string]string{"team": "a"}, Status: openai.VaultStatusFilterUnionParam{OfArrayOfStatuses: []openai.VaultStatus{"active", "archived"}}})
	if err != nil || len(page.Data) != 1 || page.Data[0].ID != made.ID {
		t.Errorf("with metadata: %+v, %v", page, err)
	}
	if d, err := vaults.Delete(ctx, made.ID); err != nil || !d.Deleted || d.Object != "vault.deleted" {
		t.Errorf("delete: %v %v", d, err)
	}
	_, err = vaults.Get(ctx, made.ID)
	if e, ok := errors.AsType[*openai.Error](err); !ok || e.StatusCode != http.StatusNotFound {
		t.Errorf("get a deleted vault: %v", err)
	}
}

func TestVaultCredentials(t *testing.T) {
	_, client, ctx := setup(t)
	v, err := client.Beta.Agents.Vaults.New(ctx, openai.BetaAgentVaultNewParams{})
	if err != nil {
		t.Fatal(err)
	}
	credentials := client.Beta.Agents.Vaults.Credentials
	const secret = "s3cret-of-the-vault"
	oauth := openai.CredentialAuthCreateParamOfParamMcpOAuth(secret, "https://mcp.example/mcp")
	oauth.OfParamMcpOAuth.ExpiresAt = openai.String("2030-01-02T03:04:05Z")
	oauth.OfParamMcpOAuth.Refresh = openai.CredentialAuthCreateParamMcpOAuthRefresh{
		ClientID: "client", RefreshToken: secret, TokenEndpoint: "https://login.example/token", Scope: openai.String("a b"),
		TokenEndpointAuth: openai.McpOAuthTokenEndpointAuthCreateParamOfParamClientSecretBasic(secret),
	}
	var ids []string
	for _, auth := range []openai.CredentialAuthCreateParamUnion{
		openai.CredentialAuthCreateParamOfParamStaticBearer("https://mcp.example/mcp", secret), oauth,
		openai.CredentialAuthCreateParamOfParamEnvironmentVariable(openai.CredentialNetworkingParamLimited{AllowedHosts: []string{"API.example.test"}}, "SERVICE_KEY", secret),
		openai.CredentialAuthCreateParamOfParamEnvironmentVariable(openai.NewCredentialNetworkingParamUnrestricted(), "OTHER_KEY", secret),
	} {
		c, err := credentials.New(ctx, v.ID, openai.BetaAgentVaultCredentialNewParams{Name: "c", Auth: auth, Metadata: map[string]string{"k": "v"}})
		if err != nil {
			t.Fatal(err)
		}
		if c.Object != "vault.credential" || c.VaultID != v.ID || c.Name != "c" || strings.Contains(c.RawJSON(), secret) {
			t.Errorf("made %s", c.RawJSON())
		}
		ids = append(ids, c.ID)
	}
	var listed []string
	pager := credentials.ListAutoPaging(ctx, v.ID, openai.BetaAgentVaultCredentialListParams{Limit: openai.Int(3), Order: openai.BetaAgentVaultCredentialListParamsOrderAsc})
	for pager.Next() {
		listed = append(listed, pager.Current().ID)
	}
	if err := pager.Err(); err != nil || !slices.Equal(listed, ids) {
		t.Errorf("listed %v %v, want %v", listed, err, ids)
	}
	c, err := credentials.Get(ctx, v.ID, ids[1])
	if err != nil {
		t.Fatal(err)
	}
	if a := c.Auth.AsMcpOAuth(); a.ExpiresAt != "2030-01-02T03:04:05Z" || a.Refresh.Scope != "a b" || a.Refresh.TokenEndpointAuth.Type != "client_secret_basic" || a.Refresh.JSON.Resource.Valid() {
		t.Errorf("OAuth: %s", c.RawJSON())
	}
	c, err = credentials.Update(ctx, v.ID, ids[1], openai.BetaAgentVaultCredentialUpdateParams{Auth: openai.CredentialAuthRotateParamUnion{OfParamMcpOAuth: &openai.CredentialAuthRotateParamMcpOAuth{AccessToken: openai.String("another-token")}}})
	if err != nil || c.Auth.JSON.ExpiresAt.Valid() || c.Metadata["k"] != "v" { // a new token's expiry is not the old one's
		t.Errorf("rotated: %s, %v", c.RawJSON(), err)
	}
	c, err = credentials.Update(ctx, v.ID, ids[2], openai.BetaAgentVaultCredentialUpdateParams{Metadata: map[string]string{}, Auth: openai.CredentialAuthRotateParamOfParamEnvironmentVariable("rotated-secret")})
	if n := c.Auth.AsEnvironmentVariable().Networking.AsLimited(); err != nil || len(c.Metadata) != 0 || len(n.AllowedHosts) != 1 || n.AllowedHosts[0] != "api.example.test" {
		t.Errorf("rotated: %s, %v", c.RawJSON(), err)
	}
	_, err = credentials.Update(ctx, v.ID, ids[0], openai.BetaAgentVaultCredentialUpdateParams{Auth: openai.CredentialAuthRotateParamOfParamEnvironmentVariable(secret)})
	if e, ok := errors.AsType[*openai.Error](err); !ok || e.StatusCode != http.StatusBadRequest || e.Param != "auth.type" || strings.Contains(e.Error(), secret) {
		t.Errorf("another type: %v", err)
	}
	if d, err := credentials.Delete(ctx, v.ID, ids[0]); err != nil || d.Object != "vault.credential.deleted" {
		t.Errorf("delete: %v %v", d, err)
	}
	_, err = credentials.Get(ctx, v.ID, ids[0])
	if e, ok := errors.AsType[*openai.Error](err); !ok || e.StatusCode != http.StatusNotFound {
		t.Errorf("get a deleted credential: %v", err)
	}
}

// A session with a vault reaches a tool server that lets nobody else in.
func TestASessionUsesItsVault(t *testing.T) {
	_, client, ctx := setup(t)
	const secret = "s3cret-of-the-server"
	var let, refused atomic.Int64
	s := mcp.NewServer(&mcp.Implementation{Name: "guarded", Version: "1"}, nil)
	mcp.AddTool(s, &mcp.Tool{Name: "greet"}, func(context.Context, *mcp.CallToolRequest, struct{}) (*mcp.CallToolResult, any, error) {
		return &mcp.CallToolResult{Content: []mcp.Content{&mcp.TextContent{Text: "hello, " + secret}}}, nil, nil
	})
	inner := mcp.NewStreamableHTTPHandler(func(*http.Request) *mcp.Server { return s }, nil)
	srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.Header.Get("Authorization") != "Bearer "+secret {
			refused.Add(1)
			w.WriteHeader(http.StatusUnauthorized)
			return
		}
		let.Add(1)
		inner.ServeHTTP(w, r)
	}))
	t.Cleanup(func() { srv.CloseClientConnections(); srv.Close() })
	v, err := client.Beta.Agents.Vaults.New(ctx, openai.BetaAgentVaultNewParams{})
	if err != nil {
		t.Fatal(err)
	}
	c, err := client.Beta.Agents.Vaults.Credentials.New(ctx, v.ID, openai.BetaAgentVaultCredentialNewParams{
		Name: "guarded", Auth: openai.CredentialAuthCreateParamOfParamStaticBearer(srv.URL, secret),
	})
	if err != nil {
		t.Fatal(err)
	}
	tool := openai.AgentToolParamOfParamMcp("guarded", openai.McpTransportParamHTTP{ServerURL: srv.URL})
	tool.OfParamMcp.CredentialID = openai.String(c.ID)
	p := params("Call greet with {}", tool)
	p.VaultIDs = []string{v.ID}
	made, err := client.Beta.Agents.Sessions.New(ctx, p)
	if err != nil {
		t.Fatal(err)
	}
	if !slices.Equal(made.VaultIDs, p.VaultIDs) || made.Agent.Tools[0].CredentialID != c.ID {
		t.Errorf("made %s", made.RawJSON())
	}
	settled(t, ctx, client, made.ID, "idle")
	items, err := client.Beta.Agents.Sessions.Items.List(ctx, made.ID, openai.BetaAgentSessionItemListParams{})
	if err != nil {
		t.Fatal(err)
	}
	found := false
	for _, i := range items.Data {
		found = found || i.Type == "mcp_call" && strings.Contains(i.RawJSON(), "hello, [redacted]")
		if strings.Contains(i.RawJSON(), secret) {
			t.Errorf("the secret is in %s", i.RawJSON())
		}
	}
	if !found || let.Load() == 0 || refused.Load() > 0 {
		t.Errorf("let in %d times, refused %d times, the call among %d items: %t", let.Load(), refused.Load(), len(items.Data), found)
	}
}
