package config

import (
	"encoding/base64"
	"fmt"
	"net"
	"net/url"
	"regexp"
	"slices"
	"strings"
)

// SealKMS is a key management service.
type SealKMS struct {
	Name    string `yaml:"name"` // as SealKey has it: kms:NAME:…
	API     string `yaml:"api"`  // KMSAWS or KMSVault
	BaseURL string `yaml:"base_url"`
	Key     string `yaml:"key"`     // the key there
	CAFile  string `yaml:"ca_file"` // PEM; "": the machine's authorities

	// Of api aws.
	Region       string `yaml:"region"`
	AccessKey    string `yaml:"access_key"`
	SecretKey    string `yaml:"secret_key"`
	SessionToken string `yaml:"session_token"`

	// Of api vault.
	Mount     string `yaml:"mount"` // of the transit engine; "": transit
	Namespace string `yaml:"namespace"`
	Token     string `yaml:"token"`
}

// The values of SealKMS.API.
const (
	KMSAWS   = "aws"
	KMSVault = "vault"
)

const (
	// MaxSealKeys bounds the keys in Config.SealKey, MaxSealKMS Config.SealKMS.
	MaxSealKeys, MaxSealKMS = 16, 16
	// maxWrappedBytes bounds a wrapped key, as package kms has it.
	maxWrappedBytes = 6 << 10
	// sealKeyBytes is the length of a key that seals what is confidential, as package seal has it.
	sealKeyBytes = 32
	// wrappedKey begins one that a KMS has wrapped.
	wrappedKey = "kms:"
)

func (c *Config) checkSeal() error {
	if len(c.SealKMS) > MaxSealKMS {
		return invalid("seal_kms", "Remove some.", "seal_kms has %d services: at most %d are taken", len(c.SealKMS), MaxSealKMS)
	}
	names := map[string]bool{}
	for n, k := range c.SealKMS {
		at := fmt.Sprintf("seal_kms[%d]", n)
		if err := k.check(at); err != nil {
			return err
		}
		if names[k.Name] {
			return invalid(at+".name", "Give each its own.", "%s: the name %s is there twice", at, k.Name)
		}
		names[k.Name] = true
	}
	if c.SealKey == "" {
		return nil
	}
	keys := strings.Split(c.SealKey, ",")
	if len(keys) > MaxSealKeys {
		return invalid("seal_key", "Remove those that nothing is sealed with any more.", "seal_key has %d keys: at most %d are taken", len(keys), MaxSealKeys)
	}
	for _, key := range keys {
		if err := checkSealKey(strings.TrimSpace(key), names); err != nil {
			return err
		}
	}
	return nil
}

func checkSealKey(key string, names map[string]bool) error {
	rest, wrapped := strings.CutPrefix(key, wrappedKey)
	if !wrapped {
		if raw, err := base64.StdEncoding.DecodeString(key); err != nil || len(raw) != sealKeyBytes {
			return invalid("seal_key", "Make one with: head -c 32 /dev/urandom | base64", "seal_key must be %d bytes in base64, or several of them with commas between", sealKeyBytes)
		}
		return nil
	}
	name, blob, _ := strings.Cut(rest, ":")
	raw, err := base64.StdEncoding.DecodeString(blob)
	switch {
	case err != nil || len(raw) == 0 || len(raw) > maxWrappedBytes:
		return invalid("seal_key", "Make one with: stead seal-keys new --kms NAME", "seal_key has a wrapped key that is none: it is kms:NAME:BASE64")
	case !names[name]:
		return invalid("seal_key", "Write seal_kms: [{name: …, api: aws or vault, …}].", "seal_key names the KMS %.80q, which seal_kms does not have", name)
	}
	return nil
}

func (k SealKMS) check(at string) error {
	switch {
	case !regexp.MustCompile(`^[a-z0-9][a-z0-9_-]{0,62}$`).MatchString(k.Name):
		return invalid(at+".name", "It has lower-case letters, digits, - and _.", "%s.name is %.80q", at, k.Name)
	case !slices.Contains([]string{KMSAWS, KMSVault}, k.API):
		return invalid(at+".api", "It is aws or vault.", "%s.api is %q", at, k.API)
	case k.Key == "":
		return invalid(at+".key", "Write key: the ARN or alias/NAME of the key (aws), or its name (vault).", "%s names no key", at)
	case k.API == KMSAWS && ((k.AccessKey == "") != (k.SecretKey == "") || k.AccessKey == "" && k.SessionToken != ""):
		return invalid(at+".access_key", "Write access_key and secret_key, or neither: then it is called as the machine is.", "%s needs an access key, both parts of it, or none", at)
	case k.API == KMSAWS && !regexp.MustCompile(`^[a-z0-9-]+$`).MatchString(k.Region):
		return invalid(at+".region", "Write region: eu-central-1.", "%s needs a region, which is signed", at)
	case k.API == KMSAWS && (k.Token != "" || k.Mount != "" || k.Namespace != ""):
		return invalid(at+".token", "Remove them.", "%s: token, mount and namespace are for api vault", at)
	case k.API == KMSVault && (k.Token == "" || k.BaseURL == ""):
		return invalid(at+".token", "Write base_url: https://vault.example:8200, token: \"${file:/run/secrets/vault}\".", "%s needs base_url and token", at)
	case k.API == KMSVault && (k.AccessKey != "" || k.SecretKey != "" || k.SessionToken != "" || k.Region != ""):
		return invalid(at+".access_key", "Remove them.", "%s: region and access keys are for api aws", at)
	case k.BaseURL == "":
		return nil
	}
	u, err := url.Parse(k.BaseURL)
	local := err == nil && Loopback(net.JoinHostPort(u.Hostname(), "0"))
	if err != nil || u.Host == "" || u.User != nil || u.RawQuery != "" || u.Fragment != "" || u.Scheme != "https" && !(u.Scheme == "http" && local) {
		return invalid(at+".base_url", "The key that keeps secrets comes from there.", "%s.base_url must be an https:// address, or an http:// one of this machine", at)
	}
	return nil
}
