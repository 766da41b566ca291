package kms

import (
	"context"
	"encoding/json"
	"net/http"
	"strings"
	"time"

	"github.com/stead-dev/stead"
	"github.com/stead-dev/stead/internal/sigv4"
)

// AWS is AWS KMS in one region.
type AWS struct {
	Region  string
	BaseURL string // "": the region's
	Key     string // ARN, id or alias/NAME of the key there
	// AccessKey and SecretKey sign; SessionToken goes with temporary ones.
	AccessKey, SecretKey, SessionToken string
	CA                                 []byte // PEM; nil: the machine's
	Now                                func() time.Time
}

type aws struct {
	AWS
	caller
}

// NewAWS makes the service.
func NewAWS(a AWS) (Service, error) {
	if a.BaseURL == "" {
		domain := "amazonaws.com"
		if strings.HasPrefix(a.Region, "cn-") {
			domain = "amazonaws.com.cn"
		}
		a.BaseURL = "https://kms." + a.Region + "." + domain
	}
	c, err := newCaller(a.CA)
	return &aws{a, c}, err
}

// encryptionContext is bound to what is wrapped, and stands in AWS's own log of uses.
func encryptionContext() map[string]string { return map[string]string{"stead": "seal_key"} }

type awsRequest struct {
	KeyID      string            `json:"KeyId"`
	Plaintext  []byte            `json:"Plaintext,omitempty"`
	Ciphertext []byte            `json:"CiphertextBlob,omitempty"`
	Context    map[string]string `json:"EncryptionContext"`
}

type awsAnswer struct {
	Plaintext  []byte `json:"Plaintext"`
	Ciphertext []byte `json:"CiphertextBlob"`
	Type       string `json:"__type"`
	Message    string `json:"message"`
	Other      string `json:"Message"` // as some errors have it
}

// Encrypt implements Service.
func (a *aws) Encrypt(ctx context.Context, plain []byte) ([]byte, error) {
	out, err := a.call(ctx, "Encrypt", awsRequest{KeyID: a.Key, Plaintext: plain, Context: encryptionContext()})
	return out.Ciphertext, err
}

// Decrypt implements Service.
func (a *aws) Decrypt(ctx context.Context, wrapped []byte) ([]byte, error) {
	out, err := a.call(ctx, "Decrypt", awsRequest{KeyID: a.Key, Ciphertext: wrapped, Context: encryptionContext()})
	return out.Plaintext, err
}

func (a *aws) call(ctx context.Context, action string, body awsRequest) (out awsAnswer, err error) {
	signer := sigv4.Signer{Key: a.AccessKey, Secret: a.SecretKey, Token: a.SessionToken, Region: a.Region, Service: "kms", Now: a.Now}
	status, raw, err := a.post(ctx, strings.TrimSuffix(a.BaseURL, "/")+"/", body, func(req *http.Request, b []byte) {
		req.Header.Set("Content-Type", "application/x-amz-json-1.1")
		req.Header.Set("X-Amz-Target", "TrentService."+action)
		signer.Sign(req, b)
	})
	if err != nil {
		return out, err
	}
	broken := json.Unmarshal(raw, &out)
	if status == http.StatusOK && broken == nil && len(out.Plaintext)+len(out.Ciphertext) > 0 {
		return out, nil
	}
	return out, awsError(status, out)
}

// awsError says what an error of AWS means here. Its type is the last part of a name: com.amazonaws.kms#DisabledException.
func awsError(status int, a awsAnswer) error {
	kind := a.Type[strings.LastIndexByte(a.Type, '#')+1:]
	text := said(strings.TrimSpace(kind + ": " + a.Message + a.Other))
	switch kind {
	case "AccessDeniedException", "UnrecognizedClientException", "InvalidSignatureException", "SignatureDoesNotMatch", "InvalidClientTokenId", "ExpiredTokenException",
		"IncompleteSignature", "MissingAuthenticationTokenException", "NotAuthorized", "OptInRequired", "RequestExpired":
		return stead.Errorf(stead.KindForbidden, "it denies: %s", text)
	case "InvalidCiphertextException", "IncorrectKeyException", "NotFoundException", "InvalidKeyUsageException", "InvalidArnException", "DisabledException", "KMSInvalidStateException", "ValidationException":
		return stead.Errorf(stead.KindInvalid, "%s", text)
	case "ThrottlingException", "LimitExceededException", "KeyUnavailableException", "KMSInternalException", "DependencyTimeoutException", "InternalFailure", "ServiceUnavailable":
		return stead.Errorf(stead.KindUnavailable, "%s", text)
	}
	return byStatus(status, text)
}

// byStatus is for answers that are not in the service's own words.
func byStatus(status int, text string) error {
	switch {
	case status == http.StatusUnauthorized || status == http.StatusForbidden:
		return stead.Errorf(stead.KindForbidden, "it denies with status %d (%s)", status, text)
	case status >= http.StatusInternalServerError || status == http.StatusTooManyRequests || status == http.StatusRequestTimeout:
		return stead.Errorf(stead.KindUnavailable, "it answers with status %d (%s)", status, text)
	}
	return stead.Errorf(stead.KindInvalid, "it answers with status %d (%s)", status, text)
}
