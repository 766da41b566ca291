//go:build !race

package simulation

// defaultSeeds is how many worlds run when nobody says how many.
const defaultSeeds = 200
