package server

import (
	"context"
	"html/template"
	"net/http"
	"net/url"
	"strings"
	"time"

	"github.com/stead-dev/stead"
	"github.com/stead-dev/stead/internal/consent"
	"github.com/stead-dev/stead/internal/identity"
	"github.com/stead-dev/stead/internal/session"
)

// Consents ask users whether agents may act for them at tool servers: see package consent, which implements it.
type Consents interface {
	// Link is the page of a consent.
	Link(project stead.ProjectID, id string) string
	// Client is the document that describes this server to an issuer.
	Client(tag string) ([]byte, error)
	Show(ctx context.Context, ticket string) (consent.Shown, error)
	Begin(ctx context.Context, ticket string) (consent.Way, error)
	Finish(ctx context.Context, a consent.Answer) (consent.Shown, error)
}

// withLinks puts the link of a consent into what is shown to whom the session serves, by a key of theirs or by a token of the session
// that was made with one, and to nobody else: whoever has it could say yes for somebody else's account, and the agent would work there.
// Others may make tokens of the session, which are its user's to all else. Actions are the caller's own.
func (s *server) withLinks(p stead.Principal, actions []session.RequiredAction) {
	for _, a := range actions {
		r := a.Request
		if s.Consents == nil || a.Type != session.ActionConsent || r.For.Project != p.Project || r.For.Kind != p.Kind || r.For.ID != p.ID {
			continue
		}
		if p.Session == "" || p.Maker == string(r.For.Kind)+":"+r.For.ID {
			r.URL = s.Consents.Link(p.Project, r.Consent)
		}
	}
}

// The pages of a consent are what a browser sees of this server. Nobody has a key there: a ticket, a state and a cookie are the
// proofs, and each is of one consent alone. The pages hold no script, load nothing, are in no frame and in no cache, and tell no
// other page where they are. They have no form-action: browsers apply it to where a form's answer leads, and that is anywhere.
const (
	pagePolicy = "default-src 'none'; style-src 'sha256-%s'; frame-ancestors 'none'; base-uri 'none'"
	// maxAnswerBytes bounds each parameter that a browser brings back.
	maxAnswerBytes = 4096
)

// showConsent is the page that the link of a required action leads to. It does nothing: mail scanners open links too.
func (s *server) showConsent(w http.ResponseWriter, r *http.Request, _ stead.Principal) error {
	if s.Consents == nil {
		return s.showPage(w, http.StatusNotFound, pageOf(consent.Shown{}, noConsents()))
	}
	ticket := r.URL.Query().Get("ticket")
	shown, err := s.Consents.Show(r.Context(), ticket)
	p := pageOf(shown, err)
	if err == nil && (shown.Status == consent.Asked || shown.Status == consent.Begun) {
		p.Ticket = ticket
	}
	return s.showPage(w, s.pageStatus(w, r, err), p)
}

// beginConsent sends the user on, from a page of ours: a request of another origin is refused before it comes here.
func (s *server) beginConsent(w http.ResponseWriter, r *http.Request, _ stead.Principal) error {
	if s.Consents == nil {
		return s.showPage(w, http.StatusNotFound, pageOf(consent.Shown{}, noConsents()))
	}
	body, err := readForm(w, r)
	if err != nil {
		return err
	}
	form, err := url.ParseQuery(string(body))
	if err != nil {
		return stead.Invalid("ticket", "the body is no form")
	}
	way, err := s.Consents.Begin(s.inCall(w, r, identity.Caller{}).Context(), form.Get("ticket"))
	if err != nil {
		return s.showPage(w, s.pageStatus(w, r, err), pageOf(consent.Shown{}, err))
	}
	http.SetCookie(w, &http.Cookie{
		Name: s.cookie(way.Cookie), Value: way.Browser, Path: "/", MaxAge: int(way.Lasts / time.Second),
		HttpOnly: true, Secure: s.SecureCookies, SameSite: http.SameSiteLaxMode, // Lax: the answer comes by a link of the authorization server's
	})
	closed(w.Header())
	w.Header().Set("Location", way.URL)
	w.WriteHeader(http.StatusSeeOther)
	return nil
}

// endConsent is where an authorization server sends the user back to.
func (s *server) endConsent(w http.ResponseWriter, r *http.Request, _ stead.Principal) error {
	if s.Consents == nil {
		return s.showPage(w, http.StatusNotFound, pageOf(consent.Shown{}, noConsents()))
	}
	q, err := answerOf(r)
	if err != nil {
		return s.showPage(w, http.StatusBadRequest, pageOf(consent.Shown{}, err))
	}
	var proof *http.Cookie
	shown, err := s.Consents.Finish(s.inCall(w, r, identity.Caller{}).Context(), consent.Answer{
		Tag: r.PathValue("issuer"), State: q.Get("state"), Code: q.Get("code"), Error: q.Get("error"), Issuer: q.Get("iss"),
		Cookie: func(name string) string {
			if c, err := r.Cookie(s.cookie(name)); err == nil {
				proof = c
				return c.Value
			}
			return ""
		},
	})
	if err == nil && proof != nil { // a wrong answer takes nothing from the right one
		http.SetCookie(w, &http.Cookie{Name: proof.Name, Path: "/", MaxAge: -1, HttpOnly: true, Secure: s.SecureCookies, SameSite: http.SameSiteLaxMode})
	}
	return s.showPage(w, s.pageStatus(w, r, err), pageOf(shown, err))
}

// aboutClient describes this server to an authorization server that reads URLs in place of registering clients.
func (s *server) aboutClient(w http.ResponseWriter, r *http.Request, _ stead.Principal) error {
	if s.Consents == nil {
		return noConsents()
	}
	body, err := s.Consents.Client(r.PathValue("issuer"))
	if err != nil {
		return err
	}
	publish(w, body)
	return nil
}

