package main

import (
	"context"
	"errors"
	"fmt"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kmsg"
)

func (f *franz) verbs() map[string]func(request) (any, error) {
	return map[string]func(request) (any, error){
		"create_topic": f.createTopic, "delete_topic": f.deleteTopic, "list_topics": f.listTopics,
		"describe_topic": f.describeTopic, "create_partitions": f.createPartitions,
		"describe_configs": f.describeConfigs, "describe_broker_configs": f.describeBrokerConfigs,
		"set_configs": f.setConfigs, "delete_config": f.deleteConfig, "describe_cluster": f.describeCluster,
		"log_dirs": f.logDirs, "features": f.features, "elect_leader": f.electLeader, "reassign": f.reassign,
		"list_reassignments": f.listReassignments, "delete_records": f.deleteRecords,
		"describe_producers": f.describeProducers, "list_offsets": f.listOffsets, "epoch_end": f.epochEnd,
		"list_groups": f.listGroups, "describe_group": f.describeGroup, "delete_group": f.deleteGroup,
		"committed": f.committed, "alter_offsets": f.alterOffsets, "delete_offsets": f.deleteOffsets,
		"set_quota": f.setQuota, "describe_quota": f.describeQuota, "list_transactions": f.listTransactions,
		"describe_transaction": f.describeTransaction,
	}
}

var forever = context.Background()

// The broker's own words are beside the error.
func told(err, answered error, words string) error {
	if err == nil {
		err = answered
	}
	if err != nil && words != "" {
		return fmt.Errorf("%w: %s", err, words)
	}
	return err
}

func one(asked request) kadm.TopicsSet {
	set := kadm.TopicsSet{}
	set.Add(asked.Topic, asked.Partition)
	return set
}

func (f *franz) createTopic(asked request) (any, error) {
	partitions, err := number[int32](asked.Partitions)
	if err != nil {
		return nil, err
	}
	created, err := f.admin.CreateTopic(forever, partitions, 1, pointers(asked.Configs), asked.Topic)
	return nil, told(err, created.Err, created.ErrMessage)
}

func (f *franz) deleteTopic(asked request) (any, error) {
	deleted, err := f.admin.DeleteTopic(forever, asked.Topic)
	return nil, told(err, deleted.Err, deleted.ErrMessage)
}

func (f *franz) listTopics(request) (any, error) {
	found, err := f.admin.ListTopics(forever)
	return found.Names(), err
}

func (f *franz) describeTopic(asked request) (any, error) {
	found, err := f.admin.ListTopics(forever, asked.Topic)
	if err != nil {
		return nil, err
	}
	rows := map[int32]replicas{}
	for index, one := range found[asked.Topic].Partitions {
		rows[index] = replicas{one.Leader, one.Replicas, one.ISR}
	}
	return rows, found[asked.Topic].Err
}

func (f *franz) createPartitions(asked request) (any, error) {
	answers, err := f.admin.UpdatePartitions(forever, asked.Total, asked.Topic)
	return nil, told(err, answers[asked.Topic].Err, answers[asked.Topic].ErrMessage)
}

func (f *franz) describeConfigs(asked request) (any, error) {
	return configsOf(f.admin.DescribeTopicConfigs(forever, asked.Topic))
}

func (f *franz) describeBrokerConfigs(request) (any, error) {
	brokers, err := f.admin.ListBrokers(forever)
	if err != nil {
		return nil, err
	}
	return configsOf(f.admin.DescribeBrokerConfigs(forever, brokers.NodeIDs()...))
}

func configsOf(found kadm.ResourceConfigs, err error) (any, error) {
	if err != nil {
		return nil, err
	}
	values := map[string]string{}
	for _, one := range found[0].Configs {
		values[one.Key] = one.MaybeValue()
	}
	return values, found[0].Err
}

func (f *franz) setConfigs(asked request) (any, error) {
	var edits []kadm.AlterConfig
	for name, value := range pointers(asked.Configs) {
		edits = append(edits, kadm.AlterConfig{Op: kadm.SetConfig, Name: name, Value: value})
	}
	return f.alter(asked.Topic, edits)
}

