// kafkajs behind lines of JSON: {id, verb, ...} in, {id, value | error} and {event, member, ...} out.
// Keys, values and header values travel as base64, offsets and timestamps as decimal strings.

const readline = require('readline')
const { Kafka, CompressionTypes, CompressionCodecs, ConfigResourceTypes, Partitioners, logLevel } = require('kafkajs')
const SnappyCodec = require('kafkajs-snappy')
const lz4 = require('lz4js')
const xxhash = require('lz4js/xxh32.js')
const { ZstdCodec } = require('zstd-codec')

const TYPES = {
  none: CompressionTypes.None,
  gzip: CompressionTypes.GZIP,
  snappy: CompressionTypes.Snappy,
  lz4: CompressionTypes.LZ4,
  zstd: CompressionTypes.ZSTD,
}
const zstd = new Promise(resolve => ZstdCodec.run(found => resolve(new found.Simple())))

CompressionCodecs[CompressionTypes.Snappy] = SnappyCodec
CompressionCodecs[CompressionTypes.LZ4] = () => ({
  compress: async encoder => independentBlocks(Buffer.from(lz4.compress(encoder.buffer))),
  decompress: async buffer => Buffer.from(lz4.decompress(buffer)),
})
CompressionCodecs[CompressionTypes.ZSTD] = () => ({
  compress: async encoder => Buffer.from((await zstd).compress(encoder.buffer, 3)),
  decompress: async buffer => Buffer.from((await zstd).decompress(buffer)),
})

const kafka = new Kafka({ clientId: 'compat', brokers: [process.argv[2]], logLevel: logLevel.NOTHING })
const admin = kafka.admin()
const members = new Map()

const say = message => process.stdout.write(JSON.stringify(message) + '\n')
const pack = buffer => (buffer === null || buffer === undefined ? null : Buffer.from(buffer).toString('base64'))
const unpack = text => (text === null ? null : Buffer.from(text, 'base64'))

const verbs = {
  async create({ topic, partitions, configs }) {
    const configEntries = Object.entries(configs).map(([name, value]) => ({ name, value }))
    await admin.createTopics({ topics: [{ topic, numPartitions: partitions, replicationFactor: 1, configEntries }] })
  },

  async configs({ topic, configs }) {
    const configEntries = Object.entries(configs).map(([name, value]) => ({ name, value }))
    const resources = [{ type: ConfigResourceTypes.TOPIC, name: topic, configEntries }]
    const { resources: answers } = await admin.alterConfigs({ validateOnly: false, resources })
    for (const { errorCode, errorMessage } of answers) {
      if (errorCode !== 0) throw new Error(`error ${errorCode}: ${errorMessage}`)
    }
  },

  async produce({ topic, codec, idempotent, sends }) {
    const producer = kafka.producer({
      idempotent,
      maxInFlightRequests: idempotent ? 1 : null,
      createPartitioner: Partitioners.DefaultPartitioner,
    })
    await producer.connect()
    try {
      const messages = sends.map(send => ({
        key: unpack(send.key),
        value: unpack(send.value),
        ...(send.partition === null ? {} : { partition: send.partition }),
        ...(send.timestamp === null ? {} : { timestamp: send.timestamp }),
        headers: headersOf(send.headers),
      }))
      const answers = await producer.send({ topic, messages, acks: -1, compression: TYPES[codec] })
      return offsetsOf(sends, answers)
    } finally {
      await producer.disconnect()
    }
  },

  async consume({ member, group, topics, autoCommit, start }) {
    const consumer = kafka.consumer({
      groupId: group,
      sessionTimeout: 10000,
      rebalanceTimeout: 10000,
      heartbeatInterval: 300,
      maxWaitTimeInMs: 100,
      retry: { retries: 20 },
    })
    const state = { consumer, next: new Map() }
    members.set(member, state)
    const at = start && (await startOffset(topics[0], start))
    consumer.on(consumer.events.GROUP_JOIN, ({ payload }) => {
      const partitions = [].concat(...topics.map(topic => payload.memberAssignment[topic] || []))
      say({ event: 'assigned', member, partitions })
    })
    consumer.on(consumer.events.CRASH, ({ payload }) => {
      if (!payload.restart) say({ event: 'crash', member, error: String(payload.error) })
    })
    await consumer.connect()
    await consumer.subscribe({ topics, fromBeginning: true })
    await consumer.run({
      autoCommit,
      // In a gap kafkajs commits only as it meets the marker, and only if this much time has passed by then.
      autoCommitInterval: 1,
      eachMessage: async ({ topic, partition, message }) => {
        state.next.set(JSON.stringify([topic, partition]), BigInt(message.offset) + 1n)
        say({
          event: 'record', member, topic, partition, offset: message.offset, timestamp: message.timestamp,
          key: pack(message.key), value: pack(message.value), headers: flatten(message.headers),
        })
      },
    })
    if (at) consumer.seek({ topic: topics[0], partition: start[0], offset: at })
  },

  async seek({ member, topic, partition, offset }) {
    members.get(member).consumer.seek({ topic, partition, offset })
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

  async committed({ group, topic }) {
    const [found] = await admin.fetchOffsets({ groupId: group, topics: [topic] })
    return Object.fromEntries(found.partitions.filter(p => p.offset !== '-1').map(p => [p.partition, p.offset]))
  },

  async ends({ topic }) {
    return Object.fromEntries((await admin.fetchTopicOffsets(topic)).map(p => [p.partition, p.high]))
  },

  async exit() {
    for (const { consumer } of members.values()) await consumer.disconnect()
    await admin.disconnect()
    setImmediate(() => process.exit(0))
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

// A name that comes twice is a list in kafkajs.
function headersOf(pairs) {
  const headers = {}
  for (const [name, value] of pairs) (headers[name] = headers[name] || []).push(unpack(value))
  return headers
}

function flatten(headers) {
  const pairs = []
  for (const [name, value] of Object.entries(headers || {})) {
    for (const one of [].concat(value)) pairs.push([name, pack(one)])
  }
  return pairs
}

// kafkajs tells only the base offset of each partition's batch.
function offsetsOf(sends, answers) {
  const next = new Map(answers.map(answer => [answer.partition, BigInt(answer.baseOffset)]))
  return sends.map(({ partition }) => {
    const offset = next.get(partition)
    next.set(partition, offset + 1n)
    return Number(offset)
  })
}

async function main() {
  await admin.connect()
  for await (const line of readline.createInterface({ input: process.stdin })) {
    const { id, verb, ...what } = JSON.parse(line)
    verbs[verb](what).then(
      value => say({ id, value }),
      error => say({ id, error: String(error.message || error) }),
    )
  }
}

main().catch(error => {
  console.error(error)
  process.exit(1)
})
