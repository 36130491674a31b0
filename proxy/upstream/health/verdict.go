package health

// Verdict is what a server, or its agent, says of itself.
type Verdict struct {
	// State is Passed unless an agent says more.
	State State
	// Percent of its weight that the server wants, 1 to 100; 0 leaves it as it is.
	Percent int
}

// State is what an agent wants of its server.
type State uint8

const (
	// Passed: the server is well.
	Passed State = iota
	// Draining: it is well, and wants no new clients.
	Draining
	// Stopped: it wants no requests at all. It is not down: what an operator is told is that the server asked for it.
	Stopped
)

// DownError is that an agent said in so many words that its server is down. It needs no second opinion.
type DownError struct {
	// Word is what it said: down, fail, failed or stopped.
	Word string
	// Reason is why, in its words; empty if it gave none.
	Reason string
}

// Error is the word and the reason.
func (e *DownError) Error() string {
	if e.Reason == "" {
		return "said " + e.Word
	}
	return "said " + e.Word + ": " + e.Reason
}
