package cedar

import (
	"fmt"
	"strings"
	"testing"
	"time"

	expast "github.com/cedar-policy/cedar-go/x/exp/ast"
)

// sized are as many policies with a condition as one set of a project's may have.
func sized(t *testing.T, action, condition string) string {
	t.Helper()
	known, err := published()
	if err != nil {
		t.Fatal(err)
	}
	one := fmt.Sprintf("forbid (principal, %s, resource) when { %s };\n", action, condition)
	tokens, beyond := measure(Source{"x", []byte(one)})
	if len(beyond) > 0 || len(tokens) != 1 {
		t.Fatalf("%.80s is beyond a limit: %v", condition, beyond)
	}
	kinds := (&loader{schema: known}).kinds(&expast.Policy{})
	if kinds < 100 {
		t.Fatalf("a policy about everything is about %d kinds of requests", kinds)
	}
	return strings.Repeat(one, max(1, min((256<<10)/len(one), MaxWork/(kinds*tokens[0]))))
}

// What is accepted is checked in a fraction of a second of one core; without limits each of these took from ten seconds to for ever.
func TestWhatIsAcceptedIsCheckedSoon(t *testing.T) {
	for what, text := range map[string]string{
		"a sum":             sized(t, "action", "1"+strings.Repeat("+1", 240)+" == 3"),
		"a wrong sum":       sized(t, "action", "1"+strings.Repeat("+true", 240)+" == 3"),
		"wrong conjuncts":   sized(t, "action", "true"+strings.Repeat("&& 1", 240)),
		"wrong, and nested": sized(t, "action", strings.Repeat("(true && ", 60)+"1"+strings.Repeat("+true", 200)+" == 1"+strings.Repeat(")", 60)),
		"a wide set":        sized(t, "action", "["+strings.Repeat("principal,", 4900)+"principal].contains(principal)"),
		"records":           sized(t, "action", strings.Repeat("if true then {a:1,b:", 25)+"1"+strings.Repeat("} else {a:1}", 25)),
		"of one action":     strings.Repeat("forbid (principal, action == Action::\"tool.call\", resource) when { context has class && context.class == \"x\" };\n", 2000),
	} {
		began := time.Now()
		_, err := Load([]Source{{"x", []byte(text)}}, Options{Name: "x"})
		if took := time.Since(began); took > time.Minute { // how long it takes a benchmark says; without limits some never end
			t.Errorf("%s took %s", what, took)
		}
		if wrong := strings.Contains(what, "wrong") || what == "records"; (err != nil) != wrong {
			t.Errorf("%s: %.200v", what, err)
		}
	}
}

func TestWhatIsTooDeepIsNotParsed(t *testing.T) {
	const head, tail = "permit (principal, action, resource);\nforbid (principal, action, resource)\nwhen { ", " };\n"
	for _, c := range []struct{ condition, want string }{
		{strings.Repeat("[", 120_000), "more than 64 brackets within brackets"},
		{"/* \" */ " + strings.Repeat("(", 70) + "true", "more than 64 brackets"},
		{"context.x == \"\\\"\" && " + strings.Repeat("{a:", 70), "more than 64 brackets"},
		{strings.Repeat("-", 120_000) + "1 == 1", "more than 4 ! and - in a row"},
		{strings.Repeat("! ", 5) + "true", "more than 4 ! and -"},
		{"context" + strings.Repeat(".a", 60_000), "more than 500 words and signs in one expression"},
		{"true" + strings.Repeat(" && true", 30_000), "more than 500 words and signs in one expression"},
		{strings.Repeat("if true then true else ", 33) + "true", "more than 32 ifs"},
		{"[" + strings.Repeat("1,", 6_000) + "1].contains(1)", "more than 10000 words and signs"},
	} {
		_, err := Load([]Source{{"x", []byte(head + c.condition + tail)}}, Options{})
		if err == nil || !strings.Contains(err.Error(), c.want) || !strings.Contains(err.Error(), "x:3: policy 2, which begins in line 2") {
			t.Errorf("%.40s…: %.300v", c.condition, err)
		}
	}
	fine := []string{
		strings.Repeat("(", 60) + "true" + strings.Repeat(")", 60), "\"" + strings.Repeat("[", 1000) + "\" == \"\\\"((((\"", "!!!!true // " + strings.Repeat("(", 100) + "\n",
		"User::\"a\" in [" + strings.Repeat("Role::\"owner\", ", 400) + "Role::\"owner\"]", "true" + strings.Repeat(" || true", 200) + " || 1 - -1 != 3 && !true",
	}
	for _, condition := range fine {
		if _, err := Load([]Source{{"x", []byte(head + condition + tail)}}, Options{}); err != nil {
			t.Errorf("%.60s…: %.200v", condition, err)
		}
	}
}

func TestASetSaysOnlySoMuch(t *testing.T) {
	one := "forbid (principal, action, resource) when { " + "true" + strings.Repeat(" && true", 200) + " };\n"
	_, err := Load([]Source{{"x", []byte(strings.Repeat(one, 60))}}, Options{Name: "x"})
	if err == nil || !strings.Contains(err.Error(), "the limit is 4000000. Name the actions in their heads") || strings.Count(err.Error(), "too much") != 1 {
		t.Errorf("a set that says too much: %.400v", err)
	}
	named := strings.ReplaceAll(one, "action,", "action == Action::\"tool.call\",")
	if _, err := Load([]Source{{"x", []byte(strings.Repeat(named, 60))}}, Options{Name: "x"}); err != nil {
		t.Errorf("of one action: %.400v", err)
	}
	if _, err := Load([]Source{{"x", []byte(strings.Repeat(one, 60))}}, Options{}); err != nil {
		t.Errorf("the operator's: %.400v", err)
	}
}