func (f *franz) deleteConfig(asked request) (any, error) {
	return f.alter(asked.Topic, []kadm.AlterConfig{{Op: kadm.DeleteConfig, Name: asked.Name}})
}

func (f *franz) alter(topic string, edits []kadm.AlterConfig) (any, error) {
	answers, err := f.admin.AlterTopicConfigs(forever, edits, topic)
	if err != nil {
		return nil, err
	}
	return nil, told(nil, answers[0].Err, answers[0].ErrMessage)
}

func (f *franz) describeCluster(request) (any, error) {
	found, err := f.admin.BrokerMetadata(forever)
	return map[string]any{
		"brokers": found.Brokers.NodeIDs(), "controller": found.Controller, "cluster": found.Cluster,
	}, err
}

func (f *franz) logDirs(asked request) (any, error) {
	found, err := f.admin.DescribeAllLogDirs(forever, nil)
	sizes := map[int32]int64{}
	for _, homes := range found {
		homes.EachPartition(func(one kadm.DescribedLogDirPartition) {
			if one.Topic == asked.Topic {
				sizes[one.Partition] = one.Size
			}
		})
	}
	return sizes, err
}

func (f *franz) features(request) (any, error) {
	found, err := f.admin.ApiVersions(forever)
	levels := map[string]int16{}
	for _, broker := range found {
		for _, feature := range broker.Raw().FinalizedFeatures {
			levels[feature.Name] = feature.MaxVersionLevel
		}
	}
	return levels, err
}

func (f *franz) electLeader(asked request) (any, error) {
	answers, err := f.admin.ElectLeaders(forever, kadm.ElectPreferredReplica, one(asked))
	if err != nil {
		return nil, err
	}
	if said := answers[asked.Topic][asked.Partition].Err; said != nil {
		return said.Error(), nil
	}
	return "", nil
}

func (f *franz) reassign(asked request) (any, error) {
	var wanted kadm.AlterPartitionAssignmentsReq
	wanted.Assign(asked.Topic, asked.Partition, asked.Replicas)
	answers, err := f.admin.AlterPartitionAssignments(forever, wanted)
	answer := answers[asked.Topic][asked.Partition]
	return nil, told(err, answer.Err, answer.ErrMessage)
}

func (f *franz) listReassignments(request) (any, error) {
	found, err := f.admin.ListPartitionReassignments(forever, nil)
	names := []string{}
	for topic := range found {
		names = append(names, topic)
	}
	return names, err
}

func (f *franz) deleteRecords(asked request) (any, error) {
	wanted := kadm.Offsets{}
	wanted.AddOffset(asked.Topic, asked.Partition, asked.Offset, -1)
	answers, err := f.admin.DeleteRecords(forever, wanted)
	answer := answers[asked.Topic][asked.Partition]
	return answer.LowWatermark, told(err, answer.Err, "")
}

func (f *franz) describeProducers(asked request) (any, error) {
	found, err := f.admin.DescribeProducers(forever, one(asked))
	ids := []int64{}
	for _, producer := range found.SortedProducers() {
		ids = append(ids, producer.ProducerID)
	}
	return ids, err
}

func (f *franz) listOffsets(asked request) (any, error) {
	var found kadm.ListedOffsets
	var err error
	switch where, ms := whereOf(asked); where {
	case "earliest":
		found, err = f.admin.ListStartOffsets(forever, asked.Topic)
	case "latest":
		found, err = f.admin.ListEndOffsets(forever, asked.Topic)
	case "max_timestamp":
		found, err = f.admin.ListMaxTimestampOffsets(forever, asked.Topic)
	default:
		found, err = f.admin.ListOffsetsAfterMilli(forever, ms, asked.Topic)
	}
	answer := found[asked.Topic][asked.Partition]
	return answer.Offset, told(err, answer.Err, "")
}

func (f *franz) epochEnd(asked request) (any, error) {
	var wanted kadm.OffsetForLeaderEpochRequest
	wanted.Add(asked.Topic, asked.Partition, asked.Epoch)
	found, err := f.admin.OffsetForLeaderEpoch(forever, wanted)
	answer := found[asked.Topic][asked.Partition]
	return answer.EndOffset, told(err, answer.Err, "")
}

