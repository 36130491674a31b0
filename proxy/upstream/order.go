package upstream

import "time"

// OrderState is what an operator wants of a server.
type OrderState string

const (
	// Ready is as the document and the checks say. It is the default.
	Ready OrderState = "ready"
	// Drain gives a server no new clients. What runs is finished, and clients that a cookie keeps there are served until
	// Order.Until.
	Drain OrderState = "drain"
	// Maint gives a server nothing, and does not check it. What runs is finished.
	Maint OrderState = "maint"
)

// Order is an operator's word about a server, and as JSON the value of /tripod/admin/servers/<service>/<address>. It is kept apart from the document, goes
// before it, and stays until it is deleted, whatever becomes of the server. Only what is given counts.
type Order struct {
	// State is drain, maint or ready; empty is Ready.
	State OrderState `json:"state,omitempty"`
	// Weight replaces the document's, 0 to MaxWeight; nil leaves that.
	Weight *int `json:"weight,omitempty"`
	// Until is when a drained server loses the clients that a cookie keeps there; zero is never.
	Until time.Time `json:"until,omitzero"`
	// By and At are who said so last, and when, for people.
	By string    `json:"by,omitempty"`
	At time.Time `json:"at,omitzero"`
}
