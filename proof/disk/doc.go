// Package disk takes away what the real binary writes to, and gives it back: a file system that is
// full, and a PostgreSQL that is killed. It has tests only.
//
// Invariants: a write that can't be made is refused with a 503 in the usual envelope; nothing that
// was accepted is lost; nothing that was refused and repeated under its key is there twice; work
// goes on by itself once there is space, or the server is back.
// On a full disk, or one without inodes, sessions are cancelled and deleted, and a node starts and stops, whoever filled it:
// another program that takes every byte that is given back, a command in an environment, or uploads.
//
// The small file system is ext4 in a file, mounted in a mount namespace of its own, which needs root
// or user namespaces; where neither is allowed the test is skipped and says so, but not in CI.
package disk
