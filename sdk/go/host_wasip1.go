package tidegate

//go:wasmimport tidegate:plugin/host@0.1.0 log
func hostLog(level uint32, message string)

//go:wasmimport tidegate:plugin/host@0.1.0 counter
func hostCounter(name string, delta uint64)

//go:wasmimport tidegate:plugin/host@0.1.0 narrow
func hostNarrow(columns uint32)
