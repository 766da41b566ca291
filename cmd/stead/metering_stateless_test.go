package main

import (
	"io"
	"testing"
)

// Calls that are made one after the other fit in a budget that has room for one at a time: what a call held is given
// back when it has ended, for the next one and for the next turn, and not when its record happens to be written.
func TestOneStatelessCallAfterTheOther(t *testing.T) {
	for _, limit := range []string{"tokens: 9000", "seconds: 61"} {
		t.Run(limit, func(t *testing.T) {
			n := openConfigured(t, "budgets: [{name: small, scope: project, limit: {"+limit+"}}]\n", io.Discard)
			for i, body := range []string{
				`{"model":"sim","store":false,"input":"Say hi"}`, `{"model":"sim","store":false,"input":"Say hi"}`,
				`{"model":"sim","store":false,"input":"Say hi","stream":true}`, `{"model":"sim","store":false,"input":"Say hi"}`,
				`{"model":"sim","input":"Say hi"}`, `{"model":"sim","store":false,"input":"Say hi"}`,
			} {
				if res, got := ask(t, n, "POST", "/v1/responses", body); res.StatusCode != 200 {
					t.Fatalf("call %d: %d %s", i, res.StatusCode, got)
				}
			}
		})
	}
}
