package bedrock

import (
	"net/http"

	"github.com/stead-dev/stead/internal/awsauth"
	"github.com/stead-dev/stead/internal/model"
)

// signer implements upstream.Signer by Signature Version 4.
type signer struct{ awsauth.Signer }

// Sign implements upstream.Signer.
func (s signer) Sign(req *http.Request, body []byte) *model.Error {
	if err := s.Signer.Sign(req, body); err != nil {
		return &model.Error{Code: model.CodeConnection, Message: "a request to AWS can't be signed just now", Retry: true, Err: err}
	}
	return nil
}

// Refused implements upstream.Signer: there is nothing else to sign with.
func (signer) Refused(*http.Request) bool { return false }

// Secrets implements upstream.Signer. The key that the secret belongs to is none: it is sent with each request.
func (signer) Secrets() []string { return nil }
