// Package filter exports a plugin of the world `filter`: one that says of each record whether it stays.
package filter

import tidegate "tidegate/sdk"

// Plugin judges batches.
type Plugin interface {
	// FilterBatch says which records go; all stay to begin with. An error means that the whole batch failed, and the
	// binding's error policy decides.
	FilterBatch(batch *tidegate.Batch, verdicts *tidegate.Verdicts) error
}

// Each makes a plugin of a function from a record to its verdict.
func Each(judge func(tidegate.Record) tidegate.Verdict) Plugin { return each(judge) }

type each func(tidegate.Record) tidegate.Verdict

func (judge each) FilterBatch(batch *tidegate.Batch, verdicts *tidegate.Verdicts) error {
	for record := range batch.Records {
		verdicts.Set(record.Index, judge(record))
	}
	return nil
}

// Export makes this program the plugin. It belongs in an init function; main stays empty. `configure` runs once in each
// instance, and its error is shown to whoever binds the plugin.
func Export(description tidegate.Description, configure func(tidegate.Config) (Plugin, error)) {
	exported = export{description, configure, nil}
}

type export struct {
	description tidegate.Description
	configure   func(tidegate.Config) (Plugin, error)
	plugin      Plugin
}

var exported export
