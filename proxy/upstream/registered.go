package upstream

// Registration is a server that registered itself with a service. One that has the address of a server of the document changes nothing: the
// document's word goes first. Of several with one address the first by ID counts.
type Registration struct {
	ID             string
	Address        string // host:port
	Weight         *int   // 0 to 256; nil is 1
	Zone           string
	MaxConnections int // requests that one node has there at a time; 0 is no limit
	Backup         bool
	// Draining is true when the server is about to stop: it is treated as with Drain.
	Draining bool
}

// same tells whether two registrations say the same.
func (r Registration) same(other Registration) bool {
	if (r.Weight == nil) != (other.Weight == nil) || r.Weight != nil && *r.Weight != *other.Weight {
		return false
	}
	r.Weight, other.Weight = nil, nil
	return r == other
}
