package transform

import (
	"reflect"
	"testing"

	tidegate "tidegate/sdk"
)

func TestEditsAreColumns(t *testing.T) {
	var edits Edits
	edits.record = 2
	edits.SetValue([]byte("ab"))
	edits.record = 5
	edits.SetValue(nil)
	edits.record = 7
	edits.SetValue([]byte{})
	if want := []uint32{2, 5, 7}; !reflect.DeepEqual(edits.values.rows, want) {
		t.Errorf("rows are %v", edits.values.rows)
	}
	want := &tidegate.Column{Offsets: []uint32{0, 2, 2, 2}, Data: []byte("ab"), Nulls: []byte{0b10}}
	if got := edits.values.column.whole(); !reflect.DeepEqual(got, want) {
		t.Errorf("the column is %v, not %v", got, want)
	}
}

func TestARecordMayLoseAllItsHeaders(t *testing.T) {
	var edits Edits
	edits.SetHeaders(nil)
	edits.record = 1
	edits.SetHeaders([]tidegate.Header{{Name: []byte("n"), Value: nil}})
	if want := []uint32{0, 0, 1}; !reflect.DeepEqual(edits.headerOffsets, want) {
		t.Errorf("offsets are %v", edits.headerOffsets)
	}
	if !edits.content.whole().Null(0) || edits.names.whole().Null(0) {
		t.Error("the value is null, and the name is not")
	}
}
