package health

import (
	"fmt"
	"net/http"
	"strconv"
	"strings"
)

// statusSet are ranges of statuses, each with both ends; without any it is those of answers that are no errors.
type statusSet [][2]int

func (s statusSet) has(status int) bool {
	if len(s) == 0 {
		return 200 <= status && status <= 399
	}
	for _, r := range s {
		if r[0] <= status && status <= r[1] {
			return true
		}
	}
	return false
}

// statuses reads a set as the document has it. The faults are those of the items, by their index.
func statuses(items []string) (statusSet, map[int]string) {
	var set statusSet
	faults := map[int]string{}
	for i, item := range items {
		from, to, ranged := strings.Cut(item, "-")
		if !ranged {
			to = from
		}
		low, ok1 := statusOf(from)
		high, ok2 := statusOf(to)
		switch {
		case !ok1 || !ok2:
			faults[i] = fmt.Sprintf("%q is no status of an answer: use one from 200 to 599, or a range of them as in 200-299", item)
		case low > high:
			faults[i] = fmt.Sprintf("range %q has nothing in it: write %d-%d", item, high, low)
		default:
			set = append(set, [2]int{low, high})
		}
	}
	return set, faults
}

// statusOf reads one. Those below 200 never end an exchange (RFC 9110 §15.2).
func statusOf(text string) (int, bool) {
	n, err := strconv.ParseUint(text, 10, 16)
	return int(n), err == nil && len(text) == 3 && 200 <= n && n <= 599
}

// answered says which status it was, in our own words for it: the server's may be anything.
func answered(status int) error {
	return plainf("%s", strings.TrimSpace(fmt.Sprintf("answered %d %s", status, http.StatusText(status))))
}
