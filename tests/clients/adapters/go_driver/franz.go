package main

import (
	"context"
	"encoding/base64"
	"errors"
	"strconv"
	"sync"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"
)

// franz-go.
type franz struct {
	bootstrap string
	admin     *kadm.Client
}

func newFranz(bootstrap string) (client, error) {
	plain, err := kgo.NewClient(kgo.SeedBrokers(bootstrap))
	if err != nil {
		return nil, err
	}
	return &franz{bootstrap, kadm.NewClient(plain)}, nil
}

var franzCodecs = map[string]kgo.CompressionCodec{
	"none": kgo.NoCompression(), "gzip": kgo.GzipCompression(), "snappy": kgo.SnappyCompression(),
	"lz4": kgo.Lz4Compression(), "zstd": kgo.ZstdCompression(),
}

func (f *franz) producer(more ...kgo.Opt) (*kgo.Client, error) {
	return kgo.NewClient(append([]kgo.Opt{
		kgo.SeedBrokers(f.bootstrap), kgo.RecordPartitioner(kgo.BasicConsistentPartitioner(choose)),
		kgo.ProducerLinger(5 * time.Millisecond), kgo.ProducerBatchMaxBytes(10_000_000),
	}, more...)...)
}

func (f *franz) produce(asked request) ([]int64, error) {
	acks := map[string]kgo.Acks{"all": kgo.AllISRAcks(), "1": kgo.LeaderAck(), "0": kgo.NoAck()}[asked.Acks]
	options := []kgo.Opt{
		kgo.ProducerBatchCompression(franzCodecs[asked.Codec]), kgo.RequiredAcks(acks), kgo.ClientID(asked.ClientID),
	}
	if !asked.Idempotent {
		options = append(options, kgo.DisableIdempotentWrite())
	}
	producer, err := f.producer(options...)
	if err != nil {
		return nil, err
	}
	defer producer.Close()
	return franzSend(producer, asked)
}

// The offsets of all of it, once it is acknowledged.
func franzSend(producer *kgo.Client, asked request) ([]int64, error) {
	records := make([]*kgo.Record, 0, len(asked.Sends))
	for _, send := range asked.Sends {
		record, err := franzRecord(asked.Topic, send)
		if err != nil {
			return nil, err
		}
		records = append(records, record)
		if asked.OneByOne {
			if err := producer.ProduceSync(context.Background(), record).FirstErr(); err != nil {
				return nil, err
			}
		}
	}
	if !asked.OneByOne {
		if err := producer.ProduceSync(context.Background(), records...).FirstErr(); err != nil {
			return nil, err
		}
	}
	// Results come as they are done, records keep their order and know their offset.
	offsets := make([]int64, 0, len(records))
	for _, record := range records {
		offsets = append(offsets, record.Offset)
	}
	return offsets, nil
}

func franzRecord(topic string, send send) (*kgo.Record, error) {
	record := &kgo.Record{Topic: topic, Key: send.Key, Value: send.Value, Partition: -1}
	if send.Partition != nil {
		record.Partition = *send.Partition
	}
	if send.Timestamp != nil {
		ms, err := send.milliseconds()
		if err != nil {
			return nil, err
		}
		record.Timestamp = time.UnixMilli(ms)
	}
	return record, send.eachHeader(func(name string, value []byte) {
		record.Headers = append(record.Headers, kgo.RecordHeader{Key: name, Value: value})
	})
}

// A record that names a partition goes there, any other by its key, or to partition 0.
func choose(string) func(*kgo.Record, int) int {
	byKey := kgo.StickyKeyPartitioner(nil).ForTopic("")
	return func(record *kgo.Record, count int) int {
		if record.Partition >= 0 {
			return int(record.Partition)
		}
		return byKey.Partition(record, count)
	}
}

func (f *franz) close() {
	f.admin.Close()
}

type franzMember struct {
	name      string
	client    *kgo.Client
	cancel    context.CancelFunc
	done      sync.WaitGroup
	lock      sync.Mutex
	held      map[string]map[int32]bool
	positions map[int32]int64
}

