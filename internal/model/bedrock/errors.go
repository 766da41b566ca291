package bedrock

import (
	"encoding/json"
	"net/http"
	"strings"
	"time"

	"github.com/stead-dev/stead/internal/model"
	"github.com/stead-dev/stead/internal/model/upstream"
)

// fault reads {"message", "__type"}; the header, where it is there, names the exception better.
func fault(body []byte, name string) upstream.Fault {
	var reply struct {
		Message string // also written "Message"
		Type    string `json:"__type"`
	}
	_ = json.Unmarshal(body, &reply) // what cannot be read is not worth showing: the status says the most
	if name == "" {
		name = reply.Type
	}
	// "com.amazon.coral.validate#ValidationException", "ValidationException:http://internal.amazon.com/…"
	name = name[strings.LastIndexByte(name, '#')+1:]
	name, _, _ = strings.Cut(name, ":")
	return upstream.Fault{Message: reply.Message, Type: name}
}

// explain maps an error reply.
func explain(status int, h http.Header, body []byte, now time.Time) *model.Error {
	f := fault(body, h.Get("X-Amzn-Errortype"))
	return upstream.StatusError(status, h, f, known(f), now)
}

// known maps the exceptions; nil for others. In a stream their names begin in lower case.
func known(f upstream.Fault) *model.Error {
	if f.Type == "" {
		return nil
	}
	switch strings.ToUpper(f.Type[:1]) + f.Type[1:] {
	case "ThrottlingException", "TooManyRequestsException":
		return &model.Error{Code: model.CodeRateLimit, Message: "the model provider limits the rate of calls", Retry: true}
	case "ServiceQuotaExceededException":
		return &model.Error{Code: model.CodeUsageLimit, Message: "the model provider's quota is used up"}
	case "ServiceUnavailableException", "ModelNotReadyException":
		return &model.Error{Code: model.CodeOverloaded, Message: "the model provider is overloaded", Retry: true}
	case "InternalServerException", "InternalFailure", "ModelErrorException", "ModelStreamErrorException":
		return &model.Error{Code: model.CodeServer, Message: "the model provider failed", Retry: true}
	case "ModelTimeoutException":
		return &model.Error{Code: model.CodeTimeout, Message: "the model provider did not answer in time", Retry: true}
	case "AccessDeniedException", "UnrecognizedClientException", "ExpiredTokenException", "InvalidSignatureException",
		"IncompleteSignatureException", "MissingAuthenticationTokenException", "InvalidClientTokenId":
		return &model.Error{Code: model.CodeAuthentication, Message: "the model provider refused the credentials"}
	case "ResourceNotFoundException":
		return &model.Error{Code: model.CodeNotFound, Message: "the model provider does not know the model"}
	case "ValidationException":
		return invalid(f.Message)
	}
	return nil
}

// invalid tells apart what the wire has one exception for.
func invalid(message string) *model.Error {
	for _, part := range []string{"Input is too long", "prompt is too long", "input length and `max_tokens` exceed context limit", "exceeds the maximum number of input tokens"} {
		if strings.Contains(message, part) {
			return &model.Error{Code: model.CodeContextLength, Message: "the conversation is too long for the model"}
		}
	}
	return &model.Error{Code: model.CodeInvalid, Message: "the model provider refused the request"}
}
