package web

import (
	"testing"
	"time"
)

// interrupted counts how often it was.
type interrupted int

func (n *interrupted) SetDeadline(time.Time) error {
	*n++
	return nil
}

// A timer that cannot be stopped any more may fire whenever it likes: what it was for is over, and may be another's.
func TestLimitThatFiresAfterTheEndDoesNothing(t *testing.T) {
	var l link
	var server, client interrupted
	turn := l.turn
	fired := time.NewTimer(0)
	<-fired.C
	l.attach(&server)
	l.answers(&client)
	l.detach()
	if l.settle(fired) {
		t.Error("the client's connection counts as cut")
	}
	l.expire(turn)
	if server != 0 || client != 0 || l.isGone() {
		t.Errorf("%d and %d interruptions, gone %v", server, client, l.isGone())
	}
}

func TestLimitThatFiresJustBeforeTheEndIsTold(t *testing.T) {
	var l link
	var client interrupted
	fired := time.NewTimer(0)
	<-fired.C
	l.answers(&client)
	l.expire(l.turn)
	if !l.settle(fired) || client != 1 {
		t.Errorf("%d interruptions", client)
	}
}

func TestClientThatIsFoundGoneTooLate(t *testing.T) {
	var l link
	var server interrupted
	turn := l.present()
	l.reset()
	l.attach(&server)
	l.goneIn(turn)
	if server != 0 || l.isGone() {
		t.Error("the next exchange was ended")
	}
	l.goneIn(l.present())
	if server != 1 || !l.isGone() {
		t.Error("the present exchange goes on")
	}
}
