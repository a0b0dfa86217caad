package filter

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

//go:wasmexport filter
func filter(batch uint32) uint32 {
	return abi.Answer(5, batch, func(batch *tidegate.Batch, out abi.Record) error {
		verdicts := tidegate.NewVerdicts(batch.Count)
		if err := exported.plugin.FilterBatch(batch, verdicts); err != nil {
			return err
		}
		out.PutVerdicts(1, verdicts)
		return nil
	})
}

//go:wasmexport cabi_post_filter
func filterRead(uint32) { abi.Release() }