func (f *franz) consume(asked request, from *start) (member, error) {
	one := &franzMember{name: asked.Member, held: map[string]map[int32]bool{}, positions: map[int32]int64{}}
	options := []kgo.Opt{kgo.SeedBrokers(f.bootstrap), kgo.FetchMaxWait(100 * time.Millisecond)}
	if asked.Isolation == "read_committed" {
		options = append(options, kgo.FetchIsolationLevel(kgo.ReadCommitted()))
	}
	if from != nil {
		offset, err := f.offsetOf(asked.Topics[0], from)
		if err != nil {
			return nil, err
		}
		at := map[string]map[int32]kgo.Offset{asked.Topics[0]: {from.partition: offset}}
		options = append(options, kgo.ConsumePartitions(at))
	} else {
		if asked.Protocol == "consumer" {
			options = append(options, kgo.ServerSideBalancer())
		}
		if asked.Instance != nil {
			options = append(options, kgo.InstanceID(*asked.Instance))
		}
		options = append(options, kgo.Balancers(balancer(asked)),
			kgo.ConsumerGroup(*asked.Group), kgo.ConsumeTopics(asked.Topics...),
			kgo.SessionTimeout(time.Duration(asked.SessionMs)*time.Millisecond),
			kgo.HeartbeatInterval(300*time.Millisecond), kgo.ConsumeResetOffset(kgo.NewOffset().AtStart()),
			kgo.OnPartitionsAssigned(one.assigned), kgo.OnPartitionsRevoked(one.revoked),
			kgo.OnPartitionsLost(one.revoked))
		if asked.AutoCommit {
			options = append(options, kgo.AutoCommitInterval(200*time.Millisecond))
		} else {
			options = append(options, kgo.DisableAutoCommit())
		}
	}
	client, err := kgo.NewClient(options...)
	if err != nil {
		return nil, err
	}
	var polling context.Context
	polling, one.cancel = context.WithCancel(context.Background())
	one.client = client
	one.done.Add(1)
	go one.poll(polling)
	return one, nil
}

// KIP-848 has no "cooperative": its default uniform goes by the name of sticky here.
func balancer(asked request) kgo.GroupBalancer {
	switch {
	case asked.RemoteAssignor != nil && *asked.RemoteAssignor == "range":
		return kgo.RangeBalancer()
	case asked.Protocol == "consumer":
		return kgo.StickyBalancer()
	case asked.Assignor == "cooperative-sticky":
		return kgo.CooperativeStickyBalancer()
	}
	return kgo.RangeBalancer()
}

func (f *franz) offsetOf(topic string, from *start) (kgo.Offset, error) {
	switch from.where {
	case "beginning":
		return kgo.NewOffset().AtStart(), nil
	case "end":
		// Asked for here, since what is sent from now on comes after it; AtEnd would ask some time later.
		found, err := f.admin.ListEndOffsets(forever, topic)
		answer := found[topic][from.partition]
		return kgo.NewOffset().At(answer.Offset), told(err, answer.Err, "")
	case "time":
		return kgo.NewOffset().AfterMilli(from.number), nil
	}
	return kgo.NewOffset().At(from.number), nil
}

func (m *franzMember) poll(polling context.Context) {
	defer m.done.Done()
	for polling.Err() == nil {
		fetches := m.client.PollFetches(polling)
		for _, failed := range fetches.Errors() {
			// The others are of connections: the client goes on trying.
			var code *kerr.Error
			if errors.As(failed.Err, &code) {
				sayCrash(m.name, failed.Err)
				return
			}
		}
		fetches.EachRecord(func(got *kgo.Record) {
			m.lock.Lock()
			m.positions[got.Partition] = got.Offset + 1
			m.lock.Unlock()
			headers := [][]*string{}
			for _, header := range got.Headers {
				value := base64.StdEncoding.EncodeToString(header.Value)
				headers = append(headers, []*string{&header.Key, &value})
			}
			say(record{"record", m.name, got.Topic, got.Partition, got.Offset,
				strconv.FormatInt(got.Timestamp.UnixMilli(), 10), got.Key, got.Value, headers})
		})
	}
}