// answerOf reads what a browser brings back. A parameter that is there twice is refused, since two readers could take it for two
// things (RFC 6749, 3.1).
func answerOf(r *http.Request) (url.Values, error) {
	q, err := url.ParseQuery(r.URL.RawQuery)
	if err != nil {
		return nil, stead.Invalid("state", "the answer can't be read")
	}
	for name, values := range q {
		if len(values) > 1 || len(values[0]) > maxAnswerBytes {
			return nil, stead.Invalid("state", "the answer has a parameter twice, or one of more than %d bytes: %.40q", maxAnswerBytes, name)
		}
	}
	return q, nil
}

// cookie is a cookie's name: with the prefix that keeps other hosts from setting it, where TLS allows that.
func (s *server) cookie(name string) string {
	if s.SecureCookies {
		return "__Host-" + name
	}
	return name
}

func noConsents() error {
	return stead.Errorf(stead.KindNotFound, "this server asks nobody for their consent")
}

// pageStatus is the status of a page about an error, which is logged and told where calls without a key are.
func (s *server) pageStatus(w http.ResponseWriter, r *http.Request, err error) int {
	if err == nil {
		return http.StatusOK
	}
	s.turnedAway(w, r, err, true)
	_, f, e := wireErrorOf(err)
	if f.status >= http.StatusInternalServerError {
		s.Log.Error("request failed", "id", requestID(w), "method", r.Method, "path", r.URL.Path, "status", f.status, "kind", e.Kind, "error", err)
	}
	return f.status
}

// consentPage is what a browser is shown.
type consentPage struct {
	Title, Text string
	Shown       *consent.Shown // nil: nothing of it is to be seen
	Agent, User string
	Where       string // the issuer's host
	Ticket      string // of the form; "": there is none
}

func pageOf(shown consent.Shown, err error) consentPage {
	if err != nil {
		return consentPage{Title: "This does not go on", Text: sentence(clientMessageOf(err))}
	}
	p := consentPage{Shown: &shown, User: shown.For.ID, Agent: string(shown.Agent)}
	if u, err := url.Parse(shown.Issuer); err == nil {
		p.Where = u.Host
	}
	switch shown.Status {
	case consent.Given:
		p.Title, p.Text = "Thank you", "The agent may act for you there, and goes on by itself. You can close this page."
	case consent.Refused:
		p.Title, p.Text = "It was not allowed", shown.Reason+" The agent is told, and goes on without. You can close this page."
	case consent.Again:
		p.Title, p.Text = "It has to be asked again", shown.Reason+" The agent asks again: open the new link that its session shows."
	case consent.Redeeming:
		p.Title, p.Text = "One moment", "Your answer is being taken."
	default:
		p.Title = "An agent asks to act for you"
	}
	return p
}

func sentence(text string) string {
	if text == "" {
		return ""
	}
	return strings.ToUpper(text[:1]) + strings.TrimSuffix(text[1:], ".") + "."
}

// closed sets what keeps a page to itself.
func closed(h http.Header) {
	h.Set("Cache-Control", "no-store")
	h.Set("Referrer-Policy", "no-referrer")
	h.Set("X-Content-Type-Options", "nosniff")
	h.Set("X-Frame-Options", "DENY")
	h.Set("Cross-Origin-Opener-Policy", "same-origin")
	h.Set("Cross-Origin-Resource-Policy", "same-origin")
}

func (s *server) showPage(w http.ResponseWriter, status int, p consentPage) error {
	h := w.Header()
	closed(h)
	h.Set("Content-Security-Policy", s.pagePolicy)
	h.Set("Content-Type", "text/html; charset=utf-8")
	w.WriteHeader(status)
	_ = s.pages.Execute(w, p) // nobody is left to tell
	return nil
}

// pageStyle is whole in the page, and named there by its digest.
const pageStyle = `body{font:16px/1.5 system-ui,sans-serif;max-width:34em;margin:4em auto;padding:0 1em;color:#222;background:#fff}dt{color:#666}dd{margin:0 0 .6em;overflow-wrap:anywhere}button{font:inherit;padding:.5em 1.2em}`

func newPages() *template.Template {
	return template.Must(template.New("page").Parse(`<!doctype html>
<html lang="en"><head><meta charset="utf-8"><meta name="viewport" content="width=device-width"><meta name="robots" content="noindex">
<title>{{.Title}}</title><style>` + pageStyle + `</style></head><body>
<h1>{{.Title}}</h1>
{{if .Text}}<p>{{.Text}}</p>
{{end}}{{with .Shown}}<dl><dt>It acts for</dt><dd>{{$.User}}</dd>{{if $.Agent}}<dt>Agent</dt><dd>{{$.Agent}}</dd>{{end}}<dt>Session</dt><dd>{{.Session}}</dd><dt>Tool server</dt><dd>{{.Label}}, {{.ServerURL}}</dd><dt>You say yes or no at</dt><dd>{{$.Where}}</dd>{{if .Scopes}}<dt>For</dt><dd>{{range .Scopes}}{{.}} {{end}}</dd>{{end}}</dl>
{{end}}{{if .Ticket}}<p>Go on only if you are {{.User}} and started this yourself. If somebody else sent you the link, close this page: they would act in your name.</p>
<form method="post" action="` + consent.PagePath + `"><input type="hidden" name="ticket" value="{{.Ticket}}"><button>Go on to {{.Where}}</button></form>
{{end}}</body></html>
`))
}
