package awsauth_test

import (
	"net/http"
	"testing"
	"time"

	"github.com/stead-dev/stead/internal/awsauth"
)

// AWS's published examples: the Signature Version 4 test suite (get-vanilla, get-vanilla-query-order-key-case,
// post-vanilla, post-x-www-form-urlencoded, post-sts-header-before) and ListUsers of the IAM user guide.
func TestSignatures(t *testing.T) {
	now := time.Date(2015, 8, 30, 12, 36, 0, 0, time.UTC)
	for name, tc := range map[string]struct{ method, url, service, contentType, token, body, signed, signature string }{
		"get-vanilla": {"GET", "https://example.amazonaws.com/", "service", "", "", "", "host;x-amz-date",
			"5fa00fa31553b73ebf1942676e86291e8372ff2a2260956d9b8aae1d763fbf31"},
		"query order": {"GET", "https://example.amazonaws.com/?Param2=value2&Param1=value1", "service", "", "", "", "host;x-amz-date",
			"b97d918cfa904a5beff61c982a1b6f458b799221646efd99d3219ec94cdf2500"},
		"post-vanilla": {"POST", "https://example.amazonaws.com/", "service", "", "", "", "host;x-amz-date",
			"5da7c1a2acd57cee7505fc6676e4e544621c30862966e37dddb68e92efbe5d6b"},
		"a form": {"POST", "https://example.amazonaws.com/", "service", "application/x-www-form-urlencoded", "", "Param1=value1", "content-type;host;x-amz-date",
			"ff11897932ad3f4e8b18135d722051e5ac45fc38421b1da7b9d196a0fe09473a"},
		"ListUsers": {"GET", "https://iam.amazonaws.com/?Action=ListUsers&Version=2010-05-08", "iam", "application/x-www-form-urlencoded; charset=utf-8", "", "",
			"content-type;host;x-amz-date", "5d672d79c15b13162d9279b0855cfba6789a8edb4c82c400e06b5924a6f2b5d7"},
		"a session token": {"POST", "https://example.amazonaws.com/", "service", "",
			"AQoDYXdzEPT//////////wEXAMPLEtc764bNrC9SAPBSM22wDOk4x4HIZ8j4FZTwdQWLWsKWHGBuFqwAeMicRXmxfpSPfIeoIYRqTflfKD8YUuwthAx7mSEI/qkPpKPi/kMcGdQrmGdeehM4IC1NtBmUpp2wUE8phUZampKsburEDy0KPkyQDYwT7WZ0wq5VSXDvp75YU9HFvlRd8Tx6q6fE8YQcHNVXAkiY9q6d+xo0rKwT38xVqr7ZD0u0iPPkUL64lIZbqBAz+scqKmlzm8FDrypNC9Yjc8fPOLn9FX9KSYvKTr4rvx3iSIlTJabIQwj2ICCR/oLxBA==",
			"", "host;x-amz-date;x-amz-security-token", "85d96828115b5dc0cfc3bd16ad9e210dd772bbebba041836c64533a82be05ead"},
	} {
		req, err := http.NewRequest(tc.method, tc.url, http.NoBody)
		if err != nil {
			t.Fatal(err)
		}
		if tc.contentType != "" {
			req.Header.Set("Content-Type", tc.contentType)
		}
		as, err := awsauth.Credentials(t.Context(), "us-east-1", awsauth.Keys{Access: "AKIDEXAMPLE", Secret: "wJalrXUtnFEMI/K7MDENG+bPxRfiCYEXAMPLEKEY", Session: tc.token})
		if err == nil {
			s := awsauth.Signer{Credentials: as, Region: "us-east-1", Service: tc.service, Now: func() time.Time { return now }}
			err = s.Sign(req, []byte(tc.body))
		}
		if err != nil {
			t.Fatal(err)
		}
		want := "AWS4-HMAC-SHA256 Credential=AKIDEXAMPLE/20150830/us-east-1/" + tc.service + "/aws4_request, SignedHeaders=" + tc.signed + ", Signature=" + tc.signature
		if got := req.Header.Get("Authorization"); got != want {
			t.Errorf("%s: %s\nwant %s", name, got, want)
		}
	}
}
