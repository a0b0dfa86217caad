package tidegate

// Column has optional byte strings that lie one behind the other.
type Column struct {
	// Offsets has one entry more than there are byte strings: string i is Data[Offsets[i]:Offsets[i+1]].
	Offsets []uint32
	Data    []byte
	// Nulls has bit i set, least significant first, where string i is null. Empty: none is.
	Nulls []byte
}

// Bytes of entry index; nil if it is null, which is not the same as empty. Good until the call is over: copy what is to
// be kept.
func (c *Column) Bytes(index int) []byte {
	if c.Null(index) {
		return nil
	}
	return c.Data[c.Offsets[index]:c.Offsets[index+1]:c.Offsets[index+1]]
}

// Null tells whether an entry is null.
func (c *Column) Null(index int) bool {
	return index/8 < len(c.Nulls) && c.Nulls[index/8]>>(index%8)&1 == 1
}

// Header of a record. Names are bytes: Kafka does not promise UTF-8.
type Header struct {
	Name, Value []byte
}

// Batch has records of one partition, in order, and of them the columns that the plugin asked for.
type Batch struct {
	Topic     string
	Partition uint32
	// Alias is the name that this plugin carries in the chain.
	Alias string
	// AppendTimeMs is when the broker took the batch, in milliseconds since the Unix epoch: the only clock there is.
	AppendTimeMs int64
	// BaseOffset is the offset of the record whose delta is 0, or -1 where it is not known: when producing.
	BaseOffset   int64
	OffsetDeltas []uint32
	// TimestampsMs, and the columns below, are nil unless they were asked for.
	TimestampsMs []int64
	Keys, Values *Column
	// HeaderOffsets: the headers of record i are entries HeaderOffsets[i] to HeaderOffsets[i+1] of the two columns.
	HeaderOffsets             []uint32
	HeaderNames, HeaderValues *Column

	Count int
}

// Records calls for each record, in order: for record := range batch.Records.
func (b *Batch) Records(yield func(Record) bool) {
	for index := range b.Count {
		if !yield(Record{Batch: b, Index: index}) {
			return
		}
	}
}

// Record of a batch. What the plugin's columns do not name reads as nil.
type Record struct {
	Batch *Batch
	Index int
}

// Key is nil if it is null.
func (r Record) Key() []byte {
	if r.Batch.Keys == nil {
		return nil
	}
	return r.Batch.Keys.Bytes(r.Index)
}

// Value is nil if it is null, which makes the record a tombstone.
func (r Record) Value() []byte {
	if r.Batch.Values == nil {
		return nil
	}
	return r.Batch.Values.Bytes(r.Index)
}

// TimestampMs is in milliseconds since the Unix epoch, and 0 if it was not asked for.
func (r Record) TimestampMs() int64 {
	if r.Index >= len(r.Batch.TimestampsMs) {
		return 0
	}
	return r.Batch.TimestampsMs[r.Index]
}

// Headers in the order in which they were produced.
func (r Record) Headers() []Header {
	if r.Batch.HeaderOffsets == nil {
		return nil
	}
	var headers []Header
	for at := r.Batch.HeaderOffsets[r.Index]; at < r.Batch.HeaderOffsets[r.Index+1]; at++ {
		headers = append(headers, Header{r.Batch.HeaderNames.Bytes(int(at)), r.Batch.HeaderValues.Bytes(int(at))})
	}
	return headers
}

// Header is the value of the last header of this name, as Kafka's lastHeader has it.
func (r Record) Header(name string) []byte {
	if r.Batch.HeaderOffsets == nil {
		return nil
	}
	for at := r.Batch.HeaderOffsets[r.Index+1]; at > r.Batch.HeaderOffsets[r.Index]; at-- {
		if string(r.Batch.HeaderNames.Bytes(int(at-1))) == name {
			return r.Batch.HeaderValues.Bytes(int(at - 1))
		}
	}
	return nil
}
