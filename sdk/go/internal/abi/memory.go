// Package abi is the canonical ABI of wit/plugin.wit, written by hand: how the host finds what Go gives, and the other way
// round. Offsets follow the order of the fields there; pointers and lengths are 32 bits.
package abi

import "unsafe"

// What the host writes into this memory lies in blocks that are used again for the next call: no garbage, and no list that
// the collector could move or free. (Go's collector moves nothing on its heap.)
const (
	blockBytes = 256 << 10
	// More than this is given back to the collector: one large batch must not hold its memory for good.
	keptBytes = 8 << 20
)

type block struct {
	words []uint64
	used  uint32
}

var (
	blocks  []*block
	current int
	// What the host has still to read. It knows addresses, which the collector does not count as references.
	pinned []any
)

// Reserve gives room for `size` bytes, aligned to 8. It is the host's only way to get memory here.
func Reserve(size uint32) uint32 {
	size = (size + 7) &^ 7
	for ; current < len(blocks); current++ {
		if at := blocks[current]; uint32(len(at.words))*8-at.used >= size {
			return at.take(size)
		}
	}
	at := &block{words: make([]uint64, max(size, blockBytes)/8)}
	blocks = append(blocks, at)
	return at.take(size)
}

func (b *block) take(size uint32) uint32 {
	address := addressOf(unsafe.SliceData(b.words)) + b.used
	b.used += size
	return address
}

// Release is called when the host has read the result: all that this call was given may be overwritten.
func Release() {
	clear(pinned)
	pinned = pinned[:0]
	kept, room := blocks[:0], keptBytes
	for _, b := range blocks {
		if size := len(b.words) * 8; size <= room {
			room -= size
			b.used = 0
			kept = append(kept, b)
		}
	}
	clear(blocks[len(kept):])
	blocks, current = kept, 0
}

func addressOf[T any](pointer *T) uint32 { return uint32(uintptr(unsafe.Pointer(pointer))) }

// At gives a pointer into this memory from an address that the host gave.
func At[T any](address uint32) *T { return (*T)(unsafe.Add(nil, address)) }

// List that the host wrote: pointer and length lie at `address`.
func List[T any](address uint32) []T {
	pair := At[[2]uint32](address)
	if pair[1] == 0 {
		return nil
	}
	return unsafe.Slice(At[T](pair[0]), pair[1])
}

// Text that the host wrote, good until the call is over.
func Text(address uint32) string {
	return unsafe.String(unsafe.SliceData(List[byte](address)), len(List[byte](address)))
}

// Record is a record of words that the host reads.
type Record []uint32

// NewRecord has this many words, all zero.
func NewRecord(words int) Record {
	record := make(Record, words)
	pinned = append(pinned, record)
	return record
}

// Address of the record.
func (r Record) Address() uint32 { return addressOf(unsafe.SliceData(r)) }

// PutText writes pointer and length at a word.
func (r Record) PutText(word int, text string) {
	if text == "" {
		return
	}
	pinned = append(pinned, text)
	r[word], r[word+1] = addressOf(unsafe.StringData(text)), uint32(len(text))
}

// PutList writes pointer and length at a word.
func PutList[T any](r Record, word int, list []T) {
	if len(list) == 0 {
		return
	}
	pinned = append(pinned, list)
	r[word], r[word+1] = addressOf(unsafe.SliceData(list)), uint32(len(list))
}

// PutBytes writes a byte field, of the four in a word.
func (r Record) PutBytes(word int, bytes ...uint8) {
	for i, b := range bytes {
		r[word] |= uint32(b) << (8 * i)
	}
}
