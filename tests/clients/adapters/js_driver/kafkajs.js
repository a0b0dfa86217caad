// kafkajs.

const { Kafka, CompressionTypes, CompressionCodecs, ConfigResourceTypes, Partitioners, logLevel } = require('kafkajs')
const SnappyCodec = require('kafkajs-snappy')
const lz4 = require('lz4js')
const xxhash = require('lz4js/xxh32.js')
const { ZstdCodec } = require('zstd-codec')
const { assigned, crashed, heard, sendAll, serve } = require('./lines')

const TYPES = {
  none: CompressionTypes.None,
  gzip: CompressionTypes.GZIP,
  snappy: CompressionTypes.Snappy,
  lz4: CompressionTypes.LZ4,
  zstd: CompressionTypes.ZSTD,
}
// Streaming, since a frame need not say how much is in it, and Kafka's do not.
const zstd = new Promise(resolve => ZstdCodec.run(found => resolve(new found.Streaming())))

CompressionCodecs[CompressionTypes.Snappy] = SnappyCodec
CompressionCodecs[CompressionTypes.LZ4] = () => ({
  compress: async encoder => independentBlocks(Buffer.from(lz4.compress(encoder.buffer))),
  decompress: async buffer => Buffer.from(lz4.decompress(buffer)),
})
CompressionCodecs[CompressionTypes.ZSTD] = () => ({
  compress: async encoder => Buffer.from((await zstd).compress(encoder.buffer, 3)),
  decompress: async buffer => Buffer.from((await zstd).decompress(buffer)),
})

const client = clientId => new Kafka({ clientId, brokers: [process.argv[2]], logLevel: logLevel.NOTHING })
const kafka = client('compat')
const admin = kafka.admin()
const members = new Map()

const producers = new Map()

