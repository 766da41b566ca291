package policy

import "context"

// Foreseer is an authorizer that knows of some requests what will be decided, before all of them is known. Where it does, and only there, nobody
// needs to ask, and wait for what is to be asked about.
type Foreseer interface {
	// Foresee reports whether a request of which neither the arguments nor the moment are known yet will be allowed whatever they are, and leaves no
	// record. Of a tool call without a resource it is about any tool.
	Foresee(ctx context.Context, req Request) bool
}

// Foresee asks an authorizer that may be a Foreseer; of any other nothing is known.
func Foresee(ctx context.Context, a Authorizer, req Request) bool {
	f, ok := a.(Foreseer)
	return ok && f.Foresee(ctx, req)
}

// Foresee implements Foreseer.
func (a AllowLocal) Foresee(ctx context.Context, req Request) bool {
	d, err := a.Decide(ctx, req)
	return err == nil && d.Allow
}

// Foresee implements Foreseer, of what nobody stands behind but the principal.
func (j Jointly) Foresee(ctx context.Context, req Request) bool {
	return !req.Acting && Foresee(ctx, j.next, req)
}
