package main

import (
	"context"
	"encoding/base64"
	"errors"
	"strconv"
	"sync"
	"time"

	"github.com/IBM/sarama"
)

// Sarama.
type saramaClient struct {
	bootstrap []string
	admin     sarama.ClusterAdmin
	plain     sarama.Client
}

func settings() *sarama.Config {
	config := sarama.NewConfig()
	// Sarama speaks the versions of the Kafka that it is told.
	config.Version = sarama.V4_1_0_0
	config.ClientID = "compat"
	config.Producer.Return.Successes = true
	config.Producer.Partitioner = newChooser
	config.Producer.MaxMessageBytes = 10_000_000
	config.Producer.RequiredAcks = sarama.WaitForAll
	// A broker that has just started has no leaders for a while.
	config.Producer.Retry.Max = 100
	config.Consumer.Return.Errors = true
	config.Consumer.MaxWaitTime = 100 * time.Millisecond
	config.Consumer.Offsets.Initial = sarama.OffsetOldest
	config.Consumer.Group.Heartbeat.Interval = 300 * time.Millisecond
	return config
}

func newSarama(bootstrap string) (client, error) {
	servers := []string{bootstrap}
	plain, err := sarama.NewClient(servers, settings())
	if err != nil {
		return nil, err
	}
	admin, err := sarama.NewClusterAdmin(servers, settings())
	if err != nil {
		return nil, err
	}
	return &saramaClient{servers, admin, plain}, nil
}

func (s *saramaClient) produce(asked request) ([]int64, error) {
	config := settings()
	config.ClientID = asked.ClientID
	config.Producer.RequiredAcks = map[string]sarama.RequiredAcks{
		"all": sarama.WaitForAll, "1": sarama.WaitForLocal, "0": sarama.NoResponse,
	}[asked.Acks]
	config.Producer.Compression = map[string]sarama.CompressionCodec{
		"none": sarama.CompressionNone, "gzip": sarama.CompressionGZIP, "snappy": sarama.CompressionSnappy,
		"lz4": sarama.CompressionLZ4, "zstd": sarama.CompressionZSTD,
	}[asked.Codec]
	if asked.Idempotent {
		config.Producer.Idempotent = true
		config.Net.MaxOpenRequests = 1
	}
	producer, err := sarama.NewSyncProducer(s.bootstrap, config)
	if err != nil {
		return nil, err
	}
	defer producer.Close()
	return saramaSend(producer, asked)
}

// The offsets of all of it, once it is acknowledged.
func saramaSend(producer sarama.SyncProducer, asked request) ([]int64, error) {
	messages := make([]*sarama.ProducerMessage, 0, len(asked.Sends))
	for _, send := range asked.Sends {
		message, err := saramaMessage(asked.Topic, send)
		if err != nil {
			return nil, err
		}
		messages = append(messages, message)
		if asked.OneByOne {
			if _, _, err := producer.SendMessage(message); err != nil {
				return nil, err
			}
		}
	}
	if !asked.OneByOne {
		if err := producer.SendMessages(messages); err != nil {
			var all sarama.ProducerErrors
			if errors.As(err, &all) && len(all) > 0 {
				return nil, all[0].Err
			}
			return nil, err
		}
	}
	offsets := make([]int64, 0, len(messages))
	for _, message := range messages {
		offsets = append(offsets, message.Offset)
	}
	return offsets, nil
}

func saramaMessage(topic string, send send) (*sarama.ProducerMessage, error) {
	message := &sarama.ProducerMessage{Topic: topic, Partition: -1}
	if send.Key != nil {
		message.Key = sarama.ByteEncoder(send.Key)
	}
	if send.Value != nil {
		message.Value = sarama.ByteEncoder(send.Value)
	}
	if send.Partition != nil {
		message.Partition = *send.Partition
	}
	if send.Timestamp != nil {
		ms, err := send.milliseconds()
		if err != nil {
			return nil, err
		}
		message.Timestamp = time.UnixMilli(ms)
	}
	return message, send.eachHeader(func(name string, value []byte) {
		message.Headers = append(message.Headers, sarama.RecordHeader{Key: []byte(name), Value: value})
	})
}

