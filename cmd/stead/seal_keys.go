package main

import (
	"context"
	"crypto/rand"
	"encoding/json"
	"fmt"
	"io"
	"log/slog"
	"os"
	"path/filepath"
	"time"

	"github.com/spf13/cobra"

	"github.com/stead-dev/stead"
	"github.com/stead-dev/stead/internal/awsauth"
	"github.com/stead-dev/stead/internal/config"
	"github.com/stead-dev/stead/internal/seal"
	"github.com/stead-dev/stead/internal/seal/kms"
)

// openRing makes the key management services of a configuration. patience is for how long what they can't do is tried again; 0: as long
// as a node that starts does.
func openRing(cfg *config.Config, patience time.Duration, log *slog.Logger) (*kms.Ring, error) {
	services := map[string]kms.Service{}
	for n, k := range cfg.SealKMS {
		var ca []byte
		if k.CAFile != "" {
			var err error
			if ca, err = os.ReadFile(k.CAFile); err != nil {
				e := stead.Wrap(stead.KindInvalid, err, "the authorities of the KMS %s can't be read", k.Name)
				e.Param = fmt.Sprintf("seal_kms[%d].ca_file", n)
				return nil, e
			}
		}
		var err error
		switch k.API {
		case config.KMSAWS:
			services[k.Name], err = kms.NewAWS(context.Background(), kms.AWS{Region: k.Region, BaseURL: k.BaseURL, Key: k.Key, CA: ca,
				Keys: awsauth.Keys{Access: k.AccessKey, Secret: k.SecretKey, Session: k.SessionToken}})
		case config.KMSVault:
			services[k.Name], err = kms.NewVault(kms.Vault{BaseURL: k.BaseURL, Mount: k.Mount, Key: k.Key, Token: k.Token, Namespace: k.Namespace, CA: ca})
		}
		if err != nil {
			return nil, err
		}
	}
	return kms.NewRing(services, patience, log), nil
}

// unwrapper is how package seal comes by keys that are wrapped.
func unwrapper(ring *kms.Ring) seal.Unwrap {
	return func(ctx context.Context, entry string) ([]byte, error) {
		name, wrapped, ok := kms.ParseEntry(entry)
		if !ok {
			return nil, nil
		}
		key, err := ring.Unwrap(ctx, name, wrapped)
		if err == nil && len(key) != seal.KeyBytes {
			err = stead.Invalid("seal_key", "what the KMS %s has wrapped is no key: it has %d bytes, not %d", name, len(key), seal.KeyBytes)
		}
		return key, err
	}
}

// loadSeal has a node's keys: those of the data directory, or of the configuration, some of which a KMS has to unwrap.
func loadSeal(ctx context.Context, cfg *config.Config, log *slog.Logger) (*seal.Keys, error) {
	ring, err := openRing(cfg, 0, log)
	if err != nil {
		return nil, err
	}
	return seal.Load(ctx, cfg.Data, cfg.SealKey, unwrapper(ring))
}

// presentKeys are the keys that there are: none is made, as a node would make that starts in an empty directory.
func presentKeys(ctx context.Context, cfg *config.Config, ring *kms.Ring) ([][]byte, error) {
	if cfg.SealKey == "" {
		if _, err := os.Stat(filepath.Join(cfg.Data, seal.KeyFile)); err != nil {
			e := stead.Wrap(stead.KindNotFound, err, "there is no key: neither seal_key nor %s in %s", seal.KeyFile, cfg.Data)
			e.Hint = "Name the node's data directory with --data, or its configuration with --config."
			return nil, e
		}
	}
	return seal.Read(ctx, cfg.Data, cfg.SealKey, unwrapper(ring))
}

// commandPatience is for how long a command, or doctor, tries a KMS: somebody waits.
const commandPatience = 15 * time.Second

func (a *app) sealKeysCmd() *cobra.Command {
	return group("seal-keys", "The keys that keep secrets, and the key management services that wrap them", a.sealKeysNew(), a.sealKeysWrap(), a.sealKeysList())
}

