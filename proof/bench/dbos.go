package main

import (
	"bytes"
	"encoding/json"
	"fmt"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"github.com/stead-dev/stead/proof/rig"
)

// dbosLimit runs the nested module's program on an empty database of the same PostgreSQL and
// returns its rates by number of workflows.
func dbosLimit(pg *rig.Postgres, counts []int, window time.Duration) (map[int]rate, error) {
	url, err := pg.CreateDatabase("dbos")
	if err != nil {
		return nil, err
	}
	root, err := rig.Root()
	if err != nil {
		return nil, err
	}
	var list []string
	for _, n := range counts {
		list = append(list, strconv.Itoa(n))
	}
	cmd := exec.Command("go", "run", ".", "-database", url, "-payload", strconv.Itoa(payloadBytes),
		"-window", window.String(), "-workflows", strings.Join(list, ","))
	cmd.Dir = filepath.Join(root, "proof", "bench", "dbos")
	var faults bytes.Buffer
	cmd.Stderr = &faults
	out, err := cmd.Output()
	if err != nil {
		return nil, fmt.Errorf("dbos: %w\n%s", err, faults.Bytes())
	}
	var results []struct {
		Workflows int `json:"workflows"`
		rate
	}
	if err := json.Unmarshal(out, &results); err != nil {
		return nil, fmt.Errorf("dbos: %w in %s", err, out)
	}
	rates := map[int]rate{}
	for _, r := range results {
		rates[r.Workflows] = r.rate
	}
	return rates, nil
}
