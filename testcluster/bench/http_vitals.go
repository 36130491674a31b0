//go:build linux

package main

import (
	"bufio"
	"fmt"
	"net/http"
	"strconv"
	"strings"
	"time"

	"tripod/testcluster/bench/peer"
)

// vitals are what the nodes' metrics say, of all together.
type vitals struct {
	pauses        map[float64]float64 // how many, by the most seconds that they can have taken
	leaderChanges float64
}

func readVitals(nodes []*peer.Peer) (vitals, error) {
	v := vitals{pauses: map[float64]float64{}}
	for _, p := range nodes {
		response, err := (&http.Client{Timeout: 10 * time.Second}).Get(p.Admin() + "/metrics")
		if err != nil {
			return v, err
		}
		lines := bufio.NewScanner(response.Body)
		for lines.Scan() && err == nil {
			err = v.add(lines.Text())
		}
		response.Body.Close()
		if err == nil {
			err = lines.Err()
		}
		if err != nil {
			return v, fmt.Errorf("metrics of tripod: %w", err)
		}
	}
	return v, nil
}

// add adds what a line in the text format says, if it is one of those in question.
func (v *vitals) add(text string) error {
	name, value, _ := strings.Cut(text, " ")
	name, labels, _ := strings.Cut(name, "{")
	if name != pausesMetric && name != leaderChanges {
		return nil
	}
	n, err := strconv.ParseFloat(value, 64)
	if err != nil {
		return fmt.Errorf("%q: %w", text, err)
	}
	if name == leaderChanges {
		v.leaderChanges += n
		return nil
	}
	seconds, err := strconv.ParseFloat(strings.TrimSuffix(strings.TrimPrefix(labels, `seconds="`), `"}`), 64)
	if err != nil {
		return fmt.Errorf("%q: %w", text, err)
	}
	v.pauses[seconds] += n
	return nil
}

// paused is what came of the pauses of a time.
type paused struct {
	longest        time.Duration
	count, tooLong int
}

// since is what happened since earlier.
func (v vitals) since(earlier vitals) paused {
	var p paused
	for seconds, n := range v.pauses {
		more := int(n - earlier.pauses[seconds])
		if more <= 0 {
			continue
		}
		// The last bucket has no end.
		most := time.Duration(min(seconds, time.Hour.Seconds()) * float64(time.Second))
		p.count += more
		p.longest = max(p.longest, most)
		if most > longestPause {
			p.tooLong += more
		}
	}
	return p
}
