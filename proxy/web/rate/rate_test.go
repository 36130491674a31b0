package rate

import (
	"regexp"
	"strings"
	"testing"
	"time"
)

func TestParse(t *testing.T) {
	for text, want := range map[string]Rate{
		"100/s": {100, time.Second}, "1000/m": {1000, time.Minute}, "1/h": {1, time.Hour}, "10000000/s": {10_000_000, time.Second},
	} {
		got, err := Parse(text)
		if err != nil || got != want || got.String() != text {
			t.Errorf("%s: %v, %v", text, got, err)
		}
	}
	for text, want := range map[string]string{
		"100":                  `rate "100" has no unit: did you mean 100/s, 100/m or 100/h?`,
		"100/":                 `rate "100/" has no unit: did you mean 100/s, 100/m or 100/h?`,
		"0/s":                  `rate "0/s" lets nothing through: give at least 1/h, or keep clients out with deny`,
		"-5/s":                 `rate "-5/s" is negative: write it as 100/s`,
		"5/d":                  `rate "5/d" has an unknown unit: use /s, /m or /h`,
		"5/sec":                `rate "5/sec" has an unknown unit: did you mean 5/s?`,
		"1.5/s":                `rate "1.5/s" is no whole number: give it for a longer time, per minute (/m) or hour (/h)`,
		"100r/s":               `expected a rate such as 100/s, found "100r/s"; did you mean 100/s?`,
		"100 / s":              `expected a rate such as 100/s, found "100 / s"; did you mean 100/s?`,
		"":                     `expected a rate such as 100/s, 1000/m or 10/h, found ""`,
		"fast":                 `expected a rate such as 100/s, 1000/m or 10/h, found "fast"`,
		"10000001/s":           `rate "10000001/s" is too high: 10000000/s is the most`,
		"1" + zeros(30) + "/s": `is too high`,
		zeros(100) + "x":       `…"`,
	} {
		_, err := Parse(text)
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: error %q, want %q", text, err, want)
		}
	}
}

func zeros(n int) string { return strings.Repeat("0", n) }

func TestBurst(t *testing.T) {
	for text, want := range map[string]int64{"100/s": 100, "1000/m": 17, "60/m": 1, "1/h": 1, "3601/h": 2, "36000000000/h": 10_000_000} {
		r, err := Parse(text)
		if err != nil || r.Burst() != want {
			t.Errorf("%s: burst %d, %v; want %d", text, r.Burst(), err, want)
		}
	}
	hourly := Rate{1, time.Hour}
	for burst, want := range map[int64]string{
		0: "burst 0 is less than one request: give at least 1", -1: "burst -1 is less",
		8785: "burst 8785 would take more than a year to come at 1/h: 8784 is the most",
	} {
		if err := hourly.CheckBurst(burst); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("burst %d: error %v, want %q", burst, err, want)
		}
	}
	if err := hourly.CheckBurst(8784); err != nil {
		t.Error(err)
	}
}

func FuzzParse(f *testing.F) {
	for _, seed := range []string{"100/s", "1000/m", "1/h", "0/s", "-1/s", "01/s", "1.5/s", "100", "100r/s", "9999999999999999999/h", "/", "1//s"} {
		f.Add(seed)
	}
	pattern := regexp.MustCompile(Pattern)
	f.Fuzz(func(t *testing.T, text string) {
		r, err := Parse(text)
		if err != nil {
			if len(err.Error()) > 500 || strings.Contains(err.Error(), "\n") {
				t.Fatalf("%q: the error is no short line: %q", text, err)
			}
			return
		}
		if r.Count < 1 || r.interval() < int64(fastest) || r.CheckBurst(r.Burst()) != nil {
			t.Fatalf("%q: %+v cannot be", text, r)
		}
		if again, err := Parse(r.String()); err != nil || again != r {
			t.Fatalf("%q: %s is read as %v, %v", text, r, again, err)
		}
		if !pattern.MatchString(text) {
			t.Fatalf("%q is taken and does not match the schema's pattern", text)
		}
	})
}
