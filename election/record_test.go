package election

import (
	"encoding/json"
	"strings"
	"testing"
	"time"
)

func TestParseRecord(t *testing.T) {
	tests := []struct {
		value  string
		holder string
		epoch  int64
		fails  bool
	}{
		{`{"holder":"n1","epoch":7}`, "n1", 7, false},
		{` {"epoch": -3, "holder": "n1", "note": "by hand", "Revision": 99} `, "n1", -3, false},
		{`{"holder":"n1","epoch":7,"at":"yesterday","reason":"by hand"}`, "n1", 7, false},
		{`{"holder":"n1","epoch":7,"from":["n2"]}`, "n1", 7, false},
		{`{"holder":"n1","epoch":7,"silence_ms":"long"}`, "n1", 7, false},
		{`{"holder":7,"from":"n2"}`, "", 0, true},
		{`{}`, "", 0, false},
		{`null`, "", 0, false},
		{``, "", 0, true},
		{`n1`, "", 0, true},
		{`{"holder":"n1","epoch":"7"}`, "", 0, true},
		{`{"holder":"n1","epoch":1e30}`, "", 0, true},
		{`{"holder":"` + strings.Repeat("x", longestRecord) + `"}`, "", 0, true},
	}
	for _, test := range tests {
		got, err := ParseRecord([]byte(test.value), 30, 10, 3)
		if want := (Record{Holder: test.holder, Epoch: test.epoch, Revision: 30, Created: 10, Version: 3}); got != want || (err != nil) != test.fails {
			t.Errorf("ParseRecord(%.40q) = %+v, %v; want %+v", test.value, got, err, want)
		}
	}
}

// A record tells why it was written, and one that is written reads the same.
func TestRecordTellsItsStory(t *testing.T) {
	record := Record{
		Holder: "n2", Epoch: 8, From: "n1", Reason: "n1 does not answer: silent for 300ms",
		At: time.Date(2025, 1, 2, 3, 4, 5, 678e6, time.UTC), Silence: 312,
	}
	value, err := json.Marshal(record)
	if err != nil {
		t.Fatal(err)
	}
	const want = `{"holder":"n2","epoch":8,"from":"n1","reason":"n1 does not answer: silent for 300ms","at":"2025-01-02T03:04:05.678Z","silence_ms":312}`
	if string(value) != want {
		t.Errorf("got  %s\nwant %s", value, want)
	}
	record.Revision, record.Created, record.Version = 30, 10, 3
	if got, err := ParseRecord(value, 30, 10, 3); err != nil || got != record {
		t.Errorf("read back: %+v, %v", got, err)
	}
	if value, _ := json.Marshal(Record{Holder: "n2", Epoch: 1}); string(value) != `{"holder":"n2","epoch":1}` {
		t.Errorf("without a story: %s", value)
	}
}

func FuzzParseRecord(f *testing.F) {
	f.Add([]byte(`{"holder":"n1","epoch":7}`))
	f.Add([]byte(`{"holder":`))
	f.Add([]byte(`[]`))
	f.Add([]byte(`{"holder":"n1","epoch":7,"from":"n2","reason":"n2 is draining","at":"2025-01-02T03:04:05.678Z","silence_ms":5}`))
	f.Add([]byte(`{"holder":"n1","at":5}`))
	f.Fuzz(func(t *testing.T, value []byte) {
		record, err := ParseRecord(value, 30, 10, 3)
		if record.Revision != 30 || record.Created != 10 || record.Version != 3 {
			t.Fatalf("the value changed the record's place: %+v", record)
		}
		if err != nil && record.Holder != "" {
			t.Fatalf("rubbish names %q", record.Holder)
		}
		if err == nil {
			if _, err := json.Marshal(record); err != nil {
				t.Fatal(err)
			}
		}
	})
}
