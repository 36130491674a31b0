//go:build linux

package lab

import (
	"cmp"
	"errors"
	"fmt"
	"slices"
	"strings"
)

// Sighting is a sign that a station answered for an address, at some time between From and Until.
type Sighting struct {
	From, Until Moment
	Station     string // the host's name
	What        string
}

// Text is a line for people.
func (s Sighting) Text() string {
	if s.From == s.Until {
		return fmt.Sprintf("%s %s: %s", s.From, s.Station, s.What)
	}
	return fmt.Sprintf("%s to %s %s: %s", s.From, s.Until, s.Station, s.What)
}

// around is how many sightings before and after an offending one are shown.
const around = 8

// checkReigns finds out whether the sightings can be explained by reigns that follow each other without overlapping,
// by these holders in this order; holders may have reigned without having been seen.
//
// Every sighting is given the earliest reign that its station can have been in: not before the reign of any
// sighting that was over when it began. If a station has no such reign left, it answered when another already had in
// its place. To take the earliest leaves the most to those that follow, so a failure is a real one.
func checkReigns(sightings []Sighting, holders []string) error {
	if len(sightings) == 0 {
		return errors.New("nobody was ever seen to answer: nothing is proved")
	}
	byStart := slices.Clone(sightings)
	slices.SortStableFunc(byStart, func(a, b Sighting) int { return cmp.Compare(a.From, b.From) })
	over := make([]int, len(byStart)) // indices, in the order of their ends
	for i := range over {
		over[i] = i
	}
	slices.SortStableFunc(over, func(a, b int) int { return cmp.Compare(byStart[a].Until, byStart[b].Until) })

	reigns := make([]int, len(byStart))
	earliest, latest, next := 0, -1, 0 // reign, its sighting, and the next in over
	for i, s := range byStart {
		for ; next < len(over) && byStart[over[next]].Until < s.From; next++ {
			if r := reigns[over[next]]; r > earliest {
				earliest, latest = r, over[next]
			}
		}
		found := slices.Index(holders[min(earliest, len(holders)):], s.Station)
		if found < 0 {
			return offence(byStart, i, latest, holders)
		}
		reigns[i] = earliest + found
	}
	return nil
}

func offence(sightings []Sighting, offender, latest int, holders []string) error {
	s := sightings[offender]
	var b strings.Builder
	fmt.Fprintf(&b, "two answer: %s at %s", s.Station, s.From)
	switch {
	case !slices.Contains(holders, s.Station):
		b.WriteString(", and it was never the holder")
	case latest >= 0:
		fmt.Fprintf(&b, ", after %s, its successor, had answered at %s", sightings[latest].Station, sightings[latest].Until)
	}
	fmt.Fprintf(&b, "; the holders were, in order, %s\n", strings.Join(holders, ", "))
	first, last := offender-around, offender+around
	if latest >= 0 && latest < first {
		fmt.Fprintf(&b, "  %s\n  ...\n", sightings[latest].Text())
	}
	for i := max(0, first); i <= min(last, len(sightings)-1); i++ {
		mark := " "
		if i == offender {
			mark = ">"
		}
		fmt.Fprintf(&b, "%s %s\n", mark, sightings[i].Text())
	}
	return errors.New(strings.TrimRight(b.String(), "\n"))
}
