// @platformatic/kafka.

const {
  Admin, Consumer, Producer, ClientQuotaMatchTypes, ConfigResourceTypes, FetchIsolationLevels, IncrementalAlterConfigOperationTypes,
  ListOffsetTimestamps, MessagesStreamModes, MessagesStreamFallbackModes,
} = require('@platformatic/kafka')
const { assigned, crashed, pack, say, serve, unpack } = require('./lines')

const base = { clientId: 'compat', bootstrapBrokers: [process.argv[2]], retries: 100, retryDelay: 200, metadataMaxAge: 2000 }
const admin = new Admin(base)
const members = new Map()
const producers = new Map()
const WHERE = { earliest: ListOffsetTimestamps.EARLIEST, latest: ListOffsetTimestamps.LATEST, max_timestamp: ListOffsetTimestamps.MAX }

const verbs = {
  create_topic: ({ topic, partitions, configs }) => admin.createTopics({
    topics: [topic], partitions, replicas: 1, configs: Object.entries(configs).map(([name, value]) => ({ name, value })),
  }).then(() => null),

  delete_topic: ({ topic }) => admin.deleteTopics({ topics: [topic] }),

  list_topics: () => admin.listTopics(),

  async describe_topic({ topic }) {
    const { topics } = await admin.metadata({ topics: [topic], forceUpdate: true })
    return Object.fromEntries(topics.get(topic).partitions.map(({ leader, replicas, isr }, index) => [index, { leader, replicas, isr }]))
  },

  create_partitions: ({ topic, total }) => admin.createPartitions({ topics: [{ name: topic, count: total }] }),

  describe_configs: ({ topic }) => configsOf(ConfigResourceTypes.TOPIC, topic),

  async describe_broker_configs() {
    const { brokers } = await admin.metadata({ topics: [] })
    return configsOf(ConfigResourceTypes.BROKER, String([...brokers.keys()][0]))
  },

  set_configs: ({ topic, configs }) => alter(topic, Object.entries(configs).map(([name, value]) => (
    { name, value, configOperation: IncrementalAlterConfigOperationTypes.SET }))),

  delete_config: ({ topic, name }) => alter(topic, [{ name, configOperation: IncrementalAlterConfigOperationTypes.DELETE }]),

  async describe_cluster() {
    const { id, brokers, controllerId } = await admin.metadata({ topics: [], forceUpdate: true })
    return { brokers: [...brokers.keys()], controller: controllerId, cluster: id }
  },

  async log_dirs({ topic }) {
    const { topics } = await admin.metadata({ topics: [topic] })
    const partitions = topics.get(topic).partitions.map((_, index) => index)
    const sizes = {}
    for (const broker of await admin.describeLogDirs({ topics: [{ name: topic, partitions }] })) {
      for (const home of broker.results) {
        for (const found of home.topics) {
          for (const { partitionIndex, partitionSize } of found.partitions) sizes[partitionIndex] = Number(partitionSize)
        }
      }
    }
    return sizes
  },

  async delete_records({ topic, partition, offset }) {
    const [found] = await admin.deleteRecords({ topics: [{ name: topic, partitions: [{ partition, offset: BigInt(offset) }] }] })
    return Number(found.partitions[0].lowWatermark)
  },

  list_offsets: ({ topic, partition, where }) => offsetAt(topic, partition, WHERE[where] ?? BigInt(where)),

  async list_groups() {
    return [...(await admin.listGroups()).keys()]
  },

  async describe_group({ group }) {
    const found = (await admin.describeGroups({ groups: [group] })).get(group)
    return { state: found.state[0].toUpperCase() + found.state.slice(1).toLowerCase(), members: found.members.size }
  },

  delete_group: ({ group }) => admin.deleteGroups({ groups: [group] }),

  async committed({ group, topic }) {
    const [found] = await admin.listConsumerGroupOffsets({ groups: [group] })
    const rows = found.topics.filter(({ name }) => name === topic).flatMap(({ partitions }) => partitions)
    return Object.fromEntries(rows.filter(row => row.committedOffset >= 0n).map(row => [row.partitionIndex, Number(row.committedOffset)]))
  },

  alter_offsets: ({ group, topic, offsets }) => admin.alterConsumerGroupOffsets({
    groupId: group,
    topics: [{ name: topic, partitionOffsets: Object.entries(offsets).map(([p, o]) => ({ partition: Number(p), offset: BigInt(o) })) }],
  }),

  delete_offsets: ({ group, topic, partitions }) => admin.deleteConsumerGroupOffsets({
    groupId: group, topics: [{ name: topic, partitionIndexes: partitions }],
  }),

  set_quota: ({ client_id: entityName, quotas }) => admin.alterClientQuotas({
    entries: [{
      entities: [{ entityType: 'client-id', entityName }],
      ops: Object.entries(quotas).map(([key, value]) => (value === null ? { key, remove: true } : { key, value, remove: false })),
    }],
  }),

  async describe_quota({ client_id: match }) {
    const found = await admin.describeClientQuotas({
      components: [{ entityType: 'client-id', matchType: ClientQuotaMatchTypes.EXACT, match }], strict: true,
    })
    return Object.fromEntries(found.flatMap(({ values }) => values.map(({ key, value }) => [key, value])))
  },

  async produce({ topic, codec, idempotent, acks, clientId, oneByOne, sends }) {
    const producer = new Producer({ ...base, clientId, idempotent, acks: acks === 'all' ? -1 : Number(acks), compression: codec })
    try {
      return await sendAll(producer, topic, sends, oneByOne)
    } finally {
      await producer.close(true)
    }
  },

  async txn_open({ producer, transactionalId }) {
    // It asks for its producer id, and fences its predecessors, at the first transaction.
    // Without a producer id of -1 it says that it has id 0, which is another's.
    producers.set(producer, { opened: new Producer({ ...base, idempotent: true, transactionalId, producerId: -1n, producerEpoch: -1 }) })
  },

  async txn_begin({ producer }) {
    producers.get(producer).current = await producers.get(producer).opened.beginTransaction()
  },

  txn_send: ({ producer, topic, sends }) => sendAll(producers.get(producer).current, topic, sends),

  txn_commit: ({ producer }) => producers.get(producer).current.commit(),

  txn_abort: ({ producer }) => producers.get(producer).current.abort(),

  async txn_close({ producer }) {
    await producers.get(producer).opened.close(true)
    producers.delete(producer)
  },

  async consume({ member, group, topics, autoCommit, start, isolation, ...options }) {
    const consumer = new Consumer({
      ...base, groupId: group, maxWaitTime: 100, isolationLevel: FetchIsolationLevels[isolation.toUpperCase()], ...groupOf(options),
    })
    const tell = () => assigned(member, [].concat(...(consumer.assignments || []).map(({ partitions }) => partitions)))
    // In a KIP-848 group there is no event for a change; the heartbeat after it says which partitions are held.
    for (const event of ['group:join', 'group:leave', 'group:rebalance', 'heartbeat:end']) consumer.on(`consumer:${event}`, tell)
    consumer.on('error', error => crashed(member, error))
    const stream = await consumer.consume({ topics, autocommit: autoCommit ? 200 : false, ...(await modeOf(topics[0], start)) })
    const state = { consumer, stream, next: new Map() }
    members.set(member, state)
    stream.on('data', message => {
      state.next.set(`${message.topic} ${message.partition}`, message)
      say({
        event: 'record', member, topic: message.topic, partition: message.partition, offset: message.offset,
        timestamp: String(message.timestamp), key: pack(message.key), value: pack(message.value),
        headers: message.headerEntries.map(([name, value]) => [name.toString(), pack(value)]),
      })
    })
    stream.on('error', error => crashed(member, error))
  },

  async commit({ member }) {
    const { consumer, next } = members.get(member)
    await consumer.commit({ offsets: [...next.values()].map(({ topic, partition, offset, leaderEpoch }) => (
      { topic, partition, offset: offset + 1n, leaderEpoch })) })
  },

  async leave({ member }) {
    await members.get(member).consumer.close(true)
    members.delete(member)
  },

  async exit() {
    for (const { consumer } of members.values()) await consumer.close(true)
    await admin.close()
  },
}

