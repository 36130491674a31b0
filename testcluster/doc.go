// Package testcluster runs real clusters for tests: every node a process of its own that can be killed, paused
// and restarted with its data, or, with [InProcess], a node inside the test for what needs no violence.
//
// A test package calls [Main] from its TestMain; the test binary itself then serves as the tripod program, so
// that nothing is built twice and the race detector, when on, is on in the nodes too:
//
//	func TestMain(m *testing.M) { testcluster.Main(m) }
//
//	func TestFailover(t *testing.T) {
//		c := testcluster.Start(t, 3)
//		c.Apply(site(c))                          // returns when every node serves it
//		old := c.WaitHolder(c.VIP(0))
//		old.Kill()
//		c.WaitHolder(c.VIP(0), testcluster.Not(old))
//		c.Get("http://shop.test:8080/").Want(200)
//		c.NeverTwoHolders()                       // over the whole recorded timeline
//	}
//
// Every cluster has a block of loopback addresses of its own, 127.x.y.0/24, so that clusters of several test
// binaries run side by side on the fixed ports. When a test fails, the state and the logs of all nodes are
// printed.
package testcluster
