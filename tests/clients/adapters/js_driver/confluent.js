// @confluentinc/kafka-javascript: librdkafka behind the shapes of kafkajs.

const { KafkaJS } = require('@confluentinc/kafka-javascript')
const { assigned, crashed, heard, sendAll, serve } = require('./lines')

const { Kafka, CompressionTypes, PartitionAssigners, logLevel } = KafkaJS
const client = clientId => new Kafka({ kafkaJS: { clientId, brokers: [process.argv[2]], logLevel: logLevel.NOTHING } })
const kafka = client('compat')
const admin = kafka.admin()
const members = new Map()
const producers = new Map()
const LIMITS = { 'message.max.bytes': 10000000, 'linger.ms': 5 }

const verbs = {
  async create_topic({ topic, partitions, configs }) {
    const configEntries = Object.entries(configs).map(([name, value]) => ({ name, value }))
    const made = await admin.createTopics({ topics: [{ topic, numPartitions: partitions, replicationFactor: 1, configEntries }] })
    if (!made) throw new Error('the topic exists')
  },

  delete_topic: ({ topic }) => admin.deleteTopics({ topics: [topic] }),

  list_topics: () => admin.listTopics(),

  async describe_topic({ topic }) {
    const [found] = await admin.fetchTopicMetadata({ topics: [topic] })
    return Object.fromEntries(found.partitions.map(p => [p.partitionId, { leader: p.leader, replicas: p.replicas, isr: p.isr }]))
  },

  async delete_records({ topic, partition, offset }) {
    const [found] = await admin.deleteTopicRecords({ topic, partitions: [{ partition, offset: String(offset) }] })
    return found.lowWatermark
  },

  async list_offsets({ topic, partition, where }) {
    const found = typeof where === 'number'
      ? await admin.fetchTopicOffsetsByTimestamp(topic, where)
      : await admin.fetchTopicOffsets(topic)
    const row = found.find(p => p.partition === partition)
    return Number(where === 'earliest' ? row.low : row.offset)
  },

  async list_groups() {
    return (await admin.listGroups()).groups.map(({ groupId }) => groupId)
  },

  async describe_group({ group }) {
    const [found] = (await admin.describeGroups([group])).groups
    return { state: STATES[found.state] || found.state, members: found.members.length }
  },

  delete_group: ({ group }) => admin.deleteGroups([group]),

  async committed({ group, topic }) {
    const [found] = await admin.fetchOffsets({ groupId: group, topics: [topic] })
    return Object.fromEntries(found.partitions.filter(p => Number(p.offset) >= 0).map(p => [p.partition, Number(p.offset)]))
  },

  async produce({ topic, codec, idempotent, acks, clientId, oneByOne, sends }) {
    const producer = client(clientId).producer({
      kafkaJS: { idempotent, acks: acks === 'all' ? -1 : Number(acks), compression: CompressionTypes[codec === 'none' ? 'None' : NAMES[codec]] },
      ...LIMITS,
    })
    await producer.connect()
    try {
      return await sendAll(messages => producer.send({ topic, messages }), sends, oneByOne)
    } finally {
      await producer.disconnect()
    }
  },

  async txn_open({ producer, transactionalId, timeoutMs }) {
    const opened = kafka.producer({ kafkaJS: { transactionalId, transactionTimeout: timeoutMs }, ...LIMITS })
    await opened.connect()
    producers.set(producer, { opened })
  },

  async txn_begin({ producer }) {
    producers.get(producer).current = await producers.get(producer).opened.transaction()
  },

  async txn_send({ producer, topic, sends }) {
    await sendAll(messages => producers.get(producer).current.send({ topic, messages }), sends)
  },

  // It wants a consumer of the group, though not one that has joined.
  async txn_offsets({ producer, group, topic, offsets }) {
    const consumer = kafka.consumer({ kafkaJS: { groupId: group } })
    await consumer.connect()
    try {
      const partitions = Object.entries(offsets).map(([partition, offset]) => ({ partition: Number(partition), offset: String(offset) }))
      await producers.get(producer).current.sendOffsets({ consumer, topics: [{ topic, partitions }] })
    } finally {
      await consumer.disconnect()
    }
  },

  txn_commit: ({ producer }) => producers.get(producer).current.commit(),

  txn_abort: ({ producer }) => producers.get(producer).current.abort(),

  async txn_close({ producer }) {
    await producers.get(producer).opened.disconnect()
    producers.delete(producer)
  },

  async consume({ member, group, topics, autoCommit, start, isolation, ...options }) {
    const held = new Set()
    const change = (err, found) => {
      for (const { topic, partition } of found) {
        if (err.code === -175) held.add(`${topic} ${partition}`)
        else held.delete(`${topic} ${partition}`)
      }
      assigned(member, [...held].map(at => Number(at.split(' ')[1])))
    }
    const consumer = kafka.consumer({
      // A reader has its group to itself: what it commits is where it goes on when it joins again.
      kafkaJS: { groupId: group, fromBeginning: true, autoCommit: autoCommit || Boolean(start), autoCommitInterval: 200, readUncommitted: isolation !== 'read_committed', ...groupOf(options) },
      rebalance_cb: change,
      'fetch.wait.max.ms': 100,
      ...(options.protocol === 'consumer' ? { 'group.protocol': 'consumer' } : { 'session.timeout.ms': options.session_ms, 'heartbeat.interval.ms': 500 }),
      ...(options.instance ? { 'group.instance.id': options.instance } : {}),
      ...(options.remote_assignor ? { 'group.remote.assignor': options.remote_assignor } : {}),
    })
    members.set(member, consumer)
    const at = start && (await startOffset(topics[0], start))
    await consumer.connect()
    await consumer.subscribe({ topics })
    await consumer.run({ eachMessage: async record => heard(member, record) })
    if (at) consumer.seek({ topic: topics[0], partition: start[0], offset: at })
  },

  async seek({ member, topic, partition, offset }) {
    members.get(member).seek({ topic, partition, offset: String(offset) })
  },

  commit: ({ member }) => members.get(member).commitOffsets(),

  async leave({ member }) {
    await members.get(member).disconnect()
    members.delete(member)
  },

  async exit() {
    for (const consumer of members.values()) await consumer.disconnect()
    await admin.disconnect()
  },
}

const NAMES = { gzip: 'GZIP', snappy: 'SNAPPY', lz4: 'LZ4', zstd: 'ZSTD' }
// As librdkafka numbers them.
const STATES = ['Unknown', 'PreparingRebalance', 'CompletingRebalance', 'Stable', 'Dead', 'Empty']

function groupOf({ protocol, assignor }) {
  if (protocol === 'consumer') return {}
  return { partitionAssigners: [assignor === 'range' ? PartitionAssigners.range : PartitionAssigners.cooperativeSticky] }
}

async function startOffset(topic, [partition, where]) {
  if (Array.isArray(where)) {
    const found = await admin.fetchTopicOffsetsByTimestamp(topic, where[1])
    return found.find(p => p.partition === partition).offset
  }
  if (typeof where === 'number') return String(where)
  const found = (await admin.fetchTopicOffsets(topic)).find(p => p.partition === partition)
  return where === 'beginning' ? found.low : found.high
}

process.on('unhandledRejection', error => crashed(members.keys().next().value, error))

admin.connect().then(() => serve(verbs), error => {
  console.error(error)
  process.exit(1)
})
