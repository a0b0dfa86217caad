// Package router exports a plugin of the world `router`: one that says to which other topics a record goes.
package router

import tidegate "tidegate/sdk"

const (
	// ByKey chooses the partition that Kafka's clients would choose for the key.
	ByKey int32 = -1
	// SamePartition chooses the index of the source's, modulo the target's count.
	SamePartition int32 = -2
)

// Plugin routes records.
type Plugin interface {
	// Targets names every topic that this binding may send to, exactly or as `prefix-*`.
	Targets() ([]string, error)
	// Route sends a record to other topics with routes.Send. What it gives back says whether the record stays here too.
	Route(record tidegate.Record, routes *Routes) tidegate.Verdict
}

// Routes of one batch.
type Routes struct {
	record     int
	topics     []string
	records    []uint32
	targets    []uint32
	partitions []int32
}

// Send appends the record at hand to a topic as well: to a partition's index, ByKey or SamePartition.
func (r *Routes) Send(topic string, partition int32) {
	r.records = append(r.records, uint32(r.record))
	r.targets = append(r.targets, r.target(topic))
	r.partitions = append(r.partitions, partition)
}

func (r *Routes) target(topic string) uint32 {
	for index, known := range r.topics {
		if known == topic {
			return uint32(index)
		}
	}
	r.topics = append(r.topics, topic)
	return uint32(len(r.topics) - 1)
}

// Export makes this program the plugin, as filter.Export does.
func Export(description tidegate.Description, configure func(tidegate.Config) (Plugin, error)) {
	exported = export{description, configure, nil}
}

type export struct {
	description tidegate.Description
	configure   func(tidegate.Config) (Plugin, error)
	plugin      Plugin
}

var exported export
