package rule

import (
	"fmt"
	"math"
	"strconv"
	"strings"
)

// Size is a number of bytes. In the document it is a whole number with a unit, or without one for bytes.
type Size int64

// SizePattern is what ParseSize takes, for the JSON Schema.
const SizePattern = `^([0-9]+ ?B?|[0-9]+(\.[0-9]+)? ?(kB|MB|GB|KiB|MiB|GiB))$`

// ParseSize reads a size such as 10MiB, 1.5 GB or 4096. Its errors say what to write.
func ParseSize(s string) (Size, error) {
	digits := strings.TrimRight(s, "BkMGKi ")
	unit, known := sizeUnit(strings.TrimPrefix(s[len(digits):], " "))
	whole, fraction, dotted := strings.Cut(digits, ".")
	if !known || !isDigits(whole) || dotted && (!isDigits(fraction) || unit == 1) {
		hint := ""
		if meant := nearestSize(s); meant != "" {
			hint = "; did you mean " + meant + "?"
		}
		return 0, fmt.Errorf("expected a size such as 10MiB, found %q%s", shorten(s), hint)
	}
	if dotted {
		n, err := strconv.ParseFloat(digits, 64)
		bytes := n * float64(unit)
		switch {
		case err != nil || bytes >= math.MaxInt64:
			return 0, fmt.Errorf("size %q is too large", shorten(s))
		case n > 0 && bytes < 1: // or it would read as no limit
			return 0, fmt.Errorf("size %q is less than a byte", shorten(s))
		}
		return Size(bytes), nil
	}
	n, err := strconv.ParseInt(whole, 10, 64)
	if err != nil || n > math.MaxInt64/unit {
		return 0, fmt.Errorf("size %q is too large", shorten(s))
	}
	return Size(n * unit), nil
}

// sizeUnit is the number of bytes that a unit stands for.
func sizeUnit(name string) (int64, bool) {
	switch name {
	case "", "B":
		return 1, true
	case "kB":
		return 1e3, true
	case "MB":
		return 1e6, true
	case "GB":
		return 1e9, true
	case "KiB":
		return 1 << 10, true
	case "MiB":
		return 1 << 20, true
	case "GiB":
		return 1 << 30, true
	}
	return 0, false
}

// nearestSize writes a size with the unit that its own, which is none, was probably meant for: nginx's 10m, HAProxy's 10k.
func nearestSize(s string) string {
	digits := strings.TrimRight(s, " abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ")
	if !isDigits(digits) {
		return ""
	}
	switch strings.ToLower(strings.TrimSpace(s[len(digits):])) {
	case "k", "kib", "ki":
		return digits + "KiB"
	case "m", "mib", "mi":
		return digits + "MiB"
	case "g", "gib", "gi":
		return digits + "GiB"
	case "kb":
		return digits + "kB"
	case "mb":
		return digits + "MB"
	case "gb":
		return digits + "GB"
	case "b", "byte", "bytes":
		return digits
	}
	return ""
}

// index is a place in a list, as the path of a field has it.
func index(i int) string { return "[" + strconv.Itoa(i) + "]" }

func isDigits(s string) bool { return s != "" && strings.Trim(s, "0123456789") == "" }

// shorten keeps a stranger's text short in a message.
func shorten(s string) string {
	const limit = 60
	if len(s) > limit {
		s = strings.ToValidUTF8(s[:limit], "") + "…"
	}
	return s
}