// A message that names a partition goes there, any other by its key.
type chooser struct {
	byKey sarama.Partitioner
}

func newChooser(topic string) sarama.Partitioner {
	return &chooser{sarama.NewHashPartitioner(topic)}
}

func (c *chooser) Partition(message *sarama.ProducerMessage, count int32) (int32, error) {
	if message.Partition >= 0 {
		return message.Partition, nil
	}
	return c.byKey.Partition(message, count)
}

func (c *chooser) RequiresConsistency() bool {
	return true
}

func (s *saramaClient) close() {
	_ = s.admin.Close()
	_ = s.plain.Close()
}

func (s *saramaClient) consume(asked request, from *start) (member, error) {
	if from != nil {
		return s.read(asked, from)
	}
	config := settings()
	config.Consumer.IsolationLevel = isolation(asked)
	config.Consumer.Group.Session.Timeout = time.Duration(asked.SessionMs) * time.Millisecond
	if asked.Instance != nil {
		config.Consumer.Group.InstanceId = *asked.Instance
	}
	config.Consumer.Offsets.AutoCommit.Enable = asked.AutoCommit
	config.Consumer.Offsets.AutoCommit.Interval = 200 * time.Millisecond
	group, err := sarama.NewConsumerGroup(s.bootstrap, *asked.Group, config)
	if err != nil {
		return nil, err
	}
	joining, cancel := context.WithCancel(context.Background())
	one := &saramaMember{name: asked.Member, group: group, cancel: cancel, topics: asked.Topics}
	one.done.Add(1)
	go one.run(joining)
	return one, nil
}

// A member of a group.
type saramaMember struct {
	name    string
	group   sarama.ConsumerGroup
	cancel  context.CancelFunc
	topics  []string
	done    sync.WaitGroup
	lock    sync.Mutex
	session sarama.ConsumerGroupSession
}

func (m *saramaMember) run(joining context.Context) {
	defer m.done.Done()
	go func() {
		for err := range m.group.Errors() {
			sayRefusal(m.name, err)
		}
	}()
	for joining.Err() == nil {
		if err := m.group.Consume(joining, m.topics, m); err != nil && !errors.Is(err, sarama.ErrClosedConsumerGroup) {
			sayCrash(m.name, err)
			return
		}
	}
}

func (m *saramaMember) Setup(session sarama.ConsumerGroupSession) error {
	m.lock.Lock()
	m.session = session
	m.lock.Unlock()
	var held []int32
	for _, partitions := range session.Claims() {
		held = append(held, partitions...)
	}
	sayAssigned(m.name, held)
	return nil
}

func (m *saramaMember) Cleanup(sarama.ConsumerGroupSession) error {
	sayAssigned(m.name, nil)
	return nil
}

func (m *saramaMember) ConsumeClaim(session sarama.ConsumerGroupSession, claim sarama.ConsumerGroupClaim) error {
	for {
		select {
		case message, ok := <-claim.Messages():
			if !ok {
				return nil
			}
			sayMessage(m.name, message)
			session.MarkMessage(message, "")
		case <-session.Context().Done():
			return nil
		}
	}
}

func (m *saramaMember) seek(topic string, partition int32, offset int64) error {
	return errors.New("a member of a group does not seek in Sarama")
}

func (m *saramaMember) commit() error {
	m.lock.Lock()
	defer m.lock.Unlock()
	m.session.Commit()
	return nil
}

func (m *saramaMember) position(string, int32) int64 {
	return -1
}

func (m *saramaMember) leave() error {
	m.cancel()
	m.done.Wait()
	return m.group.Close()
}

// A consumer of one partition, outside of any group.
type saramaReader struct {
	name      string
	topic     string
	index     int32
	consumer  sarama.Consumer
	lock      sync.Mutex
	partition sarama.PartitionConsumer
}

