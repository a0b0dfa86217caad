//go:build !wasip1

package tidegate

import (
	"fmt"
	"os"
)

// Natively, for the plugin's own tests: messages go to standard error, and counters nowhere.

func hostLog(level uint32, message string) { fmt.Fprintln(os.Stderr, Level(level), message) }

func hostCounter(string, uint64) {}

func hostNarrow(uint32) {}
