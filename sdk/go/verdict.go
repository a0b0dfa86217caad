package tidegate

// Verdict says what becomes of a record.
type Verdict struct {
	code   uint8
	reason string
}

var (
	// Keep lets the record be stored or delivered. It is the zero value.
	Keep = Verdict{code: 0}
	// Drop acknowledges the record, which is not stored (or not delivered).
	Drop = Verdict{code: 1}
)

// KeepIf keeps or drops.
func KeepIf(keep bool) Verdict {
	if keep {
		return Keep
	}
	return Drop
}

// Reject makes the produce request fail, with a sentence for whoever sent the record.
func Reject(reason string) Verdict { return Verdict{code: 2, reason: reason} }

// Rejected tells whether the verdict is of Reject.
func (v Verdict) Rejected() bool { return v.code == 2 }

// Verdicts of one batch. All are kept to begin with.
type Verdicts struct {
	count int
	// Codes stays empty for as long as every record is kept.
	Codes   []byte
	Reasons []Reason
}

// Reason why a record is rejected.
type Reason struct {
	Index  uint32
	Reason string
}

// NewVerdicts for a batch of this many records.
func NewVerdicts(count int) *Verdicts { return &Verdicts{count: count} }

// Set says what becomes of a record. Each is set once at most.
func (v *Verdicts) Set(index int, verdict Verdict) {
	if len(v.Codes) == 0 {
		if verdict.code == 0 {
			return
		}
		v.Codes = make([]byte, v.count)
	}
	v.Codes[index] = verdict.code
	if verdict.code == 2 {
		v.Reasons = append(v.Reasons, Reason{uint32(index), verdict.reason})
	}
}
