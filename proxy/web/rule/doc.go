// Package rule is what a route does to requests and answers beside leading them to a service: who may come in, what the server and
// the client see, how long and how large things may be, how content is compressed. It knows nothing of connections and versions of
// HTTP: its functions take what package message has, and an engine calls them in this order.
//
//	a request:     ClientAddress                        behind trusted proxies
//	               Admit, Take                          403, 429
//	               Authenticate, MaxBody                401 or 503, 413
//	               Answer, RedirectStatus               if the route leads to no service
//	               Target, Host, EditRequest            what the server sees
//	               Forwarded, AppendForwarded           what it is told of the client
//	an answer:     Choose, Encode, EditResponse         what the client sees; EditResponse also of our own answers
//	its content:   Compressor, Encoder                  if an encoding was chosen
//	an error:      ErrorPage                            its content
//
// Rules are compiled once for each route of a document, and are nil where it has none; so a route without rules costs one
// comparison with nil. What is called for every request takes no memory of its own.
//
// The configuration types are part of the document: their tags are the source of its JSON Schema and of its checks.
package rule
