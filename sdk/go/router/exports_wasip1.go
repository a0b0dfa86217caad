package router

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

//go:wasmexport targets
func targets() uint32 {
	out := abi.NewRecord(3)
	names, err := exported.plugin.Targets()
	if err == nil {
		out.PutTexts(1, names)
	}
	out.PutError(err)
	return out.Address()
}

//go:wasmexport cabi_post_targets
func targetsRead(uint32) { abi.Release() }

//go:wasmexport route
func route(batch uint32) uint32 {
	return abi.Answer(13, batch, func(batch *tidegate.Batch, out abi.Record) error {
		verdicts := tidegate.NewVerdicts(batch.Count)
		routes := &Routes{}
		for record := range batch.Records {
			routes.record = record.Index
			verdicts.Set(record.Index, exported.plugin.Route(record, routes))
		}
		out.PutVerdicts(1, verdicts)
		out.PutTexts(5, routes.topics)
		abi.PutList(out, 7, routes.records)
		abi.PutList(out, 9, routes.targets)
		abi.PutList(out, 11, routes.partitions)
		return nil
	})
}

//go:wasmexport cabi_post_route
func routeRead(uint32) { abi.Release() }
