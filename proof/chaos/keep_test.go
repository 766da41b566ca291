package chaos

import "os"

// keep is where the journals of sessions at fault are left for whoever looks into it.
func (w *world) keep() string { return keepDir() }

func keepDir() string {
	if dir := os.Getenv("STEAD_PROOF_KEEP"); dir != "" {
		return dir
	}
	return os.TempDir()
}

func writeFile(path, text string) error { return os.WriteFile(path, []byte(text), 0o600) }
