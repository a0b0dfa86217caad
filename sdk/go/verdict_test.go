package tidegate

import (
	"reflect"
	"testing"
)

func TestNothingIsWrittenWhileAllIsKept(t *testing.T) {
	verdicts := NewVerdicts(3)
	verdicts.Set(0, Keep)
	if verdicts.Codes != nil {
		t.Errorf("codes are %v", verdicts.Codes)
	}
	verdicts.Set(1, Reject("no"))
	verdicts.Set(2, Drop)
	if want := []byte{0, 2, 1}; !reflect.DeepEqual(verdicts.Codes, want) {
		t.Errorf("codes are %v, not %v", verdicts.Codes, want)
	}
	if want := []Reason{{1, "no"}}; !reflect.DeepEqual(verdicts.Reasons, want) {
		t.Errorf("reasons are %v, not %v", verdicts.Reasons, want)
	}
}

func TestNullIsNotEmpty(t *testing.T) {
	column := Column{Offsets: []uint32{0, 1, 1, 1}, Data: []byte("a"), Nulls: []byte{0b100}}
	if string(column.Bytes(0)) != "a" {
		t.Errorf("entry 0 is %q", column.Bytes(0))
	}
	if empty := column.Bytes(1); empty == nil || len(empty) != 0 {
		t.Errorf("entry 1 is %v", empty)
	}
	if column.Bytes(2) != nil {
		t.Errorf("entry 2 is %v", column.Bytes(2))
	}
}

func TestTheLastHeaderOfANameCounts(t *testing.T) {
	names := &Column{Offsets: []uint32{0, 1, 2, 3}, Data: []byte("aab")}
	values := &Column{Offsets: []uint32{0, 1, 2, 3}, Data: []byte("123")}
	batch := &Batch{Count: 2, HeaderOffsets: []uint32{0, 1, 3}, HeaderNames: names, HeaderValues: values}
	second := Record{Batch: batch, Index: 1}
	if got := string(second.Header("a")); got != "2" {
		t.Errorf("header a is %q", got)
	}
	if second.Header("c") != nil || len(second.Headers()) != 2 {
		t.Errorf("headers are %v", second.Headers())
	}
}
