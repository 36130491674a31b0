// Package api is the node API: what nodes say to each other, and what the commands ask a node.
//
// It is JSON over HTTP, on two doors with the same rooms behind them: port 2381 on the node's own address
// with mutual TLS under the cluster's secret, and a unix socket in the node's data folder with mode 0600, for
// commands on the same machine. Whoever gets through either door may do everything.
//
// Requests are bounded in size and time; answers of one kind (/v1/beat, /v1/events) are endless streams that
// end with the connection.
package api
