package kms

import (
	"context"
	"errors"
	"strings"

	"github.com/aws/aws-sdk-go-v2/aws"
	awskms "github.com/aws/aws-sdk-go-v2/service/kms"
	"github.com/aws/smithy-go"
	smithyhttp "github.com/aws/smithy-go/transport/http"

	"github.com/stead-dev/stead"
	"github.com/stead-dev/stead/internal/awsauth"
)

// AWS is AWS KMS in one region.
type AWS struct {
	Region  string
	BaseURL string       // "": the region's
	Key     string       // ARN, id or alias/NAME of the key there
	Keys    awsauth.Keys // none: what the machine has
	CA      []byte       // PEM; nil: the machine's
}

type awsService struct {
	key    string
	client *awskms.Client
}

// NewAWS makes the service.
func NewAWS(ctx context.Context, a AWS) (Service, error) {
	c, err := newCaller(a.CA)
	if err != nil {
		return nil, err
	}
	as, err := awsauth.Credentials(ctx, a.Region, a.Keys)
	if err != nil {
		return nil, err
	}
	o := awskms.Options{Region: a.Region, Credentials: as, HTTPClient: c.client, Retryer: aws.NopRetryer{}} // the ring tries again
	if a.BaseURL != "" {
		o.BaseEndpoint = &a.BaseURL
	}
	return &awsService{a.Key, awskms.New(o)}, nil
}

// encryptionContext is bound to what is wrapped, and stands in AWS's own log of uses.
func encryptionContext() map[string]string { return map[string]string{"stead": "seal_key"} }

// Encrypt implements Service.
func (a *awsService) Encrypt(ctx context.Context, plain []byte) ([]byte, error) {
	out, err := a.client.Encrypt(ctx, &awskms.EncryptInput{KeyId: &a.key, Plaintext: plain, EncryptionContext: encryptionContext()})
	if err != nil {
		return nil, awsError(err)
	}
	return out.CiphertextBlob, nil
}

// Decrypt implements Service.
func (a *awsService) Decrypt(ctx context.Context, wrapped []byte) ([]byte, error) {
	out, err := a.client.Decrypt(ctx, &awskms.DecryptInput{KeyId: &a.key, CiphertextBlob: wrapped, EncryptionContext: encryptionContext()})
	if err != nil {
		return nil, awsError(err)
	}
	return out.Plaintext, nil
}

// awsError says what an error of AWS means here.
func awsError(err error) error {
	status, text := 0, said(err.Error())
	if res, ok := errors.AsType[*smithyhttp.ResponseError](err); ok {
		status = res.HTTPStatusCode()
	}
	api, ok := errors.AsType[smithy.APIError](err)
	switch {
	case !ok && status == 0:
		return stead.Errorf(stead.KindUnavailable, "it can't be reached: %s", text)
	case !ok:
		return byStatus(status, text)
	}
	text = said(strings.TrimSpace(api.ErrorCode() + ": " + api.ErrorMessage()))
	switch api.ErrorCode() {
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
