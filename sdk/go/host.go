package tidegate

import "fmt"

// Level of a log message.
type Level uint32

const (
	Trace Level = iota
	Debug
	Info
	Warn
	Error
)

func (l Level) String() string {
	return [...]string{"trace", "debug", "info", "warn", "error"}[l]
}

// Log is rate-limited by the host: what is over the limit is counted, not kept.
func Log(level Level, format string, arguments ...any) {
	hostLog(uint32(level), fmt.Sprintf(format, arguments...))
}

// Count adds to a counter of this plugin, shown in the broker's metrics.
func Count(name string, delta uint64) { hostCounter(name, delta) }

// Narrow says, while the plugin is configured, that no more than these columns are needed.
func Narrow(columns Columns) { hostNarrow(uint32(columns)) }
