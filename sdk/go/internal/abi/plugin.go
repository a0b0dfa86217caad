package abi

import (
	"fmt"
	"strings"

	tidegate "tidegate/sdk"
)

// Describe writes a description: name, version, summary, columns and state in one word, keys, what is written.
func Describe(d tidegate.Description) uint32 {
	const keyWords = 9
	out := NewRecord(10)
	out.PutText(0, d.Name)
	out.PutText(2, d.Version)
	out.PutText(4, d.Summary)
	out.PutBytes(6, uint8(d.Columns), uint8(d.State))
	keys := NewRecord(keyWords * len(d.Config))
	for i, key := range d.Config {
		at := keys[i*keyWords:]
		at.PutText(0, key.Name)
		at.PutBytes(2, uint8(key.Kind), flag(key.Required))
		if key.Default != nil {
			at[3] = 1
			at.PutText(4, *key.Default)
		}
		at.PutText(6, key.Doc)
		at.PutBytes(8, flag(key.Secret))
	}
	if len(d.Config) > 0 {
		out[7], out[8] = keys.Address(), uint32(len(d.Config))
	}
	out.PutBytes(9, uint8(d.Writes))
	return out.Address()
}

// Configure reads pairs of texts, hands them over, and writes what came of it.
func Configure(pairs, count uint32, configure func(tidegate.Config) error) uint32 {
	config := make(tidegate.Config, count)
	for i := range count {
		pair := pairs + 16*i
		// What a plugin keeps of its configuration outlives this call.
		config[strings.Clone(Text(pair))] = strings.Clone(Text(pair + 8))
	}
	out := NewRecord(3)
	out.PutError(guarded(func() error { return configure(config) }))
	return out.Address()
}

// Answer runs a call with a batch. The result has this many words, of which the first says whether there is an error.
func Answer(words int, address uint32, call func(*tidegate.Batch, Record) error) uint32 {
	out := NewRecord(words)
	batch := readBatch(address)
	err := guarded(func() error { return call(batch, out) })
	if err != nil {
		clear(out)
	}
	out.PutError(err)
	return out.Address()
}

// PutError writes the error case of a result, if there is an error.
func (r Record) PutError(err error) {
	if err == nil {
		return
	}
	r[0] = 1
	r.PutText(1, err.Error())
}

// PutVerdicts writes codes and reasons.
func (r Record) PutVerdicts(word int, verdicts *tidegate.Verdicts) {
	const reasonWords = 3
	PutList(r, word, verdicts.Codes)
	if len(verdicts.Reasons) == 0 {
		return
	}
	reasons := NewRecord(reasonWords * len(verdicts.Reasons))
	for i, reason := range verdicts.Reasons {
		reasons[i*reasonWords] = reason.Index
		reasons[i*reasonWords:].PutText(1, reason.Reason)
	}
	r[word+2], r[word+3] = reasons.Address(), uint32(len(verdicts.Reasons))
}

// PutTexts writes a list of texts.
func (r Record) PutTexts(word int, texts []string) {
	if len(texts) == 0 {
		return
	}
	list := NewRecord(2 * len(texts))
	for i, text := range texts {
		list[2*i:].PutText(0, text)
	}
	r[word], r[word+1] = list.Address(), uint32(len(texts))
}

// PutColumn writes a column: offsets, data, nulls.
func (r Record) PutColumn(word int, column *tidegate.Column) {
	PutList(r, word, column.Offsets)
	PutList(r, word+2, column.Data)
	PutList(r, word+4, column.Nulls)
}

// A panic is the error of its batch, in its own words; what the runtime would write of it goes nowhere.
func guarded(call func() error) (err error) {
	defer func() {
		if reason := recover(); reason != nil {
			err = fmt.Errorf("it panicked: %v", reason)
		}
	}()
	return call()
}

// Bytes from the start of a batch to its fields.
const (
	topicAt        = 0
	partitionAt    = 8
	aliasAt        = 12
	appendTimeAt   = 24
	baseOffsetAt   = 32
	countAt        = 48
	offsetDeltasAt = 52
	timestampsAt   = 60
	keysAt         = 68
	valuesAt       = 96
	headersAt      = 124
)

func readBatch(address uint32) *tidegate.Batch {
	batch := &tidegate.Batch{
		Topic:        strings.Clone(Text(address + topicAt)),
		Partition:    *At[uint32](address + partitionAt),
		Alias:        strings.Clone(Text(address + aliasAt)),
		AppendTimeMs: *At[int64](address + appendTimeAt),
		BaseOffset:   -1,
		Count:        int(*At[uint32](address + countAt)),
		OffsetDeltas: List[uint32](address + offsetDeltasAt),
		TimestampsMs: List[int64](address + timestampsAt),
	}
	if *At[uint8](address + baseOffsetAt) == 1 {
		batch.BaseOffset = *At[int64](address + baseOffsetAt + 8)
	}
	if *At[uint8](address + keysAt) == 1 {
		batch.Keys = readColumn(address + keysAt + 4)
	}
	if *At[uint8](address + valuesAt) == 1 {
		batch.Values = readColumn(address + valuesAt + 4)
	}
	if *At[uint8](address + headersAt) == 1 {
		batch.HeaderOffsets = List[uint32](address + headersAt + 4)
		batch.HeaderNames = readColumn(address + headersAt + 12)
		batch.HeaderValues = readColumn(address + headersAt + 36)
	}
	return batch
}

func readColumn(address uint32) *tidegate.Column {
	column := &tidegate.Column{
		Offsets: List[uint32](address),
		Data:    List[byte](address + 8),
		Nulls:   List[byte](address + 16),
	}
	if column.Data == nil {
		// Entries of an empty column are empty and not nil.
		column.Data = []byte{}
	}
	return column
}

func flag(set bool) uint8 {
	if set {
		return 1
	}
	return 0
}
