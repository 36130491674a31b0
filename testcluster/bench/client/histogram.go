//go:build linux

package client

import (
	"math/bits"
	"time"
)

const (
	// fine is how many bits of a duration are kept: a bucket is 1/64 of its value wide.
	fine = 6
	// longest is the number of bits of the longest duration, 1,100 s.
	longest = 40
)

// Histogram counts durations, to 1.6 % and a nanosecond. The zero Histogram is empty.
type Histogram struct {
	counts [(longest - fine + 1) << fine]uint32
	count  int64
}

// Add counts one duration.
func (h *Histogram) Add(d time.Duration) {
	h.counts[bucket(d)]++
	h.count++
}

// Merge adds what another one has counted.
func (h *Histogram) Merge(other *Histogram) {
	for i, n := range other.counts {
		h.counts[i] += n
	}
	h.count += other.count
}

// Count is how many durations were counted.
func (h *Histogram) Count() int64 { return h.count }

// Quantile is the duration that so large a part of all, 0 to 1, does not exceed; zero if there are none.
func (h *Histogram) Quantile(q float64) time.Duration {
	wanted := int64(q * float64(h.count))
	for i, n := range h.counts {
		if wanted -= int64(n); n > 0 && wanted <= 0 {
			return middle(i)
		}
	}
	return 0
}

// bucket is the index of a duration: exact up to 1<<fine, then 1<<fine buckets for each power of two.
func bucket(d time.Duration) int {
	v := min(uint64(max(d, 0)), 1<<longest-1)
	if v < 1<<fine {
		return int(v)
	}
	shift := bits.Len64(v) - fine - 1
	return (shift+1)<<fine + int(v>>shift) - 1<<fine
}

// middle is the duration in the middle of a bucket.
func middle(i int) time.Duration {
	if i < 1<<fine {
		return time.Duration(i)
	}
	shift := i>>fine - 1
	low := uint64(i&(1<<fine-1)|1<<fine) << shift
	return time.Duration(low + uint64(1)<<shift/2)
}
