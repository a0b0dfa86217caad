// Package transform exports a plugin of the world `transform`: one that replaces keys, values, headers or timestamps.
package transform

import tidegate "tidegate/sdk"

// Plugin changes records.
type Plugin interface {
	// Apply replaces parts of a record with the methods of edits, and says whether it stays. What is not named stays as
	// it is; edits of a record that is dropped or rejected are ignored.
	Apply(record tidegate.Record, edits *Edits) tidegate.Verdict
}

// Edits of one batch. Each part of a record is set once at most.
type Edits struct {
	record         int
	keys, values   bytesEdit
	headerRows     []uint32
	headerOffsets  []uint32
	names, content builder
	timestampRows  []uint32
	timestamps     []int64
}

// SetKey replaces the record's key; nil makes it null.
func (e *Edits) SetKey(key []byte) { e.keys.set(e.record, key) }

// SetValue replaces the record's value; nil makes it a tombstone.
func (e *Edits) SetValue(value []byte) { e.values.set(e.record, value) }

// SetHeaders replaces all headers of the record.
func (e *Edits) SetHeaders(headers []tidegate.Header) {
	if len(e.headerOffsets) == 0 {
		e.headerOffsets = []uint32{0}
	}
	for _, header := range headers {
		e.names.add(header.Name)
		e.content.add(header.Value)
	}
	e.headerRows = append(e.headerRows, uint32(e.record))
	e.headerOffsets = append(e.headerOffsets, e.headerOffsets[len(e.headerOffsets)-1]+uint32(len(headers)))
}

// SetTimestamp replaces the record's timestamp, in milliseconds since the Unix epoch.
func (e *Edits) SetTimestamp(ms int64) {
	e.timestampRows = append(e.timestampRows, uint32(e.record))
	e.timestamps = append(e.timestamps, ms)
}

type bytesEdit struct {
	rows   []uint32
	column builder
}

func (e *bytesEdit) set(record int, value []byte) {
	e.rows = append(e.rows, uint32(record))
	e.column.add(value)
}

// builder of a column, entry by entry.
type builder struct{ column tidegate.Column }

func (b *builder) add(entry []byte) {
	c := &b.column
	if len(c.Offsets) == 0 {
		c.Offsets = []uint32{0}
	}
	at := len(c.Offsets) - 1
	c.Data = append(c.Data, entry...)
	c.Offsets = append(c.Offsets, uint32(len(c.Data)))
	if at%8 == 0 {
		c.Nulls = append(c.Nulls, 0)
	}
	if entry == nil {
		c.Nulls[at/8] |= 1 << (at % 8)
	}
}

// whole is the column as the host wants it: one without entries has an offset, too.
func (b *builder) whole() *tidegate.Column {
	if len(b.column.Offsets) == 0 {
		b.column.Offsets = []uint32{0}
	}
	return &b.column
}

// Export makes this program the plugin, as filter.Export does.
func Export(description tidegate.Description, configure func(tidegate.Config) (Plugin, error)) {
	exported = export{description, configure, nil}
}

type export struct {
	description tidegate.Description
	configure   func(tidegate.Config) (Plugin, error)
	plugin      Plugin
}

var exported export
