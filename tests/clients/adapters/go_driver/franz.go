package main

import (
	"context"
	"encoding/base64"
	"errors"
	"fmt"
	"strconv"
	"sync"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kgo"
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

func (f *franz) create(topic string, partitions int32, configs map[string]string) error {
	values := map[string]*string{}
	for name, value := range configs {
		values[name] = &value
	}
	created, err := f.admin.CreateTopic(context.Background(), partitions, 1, values, topic)
	return told(err, created.Err, created.ErrMessage)
}

func (f *franz) configs(topic string, configs map[string]string) error {
	var edits []kadm.AlterConfig
	for name, value := range configs {
		edits = append(edits, kadm.AlterConfig{Op: kadm.SetConfig, Name: name, Value: &value})
	}
	answers, err := f.admin.AlterTopicConfigs(context.Background(), edits, topic)
	if err != nil {
		return err
	}
	for _, one := range answers {
		if one.Err != nil {
			return told(nil, one.Err, one.ErrMessage)
		}
	}
	return nil
}

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

func (f *franz) produce(asked request) ([]int64, error) {
	codecs := map[string]kgo.CompressionCodec{
		"none": kgo.NoCompression(), "gzip": kgo.GzipCompression(), "snappy": kgo.SnappyCompression(),
		"lz4": kgo.Lz4Compression(), "zstd": kgo.ZstdCompression(),
	}
	options := []kgo.Opt{
		kgo.SeedBrokers(f.bootstrap), kgo.ProducerBatchCompression(codecs[asked.Codec]),
		kgo.RecordPartitioner(kgo.BasicConsistentPartitioner(choose)), kgo.ProducerLinger(5 * time.Millisecond),
	}
	if !asked.Idempotent {
		options = append(options, kgo.DisableIdempotentWrite())
	}
	producer, err := kgo.NewClient(options...)
	if err != nil {
		return nil, err
	}
	defer producer.Close()
	records := make([]*kgo.Record, 0, len(asked.Sends))
	for _, send := range asked.Sends {
		record := &kgo.Record{Topic: asked.Topic, Key: send.Key, Value: send.Value, Partition: -1}
		if send.Partition != nil {
			record.Partition = *send.Partition
		}
		if send.Timestamp != nil {
			ms, err := strconv.ParseInt(*send.Timestamp, 10, 64)
			if err != nil {
				return nil, err
			}
			record.Timestamp = time.UnixMilli(ms)
		}
		for _, pair := range send.Headers {
			value, err := base64.StdEncoding.DecodeString(pair[1])
			if err != nil {
				return nil, err
			}
			record.Headers = append(record.Headers, kgo.RecordHeader{Key: pair[0], Value: value})
		}
		records = append(records, record)
	}
	results := producer.ProduceSync(context.Background(), records...)
	if err := results.FirstErr(); err != nil {
		return nil, err
	}
	// Results come as they are done, records keep their order and know their offset.
	offsets := make([]int64, 0, len(records))
	for _, record := range records {
		offsets = append(offsets, record.Offset)
	}
	return offsets, nil
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

func (f *franz) committed(group, topic string) (map[string]string, error) {
	found, err := f.admin.FetchOffsets(context.Background(), group)
	if err != nil {
		return nil, err
	}
	offsets := map[string]string{}
	for index, one := range found[topic] {
		if one.Err == nil && one.At >= 0 {
			offsets[strconv.Itoa(int(index))] = strconv.FormatInt(one.At, 10)
		}
	}
	return offsets, nil
}

func (f *franz) ends(topic string) (map[string]string, error) {
	found, err := f.admin.ListEndOffsets(context.Background(), topic)
	if err != nil {
		return nil, err
	}
	ends := map[string]string{}
	for index, one := range found[topic] {
		if one.Err != nil {
			return nil, one.Err
		}
		ends[strconv.Itoa(int(index))] = strconv.FormatInt(one.Offset, 10)
	}
	return ends, nil
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
	held      map[int32]bool
	positions map[int32]int64
}

func (f *franz) consume(asked request, from *start) (member, error) {
	one := &franzMember{name: asked.Member, held: map[int32]bool{}, positions: map[int32]int64{}}
	options := []kgo.Opt{kgo.SeedBrokers(f.bootstrap), kgo.FetchMaxWait(100 * time.Millisecond)}
	if from != nil {
		at := map[string]map[int32]kgo.Offset{asked.Topics[0]: {from.partition: offsetOf(from)}}
		options = append(options, kgo.ConsumePartitions(at))
	} else {
		options = append(options,
			kgo.ConsumerGroup(*asked.Group), kgo.ConsumeTopics(asked.Topics...), kgo.SessionTimeout(10*time.Second),
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

func offsetOf(from *start) kgo.Offset {
	switch from.where {
	case "beginning":
		return kgo.NewOffset().AtStart()
	case "end":
		return kgo.NewOffset().AtEnd()
	case "time":
		return kgo.NewOffset().AfterMilli(from.number)
	}
	return kgo.NewOffset().At(from.number)
}

func (m *franzMember) poll(polling context.Context) {
	defer m.done.Done()
	for polling.Err() == nil {
		fetches := m.client.PollFetches(polling)
		for _, failed := range fetches.Errors() {
			if !errors.Is(failed.Err, context.Canceled) && !errors.Is(failed.Err, kgo.ErrClientClosed) {
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
			say(record{"record", m.name, got.Topic, got.Partition, strconv.FormatInt(got.Offset, 10),
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
	for _, partitions := range topics {
		for _, index := range partitions {
			if held {
				m.held[index] = true
			} else {
				delete(m.held, index)
			}
		}
	}
	var now []int32
	for index := range m.held {
		now = append(now, index)
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
