package transform

import (
	tidegate "tidegate/sdk"
	"tidegate/sdk/internal/abi"
)

//go:wasmexport describe
func describe() uint32 { return abi.Describe(exported.description) }

//go:wasmexport cabi_post_describe
func describeRead(uint32) { abi.Release() }

//go:wasmexport configure
func configure(pairs, count uint32) uint32 {
	return abi.Configure(pairs, count, func(config tidegate.Config) (err error) {
		exported.plugin, err = exported.configure(config)
		return err
	})
}

//go:wasmexport cabi_post_configure
func configureRead(uint32) { abi.Release() }

//go:wasmexport apply
func apply(batch uint32) uint32 {
	return abi.Answer(45, batch, func(batch *tidegate.Batch, out abi.Record) error {
		verdicts := tidegate.NewVerdicts(batch.Count)
		edits := &Edits{}
		for record := range batch.Records {
			edits.record = record.Index
			verdicts.Set(record.Index, exported.plugin.Apply(record, edits))
		}
		out.PutVerdicts(1, verdicts)
		putBytes(out, 5, &edits.keys)
		putBytes(out, 14, &edits.values)
		if len(edits.headerRows) > 0 {
			out[23] = 1
			abi.PutList(out, 24, edits.headerRows)
			abi.PutList(out, 26, edits.headerOffsets)
			out.PutColumn(28, edits.names.whole())
			out.PutColumn(34, edits.content.whole())
		}
		if len(edits.timestampRows) > 0 {
			out[40] = 1
			abi.PutList(out, 41, edits.timestampRows)
			abi.PutList(out, 43, edits.timestamps)
		}
		return nil
	})
}

func putBytes(out abi.Record, word int, edit *bytesEdit) {
	if len(edit.rows) == 0 {
		return
	}
	out[word] = 1
	abi.PutList(out, word+1, edit.rows)
	out.PutColumn(word+3, edit.column.whole())
}

//go:wasmexport cabi_post_apply
func applyRead(uint32) { abi.Release() }
