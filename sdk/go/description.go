package tidegate

import (
	"fmt"
	"strconv"
)

// Columns of a batch. What a plugin does not name is never copied into its memory.
type Columns uint8

const (
	Key Columns = 1 << iota
	Value
	Headers
	Timestamp
)

// State says what a plugin remembers from one batch to the next.
type State uint8

const (
	// Stateless plugins may see any batch in any instance, and a batch may be run again.
	Stateless State = iota
	// PerPartition plugins have one instance for each binding and partition, called in order.
	PerPartition
)

// Kind of a configuration key.
type Kind uint8

const (
	Text Kind = iota
	Integer
	Float
	Boolean
)

// ConfigKey is one key that a binding may set.
type ConfigKey struct {
	Name string
	Kind Kind
	// Required keys have no default, and every binding must set them.
	Required bool
	// Default is the key's value where the binding sets none. nil: it then has none.
	Default *string
	// Doc is one sentence.
	Doc string
	// Secret keys are never shown again once set.
	Secret bool
}

// Default gives what ConfigKey.Default wants: Default("x"), Default(10), Default(true).
func Default(value any) *string {
	text := fmt.Sprint(value)
	return &text
}

// Description is what a plugin says of itself.
type Description struct {
	Name, Version, Summary string
	Columns                Columns
	State                  State
	Config                 []ConfigKey
	// Writes names what a transform may replace.
	Writes Columns
}

// Config has the binding's keys, defaults included. The host has checked that each value is of its key's kind.
type Config map[string]string

// Text is empty if the key has no value.
func (c Config) Text(key string) string { return c[key] }

// Integer is 0 if the key has no value.
func (c Config) Integer(key string) int64 {
	number, _ := strconv.ParseInt(c[key], 10, 64)
	return number
}

// Float is 0 if the key has no value.
func (c Config) Float(key string) float64 {
	number, _ := strconv.ParseFloat(c[key], 64)
	return number
}

// Boolean is false if the key has no value.
func (c Config) Boolean(key string) bool { return c[key] == "true" }
