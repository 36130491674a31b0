package node

import (
	"github.com/prometheus/client_golang/prometheus"
)

// metrics are what a node says about itself and its place in the cluster, read at each scrape.
type metrics struct {
	node *Node

	info, ready, hasLeader, isLeader, applied, newest, refused, vip, certificate *prometheus.Desc
}

var _ prometheus.Collector = (*metrics)(nil)

func newMetrics(n *Node) *metrics {
	desc := func(name, help string, labels ...string) *prometheus.Desc {
		return prometheus.NewDesc("tripod_"+name, help, labels, nil)
	}
	return &metrics{
		node:        n,
		info:        desc("build_info", "Version of the program; always 1.", "version"),
		ready:       desc("node_ready", "1 if the node serves the document and takes part in the cluster."),
		hasLeader:   desc("etcd_has_leader", "1 if this node sees a raft leader, and so a majority of the voters."),
		isLeader:    desc("etcd_is_leader", "1 if this node is the raft leader."),
		applied:     desc("config_revision", "Revision of the document that the node serves; 0 is none."),
		newest:      desc("config_newest_revision", "Revision of the newest document that the node has seen."),
		refused:     desc("config_refused", "1 if the node refuses the newest document and serves an earlier one."),
		vip:         desc("vip_held", "1 if this node holds the VIP.", "address"),
		certificate: desc("certificate_expiry_timestamp_seconds", "When the certificate expires, in Unix time.", "name", "source"),
	}
}

// Describe implements prometheus.Collector.
func (m *metrics) Describe(c chan<- *prometheus.Desc) {
	for _, d := range []*prometheus.Desc{m.info, m.ready, m.hasLeader, m.isLeader, m.applied, m.newest, m.refused, m.vip, m.certificate} {
		c <- d
	}
}

// Collect implements prometheus.Collector.
func (m *metrics) Collect(c chan<- prometheus.Metric) {
	n := m.node
	gauge := func(d *prometheus.Desc, value float64, labels ...string) {
		c <- prometheus.MustNewConstMetric(d, prometheus.GaugeValue, value, labels...)
	}
	served, document, newest, refused := n.docs.snapshot()
	gauge(m.info, 1, n.cfg.Version)
	gauge(m.ready, flag(n.Ready() == nil))
	gauge(m.hasLeader, flag(n.member.Leader() != ""))
	gauge(m.isLeader, flag(n.member.Leading()))
	gauge(m.applied, float64(served.Revision))
	gauge(m.newest, float64(newest))
	gauge(m.refused, flag(refused != nil))
	if v := n.openVIPs.Load(); v != nil && document != nil {
		held := map[string]bool{}
		for _, h := range v.holder.Held() {
			held[h.Address.String()] = true
		}
		for _, p := range document.Addresses() {
			gauge(m.vip, flag(held[p.Addr().String()]), p.Addr().String())
		}
	}
	for _, info := range n.certs.List() {
		gauge(m.certificate, float64(info.NotAfter.Unix()), info.Name, string(info.Source))
	}
}

func flag(b bool) float64 {
	if b {
		return 1
	}
	return 0
}
