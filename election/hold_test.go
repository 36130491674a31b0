package election

import (
	"os"
	"strconv"
	"strings"
	"sync/atomic"
	"testing"
)

// schedules is how many random schedules are tried unless TRIPOD_HOLD_SCHEDULES says otherwise; a million
// take some ten minutes.
const schedules = 4000

func TestHoldNeverTwo(t *testing.T) {
	count := uint64(schedules)
	if text := os.Getenv("TRIPOD_HOLD_SCHEDULES"); text != "" {
		var err error
		if count, err = strconv.ParseUint(text, 10, 64); err != nil {
			t.Fatal(err)
		}
	}
	var taken, acknowledged, waited, expired atomic.Int64
	t.Run("schedules", func(t *testing.T) {
		const shards = 2
		for shard := range uint64(shards) {
			t.Run(strconv.FormatUint(shard, 10), func(t *testing.T) {
				t.Parallel()
				for seed := shard; seed < count; seed += shards {
					s, err := simulate(seed, 0)
					if err != nil {
						t.Fatalf("seed %d: %v\n%s", seed, err, story(seed))
					}
					taken.Add(int64(s.taken))
					acknowledged.Add(int64(s.acknowledged))
					waited.Add(int64(s.waited))
					expired.Add(int64(s.expired))
				}
			})
		}
	})
	t.Logf("%d schedules: %d times taken (%d after the whole wait), %d times acknowledged, %d times expired",
		count, taken.Load(), waited.Load(), acknowledged.Load(), expired.Load())
	for name, n := range map[string]int64{"taken": taken.Load(), "acknowledged": acknowledged.Load(), "waited": waited.Load(), "expired": expired.Load()} {
		if uint64(n) < count {
			t.Errorf("the schedules are dull: only %d times %s in %d", n, name, count)
		}
	}
}

// Each of these mistakes looks harmless. The simulation must find out that it is not.
func TestHoldMistakesAreFound(t *testing.T) {
	mistakes := map[string]mistake{
		"t0 taken after the read":                 lateStart,
		"no wait":                                 noWait,
		"acknowledging while waiting":             hastyWord,
		"trusting a word across an unseen record": foreignWord,
		"holding on when the record was replaced": trustedRewrite,
		"t1 taken before the read":                earlySight,
		"using the result of an abandoned read":   lateResults,
		"holding on until a read says otherwise":  endless,
	}
	for name, broken := range mistakes {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			for seed := range uint64(10 * schedules) {
				if _, err := simulate(seed, broken); err != nil && strings.HasPrefix(err.Error(), "unsafe") {
					t.Logf("found by seed %d: %v", seed, err)
					return
				}
			}
			t.Error("no schedule finds two holders; either the simulation is too tame or the mistake is none")
		})
	}
}

func FuzzHold(f *testing.F) {
	for seed := range uint64(20) {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, seed uint64) {
		if _, err := simulate(seed, 0); err != nil {
			t.Fatalf("seed %d: %v\n%s", seed, err, story(seed))
		}
	})
}
