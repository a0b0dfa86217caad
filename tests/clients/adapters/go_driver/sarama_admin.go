package main

import (
	"errors"
	"strconv"

	"github.com/IBM/sarama"
)

func (s *saramaClient) verbs() map[string]func(request) (any, error) {
	return map[string]func(request) (any, error){
		"create_topic": s.createTopic, "delete_topic": s.deleteTopic, "list_topics": s.listTopics,
		"describe_topic": s.describeTopic, "create_partitions": s.createPartitions,
		"describe_configs": s.describeConfigs, "describe_broker_configs": s.describeBrokerConfigs,
		"set_configs": s.setConfigs, "delete_config": s.deleteConfig, "describe_cluster": s.describeCluster,
		"log_dirs": s.logDirs, "elect_leader": s.electLeader, "reassign": s.reassign,
		"list_reassignments": s.listReassignments, "delete_records": s.deleteRecords, "list_offsets": s.listOffsets,
		"list_groups": s.listGroups, "describe_group": s.describeGroup, "delete_group": s.deleteGroup,
		"committed": s.committed, "alter_offsets": s.alterOffsets, "delete_offsets": s.deleteOffsets,
		"set_quota": s.setQuota, "describe_quota": s.describeQuota,
	}
}

func (s *saramaClient) createTopic(asked request) (any, error) {
	partitions, err := number[int32](asked.Partitions)
	if err != nil {
		return nil, err
	}
	detail := &sarama.TopicDetail{NumPartitions: partitions, ReplicationFactor: 1, ConfigEntries: pointers(asked.Configs)}
	return nil, s.admin.CreateTopic(asked.Topic, detail, false)
}

func (s *saramaClient) deleteTopic(asked request) (any, error) {
	return nil, s.admin.DeleteTopic(asked.Topic)
}

func (s *saramaClient) listTopics(request) (any, error) {
	found, err := s.admin.ListTopics()
	names := []string{}
	for name := range found {
		names = append(names, name)
	}
	return names, err
}

func (s *saramaClient) describeTopic(asked request) (any, error) {
	found, err := s.admin.DescribeTopics([]string{asked.Topic})
	if err != nil {
		return nil, err
	}
	rows := map[int32]replicas{}
	for _, one := range found[0].Partitions {
		rows[one.ID] = replicas{one.Leader, one.Replicas, one.Isr}
	}
	return rows, nil
}

func (s *saramaClient) createPartitions(asked request) (any, error) {
	return nil, s.admin.CreatePartitions(asked.Topic, int32(asked.Total), nil, false)
}

func (s *saramaClient) describeConfigs(asked request) (any, error) {
	return s.described(sarama.TopicResource, asked.Topic)
}

func (s *saramaClient) describeBrokerConfigs(request) (any, error) {
	brokers, _, err := s.admin.DescribeCluster()
	if err != nil {
		return nil, err
	}
	return s.described(sarama.BrokerResource, strconv.Itoa(int(brokers[0].ID())))
}

func (s *saramaClient) described(kind sarama.ConfigResourceType, name string) (any, error) {
	found, err := s.admin.DescribeConfig(sarama.ConfigResource{Type: kind, Name: name})
	values := map[string]string{}
	for _, one := range found {
		values[one.Name] = one.Value
	}
	return values, err
}

func (s *saramaClient) setConfigs(asked request) (any, error) {
	edits := map[string]sarama.IncrementalAlterConfigsEntry{}
	for name, value := range pointers(asked.Configs) {
		edits[name] = sarama.IncrementalAlterConfigsEntry{Operation: sarama.IncrementalAlterConfigsOperationSet, Value: value}
	}
	return nil, s.admin.IncrementalAlterConfig(sarama.TopicResource, asked.Topic, edits, false)
}

func (s *saramaClient) deleteConfig(asked request) (any, error) {
	edits := map[string]sarama.IncrementalAlterConfigsEntry{
		asked.Name: {Operation: sarama.IncrementalAlterConfigsOperationDelete},
	}
	return nil, s.admin.IncrementalAlterConfig(sarama.TopicResource, asked.Topic, edits, false)
}

func (s *saramaClient) describeCluster(request) (any, error) {
	brokers, controller, err := s.admin.DescribeCluster()
	ids := []int32{}
	for _, broker := range brokers {
		ids = append(ids, broker.ID())
	}
	return map[string]any{"brokers": ids, "controller": controller}, err
}

func (s *saramaClient) logDirs(asked request) (any, error) {
	brokers, _, err := s.admin.DescribeCluster()
	if err != nil {
		return nil, err
	}
	found, err := s.admin.DescribeLogDirs([]int32{brokers[0].ID()})
	sizes := map[int32]int64{}
	for _, homes := range found {
		for _, home := range homes {
			for _, topic := range home.Topics {
				for _, partition := range topic.Partitions {
					if topic.Topic == asked.Topic {
						sizes[partition.PartitionID] = partition.Size
					}
				}
			}
		}
	}
	return sizes, err
}