func (f *franz) listGroups(request) (any, error) {
	found, err := f.admin.ListGroups(forever)
	return found.Groups(), err
}

// A group of KIP-848 has a request of its own; the old one says that there is no such group.
func (f *franz) describeGroup(asked request) (any, error) {
	if found, err := f.admin.DescribeConsumerGroups(forever, *asked.Group); err == nil && found[*asked.Group].Err == nil {
		return map[string]any{"state": found[*asked.Group].State, "members": len(found[*asked.Group].Members)}, nil
	}
	found, err := f.admin.DescribeGroups(forever, *asked.Group)
	group := found[*asked.Group]
	return map[string]any{"state": group.State, "members": len(group.Members)}, told(err, group.Err, "")
}

func (f *franz) deleteGroup(asked request) (any, error) {
	answer, err := f.admin.DeleteGroup(forever, *asked.Group)
	return nil, told(err, answer.Err, "")
}

func (f *franz) committed(asked request) (any, error) {
	found, err := f.admin.FetchOffsets(forever, *asked.Group)
	offsets := map[int32]int64{}
	for index, one := range found[asked.Topic] {
		if one.Err == nil && one.At >= 0 {
			offsets[index] = one.At
		}
	}
	return offsets, err
}

func (f *franz) alterOffsets(asked request) (any, error) {
	wanted := kadm.Offsets{}
	for index, offset := range asked.Offsets {
		wanted.AddOffset(asked.Topic, index, offset, -1)
	}
	return nil, f.admin.CommitAllOffsets(forever, *asked.Group, wanted)
}

func (f *franz) deleteOffsets(asked request) (any, error) {
	partitions, err := number[[]int32](asked.Partitions)
	if err != nil {
		return nil, err
	}
	set := kadm.TopicsSet{}
	set.Add(asked.Topic, partitions...)
	answers, err := f.admin.DeleteOffsets(forever, *asked.Group, set)
	return nil, errors.Join(err, answers.Error())
}

func (f *franz) setQuota(asked request) (any, error) {
	entry := kadm.AlterClientQuotaEntry{Entity: kadm.ClientQuotaEntity{{Type: "client-id", Name: &asked.QuotaClient}}}
	for name, value := range asked.Quotas {
		if value == nil {
			entry.Ops = append(entry.Ops, kadm.AlterClientQuotaOp{Key: name, Remove: true})
		} else {
			entry.Ops = append(entry.Ops, kadm.AlterClientQuotaOp{Key: name, Value: *value})
		}
	}
	answers, err := f.admin.AlterClientQuotas(forever, []kadm.AlterClientQuotaEntry{entry})
	if err != nil {
		return nil, err
	}
	return nil, told(nil, answers[0].Err, answers[0].ErrMessage)
}

func (f *franz) describeQuota(asked request) (any, error) {
	found, err := f.admin.DescribeClientQuotas(forever, true, []kadm.DescribeClientQuotaComponent{
		{Type: "client-id", MatchName: &asked.QuotaClient, MatchType: kmsg.QuotasMatchTypeExact},
	})
	values := map[string]float64{}
	for _, entity := range found {
		for _, one := range entity.Values {
			values[one.Key] = one.Value
		}
	}
	return values, err
}

func (f *franz) listTransactions(request) (any, error) {
	found, err := f.admin.ListTransactions(forever, nil, nil)
	states := map[string]string{}
	for id, one := range found {
		states[id] = one.State
	}
	return states, err
}

func (f *franz) describeTransaction(asked request) (any, error) {
	answers, err := f.admin.DescribeTransactions(forever, asked.Transaction)
	found := answers[asked.Transaction]
	partitions := []string{}
	found.Topics.Each(func(topic string, index int32) {
		partitions = append(partitions, fmt.Sprintf("%s-%d", topic, index))
	})
	return map[string]any{"state": found.State, "partitions": partitions}, told(err, found.Err, "")
}
