package vault

// lease says that somebody renews a token, until when nobody else begins.
type lease struct {
	By    string `json:"by"`
	Until int64  `json:"until"` // Unix milliseconds
}