func (s *saramaClient) electLeader(asked request) (any, error) {
	found, err := s.admin.ElectLeaders(sarama.PreferredElection, map[string][]int32{asked.Topic: {asked.Partition}})
	if err != nil {
		return nil, err
	}
	return strconv.Itoa(int(found[asked.Topic][asked.Partition].ErrorCode)), nil
}

// Sarama gives assignments from partition 0 on.
func (s *saramaClient) reassign(asked request) (any, error) {
	return nil, s.admin.AlterPartitionReassignments(asked.Topic, [][]int32{asked.Replicas})
}

func (s *saramaClient) listReassignments(request) (any, error) {
	topics, err := s.admin.ListTopics()
	names := []string{}
	for topic, detail := range topics {
		var partitions []int32
		for index := range detail.NumPartitions {
			partitions = append(partitions, index)
		}
		found, err := s.admin.ListPartitionReassignments(topic, partitions)
		if err != nil {
			return nil, err
		}
		if len(found) > 0 {
			names = append(names, topic)
		}
	}
	return names, err
}

func (s *saramaClient) deleteRecords(asked request) (any, error) {
	return nil, s.admin.DeleteRecords(asked.Topic, map[int32]int64{asked.Partition: asked.Offset})
}

func (s *saramaClient) listOffsets(asked request) (any, error) {
	where, at := whereOf(asked)
	switch where {
	case "earliest":
		at = sarama.OffsetOldest
	case "latest":
		at = sarama.OffsetNewest
	case "max_timestamp":
		at = -3
	}
	wanted := map[string]map[int32]int64{asked.Topic: {asked.Partition: at}}
	found, err := s.admin.ListOffsets(wanted, nil)
	if err != nil {
		return nil, err
	}
	answer := found[asked.Topic][asked.Partition]
	if answer.Err != sarama.ErrNoError {
		return nil, answer.Err
	}
	return answer.Offset, nil
}

func (s *saramaClient) listGroups(request) (any, error) {
	found, err := s.admin.ListConsumerGroups()
	names := []string{}
	for name := range found {
		names = append(names, name)
	}
	return names, err
}

func (s *saramaClient) describeGroup(asked request) (any, error) {
	found, err := s.admin.DescribeConsumerGroups([]string{*asked.Group})
	if err != nil {
		return nil, err
	}
	return map[string]any{"state": found[0].State, "members": len(found[0].Members)}, nil
}

func (s *saramaClient) deleteGroup(asked request) (any, error) {
	return nil, s.admin.DeleteConsumerGroup(*asked.Group)
}

func (s *saramaClient) committed(asked request) (any, error) {
	found, err := s.admin.ListConsumerGroupOffsets(*asked.Group, nil)
	if err != nil {
		return nil, err
	}
	offsets := map[int32]int64{}
	for index, block := range found.Blocks[asked.Topic] {
		if block.Offset >= 0 {
			offsets[index] = block.Offset
		}
	}
	return offsets, nil
}

func (s *saramaClient) alterOffsets(asked request) (any, error) {
	wanted := map[int32]sarama.OffsetAndMetadata{}
	for index, offset := range asked.Offsets {
		wanted[index] = sarama.OffsetAndMetadata{Offset: offset, LeaderEpoch: -1}
	}
	answer, err := s.admin.AlterConsumerGroupOffsets(
		*asked.Group, map[string]map[int32]sarama.OffsetAndMetadata{asked.Topic: wanted}, nil)
	if err != nil {
		return nil, err
	}
	for _, code := range answer.Errors[asked.Topic] {
		if !errors.Is(code, sarama.ErrNoError) {
			return nil, code
		}
	}
	return nil, nil
}

func (s *saramaClient) deleteOffsets(asked request) (any, error) {
	partitions, err := number[[]int32](asked.Partitions)
	for _, index := range partitions {
		if err == nil {
			err = s.admin.DeleteConsumerGroupOffset(*asked.Group, asked.Topic, index)
		}
	}
	return nil, err
}

func (s *saramaClient) setQuota(asked request) (any, error) {
	entity := []sarama.QuotaEntityComponent{
		{EntityType: sarama.QuotaEntityClientID, MatchType: sarama.QuotaMatchExact, Name: asked.QuotaClient},
	}
	for name, value := range asked.Quotas {
		edit := sarama.ClientQuotasOp{Key: name, Remove: value == nil}
		if value != nil {
			edit.Value = *value
		}
		if err := s.admin.AlterClientQuotas(entity, edit, false); err != nil {
			return nil, err
		}
	}
	return nil, nil
}

func (s *saramaClient) describeQuota(asked request) (any, error) {
	found, err := s.admin.DescribeClientQuotas([]sarama.QuotaFilterComponent{
		{EntityType: sarama.QuotaEntityClientID, MatchType: sarama.QuotaMatchExact, Match: asked.QuotaClient},
	}, true)
	values := map[string]float64{}
	for _, entity := range found {
		for name, value := range entity.Values {
			values[name] = value
		}
	}
	return values, err
}
