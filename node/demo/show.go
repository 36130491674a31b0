package demo

import (
	"context"
	"fmt"
	"strings"
	"time"
)

const (
	drawEvery  = 200 * time.Millisecond
	countEvery = 5 * time.Second
	storyLines = 12
	fixedLines = 16 // of the screen: all but the story and the invitation
	leastStory = 3
)

// show runs until ctx ends: it draws, obeys keys, and follows the script.
func (d *Demo) show(ctx context.Context) {
	draw := time.NewTicker(drawEvery)
	defer draw.Stop()
	count := time.NewTicker(countEvery)
	defer count.Stop()
	script := d.script()
	if d.cfg.Screen {
		// The other screen, no cursor, no wrapping of lines; and back.
		fmt.Fprint(d.cfg.Out, "\x1b[?1049h\x1b[?25l\x1b[?7l")
		defer fmt.Fprint(d.cfg.Out, "\x1b[?7h\x1b[?25h\x1b[?1049l")
	}
	for {
		select {
		case <-ctx.Done():
			return
		case key := <-d.cfg.Keys:
			if !d.press(key) {
				return
			}
		case <-draw.C:
			if d.cfg.Screen {
				d.draw()
			}
		case <-count.C:
			if !d.cfg.Screen {
				c := d.load.snapshot()
				d.story.tell("%d requests sent, %d failed", c.sent, c.failed)
			}
		case act := <-script:
			act()
		}
	}
}

// script is what a demo that ends by itself does on its way: it kills the holder after a third of its time,
// and starts it again after two.
func (d *Demo) script() <-chan func() {
	acts := make(chan func(), 2)
	if !d.cfg.Kill || d.cfg.For == 0 {
		return acts
	}
	var victim *child
	time.AfterFunc(d.cfg.For/3, func() {
		acts <- func() {
			if victim = d.holder(); victim != nil && victim.running() {
				d.toggle(victim)
			}
		}
	})
	time.AfterFunc(d.cfg.For*2/3, func() {
		acts <- func() {
			if victim != nil && !victim.running() {
				d.toggle(victim)
			}
		}
	})
	return acts
}

// press obeys a key; false ends the demo.
func (d *Demo) press(key byte) bool {
	switch {
	case quits(key):
		return false
	case key >= '1' && key < '1'+nodeCount:
		d.toggle(d.nodes[key-'1'])
	case key >= 'a' && key < 'a'+serverCount:
		d.toggle(d.servers[key-'a'])
	case key == 'k':
		if holder := d.holder(); holder != nil {
			d.toggle(holder)
		}
	}
	return true
}

// quits says whether a key ends the demo: Ctrl-C and Ctrl-D, which a raw terminal hands on, do as well.
func quits(key byte) bool { return key == 'q' || key == 3 || key == 4 }

// draw draws the whole screen. Lines end in CR LF, as the terminal is raw.
func (d *Demo) draw() {
	var b strings.Builder
	line := func(format string, args ...any) { fmt.Fprintf(&b, format+"\x1b[K\r\n", args...) }
	c := d.load.snapshot()
	holder := d.watch.holder()
	line("\x1b[H\x1b[1mtripod demo\x1b[0m   http://%s:%d/ is held by \x1b[1m%s\x1b[0m", d.place.vip(), d.place.http, orNobody(holder))
	line("")
	line("key  node    state      requests")
	for i, n := range d.nodes {
		state, count := "\x1b[31mkilled\x1b[0m  ", ""
		if n.running() {
			state = "starting"
			if local, ok := d.watch.local(n.name); ok {
				state = fmt.Sprintf("%-8s", local.State)
				count = fmt.Sprint(requests(local))
			}
		}
		mark := ""
		if n.name == holder {
			mark = "  \x1b[32m<- holds the VIP\x1b[0m"
		}
		line("[%d]  %-7s %s %10s%s", i+1, n.name, state, count, mark)
	}
	line("")
	line("key  server  state      answers")
	for i, s := range d.servers {
		state := "running "
		if !s.running() {
			state = "\x1b[31mkilled\x1b[0m  "
		}
		line("[%c]  %-7s %s %10d", 'a'+i, s.name, state, c.byServer[s.name])
	}
	line("")
	line("requests through the VIP: %d sent, %d failed; failovers: %d", c.sent, c.failed, len(d.watch.changes()))
	if n := len(c.outages); n > 0 {
		line("last outage: %.2f s", c.outages[n-1].took.Seconds())
	} else {
		line("no outage so far")
	}
	line("")
	for _, text := range d.rest() {
		line("%s", text)
	}
	b.WriteString("\x1b[1m1 2 3\x1b[0m kill or start a node   \x1b[1ma b c\x1b[0m a server   \x1b[1mk\x1b[0m kill the holder   \x1b[1mq\x1b[0m quit\x1b[J")
	fmt.Fprint(d.cfg.Out, b.String())
}

// rest is as much of the story and of the invitation as the screen has room for. A command that it would cut off is
// not shown: somebody would copy it.
func (d *Demo) rest() []string {
	rows, columns := 0, 0
	if d.cfg.Size != nil {
		rows, columns = d.cfg.Size()
	}
	var invitation []string
	for text := range strings.SplitSeq(d.invitation(), "\n") {
		if columns == 0 || len(text) <= columns {
			invitation = append(invitation, text)
		}
	}
	if rows == 0 {
		return append(d.story.last(storyLines), invitation...)
	}
	room := max(rows-fixedLines, 0)
	story := min(max(room-len(invitation), leastStory), storyLines, room)
	return append(d.story.last(story), invitation[:min(room-story, len(invitation))]...)
}

func orNobody(name string) string {
	if name == "" {
		return "nobody"
	}
	return name
}