func (a *app) sealKeysNew() *cobra.Command {
	return a.sealEntry("new", "Make a key, wrapped by a KMS, and print how it stands in seal_key",
		"New makes 32 random bytes, has the KMS wrap them, and prints kms:NAME:…, which is no secret. Nobody sees the key itself.\n"+
			"Put it behind the keys that there are, on every node; then before them; then `stead vaults rekey --all-projects`.",
		func(context.Context, *config.Config, *kms.Ring) ([]byte, error) {
			key := make([]byte, seal.KeyBytes)
			rand.Read(key) //nolint:errcheck // never fails
			return key, nil
		})
}

func (a *app) sealKeysWrap() *cobra.Command {
	return a.sealEntry("wrap", "Have a KMS wrap the key that seals now, and print how it stands in seal_key",
		"Wrap has the KMS wrap the first key of the configuration, or of the data directory, whoever wrapped it before. It is the same key:\n"+
			"nodes that have it in one form or the other read the same, and nothing has to be sealed anew. Who saw the key before still\n"+
			"has it: where that matters, `stead seal-keys new`.",
		func(ctx context.Context, cfg *config.Config, ring *kms.Ring) ([]byte, error) {
			keys, err := presentKeys(ctx, cfg, ring)
			if err != nil {
				return nil, err
			}
			return keys[0], nil
		})
}

// sealEntry is a command that has a KMS wrap a key.
func (a *app) sealEntry(use, short, long string, key func(context.Context, *config.Config, *kms.Ring) ([]byte, error)) *cobra.Command {
	var f nodeFlags
	var name string
	c := &cobra.Command{
		Use: use, Short: short, Long: long, Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			cfg, ring, err := a.ring(&f)
			if err != nil {
				return err
			}
			plain, err := key(cmd.Context(), cfg, ring)
			if err != nil {
				return err
			}
			text, err := ring.Wrap(cmd.Context(), name, plain)
			if err != nil {
				return err
			}
			return a.object(map[string]string{"seal_key": text, "id": seal.ID(plain)}, func(w io.Writer) {
				fmt.Fprintln(w, text)
				fmt.Fprintf(a.err, "The key is %s.\n", seal.ID(plain))
			})
		},
	}
	f.register(c)
	c.Flags().StringVar(&name, "kms", "", "which one of seal_kms wraps it")
	_ = c.MarkFlagRequired("kms") // the flag is there
	return c
}

func (a *app) sealKeysList() *cobra.Command {
	var f nodeFlags
	c := &cobra.Command{
		Use: "list", Short: "Unwrap the keys of a configuration, and say which they are", Args: cobra.NoArgs,
		Long: "List says by which id sealed things name each key: the same id in two forms is the same key. The first one seals.",
		RunE: func(cmd *cobra.Command, _ []string) error {
			cfg, ring, err := a.ring(&f)
			if err != nil {
				return err
			}
			keys, err := presentKeys(cmd.Context(), cfg, ring)
			if err != nil {
				return err
			}
			var rows [][]string
			raw := []json.RawMessage{}
			for n, key := range keys {
				does := "opens"
				if n == 0 {
					does = "seals"
				}
				rows = append(rows, []string{seal.ID(key), does})
				raw = append(raw, json.RawMessage(fmt.Sprintf(`{"id":%q,"does":%q}`, seal.ID(key), does)))
			}
			return a.table(raw, "There are no keys.", []string{"KEY", "DOES"}, rows)
		},
	}
	f.register(c)
	return c
}

func (a *app) ring(f *nodeFlags) (*config.Config, *kms.Ring, error) {
	cfg, err := f.load(a.env)
	if err != nil {
		return nil, nil, err
	}
	ring, err := openRing(cfg, commandPatience, quiet(a.err))
	return cfg, ring, err
}

// checkSealKeys has the keys unwrapped that a KMS has wrapped.
func checkSealKeys(ctx context.Context, cfg *config.Config) finding {
	f := finding{Check: "seal keys", Verdict: verdictOK}
	ring, err := openRing(cfg, commandPatience, slog.New(slog.DiscardHandler))
	var keys [][]byte
	if err == nil {
		keys, err = presentKeys(ctx, cfg, ring)
	}
	if err != nil {
		f.Verdict, f.Detail, f.Remedy = verdictFail, oneLine(err.Error(), 300), "A node does not start without them; one that runs goes on."
		return f
	}
	f.Detail = fmt.Sprintf("%d can be unwrapped; %s seals", len(keys), seal.ID(keys[0]))
	return f
}
