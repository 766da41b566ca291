package main

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/stead-dev/stead"
	"github.com/stead-dev/stead/internal/client"
	"github.com/stead-dev/stead/internal/vault"
)

func (a *app) credentialsCmd() *cobra.Command {
	return group("credentials", "Put credentials into vaults, rotate and delete them", a.credentialsCreate(), a.credentialsList(), a.credentialsShow(), a.credentialsRotate(), a.credentialsDelete())
}

// maxSecretInput is how much is read of a secret, or of an auth object: more is refused, not cut.
const maxSecretInput = 128 << 10

// secretInput reads from a file, or standard input for "-": never an argument, which others on the machine can see.
func (a *app) secretInput(file string) ([]byte, error) {
	in := a.in
	if file != "-" {
		f, err := os.Open(file)
		if err != nil {
			return nil, stead.Wrap(stead.KindInvalid, rootCause(err), "%s can't be read", file)
		}
		defer f.Close()
		in = f
	}
	data, err := io.ReadAll(io.LimitReader(in, maxSecretInput+1))
	if err != nil {
		return nil, stead.Wrap(stead.KindInvalid, err, "the secret can't be read")
	}
	if len(data) > maxSecretInput {
		return nil, stead.Errorf(stead.KindTooLarge, "the secret is larger than the limit of %d bytes", maxSecretInput)
	}
	return data, nil
}

// secretText is a secret without the line break that editors and echo put behind it.
func (a *app) secretText(file string) (string, error) {
	data, err := a.secretInput(file)
	return strings.TrimRight(string(data), "\r\n"), err
}

// authInput reads a whole auth object.
func (a *app) authInput(file string) (json.RawMessage, error) {
	data, err := a.secretInput(file)
	if err == nil && !json.Valid(data) { // what is wrong with it could quote a secret
		err = stead.Invalid("auth", "the auth object is no JSON")
	}
	return bytes.TrimSpace(data), err
}

// secretFlags say where a command reads a secret.
type secretFlags struct{ value, auth string }

func (s *secretFlags) register(c *cobra.Command) {
	c.Flags().StringVar(&s.value, "value-file", "-", "file with the secret; - is standard input")
	c.Flags().StringVar(&s.auth, "auth-file", "", "file with the whole auth object of the API, for mcp_oauth; - is standard input")
}

func (a *app) credentialsCreate() *cobra.Command {
	var from secretFlags
	var serverURL, variable string
	var hosts []string
	var unrestricted bool
	c := &cobra.Command{
		Use: "create VAULT NAME", Short: "Put a credential into a vault; its secret is read from standard input or a file", Args: cobra.ExactArgs(2),
		Example: "  stead credentials create VAULT tickets --url https://tickets.example/mcp < token\n" +
			"  stead credentials create VAULT github --variable GITHUB_TOKEN --host api.github.com --value-file token\n" +
			"  stead credentials create VAULT drive --auth-file oauth.json",
		RunE: func(cmd *cobra.Command, args []string) error {
			c, err := a.dial()
			if err != nil {
				return err
			}
			var auth any
			switch {
			case from.auth != "" && serverURL+variable == "":
				auth, err = a.authInput(from.auth)
			case serverURL != "" && from.auth+variable == "":
				auth, err = a.bearerAuth(serverURL, from.value)
			case variable != "" && from.auth+serverURL == "":
				auth, err = a.variableAuth(variable, hosts, unrestricted, from.value)
			default:
				err = stead.Invalid("auth", "say what it is for by one of --url, --variable and --auth-file")
			}
			if err != nil {
				return err
			}
			v, err := c.CreateCredential(cmd.Context(), args[0], args[1], auth)
			if err != nil {
				return err
			}
			return a.object(v.Raw, func(w io.Writer) { fmt.Fprintln(w, v.ID) })
		},
	}
	from.register(c)
	f := c.Flags()
	f.StringVar(&serverURL, "url", "", "the MCP server that a bearer token is for")
	f.StringVar(&variable, "variable", "", "the variable of environments that has the placeholder")
	f.StringSliceVar(&hosts, "host", nil, "with --variable: where the secret may be sent; may be repeated")
	f.BoolVar(&unrestricted, "unrestricted", false, "with --variable: wherever the environment's allowed domains lead")
	return c
}

func (a *app) bearerAuth(serverURL, file string) (any, error) {
	token, err := a.secretText(file)
	return map[string]any{"type": vault.StaticBearer, "mcp_server_url": serverURL, "token": token}, err
}