function groupOf({ protocol, assignor, session_ms: sessionTimeout, instance, remote_assignor: groupRemoteAssignor }) {
  const named = instance ? { groupInstanceId: instance } : {}
  if (protocol === 'consumer') {
    return { groupProtocol: 'consumer', ...named, ...(groupRemoteAssignor ? { groupRemoteAssignor } : {}) }
  }
  const protocols = assignor === 'cooperative-sticky' ? { protocols: [{ name: assignor, version: 3 }] } : {}
  return { sessionTimeout, rebalanceTimeout: sessionTimeout, heartbeatInterval: 500, ...protocols, ...named }
}

// The stream begins where the group is, or for a reader at offsets that were looked up.
async function modeOf(topic, start) {
  if (!start) return { mode: MessagesStreamModes.COMMITTED, fallbackMode: MessagesStreamFallbackModes.EARLIEST }
  const [partition, where] = start
  const stamp = Array.isArray(where) ? BigInt(where[1]) : where === 'end' ? WHERE.latest : WHERE.earliest
  const offset = typeof where === 'number' ? where : await offsetAt(topic, partition, stamp)
  const { topics } = await admin.metadata({ topics: [topic] })
  const offsets = topics.get(topic).partitions.map((_, index) => ({ topic, partition: index, offset: index === partition ? BigInt(offset) : 0n }))
  return { mode: MessagesStreamModes.MANUAL, offsets }
}

async function offsetAt(topic, partition, timestamp) {
  const [found] = await admin.listOffsets({ topics: [{ name: topic, partitions: [{ partitionIndex: partition, timestamp }] }] })
  return Number(found.partitions[0].offset)
}

async function configsOf(resourceType, resourceName) {
  const [found] = await admin.describeConfigs({ resources: [{ resourceType, resourceName }] })
  return Object.fromEntries(found.configs.map(({ name, value }) => [name, value]))
}

const alter = (topic, configs) => admin.incrementalAlterConfigs({
  resources: [{ resourceType: ConfigResourceTypes.TOPIC, resourceName: topic, configs }],
})

const messageOf = (topic, { key, value, partition, timestamp, headers }) => ({
  topic,
  key: unpack(key) ?? undefined,
  value: unpack(value) ?? undefined,
  ...(partition === null ? {} : { partition }),
  ...(timestamp === null ? {} : { timestamp: BigInt(timestamp) }),
  headers: new Map(headers.map(([name, header]) => [Buffer.from(name), unpack(header)])),
})

// The offsets of all of it: a batch's first for each partition is what it tells.
async function sendAll(producer, topic, sends, oneByOne) {
  if (oneByOne) {
    for (const one of sends) await producer.send({ messages: [messageOf(topic, one)] })
    return null
  }
  const { offsets } = await producer.send({ messages: sends.map(one => messageOf(topic, one)) })
  if (!offsets || sends.some(({ partition }) => partition === null)) return null
  const next = new Map(offsets.map(({ partition, offset }) => [partition, Number(offset)]))
  return sends.map(({ partition }) => {
    const offset = next.get(partition)
    next.set(partition, offset + 1)
    return offset
  })
}

serve(verbs)
