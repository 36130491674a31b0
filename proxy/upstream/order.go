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

// Order is an operator's word about a server. It is kept apart from the document, and goes before it.
type Order struct {
	State OrderState // empty is Ready
	// Weight replaces the document's, 0 to 256; nil leaves that.
	Weight *int
	// Until is when a drained server loses the clients that a cookie keeps there; zero is never.
	Until time.Time
	// By and At are who said so, and when, for people.
	By string
	At time.Time
}