func (a *app) variableAuth(name string, hosts []string, unrestricted bool, file string) (any, error) {
	if unrestricted == (len(hosts) > 0) {
		return nil, stead.Invalid("networking", "say where the secret may be sent: --host NAME, or --unrestricted")
	}
	networking := map[string]any{"type": "unrestricted"}
	if !unrestricted {
		networking = map[string]any{"type": "limited", "allowed_hosts": hosts}
	}
	value, err := a.secretText(file)
	return map[string]any{"type": vault.EnvironmentVariable, "secret_name": name, "secret_value": value, "networking": networking}, err
}

func credentialHeader() []string {
	return []string{"CREDENTIAL", "NAME", "TYPE", "FOR", "CHANGED (UTC)", "STATE"}
}

func credentialRows(all []client.Credential) ([][]string, []json.RawMessage) {
	rows, raw := [][]string{}, []json.RawMessage{}
	for _, c := range all {
		where := c.Auth.ServerURL
		if c.Auth.Variable != "" {
			where = c.Auth.Variable + " → " + orDash(strings.Join(c.Auth.Networking.Hosts, ", "))
			if c.Auth.Networking.Type == "unrestricted" {
				where = c.Auth.Variable + " → allowed domains"
			}
		}
		state := "ok"
		switch {
		case c.SealError != nil:
			state = *c.SealError
		case c.RefreshError != nil:
			state = "authorize anew: " + *c.RefreshError
		}
		rows = append(rows, []string{c.ID, printable(c.Name), c.Auth.Type, printable(where), time.Unix(c.UpdatedAt, 0).UTC().Format(time.DateTime), printable(state)})
		raw = append(raw, c.Raw)
	}
	return rows, raw
}

func (a *app) credentialsList() *cobra.Command {
	return &cobra.Command{
		Use: "list VAULT", Short: "List a vault's credentials, the newest first, without their secrets", Args: cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			c, err := a.dial()
			if err != nil {
				return err
			}
			all, err := c.Credentials(cmd.Context(), args[0])
			if err != nil {
				return err
			}
			rows, raw := credentialRows(all)
			return a.table(raw, "It has no credentials.", credentialHeader(), rows)
		},
	}
}

func (a *app) credentialsShow() *cobra.Command {
	return &cobra.Command{
		Use: "show VAULT CREDENTIAL", Short: "Show a credential, without its secret", Args: cobra.ExactArgs(2),
		RunE: func(cmd *cobra.Command, args []string) error {
			c, err := a.dial()
			if err != nil {
				return err
			}
			v, err := c.Credential(cmd.Context(), args[0], args[1])
			if err != nil {
				return err
			}
			if a.json() {
				return a.object(v.Raw, nil)
			}
			rows, _ := credentialRows([]client.Credential{v})
			return a.table(nil, "", credentialHeader(), rows)
		},
	}
}

func (a *app) credentialsRotate() *cobra.Command {
	var from secretFlags
	c := &cobra.Command{
		Use: "rotate VAULT CREDENTIAL", Short: "Replace a secret: the new one counts from the next request on", Args: cobra.ExactArgs(2),
		Example: "  stead credentials rotate VAULT CREDENTIAL < token",
		RunE: func(cmd *cobra.Command, args []string) error {
			c, err := a.dial()
			if err != nil {
				return err
			}
			auth, err := a.rotation(cmd, c, args, from)
			if err != nil {
				return err
			}
			v, err := c.RotateCredential(cmd.Context(), args[0], args[1], auth)
			if err != nil {
				return err
			}
			return a.object(v.Raw, func(w io.Writer) { fmt.Fprintln(w, v.ID, "is rotated") })
		},
	}
	from.register(c)
	return c
}

// rotation is the auth of an update: of the type that the credential has.
func (a *app) rotation(cmd *cobra.Command, c *client.Client, args []string, from secretFlags) (any, error) {
	if from.auth != "" {
		return a.authInput(from.auth)
	}
	v, err := c.Credential(cmd.Context(), args[0], args[1])
	if err != nil {
		return nil, err
	}
	field := map[string]string{string(vault.StaticBearer): "token", string(vault.EnvironmentVariable): "secret_value", string(vault.MCPOAuth): "access_token"}[v.Auth.Type]
	value, err := a.secretText(from.value)
	return map[string]any{"type": v.Auth.Type, field: value}, err
}

func (a *app) credentialsDelete() *cobra.Command {
	return &cobra.Command{
		Use: "delete VAULT CREDENTIAL", Short: "Delete a credential: it is not used from the next request on", Args: cobra.ExactArgs(2),
		RunE: func(cmd *cobra.Command, args []string) error {
			c, err := a.dial()
			if err != nil {
				return err
			}
			if err := c.DeleteCredential(cmd.Context(), args[0], args[1]); err != nil {
				return err
			}
			return a.object(map[string]any{"id": args[1], "deleted": true}, func(w io.Writer) { fmt.Fprintln(w, args[1], "is deleted") })
		},
	}
}
