package web

// spliceContent lets the kernel carry the rest of a long content of a known length to the server, where both sides are plain TCP. It tells whether it has
// done so, well or not; if not, nothing was done. It belongs to the goroutine that carries the content.
func (x *exchange) spliceContent(sent int64) bool {
	send := &x.send
	c, ok := x.client.(*client1)
	if !ok || c.chunked || c.secure || c.in.wait == nil || c.left < spliceMin || len(c.in.bytes()) > 0 || send.most > 0 && sent+c.left > send.most {
		return false
	}
	p := x.engine.pipes.get()
	if p == nil {
		return false
	}
	defer x.engine.pipes.put(p)
	s := send.server
	up := carriage{
		pipe: p, left: c.left, from: c.tcp, to: s.tcp, limit: x.limits.content,
		gone: func() bool { return c.halted.Load() || send.isStopped() },
	}
	defer c.readBy.forget()
	defer s.writeBy.forget()
	for c.left > 0 {
		err := up.fill(&c.in)
		if err != nil {
			if isTimeout(err) && send.isAnswered() && !up.gone() {
				continue // the exchange is idle only if the answer is too, and that has a limit of its own
			}
			send.fail(early1(err))
			return true
		}
		send.moves()
		if c.left = up.left; c.left == 0 { // before the server has it all, and may answer
			send.have()
		}
		if up.drain(&s.in) != nil {
			x.expectAnswer(false)
			return true
		}
	}
	x.expectAnswer(true)
	return true
}