func (s *saramaClient) read(asked request, from *start) (member, error) {
	topic := asked.Topics[0]
	config := settings()
	config.Consumer.IsolationLevel = isolation(asked)
	consumer, err := sarama.NewConsumer(s.bootstrap, config)
	if err != nil {
		return nil, err
	}
	if err := s.plain.RefreshMetadata(topic); err != nil {
		return nil, err
	}
	offset := from.number
	switch from.where {
	case "beginning":
		offset = sarama.OffsetOldest
	case "end":
		offset = sarama.OffsetNewest
	case "time":
		if offset, err = s.plain.GetOffset(topic, from.partition, from.number); err != nil {
			return nil, err
		}
	}
	one := &saramaReader{name: asked.Member, topic: topic, index: from.partition, consumer: consumer}
	return one, one.seek(topic, from.partition, offset)
}

func (r *saramaReader) seek(topic string, partition int32, offset int64) error {
	r.lock.Lock()
	defer r.lock.Unlock()
	if r.partition != nil {
		if err := r.partition.Close(); err != nil {
			return err
		}
	}
	opened, err := r.consumer.ConsumePartition(topic, partition, offset)
	if err != nil {
		return err
	}
	r.partition = opened
	go func() {
		for err := range opened.Errors() {
			sayRefusal(r.name, err)
		}
	}()
	go func() {
		for message := range opened.Messages() {
			sayMessage(r.name, message)
		}
	}()
	return nil
}

func (r *saramaReader) commit() error {
	return errors.New("a reader has no group to commit for")
}

func (r *saramaReader) position(string, int32) int64 {
	return -1
}

func (r *saramaReader) leave() error {
	r.lock.Lock()
	defer r.lock.Unlock()
	if err := r.partition.Close(); err != nil {
		return err
	}
	return r.consumer.Close()
}

func isolation(asked request) sarama.IsolationLevel {
	if asked.Isolation == "read_committed" {
		return sarama.ReadCommitted
	}
	return sarama.ReadUncommitted
}

// Tells of an error that a broker answered. The others, of lost connections, are news: Sarama connects again by itself.
func sayRefusal(name string, err error) {
	var code sarama.KError
	if errors.As(err, &code) {
		sayCrash(name, err)
	}
}

func sayMessage(name string, message *sarama.ConsumerMessage) {
	headers := [][]*string{}
	for _, header := range message.Headers {
		key, value := string(header.Key), base64.StdEncoding.EncodeToString(header.Value)
		headers = append(headers, []*string{&key, &value})
	}
	say(record{"record", name, message.Topic, message.Partition, message.Offset,
		strconv.FormatInt(message.Timestamp.UnixMilli(), 10), message.Key, message.Value, headers})
}

// A producer with a transactional id.
type saramaTransactional struct {
	producer sarama.SyncProducer
}

func (s *saramaClient) open(asked request) (transactional, error) {
	config := settings()
	config.Producer.Idempotent = true
	config.Net.MaxOpenRequests = 1
	config.Producer.Transaction.ID = asked.TransactionalID
	config.Producer.Transaction.Timeout = time.Duration(asked.TimeoutMs) * time.Millisecond
	producer, err := sarama.NewSyncProducer(s.bootstrap, config)
	return &saramaTransactional{producer}, err
}

func (t *saramaTransactional) begin() error {
	return t.producer.BeginTxn()
}

func (t *saramaTransactional) send(asked request) ([]int64, error) {
	return saramaSend(t.producer, asked)
}

func (t *saramaTransactional) offsets(asked request) error {
	var offsets []*sarama.PartitionOffsetMetadata
	for index, offset := range asked.Offsets {
		offsets = append(offsets, &sarama.PartitionOffsetMetadata{Partition: index, Offset: offset, LeaderEpoch: -1})
	}
	return t.producer.AddOffsetsToTxn(map[string][]*sarama.PartitionOffsetMetadata{asked.Topic: offsets}, *asked.Group)
}

func (t *saramaTransactional) end(commit bool) error {
	if commit {
		return t.producer.CommitTxn()
	}
	return t.producer.AbortTxn()
}

func (t *saramaTransactional) close() error {
	return t.producer.Close()
}
