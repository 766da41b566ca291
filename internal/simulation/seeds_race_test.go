//go:build race

package simulation

// defaultSeeds is fewer beside the race detector, with which each takes several times as long: what is found in more of them are not races.
const defaultSeeds = 60
