package rate

import (
	"fmt"
	"strconv"
	"strings"
	"time"
)

// Pattern is what Parse takes, for the JSON Schema.
const Pattern = `^0*[1-9][0-9]*/[smh]$`

const (
	// fastest is the shortest interval between two tokens: time is counted in nanoseconds, and this leaves an error below one in a hundred.
	fastest = 100 * time.Nanosecond
	// slowest is the longest time in which a bucket may fill.
	slowest = 366 * 24 * time.Hour
)

// Rate is how many tokens come in a time.
type Rate struct {
	Count int64
	Per   time.Duration
}

// Parse reads a rate such as 100/s, 1000/m or 10/h. Its errors say what to write.
func Parse(s string) (Rate, error) {
	number, unit, found := strings.Cut(s, "/")
	digits := strings.TrimPrefix(number, "-")
	if digits == "" || strings.Trim(digits, "0123456789") != "" {
		return Rate{}, notRate(s, number, unit)
	}
	if number != digits {
		return Rate{}, fmt.Errorf("rate %q is negative: write it as 100/s", shorten(s))
	}
	if !found || unit == "" {
		return Rate{}, fmt.Errorf("rate %q has no unit: did you mean %[2]s/s, %[2]s/m or %[2]s/h?", shorten(s), shorten(digits))
	}
	per := unitOf(unit)
	if per == 0 {
		if meant := nearestUnit(unit); meant != "" {
			return Rate{}, fmt.Errorf("rate %q has an unknown unit: did you mean %s/%s?", shorten(s), shorten(digits), meant)
		}
		return Rate{}, fmt.Errorf("rate %q has an unknown unit: use /s, /m or /h", shorten(s))
	}
	n, err := strconv.ParseInt(digits, 10, 64)
	switch {
	case err != nil || n > int64(per/fastest):
		return Rate{}, fmt.Errorf("rate %q is too high: %d/%s is the most", shorten(s), per/fastest, unit)
	case n == 0:
		return Rate{}, fmt.Errorf("rate %q lets nothing through: give at least 1/h, or keep clients out with deny", shorten(s))
	}
	return Rate{n, per}, nil
}

// notRate says what is wrong with a text that does not begin with a whole number.
func notRate(s, number, unit string) error {
	digits := strings.TrimRight(strings.ToLower(strings.TrimSpace(number)), " req") // nginx's 100r/s
	per := strings.TrimSpace(unit)
	if digits != "" && strings.Trim(digits, "0123456789") == "" && unitOf(per) != 0 {
		return fmt.Errorf("expected a rate such as 100/s, found %q; did you mean %s/%s?", shorten(s), shorten(digits), per)
	}
	if _, err := strconv.ParseFloat(number, 64); err == nil {
		return fmt.Errorf("rate %q is no whole number: give it for a longer time, per minute (/m) or hour (/h)", shorten(s))
	}
	return fmt.Errorf("expected a rate such as 100/s, 1000/m or 10/h, found %q", shorten(s))
}

func unitOf(name string) time.Duration {
	switch name {
	case "s":
		return time.Second
	case "m":
		return time.Minute
	case "h":
		return time.Hour
	}
	return 0
}

// nearestUnit is what a unit that is none was probably meant for.
func nearestUnit(name string) string {
	switch strings.ToLower(strings.TrimSpace(name)) {
	case "s", "1s", "sec", "second", "seconds":
		return "s"
	case "m", "1m", "min", "minute", "minutes":
		return "m"
	case "h", "1h", "hr", "hour", "hours":
		return "h"
	}
	return ""
}

// String writes the rate as Parse reads it.
func (r Rate) String() string {
	unit := "s"
	switch r.Per {
	case time.Minute:
		unit = "m"
	case time.Hour:
		unit = "h"
	}
	return strconv.FormatInt(r.Count, 10) + "/" + unit
}

// Burst is the burst of a limit that names none: what comes in a second, at least one token.
func (r Rate) Burst() int64 {
	seconds := int64(r.Per / time.Second)
	return max(1, (r.Count+seconds-1)/seconds)
}

// interval is the time between two tokens.
func (r Rate) interval() int64 { return int64(r.Per) / r.Count }

// CheckBurst refuses a burst that a bucket at this rate cannot have. Its error says what to write.
func (r Rate) CheckBurst(burst int64) error {
	switch {
	case burst < 1:
		return fmt.Errorf("burst %d is less than one request: give at least 1", burst)
	case burst > int64(slowest)/r.interval():
		return fmt.Errorf("burst %d would take more than a year to come at %s: %d is the most", burst, r, int64(slowest)/r.interval())
	}
	return nil
}

// shorten keeps a stranger's text short in a message.
func shorten(s string) string {
	const limit = 60
	if len(s) > limit {
		s = strings.ToValidUTF8(s[:limit], "") + "…"
	}
	return s
}
