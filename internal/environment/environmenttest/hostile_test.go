package environmenttest_test

import (
	"testing"

	"github.com/stead-dev/stead/internal/environment/environmenttest"
)

func TestHostileControl(t *testing.T) { environmenttest.HostileControl(t) }
