package abi

import "unsafe"

//go:wasmexport cabi_realloc
func realloc(old, oldSize, _, size uint32) uint32 {
	fresh := Reserve(size)
	if oldSize > 0 {
		copy(unsafe.Slice(At[byte](fresh), size), unsafe.Slice(At[byte](old), oldSize))
	}
	return fresh
}
