//go:build linux

package main

import (
	"context"
	"fmt"
	"strings"
	"time"

	"tripod/testcluster/bench/client"
	"tripod/testcluster/bench/peer"
)

const (
	fewRoutes, manyRoutes, manyServices = 10, 10000, 1000
	// routesOfHost have one host.
	routesOfHost = 10
)

// routes measures the row routes: two tripods in turn, with few routes and with many.
func (s *stage) routes(ctx context.Context) error {
	if !s.wants("routes") {
		return nil
	}
	for i, n := range []int{fewRoutes, manyRoutes} {
		if err := s.startTripod(ctx, peer.Tripod{Last: 31 + i, Document: s.routesDocument(n), Plain: true}); err != nil {
			return err
		}
	}
	few, many := s.peers[0], s.peers[1]
	fewRow := row{name: "routes", drive: client.HTTP1, plan: smallPlan(), figure: sample.work}
	fewRow.plan.Path = fmt.Sprintf("/p%d/small", routesOfHost/2)
	fewRow.plan.Hosts = routesHosts(fewRoutes, 1)
	manyRow := fewRow
	manyRow.plan.Hosts = routesHosts(manyRoutes, fewRow.plan.Connections)
	s.begin("routes")
	var ofFew, ofMany []sample
	for range s.rounds {
		one, err := s.measure(ctx, &fewRow, few)
		if err != nil {
			return err
		}
		other, err := s.measure(ctx, &manyRow, many)
		if err != nil {
			return err
		}
		ofFew, ofMany = append(ofFew, one), append(ofMany, other)
	}
	fmt.Fprint(s.out, s.others.warning("routes"))
	s.table.routes(middle(ofFew), middle(ofMany))
	return nil
}

// routes adds the lines of the row.
func (t *table) routes(few, many sample) {
	const promised = 1.1
	ratio := float64(many.cpu) / float64(max(few.cpu, time.Nanosecond))
	first, second := of("tripod", few), of("tripod", many)
	first.row, first.title = "routes", fmt.Sprintf("h1 with %d routes", fewRoutes)
	second.title = fmt.Sprintf("with %d, and %d services", manyRoutes, manyServices)
	second.figure, second.promised, second.verdict = times(ratio), "≤ "+times(promised), verdict(ratio, promised)
	t.lines = append(t.lines, first, second)
}

// routesDocument is a document of n routes, each service with those of one host.
func (s *stage) routesDocument(n int) string {
	var d strings.Builder
	fmt.Fprintf(&d, "listeners: { http: { address: \":8080\" } }\naccess_log: \"off\"\nroutes:\n  - { host: %s, service: s0 }\n", peer.Host)
	for i := 1; i < n; i++ {
		fmt.Fprintf(&d, "  - { host: %s, path: /p%d/, service: s%d }\n", routesHost(i/routesOfHost), i%routesOfHost, i/routesOfHost)
	}
	d.WriteString("services:\n")
	for i := range n / routesOfHost {
		fmt.Fprintf(&d, "  s%d: { servers: [ %s ] }\n", i, s.servers())
	}
	return d.String()
}

func routesHost(i int) string { return fmt.Sprintf("h%d.test", i) }

// routesHosts are so many hosts from all over the document.
func routesHosts(routes, hosts int) []string {
	var names []string
	for i := range hosts {
		names = append(names, routesHost(i*(routes/routesOfHost)/hosts))
	}
	return names
}