func (m *franzMember) assigned(_ context.Context, _ *kgo.Client, added map[string][]int32) {
	m.change(added, true)
}

func (m *franzMember) revoked(_ context.Context, _ *kgo.Client, gone map[string][]int32) {
	m.change(gone, false)
}

func (m *franzMember) change(topics map[string][]int32, held bool) {
	m.lock.Lock()
	defer m.lock.Unlock()
	for topic, partitions := range topics {
		if m.held[topic] == nil {
			m.held[topic] = map[int32]bool{}
		}
		for _, index := range partitions {
			if held {
				m.held[topic][index] = true
			} else {
				delete(m.held[topic], index)
			}
		}
	}
	var now []int32
	for _, partitions := range m.held {
		for index := range partitions {
			now = append(now, index)
		}
	}
	sayAssigned(m.name, now)
}

func (m *franzMember) seek(topic string, partition int32, offset int64) error {
	m.client.SetOffsets(map[string]map[int32]kgo.EpochOffset{topic: {partition: {Epoch: -1, Offset: offset}}})
	return nil
}

func (m *franzMember) commit() error {
	return m.client.CommitUncommittedOffsets(context.Background())
}

// What the client would fetch next; franz-go tells it only for what it has handed out.
func (m *franzMember) position(_ string, partition int32) int64 {
	m.lock.Lock()
	defer m.lock.Unlock()
	return m.positions[partition]
}

func (m *franzMember) leave() error {
	m.cancel()
	m.done.Wait()
	m.client.CloseAllowingRebalance()
	return nil
}

// A producer with a transactional id.
type franzTransactional struct {
	id     string
	client *kgo.Client
}

func (f *franz) open(asked request) (transactional, error) {
	client, err := f.producer(kgo.TransactionalID(asked.TransactionalID),
		kgo.TransactionTimeout(time.Duration(asked.TimeoutMs)*time.Millisecond))
	if err != nil {
		return nil, err
	}
	// Asks for the producer id, which fences its predecessors.
	_, _, err = client.ProducerID(context.Background())
	return &franzTransactional{asked.TransactionalID, client}, err
}

func (t *franzTransactional) begin() error {
	return t.client.BeginTransaction()
}

func (t *franzTransactional) send(asked request) ([]int64, error) {
	return franzSend(t.client, asked)
}

// What GroupTransactSession does for a member, with requests of franz-go's own.
func (t *franzTransactional) offsets(asked request) error {
	context := context.Background()
	id, epoch, err := t.client.ProducerID(context)
	if err != nil {
		return err
	}
	add := kmsg.NewPtrAddOffsetsToTxnRequest()
	add.TransactionalID, add.ProducerID, add.ProducerEpoch, add.Group = t.id, id, epoch, *asked.Group
	added, err := add.RequestWith(context, t.client)
	if err == nil {
		err = kerr.ErrorForCode(added.ErrorCode)
	}
	if err != nil {
		return err
	}
	commit := kmsg.NewPtrTxnOffsetCommitRequest()
	commit.TransactionalID, commit.ProducerID, commit.ProducerEpoch, commit.Group = t.id, id, epoch, *asked.Group
	topic := kmsg.NewTxnOffsetCommitRequestTopic()
	topic.Topic = asked.Topic
	for index, offset := range asked.Offsets {
		partition := kmsg.NewTxnOffsetCommitRequestTopicPartition()
		partition.Partition, partition.Offset = index, offset
		topic.Partitions = append(topic.Partitions, partition)
	}
	commit.Topics = append(commit.Topics, topic)
	committed, err := commit.RequestWith(context, t.client)
	if err != nil {
		return err
	}
	for _, topic := range committed.Topics {
		for _, partition := range topic.Partitions {
			if err := kerr.ErrorForCode(partition.ErrorCode); err != nil {
				return err
			}
		}
	}
	return nil
}

func (t *franzTransactional) end(commit bool) error {
	return t.client.EndTransaction(context.Background(), kgo.TransactionEndTry(commit))
}

func (t *franzTransactional) close() error {
	t.client.Close()
	return nil
}
