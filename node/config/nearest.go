package config

import "strings"

// nearest is the word that was probably meant, or "" if none is really near: at most one letter in three differs.
func nearest(word string, words []string) string {
	best, bestDistance := "", len(word)/3+1
	if len(word) < 3 {
		bestDistance = 2
	}
	bestDistance = min(bestDistance, 4)
	lower := strings.ToLower(word)
	for _, w := range words {
		if d := distance(lower, strings.ToLower(w), bestDistance); d < bestDistance {
			best, bestDistance = w, d
		}
	}
	return best
}

// DidYouMean is the end of a message about a word that is none of those that are valid: the nearest of these, or "" if none is really near.
func DidYouMean(word string, words []string) string {
	if w := nearest(word, words); w != "" {
		return "; did you mean " + quote(w) + "?"
	}
	return ""
}

// distance is the number of letters to insert, delete, replace or swap with their neighbour to make b of a, or limit if it
// is not below that (Damerau and Levenshtein's, without a second edit of a swapped pair).
func distance(a, b string, limit int) int {
	const longest = 64
	if len(a) > longest || len(b) > longest || len(a)-len(b) >= limit || len(b)-len(a) >= limit {
		return limit
	}
	var rows [3][longest + 1]int
	for j := 0; j <= len(b); j++ {
		rows[0][j] = j
	}
	for i := 1; i <= len(a); i++ {
		row, up, up2 := &rows[i%3], &rows[(i+2)%3], &rows[(i+1)%3]
		row[0] = i
		least := i
		for j := 1; j <= len(b); j++ {
			cost := 1
			if a[i-1] == b[j-1] {
				cost = 0
			}
			row[j] = min(up[j]+1, row[j-1]+1, up[j-1]+cost)
			if i > 1 && j > 1 && a[i-1] == b[j-2] && a[i-2] == b[j-1] {
				row[j] = min(row[j], up2[j-2]+1)
			}
			least = min(least, row[j])
		}
		if least >= limit {
			return limit
		}
	}
	return min(rows[len(a)%3][len(b)], limit)
}