const verbs = {
  async create_topic({ topic, partitions, configs }) {
    const configEntries = Object.entries(configs).map(([name, value]) => ({ name, value }))
    const made = await admin.createTopics({ waitForLeaders: false, topics: [{ topic, numPartitions: partitions, replicationFactor: 1, configEntries }] })
    if (!made) throw new Error('the topic exists')
  },

  delete_topic: ({ topic }) => admin.deleteTopics({ topics: [topic] }),

  list_topics: () => admin.listTopics(),

  async describe_topic({ topic }) {
    const { topics } = await admin.fetchTopicMetadata({ topics: [topic] })
    return Object.fromEntries(topics[0].partitions.map(p => [p.partitionId, { leader: p.leader, replicas: p.replicas, isr: p.isr }]))
  },

  create_partitions: ({ topic, total }) => admin.createPartitions({ topicPartitions: [{ topic, count: total }] }),

  describe_configs: ({ topic }) => configsOf(ConfigResourceTypes.TOPIC, topic),

  async describe_broker_configs() {
    return configsOf(ConfigResourceTypes.BROKER, String((await admin.describeCluster()).brokers[0].nodeId))
  },

  async set_configs({ topic, configs }) {
    const configEntries = Object.entries(configs).map(([name, value]) => ({ name, value }))
    const resources = [{ type: ConfigResourceTypes.TOPIC, name: topic, configEntries }]
    const { resources: answers } = await admin.alterConfigs({ validateOnly: false, resources })
    for (const { errorCode, errorMessage } of answers) {
      if (errorCode !== 0) throw new Error(`error ${errorCode}: ${errorMessage}`)
    }
  },

  async describe_cluster() {
    const { brokers, controller, clusterId } = await admin.describeCluster()
    return { brokers: brokers.map(({ nodeId }) => nodeId), controller, cluster: clusterId }
  },

  async reassign({ topic, partition, replicas }) {
    await admin.alterPartitionReassignments({ topics: [{ topic, partitionAssignment: [{ partition, replicas }] }] })
  },

  async list_reassignments() {
    return (await admin.listPartitionReassignments({})).topics
  },

  async delete_records({ topic, partition, offset }) {
    // It looks for the leader before it has asked for the topic, unless something else did.
    await admin.fetchTopicOffsets(topic)
    await admin.deleteTopicRecords({ topic, partitions: [{ partition, offset: String(offset) }] })
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
    return { state: found.state, members: found.members.length }
  },

  delete_group: ({ group }) => admin.deleteGroups([group]),

  async committed({ group, topic }) {
    const [found] = await admin.fetchOffsets({ groupId: group, topics: [topic] })
    return Object.fromEntries(found.partitions.filter(p => p.offset !== '-1').map(p => [p.partition, Number(p.offset)]))
  },

  async alter_offsets({ group, topic, offsets }) {
    const partitions = Object.entries(offsets).map(([partition, offset]) => ({ partition: Number(partition), offset: String(offset) }))
    await admin.setOffsets({ groupId: group, topic, partitions })
  },

  async produce({ topic, codec, idempotent, acks, clientId, oneByOne, sends }) {
    const producer = client(clientId).producer({
      idempotent,
      maxInFlightRequests: idempotent ? 1 : null,
      createPartitioner: Partitioners.DefaultPartitioner,
    })
    await producer.connect()
    try {
      const send = messages => producer.send({ topic, messages, acks: acks === 'all' ? -1 : Number(acks), compression: TYPES[codec] })
      return await sendAll(send, sends, oneByOne)
    } finally {
      await producer.disconnect()
    }
  },

  async txn_open({ producer, transactionalId, timeoutMs }) {
    const opened = kafka.producer({
      transactionalId, transactionTimeout: timeoutMs, idempotent: true, maxInFlightRequests: 1,
      createPartitioner: Partitioners.DefaultPartitioner,
    })
    await opened.connect()
    // kafkajs asks for its producer id at the first transaction; this one fences the predecessors.
    producers.set(producer, { opened })
  },

  async txn_begin({ producer }) {
    producers.get(producer).current = await producers.get(producer).opened.transaction()
  },

  async txn_send({ producer, topic, sends }) {
    await sendAll(messages => producers.get(producer).current.send({ topic, messages, acks: -1 }), sends)
  },

  async txn_offsets({ producer, group, topic, offsets }) {
    const partitions = Object.entries(offsets).map(([partition, offset]) => ({ partition: Number(partition), offset: String(offset) }))
    await producers.get(producer).current.sendOffsets({ consumerGroupId: group, topics: [{ topic, partitions }] })
  },

  txn_commit: ({ producer }) => producers.get(producer).current.commit(),

  txn_abort: ({ producer }) => producers.get(producer).current.abort(),

  async txn_close({ producer }) {
    await producers.get(producer).opened.disconnect()
    producers.delete(producer)
  },

  async consume({ member, group, topics, autoCommit, start, session_ms, isolation }) {
    const consumer = kafka.consumer({
      groupId: group,
      sessionTimeout: session_ms,
      readUncommitted: isolation !== 'read_committed',
      rebalanceTimeout: 10000,
      heartbeatInterval: 300,
      maxWaitTimeInMs: 100,
      retry: { retries: 20 },
    })
    const state = { consumer, next: new Map() }
    members.set(member, state)
    const at = start && (await startOffset(topics[0], start))
    let join
    const joined = new Promise(resolve => { join = resolve })
    consumer.on(consumer.events.GROUP_JOIN, ({ payload }) => {
      join()
      assigned(member, [].concat(...topics.map(topic => payload.memberAssignment[topic] || [])))
    })
    consumer.on(consumer.events.CRASH, ({ payload }) => {
      if (!payload.restart) crashed(member, payload.error)
    })
    await consumer.connect()
    await consumer.subscribe({ topics, fromBeginning: true })
    await consumer.run({
      // A reader has its group to itself: what it commits is where it goes on when it joins again.
      autoCommit: autoCommit || Boolean(start),
      // In a gap kafkajs commits only as it meets the marker, and only if this much time has passed by then.
      autoCommitInterval: 1,
      eachMessage: async ({ topic, partition, message }) => {
        state.next.set(JSON.stringify([topic, partition]), BigInt(message.offset) + 1n)
        heard(member, { topic, partition, message })
      },
    })
    if (!at) return
    await joined
    consumer.seek({ topic: topics[0], partition: start[0], offset: at })
  },

  async seek({ member, topic, partition, offset }) {
    members.get(member).consumer.seek({ topic, partition, offset: String(offset) })
  },

  async commit({ member }) {
    const { consumer, next } = members.get(member)
    await consumer.commitOffsets([...next].map(([at, offset]) => {
      const [topic, partition] = JSON.parse(at)
      return { topic, partition, offset: offset.toString() }
    }))
  },

  async leave({ member }) {
    await members.get(member).consumer.disconnect()
    members.delete(member)
  },

  async exit() {
    for (const { consumer } of members.values()) await consumer.disconnect()
    await admin.disconnect()
  },
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

// lz4js leaves out the flag that blocks stand alone, though its blocks of up to 4 MiB do here; Kafka asks for it.
function independentBlocks(frame) {
  frame[4] |= 0x20
  frame[6] = (xxhash.hash(0, frame, 4, 2) >> 8) & 0xff
  return frame
}

async function configsOf(type, name) {
  const { resources } = await admin.describeConfigs({ includeSynonyms: false, resources: [{ type, name }] })
  return Object.fromEntries(resources[0].configEntries.map(({ configName, configValue }) => [configName, configValue]))
}

admin.connect().then(() => serve(verbs), error => {
  console.error(error)
  process.exit(1)
})
