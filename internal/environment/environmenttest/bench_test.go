package environmenttest_test

import (
	"testing"

	"github.com/stead-dev/stead/internal/environment/environmenttest"
)

func BenchmarkBaselines(b *testing.B) { environmenttest.Baselines(b) }
