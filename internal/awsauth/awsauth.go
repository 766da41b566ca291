// Package awsauth says as whom AWS is called, and signs requests so (Signature Version 4).
//
// Shape: Credentials(region, keys) → a provider of credentials; Signer.Sign(request, body) sets X-Amz-Date, X-Amz-Security-Token for temporary
// ones, and Authorization.
//
// Keys that are configured are used as they stand. Without any, AWS's own chain finds them where the process runs: its environment, the shared
// configuration files and their profiles, a pod's web identity or container endpoint, the instance's role. Those are renewed before they end.
//
// Of a request is signed the method, path, query, body, host, content type and AWS's own headers: those that no proxy may change.
//
// Errors: KindInvalid for configuration files of AWS that can't be read; KindUnavailable where nothing has credentials, which the next request may find.
//
// Source: github.com/aws/aws-sdk-go-v2 (config, aws/signer/v4), which does it.
package awsauth

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"net/http"
	"strings"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	v4 "github.com/aws/aws-sdk-go-v2/aws/signer/v4"
	"github.com/aws/aws-sdk-go-v2/config"
	"github.com/aws/aws-sdk-go-v2/credentials"

	"github.com/stead-dev/stead"
)

// Keys are configured ones. Session belongs to temporary ones.
type Keys struct{ Access, Secret, Session string }

// Credentials are the keys, or, where there are none, what the process's surroundings have.
func Credentials(ctx context.Context, region string, k Keys) (aws.CredentialsProvider, error) {
	if k != (Keys{}) {
		return credentials.NewStaticCredentialsProvider(k.Access, k.Secret, k.Session), nil
	}
	found, err := config.LoadDefaultConfig(ctx, config.WithRegion(region))
	if err != nil {
		return nil, stead.Wrap(stead.KindInvalid, err, "AWS's configuration of this machine can't be used")
	}
	return found.Credentials, nil
}

// Signer signs for one service of a region.
type Signer struct {
	Credentials     aws.CredentialsProvider
	Region, Service string
	Now             func() time.Time
}

// signer keeps the keys that it has derived of credentials for a day and a service.
var signer = v4.NewSigner()

// Sign signs a request with this body.
func (s Signer) Sign(req *http.Request, body []byte) error {
	as, err := s.Credentials.Retrieve(req.Context())
	if err != nil {
		e := stead.Wrap(stead.KindUnavailable, err, "there are no credentials for AWS")
		e.Hint = "Give access_key and secret_key, or let this process have a role, a profile or AWS_ACCESS_KEY_ID."
		return e
	}
	signed := &http.Request{Method: req.Method, URL: req.URL, Host: req.Host, Header: http.Header{}}
	for name, values := range req.Header {
		if name == "Content-Type" || strings.HasPrefix(name, "X-Amz-") {
			signed.Header[name] = values
		}
	}
	sum := sha256.Sum256(body)
	if err := signer.SignHTTP(req.Context(), as, signed, hex.EncodeToString(sum[:]), s.Service, s.Region, s.Now()); err != nil {
		return stead.Wrap(stead.KindInternal, err, "a request to AWS can't be signed")
	}
	for name, values := range signed.Header {
		req.Header[name] = values
	}
	return nil
}
