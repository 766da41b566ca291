package vectorstore_test

import (
	"sync"
	"testing"

	"github.com/stead-dev/stead"
	"github.com/stead-dev/stead/internal/vectorstore"
)

// TestAFileIsTakenOutWhileItIsAttached: whoever takes a file out of a store is not told to try again because somebody attaches it, nor because its text is
// being read just then; and the last attachment stays.
func TestAFileIsTakenOutWhileItIsAttached(t *testing.T) {
	both(t, func(r *rig) {
		r.begin()
		store, file := r.store(), r.upload("parcel.txt", "The parcel is at the depot.")
		for i := range 40 {
			var each sync.WaitGroup
			for range 3 {
				each.Go(func() {
					if _, err := r.Attach(r.Context(), r.me, store, vectorstore.Attachment{File: file}); err != nil {
						r.Errorf("round %d: attach: %v", i, err)
					}
				})
				each.Go(func() {
					if err := r.Detach(r.Context(), r.me, store, file); err != nil && stead.KindOf(err) != stead.KindNotFound {
						r.Errorf("round %d: take out: %v", i, err)
					}
				})
			}
			each.Wait()
			if r.Failed() {
				return
			}
		}
		_, err := r.Attach(r.Context(), r.me, store, vectorstore.Attachment{File: file})
		r.must(err)
		r.settled(store)
		if got := r.finds(store, "parcel depot", any1()); got == "" {
			r.Error("the last attachment is not found")
		}
	})
}
